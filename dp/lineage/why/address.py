"""What a person may call a number, and the jobs that it was made by."""

import difflib
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from dp import files, paths
from dp.data.regime import Regime
from dp.errors import UserError, shown
from dp.lineage.why.report_files import FIGURES, figure_problems, rows_of
from dp.lineage.why.tree import folder_of, is_below_results, readable
from dp.study import grid
from dp.study.study import Study

FORMS = (
    "A number is a file below results/, a line of a report's CSV (results/report/<scale>/results.csv:17, header = line "
    "1; also of a figure's .csv, .svg or .png), a cell (backbone/regime/task/variant, as in "
    "tiny-t5/fewshot-k8/cb/fixed) or a run of it (.../seed0, .../trial1)."
)
GROUP = ("backbone", "regime", "task", "variant")


@dataclass(frozen=True)
class Number:
    """roots: folders of the artifacts that hold it. runs: the evaluations that it is made from, where its root is a
    report that holds others too. problems: of the root, as far as they concern this number."""

    address: str
    values: list[dict[str, Any]]
    roots: list[Path]
    runs: list[Path] | None = None
    problems: tuple[str, ...] = ()


def number(address: str, study: Callable[[], Study]) -> Number:
    """The number behind an address. Raises UserError for anything that is none, with the nearest one.

    `study` is called for a cell or a run alone: a file leads back by its records.
    """
    if not files.is_nameable(address):
        raise UserError(f"{shown(address)}: no file or run can have this name. {FORMS}")
    found = re.fullmatch(r"(.+?):(\d{1,9})", address)
    text, line = (found[1], int(found[2])) if found else (address, None)
    path = Path(os.path.relpath(text) if os.path.isabs(text) else os.path.normpath(text))
    if is_below_results(str(path)):
        return _file(address, path) if line is None else _line(address, path, line)
    if (paths.RESULTS / path.parts[0]).exists() if path.parts else False:
        raise _unknown(address, f"results/{address}")
    if line is not None:
        raise UserError(f"{address}: only a CSV below results/report/ has lines. {FORMS}")
    return _named(address, path.as_posix(), study())


def run_names(report: Path) -> list[str]:
    """The runs of a report, as its record says; without one, those that were evaluated for its scale."""
    record = readable(report / "record.json")
    if record and isinstance(record["asked"].get("runs"), list):
        return [name for name in record["asked"]["runs"] if name.count("/") == 4]
    below = paths.EVALUATE / report.name
    return sorted(path.parent.relative_to(below).as_posix() for path in below.glob("*/*/*/*/*/record.json"))


def models_of(report: Path) -> dict[str, str]:
    """What the tables of a report call those backbones that are pre-training seeds of one model."""
    record = readable(report / "record.json")
    found = record["asked"].get("models") if record else None
    return found if isinstance(found, dict) else {}


def _file(address: str, path: Path) -> Number:
    folder = path if (path / "record.json").is_file() else folder_of(path)
    if not (folder / "record.json").is_file():
        if path.is_file() and paths.LOGS not in path.parents:
            return Number(address, [], [folder])
        raise _unknown(address, _nearest_file(path))
    name = path.relative_to(folder).as_posix()
    if name not in (".", "record.json"):
        record = readable(folder / "record.json")
        if record and name not in record["made"]["outputs"]:
            raise _unknown(address, f"{folder}/{_closest(name, [*record['made']['outputs'], 'record.json'])}")
    return Number(address, values_of(folder), [folder], problems=tuple(figure_problems(path)))


def values_of(folder: Path) -> list[dict[str, Any]]:
    """The metrics of an evaluation, the selection accuracy of a training; nothing for other artifacts."""
    try:
        metrics = files.read_json(folder / "metrics.json")["metrics"]
        return [{"metric": name, **(value or {"value": "none: the run overflowed"})} for name, value in metrics.items()]
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        record = readable(folder / "record.json")
    selection = record["made"].get("selection") if record else None
    accuracy = selection["accuracy"] if isinstance(selection, dict) else None
    return [] if accuracy is None else [{"metric": "selection accuracy", "value": accuracy}]


def _line(address: str, path: Path, line: int) -> Number:
    table = path.with_suffix(".csv") if path.suffix in FIGURES else path
    if paths.REPORT not in table.parents or table.suffix != ".csv":
        raise UserError(f"{address}: only a CSV below results/report/ has lines. {FORMS}")
    if not table.is_file():
        raise _unknown(address, f"{_nearest_file(path)}:{line}")
    rows = rows_of(table)
    row = next((row for end, row in rows if line <= end), None) if line > 1 else None
    if row is None:
        first_and_last = f"{table}:2 to {table}:{rows[-1][0]}" if rows else "none"
        raise UserError(f"{address}: the file has no such row; its rows are {first_and_last}. {FORMS}")
    report = paths.report(table.relative_to(paths.REPORT).parts[0])
    is_named = all(row.get(key) for key in GROUP) and (row["regime"] != "fewshot" or bool(row.get("k")))
    models = models_of(report)
    names = [name for name in run_names(report) if _is_of(name, row, models)] if is_named else []
    names = names or _by_digests(address, report, row)
    problems = figure_problems(path)
    record, name = readable(report / "record.json"), table.relative_to(report).as_posix()
    if record and name not in record["made"]["outputs"]:
        problems.append(f"does not record {name}")
    return Number(address, [row], [report], [paths.evaluation(report.name, name) for name in names], tuple(problems))


