"""Variant x task, to take in at a glance: the verdicts, and the numbers of one setting."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from dp.report.page.verdict import CELLS, SIGN, tone
from dp.results.groups import grouped
from dp.results.labels import name_of
from dp.results.table import OVERFLOW, Row


@dataclass(frozen=True)
class Spot:
    """One number: what it says, the rest in small, how it looks, and the line of the CSV that holds it."""

    text: str
    small: str
    tone: str
    line: int

    @property
    def sign(self) -> str:
        return SIGN.get(self.tone, "")


@dataclass(frozen=True)
class Matrix:
    """`of`: the id of the table whose lines the spots are."""

    of: str
    title: str
    columns: list[str]
    rows: list[tuple[str, list[Spot | None]]]


def of_predictions(rows: list[Row]) -> list[Matrix]:
    def spot(row: Row, line: int) -> Spot:
        text = OVERFLOW if row["mean"] is None else f"{100 * row['mean']:.1f}"
        broken = ", as a broken one must" if row["broken"] and row["verdict"] == "fails" else ""
        return Spot(text, row["verdict"] + broken, tone(row["verdict"]), line)

    return _grids("predictions", enumerate(rows, 2), _setting, spot)


def of_claims(rows: list[Row]) -> list[Matrix]:
    """The paper's cells, averages among them: its value, and what became of it."""

    def spot(row: Row, line: int) -> Spot:
        ours = "" if row["ours"] in (None, "") else f"{float(row['ours']):.1f} here, "
        return Spot(f"{float(row['value']):.1f}", ours + row["verdict"], tone(row["verdict"]), line)

    cells = ((line, row) for line, row in enumerate(rows, 2) if row["kind"] in CELLS)
    return _grids("claims", cells, lambda row: f"{row['table']}: {row['backbone']}", spot)


def of_results(rows: list[Row]) -> list[Matrix]:
    """One grid per backbone, regime, k and metric."""

    def spot(row: Row, line: int) -> Spot:
        if row["mean"] is None:
            return Spot(OVERFLOW, "no number", "low", line)
        fallen = not row["collapsed"].startswith("0/")
        interval = f"[{100 * row['low']:.1f}, {100 * row['high']:.1f}]"
        small = f"{interval} collapsed {row['collapsed']}" if fallen else interval
        return Spot(f"{100 * row['mean']:.1f}", small, "low" if fallen else "", line)

    return _grids("results", enumerate(rows, 2), lambda row: f"{_setting(row)}: {row['metric']}", spot)


def _grids(
    of: str, rows: Iterable[tuple[int, Row]], title: Callable[[Row], str], spot: Callable[[Row, int], Spot]
) -> list[Matrix]:
    """`rows`: (line of the CSV, row)."""
    grids = []
    for heading, members in grouped(rows, lambda pair: title(pair[1])).items():
        spots = {(row["variant"], row["task"]): spot(row, line) for line, row in members}
        columns, variants = (list(dict.fromkeys(row[key] for _, row in members)) for key in ("task", "variant"))
        grids.append(
            Matrix(of, heading, columns, [(name, [spots.get((name, task)) for task in columns]) for name in variants])
        )
    return grids


def _setting(row: Row) -> str:
    return name_of((row["backbone"], row["regime"], row["k"] if row["regime"] == "fewshot" else None))
