"""The numbers of results.csv, and the evaluations that each one rests on."""

import csv
from collections.abc import Iterable, Iterator
from pathlib import Path

from dp import paths
from dp.errors import UserError
from dp.escapes import csv_rows
from dp.jobs import record
from dp.jobs.finding import BROKEN, Finding
from dp.jobs.job import Cell
from dp.jobs.look import Look
from dp.jobs.stale import changed_modules
from dp.results import outputs
from dp.study import grid
from dp.study.study import Study

Key = tuple[str, str, int | None, str, str]
"""Backbone, regime, k (None but for few-shot), task, variant: a row of results.csv, over its metrics and runs."""

MADE_OF_RESULTS = ("dp/report/figures/", "dp/report/page/", "dp/report/tables/", "dp/paper/")
"""Code of a report that no row of results.csv rests on."""


def key_of(study: Study, cell: Cell) -> Key:
    """The row of results.csv that a run counts in."""
    regime = cell.parsed_regime
    return study.params.model_of(cell.backbone), regime.in_tables, regime.k, cell.task, cell.variant


def name_of(key: Key) -> str:
    """A row's key to read, as tiny-t5/fewshot/k16/boolq/fixed."""
    backbone, regime, k, task, variant = key
    return "/".join([backbone, regime, *([f"k{k}"] if k else []), task, variant])


def evaluations(study: Study) -> dict[Key, list[Path]]:
    """Row -> folders of the evaluations that the grid has for it."""
    found: dict[Key, list[Path]] = {}
    for cell in grid.cells(study):
        found.setdefault(key_of(study, cell), []).append(paths.evaluation(study.scale_name, cell.run))
    return found


def touched(study: Study, findings: Iterable[Finding]) -> list[Key]:
    """Rows that rest on something missing, failed, tampered or stale, in the order of the grid.

    All of them where results.csv itself is, or the report's code changed in more than what is made of that table.
    """
    broken = [one for one in findings if one.kind in BROKEN]
    folders = {folder for one in broken for folder in (one.path, one.path.parent)}
    every = _is_broken(paths.report(study.scale_name), broken)
    return [key for key, runs in evaluations(study).items() if every or not folders.isdisjoint(runs)]


def _is_broken(report: Path, broken: list[Finding]) -> bool:
    """Whether no row of a report can be trusted, whatever it rests on."""
    kinds = {one.kind for one in broken if one.path in (report, report / "record.json", report / "results.csv")}
    if kinds != {"stale"}:
        return bool(kinds)
    changed = changed_modules(record.read(report), "report")
    return any(not name.startswith(MADE_OF_RESULTS) for name in changed)


def seeds(study: Study, looks: dict[Path, Look]) -> Iterator[Finding]:
    """Rows that claim more runs than lie here, or fewer than the grid has."""
    path = paths.report(study.scale_name) / "results.csv"
    known = evaluations(study)
    try:
        with path.open(encoding="utf-8", newline="") as file:
            rows = {_key(row): (int(row["seeds"]), set(row["runs"].split(";"))) for row in csv_rows(file)}
    except FileNotFoundError:
        return
    except (KeyError, ValueError, TypeError, AttributeError, csv.Error):
        yield Finding("seeds", path, "cannot be read as a table of results")
        return
    for key, (claimed, named) in rows.items():
        runs = known.get(key, [])
        there = len(named & {looks[folder].record[:12] for folder in runs if folder in looks})
        if claimed > there:
            yield Finding("seeds", path, f"{name_of(key)} claims {_runs(claimed)}, of which {there} lie here")
        elif claimed < len(runs):
            yield Finding("seeds", path, f"{name_of(key)} claims {_runs(claimed)}, the grid has {len(runs)}")


def collapsed(study: Study, looks: dict[Path, Look]) -> Iterator[Finding]:
    """Evaluations at the majority class, but for the baseline that is it, and those that ended in an overflow."""
    for cell in grid.cells(study):
        folder = paths.evaluation(study.scale_name, cell.run)
        here = None if study.is_majority(cell.variant) else looks.get(folder)
        if here is None or not here.outputs or "metrics.json" in here.gone + here.differ:
            continue
        try:
            found = outputs.metrics(folder)
        except UserError as error:  # a record vouches for it, and yet no job of this version wrote it
            yield Finding("tampered", folder / "metrics.json", str(error))
            continue
        if found.get("overflow"):
            yield Finding("overflow", folder, found["overflow"])
        if found["collapsed"]:
            yield Finding("collapsed", folder, found["collapsed_because"])


def _key(row: dict[str, str]) -> Key:
    return row["backbone"], row["regime"], int(row["k"]) if row["k"] else None, row["task"], row["variant"]


def _runs(count: int) -> str:
    return f"{count} run{'' if count == 1 else 's'}"
