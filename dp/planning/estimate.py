"""The plan of a scale or of a part of it: costs by backbone and in total, priced by the speeds at hand."""

from collections.abc import Iterable
from dataclasses import dataclass

from dp.jobs.job import Cell
from dp.planning import parts, speeds
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


def plan(
    study: Study,
    measured: list[Speed],
    table: str | None = None,
    backbone: str | None = None,
    regime: str | None = None,
) -> Plan:
    """measured: speeds just measured, which go before recorded ones of the same device. Raises UserError as
    `parts.select` and where a backbone's size is not known.
    """
    cells, counter = parts.select(study, table, backbone, regime), Counter(study)
    prices = _prices(counter, [cell.backbone for cell in cells], measured)
    lines, total = _priced(counter, cells, prices)
    whole = table is None and backbone is None and regime is None
    smaller = _parts(counter, prices) if whole else []
    tokens: dict[str, list[str]] = {}
    for task in dict.fromkeys(task for cell in cells for task in grid.tasks_of(study, cell)):
        origin = {counter.inputs(cell.backbone, task).origin for cell in cells if task in grid.tasks_of(study, cell)}
        for one in sorted(origin):
            tokens.setdefault(one, []).append(task)
    return Plan(study, lines, total, smaller, prices, tokens)


def _prices(counter: Counter, backbones: Iterable[str], measured: list[Speed]) -> dict[Device, dict[str, Speed]]:
    """The paper's own figure, of float32, stands in for a GPU where none was measured or recorded."""
    study, now = counter.study, {(one.unit, one.device) for one in measured}
    known = [*measured, *(one for one in speeds.recorded(study) if (one.unit, one.device) not in now)]
    wanted = study.scale.compute.device != "cpu" and study.scale.compute.dtype == "float32"
    if wanted and not any(one.unit == "gpu" for one in known):
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
        for name, wanted in parts.tables().items()
        if any(cell.regime == "full" and (cell.backbone, cell.variant, cell.task) in wanted for cell in cells)
    ]
    named += [(f"regime {kind}", {"regime": kind}) for kind in dict.fromkeys(part.kind for part in study.scale.regimes)]
    for title, part in named:
        _, total = _priced(counter, parts.select(study, **part), prices)
        found.append(Line(title, total.cost, total.hours))
    return found
