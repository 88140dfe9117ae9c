"""The plan of a scale or of a part of it: costs by backbone and in total, priced by the speeds at hand."""

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from dp.closed import one_of
from dp.errors import UserError
from dp.jobs.job import Cell
from dp.paper import claimed as claims
from dp.planning import speeds
from dp.planning.costs import Cost, Counter
from dp.planning.speeds import Speed
from dp.study import grid
from dp.study.study import Study

Device = tuple[str, str]
"""Unit, gpu or core, and the name."""


@dataclass(frozen=True)
class Line:
    """One line of a plan. hours: of each device that a speed is known of."""

    name: str
    cost: Cost
    hours: dict[Device, float]


@dataclass(frozen=True)
class Plan:
    study: Study
    lines: list[Line]  # by backbone; and the rows of the tasks, which all share
    total: Line
    parts: list[Line]  # what each table of the paper and each regime would cost by itself
    speeds: dict[Device, dict[str, Speed]]  # backbone -> the speed that prices it
    tokens: dict[str, list[str]]  # where mean lengths come from -> tasks
    fewest: Line | None  # the total where the stopping rule ends every training as soon as it can


def plan(
    study: Study,
    measured: list[Speed],
    table: str | None = None,
    backbone: str | None = None,
    regime: str | None = None,
) -> Plan:
    """measured: speeds just measured, which go before recorded ones of the same device. Raises UserError as
    `select` and where a backbone's size is not known.
    """
    cells, counter = select(study, table, backbone, regime), Counter(study)
    prices = _prices(counter, [cell.backbone for cell in cells], measured)
    lines, total = _priced(counter, cells, prices)
    whole = table is None and backbone is None and regime is None
    smaller = _parts(counter, prices) if whole else []
    tokens: dict[str, list[str]] = {}
    for task in dict.fromkeys(task for cell in cells for task in grid.tasks_of(study, cell)):
        origin = {counter.inputs(cell.backbone, task).origin for cell in cells if task in grid.tasks_of(study, cell)}
        for one in sorted(origin):
            tokens.setdefault(one, []).append(task)
    shortest = stopped_at_once(study)
    fewest = _priced(Counter(shortest), cells, prices)[1] if shortest else None
    return Plan(study, lines, total, smaller, prices, tokens, fewest)


def stopped_at_once(study: Study) -> Study | None:
    """The study whose trainings make the fewest steps that its stopping rule allows; None without a rule."""
    budget = study.scale.training
    if budget.stop is None:
        return None
    looks = max(-(-budget.stop.after // budget.evaluate_every), budget.stop.patience + 1)
    fewest = min(budget.steps, looks * budget.evaluate_every)
    return changed(study, training=budget.model_copy(update={"steps": fewest, "stop": None}))


def changed(study: Study, **parts: Any) -> Study:
    """The study with other parts of its scale; not checked again."""
    return study.model_copy(update={"scale": study.scale.model_copy(update=parts)})


def tables() -> dict[str, set[tuple[str, str, str]]]:
    """Table of the paper -> (backbone, variant, task) of each of its cells, which are all of full data."""
    found: dict[str, set[tuple[str, str, str]]] = defaultdict(set)
    for one in claims.load().claims.values():
        if one.kind == "cell":
            found[one.table].add((one.backbone, one.variant, one.task))
    return found


def select(
    study: Study, table: str | None = None, backbone: str | None = None, regime: str | None = None
) -> list[Cell]:
    """The evaluated cells of a part. regime: its name, or its kind.

    Raises UserError for a name that is none, with the nearest, and for a part that holds nothing.
    """
    cells, scale = grid.cells(study), f"scale '{study.scale_name}'"
    if backbone is not None:
        one_of("--backbone", backbone, study.scale.backbones, f"{scale} has no such backbone")
        cells = [cell for cell in cells if cell.backbone == backbone]
    if regime is not None:
        kinds = {name: part.kind for part in study.scale.regimes for name in part.names}
        one_of("--regime", regime, dict.fromkeys([*kinds.values(), *kinds]), f"{scale} has no such regime")
        cells = [cell for cell in cells if regime in (cell.regime, kinds[cell.regime])]
    if table is not None:
        known = tables()
        one_of("--table", table, known, "the paper has no such table")
        cells = [cell for cell in cells
                 if cell.regime == "full" and (cell.backbone, cell.variant, cell.task) in known[table]]  # fmt: skip
    if not cells:
        asked = ", ".join(f"{key} {value}" for key, value in
                          (("table", table), ("backbone", backbone), ("regime", regime)) if value)  # fmt: skip
        raise UserError(f"{scale} runs nothing of {asked}; ask for another part or scale.")
    return cells


def _prices(counter: Counter, backbones: Iterable[str], measured: list[Speed]) -> dict[Device, dict[str, Speed]]:
    """An assumed H100 and, in float32, the paper's own figure stand in where no GPU was measured or recorded."""
    study, now = counter.study, {(one.unit, one.device) for one in measured}
    compute = study.scale.compute
    known = [*measured, *(one for one in speeds.recorded(study) if (one.unit, one.device) not in now)]
    if compute.device != "cpu" and not any(one.unit == "gpu" for one in known):
        known.append(speeds.of_an_h100(compute.dtype))
        if compute.dtype == "float32":
            known.append(speeds.of_the_paper())
    return {
        device: {name: speeds.nearest(found, name, counter.shapes[name]) for name in dict.fromkeys(backbones)}
        for device, found in speeds.devices(known).items()
    }


def _priced(counter: Counter, cells: list[Cell], prices: dict[Device, dict[str, Speed]]) -> tuple[list[Line], Line]:
    lines = []
    for name, cost in counter.cost(cells).items():
        lines.append(Line(name, cost, {device: found[name].hours(cost) for device, found in prices.items()}))
    lines.append(Line("rows and report", counter.rows(cells) + Cost(others=1), {}))
    hours = {device: sum(line.hours.get(device, 0.0) for line in lines) for device in prices}
    return lines, Line("all", sum((line.cost for line in lines), Cost()), hours)


def _parts(counter: Counter, prices: dict[Device, dict[str, Speed]]) -> list[Line]:
    study, found = counter.study, []
    cells = grid.cells(study)
    named = [
        (f"table {name}", {"table": name})
        for name, wanted in tables().items()
        if any(cell.regime == "full" and (cell.backbone, cell.variant, cell.task) in wanted for cell in cells)
    ]
    named += [(f"regime {kind}", {"regime": kind}) for kind in dict.fromkeys(part.kind for part in study.scale.regimes)]
    for title, part in named:
        _, total = _priced(counter, select(study, **part), prices)
        found.append(Line(title, total.cost, total.hours))
    return found
