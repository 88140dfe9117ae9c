"""A plan to read, in a terminal or in a file."""

import os
from collections.abc import Iterable, Sequence
from typing import Any, TextIO

from rich import box
from rich.table import Table
from rich.text import Text

from dp.lineage.status_text import console
from dp.planning.estimate import Device, Line, Plan
from dp.planning.levers import Lever
from dp.planning.measure import PRODUCT
from dp.planning.speeds import H100, JOB, THEIRS, UTILISATION, Speed
from dp.prompts.prompt_config import PromptConfig
from dp.study import grid
from dp.study.study import Study
from dp.training.overflow import learns_through_fillers

UNITS = {"gpu": "GPU", "core": "core"}
TOKENS = {
    "tokenized": "from the rows as tokenized",
    "lengths.csv": "from the published rows in T5's pieces",
    "max_tokens": "not known before tokenization, taken as max_tokens, an upper bound",
}
TRUST = """\
Hours are counted work, divided by throughput. Predicted from one run of its backbone, other trainings took 0.9 to
1.1 times as long where nothing else ran on the machine, and up to 4.5 times where something did (docs/planning.md).
The work of CPU-only jobs (downloads, tokenization, the report) is not in them."""

SCHEDULED = 0.6
"""Core seconds that Snakemake, the shell and a fork spend on a job (docs/planning.md)."""
THROUGH_FILLERS = (
    "the gradient through fillers of -1e20 overflows float32, so these runs end in that status, most at their first "
    "updates (docs/methods.md)."
)


def print_plan(plan: Plan, stream: TextIO, levers: Sequence[Lever] = ()) -> None:
    """Tables first, and then what they rest on. A file gets no blanks at the ends of lines."""
    to = console(stream)
    with to.capture() as text:
        to.print(_table(f"scale {plan.study.scale_name}", plan, [*plan.lines, plan.total], "backbone"), soft_wrap=True)
        if plan.parts:
            to.print(_table("a part by itself", plan, plan.parts, "part"), soft_wrap=True)
        if levers:
            to.print(_levers(levers), soft_wrap=True)
        for line in _notes(plan):
            to.print(Text(line), soft_wrap=True)
    stream.write("".join(f"{line.rstrip()}\n" for line in text.get().rstrip().split("\n")))


def as_json(plan: Plan, levers: Sequence[Lever] = ()) -> dict[str, Any]:
    """Counts, hours by device and bytes: in all, by backbone, by table and regime; `fewest` as in `Plan`."""

    def told(line: Line) -> dict[str, Any]:
        cost = line.cost
        return {
            "trainings": cost.trainings,
            "evaluations": cost.evaluations,
            "jobs": cost.jobs,
            "hours": {f"{UNITS[unit]} time, {device}": value for (unit, device), value in line.hours.items()},
            "download_bytes": cost.download,
            "disk_bytes": cost.disk,
            "whole_models_bytes": cost.models,
        }

    return {
        "scale": plan.study.scale_name,
        "all": told(plan.total),
        "backbones": {line.name: told(line) for line in plan.lines},
        "parts": {line.name: told(line) for line in plan.parts},
        "fewest": told(plan.fewest) if plan.fewest else None,
        "levers": {one.done: one.hours for one in levers},
    }


