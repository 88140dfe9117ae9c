"""A survey of `dp.lineage.standings` to read: in a terminal, or in a file, where no line is cut or wrapped."""

import time
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import TextIO

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from dp.errors import printable
from dp.lineage.standings import STATES, Estimate, Grid, Standing, costs, grids, left, makers
from dp.paths import PHASES, RESULTS
from dp.study.study import Study

LOOKS = {"done": "green", "running": "yellow", "failed": "bold red", "stale": "magenta", "missing": ""}
HOW_TO_READ = """\
A cell counts the trainings of a variant on a task (the trials of a search among them) that are done, and `eval` its
evaluations where they stand otherwise or are all there is; `all` is the union of a multitask regime's tasks."""


def console(stream: TextIO) -> Console:
    """Of a terminal's width, or without bounds where the stream is none; nothing in a text is markup."""
    terminal = stream.isatty()
    return Console(file=stream, force_terminal=terminal, width=None if terminal else 10_000, markup=False,
                   highlight=False, emoji=False)  # fmt: skip


def print_page(study: Study, standings: Sequence[Standing], stream: TextIO) -> None:
    """The grids, and then what they come to. A file gets no blanks at the ends of lines."""
    to = console(stream)
    with to.capture() as text:
        to.print(Group(*_grids(study, standings), *_summary(study, standings, time.time())), soft_wrap=True)
    stream.write("".join(f"{line.rstrip()}\n" for line in text.get().rstrip().split("\n")))


def live(study: Study, standings: Sequence[Standing], now: float) -> Group:
    """What the grids come to, and then the grids: a terminal shows no more than fits into it."""
    return Group(*_summary(study, standings, now), *_grids(study, standings))


def _grids(study: Study, standings: Sequence[Standing]) -> list[RenderableType]:
    parts: list[RenderableType] = []
    drawn = False
    for grid in grids(study, standings):
        title = f"{grid.backbone}, {grid.regime}"
        if word := _uniform(grid):
            parts.append(Text(f"{title}: {word}"))
        else:
            parts += [Text(f"\n{title}", "bold"), _table(grid)]
            drawn = True
    return [Text(HOW_TO_READ), *parts, Text()] if drawn else [*parts, Text()]


def _uniform(grid: Grid) -> str | None:
    """One line in place of a table whose cells would all say the same."""
    counts = {what: grid.total(command) for command, what in (("train", "trainings"), ("evaluate", "evaluations"))}
    states = {state for count in counts.values() for state in count}
    sizes = " and ".join(f"{count.total():,} {what}" for what, count in counts.items() if count)
    if states == {"done"}:
        return f"all done ({sizes})"
    return f"nothing yet ({sizes})" if states == {"missing"} else None


def _table(grid: Grid) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("variant", overflow="fold")
    for task in grid.tasks:
        table.add_column(task, overflow="fold")
    for variant, cells in grid.rows.items():
        table.add_row(variant, *[_cell(cells.get(task, {})) for task in grid.tasks])
    return table


def _cell(counts: dict[str, Counter[str]]) -> Text:
    trained, evaluated = counts.get("train", Counter()), counts.get("evaluate", Counter())
    parts = [_count(trained)] if trained else []
    if evaluated and (not trained or not _alike(trained, evaluated)):
        parts.append(Text("eval ").append_text(_count(evaluated)))
    return Text(", ").join(parts)


def _alike(trained: Counter[str], evaluated: Counter[str]) -> bool:
    """Whether one count says both: they are equal, or both whole, or both not asked."""
    return trained == evaluated or (set(trained) == set(evaluated) and set(trained) in ({"done"}, {"missing"}))


def _count(count: Counter[str]) -> Text:
    """`1/3 +1 running 1 failed`."""
    whole = count["done"] == count.total()
    text = Text(f"{count['done']}/{count.total()}", LOOKS["done"] if whole else "")
    for name in ("running", "failed", "stale"):
        if count[name]:
            text.append(" ").append(f"{'+' * (name == 'running')}{count[name]} {name}", LOOKS[name])
    return text