def _by_digests(address: str, report: Path, row: dict[str, str]) -> list[str]:
    """The runs of a row over several tasks or values of k: those whose records' digests it names."""
    named = set(row.get("runs", "").split(";")) - {""}
    known = {}
    for name in run_names(report) if named else []:
        path = paths.evaluation(report.name, name) / "record.json"
        if path.is_file():
            known[files.sha256(path)[:12]] = name
    if not named or named - known.keys():
        lost = f"those it was made from are gone ({', '.join(sorted(named - known.keys()))})"
        raise UserError(
            f"{address}: this row names no runs{f' that lie here: {lost}' if named else ''}. Name a file or a cell "
            f"instead. {FORMS}"
        )
    return [name for digest, name in known.items() if digest in named]


def _is_of(name: str, row: dict[str, str], models: dict[str, str]) -> bool:
    """Whether a row is made from a run: of its variant or of the one it is compared with, of any of its tasks.

    A row of a pool is about one run, which it names as `Run.draw`: by backbone, regime and seed, as far as it must.
    """
    backbone, regime, task, variant, seed = name.split("/")
    one = re.fullmatch(r"pool of (.*)", row.get("factor", "")) or re.fullmatch(r"(.*seed\d+)", row.get("runs", ""))
    if one and not {backbone, regime, seed} >= set(one[1].split(", ")):
        return False
    return (
        row["backbone"] in (backbone, models.get(backbone))
        and _is_in(regime, _regime(row["regime"], row.get("k")))
        and task in row["task"].split(" + ")
        and variant in (row["variant"], row.get("against"))
    )


def _named(address: str, name: str, study: Study) -> Number:
    scale = study.scale_name
    runs = {cell.run: paths.evaluation(scale, cell.run) for cell in grid.cells(study)}
    tried = {
        cell.run: paths.train_run(scale, cell.run) for cell in grid.needed_trainings(study) if cell.run not in runs
    }
    if folder := (runs | tried).get(name):
        return Number(address, values_of(folder), [folder])
    models = {backbone: study.params.model_of(backbone) for backbone in study.scale.backbones}
    of_cell = [run for run in runs if _is_in_cell(run, name, models)]
    if not of_cell:
        trained = [folder for run, folder in tried.items() if _is_in_cell(run, name, models) and "/seed" in run]
        if trained:
            return Number(address, [], trained)
        raise _unknown(
            address, _nearest_name(name, [*runs, *tried]), f" of scale '{scale}' (--set scale=... for another)"
        )
    folders, report = [runs[run] for run in of_cell], paths.report(scale)
    values = _table_rows(report, name)
    if values and [run for run in run_names(report) if _is_in_cell(run, name, models)] == of_cell:
        return Number(address, values, [report], folders)
    return Number(address, [], folders)


def _is_in_cell(run: str, cell: str, models: dict[str, str]) -> bool:
    """Whether a run is one of backbone/regime/task/variant: `fewshot-k8` stands for all its sample seeds, a model for
    its pre-training seeds."""
    own, wanted = run.split("/")[:4], cell.split("/")
    if len(wanted) != 4 or wanted[0] not in (own[0], models.get(own[0])):
        return False
    return own[2:] == wanted[2:] and _is_in(own[1], _regime(wanted[1]))


def _table_rows(report: Path, name: str) -> list[dict[str, Any]]:
    table, (backbone, regime, task, variant) = report / "results.csv", name.split("/")
    if not table.is_file():
        return []
    return [
        row
        for _, row in rows_of(table)
        if (row.get("backbone"), row.get("task"), row.get("variant")) == (backbone, task, variant)
        and _regime(row["regime"], row.get("k")) == _regime(regime)
    ]


def _regime(spelling: str, k: str | None = None) -> Regime | None:
    """k: the column beside it in a CSV. None for what is none: files may be damaged, and addresses anything."""
    try:
        regime = Regime.parse(spelling)
        return replace(regime, k=int(k)) if k else regime
    except ValueError:
        return None


def _is_in(spelling: str, wanted: Regime | None) -> bool:
    """Whether a run's regime is one that is meant; few-shot is meant by its k at least."""
    own = _regime(spelling)
    if own is None or wanted is None or (wanted.kind == "fewshot" and wanted.k is None):
        return False
    return wanted.holds(own)


def _unknown(address: str, nearest: str, where: str = "") -> UserError:
    return UserError(f"{shown(address)}: there is no such number{where}; the nearest is {nearest}. {FORMS}")


def _nearest_file(path: Path) -> str:
    """A file below results/ that agrees with a path part by part; for a log, a file of what the job made."""
    if paths.LOGS in path.parents:
        path = paths.RESULTS / path.relative_to(paths.LOGS).with_suffix("")

    def below(folder: str) -> Iterable[str]:
        found = sorted(one.name for one in Path(folder).iterdir()) if Path(folder).is_dir() else []
        return [name for name in found if f"{folder}/{name}" != str(paths.LOGS) and not name.startswith(".")]

    return _nearest(path.as_posix().split("/"), below)


def _nearest_name(name: str, names: list[str]) -> str:
    """Of the names of runs, or the cells that they belong to."""
    children: dict[str, dict[str, None]] = {}
    for one in names:
        parts = one.split("/")
        for end, part in enumerate(parts):
            children.setdefault("/".join(parts[:end]), {})[part] = None
    return _nearest(name.split("/"), lambda prefix: children.get(prefix, {}), depth=4)


def _nearest(parts: list[str], below: Callable[[str], Iterable[str]], depth: int = 99) -> str:
    """The address that agrees with the given one part by part, the nearest name where one is unknown."""
    found = ""
    for place in range(max(depth, len(parts))):
        known = list(below(found))
        if not known:
            break
        part = parts[place] if place < len(parts) else known[0]
        best = part if part in known else _closest(part, known)
        found = f"{found}/{best}" if found else best
    return found


def _closest(name: str, known: list[str]) -> str:
    """A name that goes on where this one ends, else the most similar one."""
    longer = next((one for one in known if one.startswith(name)), None)
    return longer or difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