def _levers(levers: Sequence[Lever]) -> Table:
    table = Table(title=f"levers: hours of {H100}", title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column("with")
    for name in ("hours", "times as it is"):
        table.add_column(name, justify="right")
    for one in levers:
        table.add_row(one.done, _time(one.hours), f"{one.hours / levers[0].hours:.2f}")
    return table


def here(plan: Plan, product: float) -> str:
    """This machine in the figure by which times of two machines compare, and how long its cores will take."""
    cores = os.cpu_count() or 1
    shape = f"{PRODUCT:,} x {PRODUCT:,}"
    text = f"This machine: {product / 1e9:.0f} GFLOP/s a core in a float32 product of {shape}, {cores} cores."
    hours = next((found for (unit, _), found in plan.total.hours.items() if unit == "core"), None)
    if hours is None:
        return text
    jobs = plan.total.cost.jobs
    others = (jobs - plan.total.cost.device_jobs) * JOB  # downloads, tokens, the report
    return f"{text} With all of them about {_time((hours + (others + jobs * SCHEDULED) / 3600) / cores)}."


def _table(title: str, plan: Plan, lines: Iterable[Line], first: str) -> Table:
    table = Table(title=title, title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False)
    table.add_column(first)
    hours = [f"{UNITS[unit]} time, {device}" for unit, device in plan.speeds]
    for name in ("trainings", "evaluations", "jobs", *hours, "download", "disk", "of it whole models"):
        table.add_column(name, justify="right")
    for line in lines:
        cost = line.cost
        table.add_row(line.name, f"{cost.trainings:,}", f"{cost.evaluations:,}", f"{cost.jobs:,}",
                      *[_time(line.hours.get(device)) for device in plan.speeds],
                      size(cost.download), size(cost.disk), size(cost.models))  # fmt: skip
    return table


def _notes(plan: Plan) -> list[str]:
    lines = [TRUST]
    if all(device in (THEIRS, H100) for _, device in plan.speeds):
        lines.append("No training is recorded here: add --measure for the hours of this machine (a few seconds).")
    for device, by_backbone in plan.speeds.items():
        for speed in dict.fromkeys(by_backbone.values()):
            lines.append(_speed(device, speed, [name for name, one in by_backbone.items() if one == speed]))
    lines += [f"Length of inputs, {', '.join(tasks)}: {TOKENS[origin]}." for origin, tasks in plan.tokens.items()]
    if plan.fewest:
        spans = [f"{_time(plan.fewest.hours[one])} to {_time(hours)} of {UNITS[one[0]]} time, {one[1]}"
                 for one, hours in plan.total.hours.items()]  # fmt: skip
        lines.append("Hours count all steps, and are the most. With the fewest that the stopping rule allows: "
                     f"{'; '.join(spans)}.")  # fmt: skip
    if names := _without_number(plan.study):
        lines.append(f"No number will come of {', '.join(names)}: {THROUGH_FILLERS}")
    if plan.total.cost.models:
        lines.append("Whole models: fine-tuning keeps one for each run.")
    return lines


def _without_number(study: Study) -> list[str]:
    """Variants whose runs, or those whose choice they keep, learn through fillers."""
    first = {cell.variant: cell for cell in reversed(grid.cells(study))}
    return [
        name
        for name in study.scale.variants
        if name in first
        and any(
            learns_through_fillers(PromptConfig.model_validate(grid.run_config(study, cell)))
            for cell in (first[name], *grid.sources(study, first[name]).values())
        )
    ]


def _speed(device: Device, speed: Speed, backbones: list[str]) -> str:
    unit, name = device
    if name == THEIRS:
        found = (
            f"{speed.rate / 1e12:.1f} TFLOP/s by the authors' one log, T5-large in 21 h 31 min with their slower code; "
            "a GPU does less on a smaller backbone"
        )
    elif name == H100:
        found = (
            f"{speed.rate / 1e12:,.0f} TFLOP/s, {UTILISATION:.0%} of its data sheet's peak in this dtype, and "
            f"{1e6 * speed.layer:,.0f} us a layer for launches; two assumptions, which --measure on the GPU replaces"
        )
    else:
        layer = f" and {1e6 * speed.layer:,.0f} us a layer" if speed.layer else ""
        found = (
            f"{speed.rate / 1e9:,.0f} GFLOP/s{layer}, {speed.samples} timings of {speed.backbone}, half of which took "
            f"{speed.low:.2f} to {speed.high:.2f} of what it says"
        )
    others = [one for one in backbones if one != speed.backbone]
    return f"{UNITS[unit]} time, {name}: {found}{'; also for ' + ', '.join(others) if others else ''}."


def _time(hours: float | None) -> str:
    return "" if hours is None else _scaled(hours, ((1, "h"), (1 / 60, "min"), (1 / 3600, "s")))


def size(count: float) -> str:
    """Bytes in decimal units."""
    return _scaled(count, ((1e12, "TB"), (1e9, "GB"), (1e6, "MB"), (1e3, "kB"))) if count else "0"


def _scaled(value: float, units: Sequence[tuple[float, str]]) -> str:
    """In the first unit of which it is at least one, or else in the last."""
    factor, unit = next((one for one in units if value >= one[0]), units[-1])
    return f"{value / factor:,.0f} {unit}" if value >= 10 * factor else f"{value / factor:.1f} {unit}"