def _summary(study: Study, standings: Sequence[Standing], now: float) -> list[RenderableType]:
    """Totals by phase, what it took and will take, and every job that runs, failed or was killed."""
    parts: list[RenderableType] = [_totals(study, standings)]
    rest = left(standings, standings)
    spent = _hours(costs(standings)) or "nothing"
    parts.append(Text(f"spent {spent}; left {_left(rest)}", "bold"))
    hosts = makers(standings)
    if len(hosts) > 1:
        parts.append(Text(printable(f"made by {', '.join(f'{host} ({count:,})' for host, count in hosts.items())}")))
    of = {name: [one for one in standings if one.state == name] for name in STATES}
    parts += _listed("running", [_running(one, now) for one in of["running"]])
    failed = [f"{one.job.folder}: {one.mark['error']}{_log(one)}" for one in of["failed"] if one.mark]
    parts += _listed("failed", failed)
    parts += _listed("killed", [f"{one.job.folder}: {one.why}{_log(one)}" for one in of["missing"] if one.mark])
    parts += _listed("done without a number", [f"{one.job.folder}: {one.overflow}" for one in of["done"]
                                               if one.overflow and one.job.command == "train"])  # fmt: skip
    parts += _listed("stale, by reason", _counted(of["stale"]))
    parts += _listed("missing, though there is a record", _counted(one for one in of["missing"] if not one.mark))
    return parts


def _totals(study: Study, standings: Sequence[Standing]) -> Table:
    table = Table(title=f"scale {study.scale_name}", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    for name in ("phase", "artifacts", *STATES, "spent", "left"):
        table.add_column(name, justify="left" if name in ("phase", "left", "spent") else "right")
    asked = {one.job.phase for one in standings}
    for phase in [*(path.name for path in PHASES if path.name in asked), "all"]:
        members = [one for one in standings if phase in (one.job.phase, "all")]
        count = Counter(one.state for one in members)
        numbers = [Text(f"{count[name]:,}", LOOKS[name] if count[name] else "dim") for name in STATES]
        table.add_row(phase, f"{len(members):,}", *numbers, _hours(costs(members)), _left(left(members, standings)))
    return table


def _left(rest: Estimate) -> str:
    known = [_hours(rest.hours)] if _hours(rest.hours) else []
    unknown = [f"unknown for {rest.unknown:,} artifact{'s' * (rest.unknown != 1)}"] if rest.unknown else []
    return ", ".join(known + unknown) or "nothing"


def _hours(hours: dict[str, float]) -> str:
    return ", ".join(_amount(hours[unit], name) for unit, name in (("gpu", "GPU"), ("core", "core")) if hours[unit])


def _amount(hours: float, name: str) -> str:
    """`12 GPU h`, `3.4 core h`; below an hour in minutes, below a minute in seconds."""
    value, unit = (hours, "h") if hours >= 1 else (60 * hours, "min") if 60 * hours >= 1 else (3600 * hours, "s")
    return f"{value:,.0f} {name} {unit}" if value >= 10 else f"{value:.1f} {name} {unit}"


def _age(seconds: float) -> str:
    minutes, hours = int(seconds // 60), int(seconds // 3600)
    if minutes < 1:
        return f"{int(seconds)} s"
    return f"{minutes} min" if hours < 1 else f"{hours} h {minutes % 60} min"


def _running(one: Standing, now: float) -> str:
    assert one.mark
    return f"{one.job.folder} on {one.mark['host']}, process {one.mark['pid']}, since {_age(now - one.mark['started'])}"


def _log(one: Standing) -> str:
    return f" (log: {', '.join(one.logs.values())})" if one.logs else ""


def _counted(standings: Iterable[Standing]) -> list[str]:
    # Without the folders that a reason names: they are other ones for each job.
    reasons = Counter((one.why.partition(f": {RESULTS}/")[0], one.job.command) for one in standings if one.why)
    return [f"{count:,} x {command}: {why}" for (why, command), count in reasons.most_common()]


def _listed(title: str, lines: list[str]) -> list[RenderableType]:
    if not lines:
        return []
    return [
        Text(f"\n{title}", LOOKS.get(title.partition(",")[0], "")),
        *(Text(f"  {printable(line)}") for line in lines),
    ]
