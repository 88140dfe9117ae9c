"""What `peers.py` tells: ratios, targets, a Markdown section and its place in a page."""

import os
import platform
import re
import statistics
from importlib.metadata import version
from pathlib import Path
from typing import Any, NamedTuple

import torch
from peers_contestants import OURS, PAPER, PEFT, TUNED
from peers_setting import Line, Setting

from dp import files
from dp.planning import measure
from dp.tasks.model import load

PACKAGES = ("torch", "transformers", "peft", "accelerate")
FIXED = Line(OURS, "fixed", None)
THROUGH = Line(OURS, "adap_ins_pos", "straight_through")
HEADER = "# Benchmarks: measured, by machine\n"


class Cell(NamedTuple):
    """A finished run: so many updates, and a look at all validation rows of a task after every so many."""

    updates: int
    every: int
    task: str


class Target(NamedTuple):
    """A ratio of rows a second that one line is to reach over another, in the same repetition."""

    line: Line
    over: Line
    least: float


SPEED = (
    Target(FIXED, Line(TUNED, "fixed", None), 2.5),
    Target(FIXED, Line(PEFT, "fixed", None), 4.0),
    Target(THROUGH, Line(PAPER, "adap_ins_pos", "straight_through"), 15.0),
    Target(THROUGH, FIXED, 0.95),
)
LEAST_OF_BARE, MOST_EXECUTED = 0.95, 1.05
OF_TARGETS = {"backbone": "smollm2-135m", "task": "rte", "device": "cpu"}
"""The setting that the targets of SPEED are stated for."""


def told(
    setting: Setting, found: dict[Line, list[dict[str, Any]]], needs: dict[Line, float], cell: Cell
) -> dict[str, Any]:
    """All that is printed, as JSON has it. found: of each line the counting round, then its repetitions."""
    count = setting.updates * setting.batch_size
    best = max(one["peak"] for rounds in found.values() for one in rounds[1:])
    lines = [line_told(line, rounds, needs[line], setting.updates, count, best, cell) for line, rounds in found.items()]
    stated = {name: getattr(setting, name) for name in (*OF_TARGETS, "dtype", "threads", "updates", "evaluated",
              "batch_size", "micro_batch_size", "max_tokens", "prompt_length", "seed")}  # fmt: skip
    busy = [one["cpu_seconds"] / one["seconds"] for rounds in found.values() for one in rounds[1:]]
    return {"machine": machine(setting), "setting": stated, "cell": cell._asdict(), "peak": best, "lines": lines,
            "share_of_threads": [share / setting.threads for share in (min(busy), max(busy))],
            "targets": targets(found, lines, stated)}  # fmt: skip


def line_told(
    line: Line, rounds: list[dict[str, Any]], need: float, updates: int, rows: int, best: float, cell: Cell
) -> dict[str, Any]:
    """seconds_of_cell: of a run alone, cold, with the features of all rows of the task where it reads any."""
    counted, *timed = rounds
    seconds = [one["seconds"] for one in timed]
    update = statistics.median(seconds) / updates
    start, evaluation, features = (
        statistics.median(one[key] for one in timed) for key in ("start", "evaluation", "features")
    )
    sizes = [sum(load(cell.task).expected[split].label_counts) for split in ("train", "validation")]
    looks = -(-cell.updates // cell.every) * sizes[1] * evaluation
    memory = [one["memory"] for one in timed if one["memory"] is not None]
    return line._asdict() | {
        "what": line.what,
        "rows_per_second": spread([rows / one for one in seconds]),
        "peak_bytes": max(memory, default=None),
        "needed": need / rows,
        "executed": counted["flops"] / rows,
        "of_peak": spread([need / (one * best) for one in seconds]),
        "of_bare": spread([one["bare"] / one["seconds"] for one in timed]) if timed[0]["bare"] else None,
        "seconds_of_cell": start + cell.updates * update + looks + sum(sizes) * features,
        "repetitions": timed,
    }


def spread(values: list[float]) -> list[float]:
    """Lower quartile, median, upper quartile."""
    return statistics.quantiles(values, n=4, method="inclusive") if len(values) > 1 else values * 3


def targets(
    found: dict[Line, list[dict[str, Any]]], lines: list[dict[str, Any]], setting: dict[str, Any]
) -> list[dict[str, Any]]:
    """Of what was measured: what is compared, the ratio's quartiles, its limit where one is stated, and whether it is
    met (by the median)."""
    stated, result = all(setting[key] == value for key, value in OF_TARGETS.items()), []
    for target in SPEED:
        if target.line in found and target.over in found:
            pairs = zip(found[target.line][1:], found[target.over][1:], strict=True)
            ratios = spread([over["seconds"] / one["seconds"] for one, over in pairs])
            what = f"{target.line.what}: rows a second over {target.over.contestant}"
            what += "" if target.over.what == target.line.what else f", {target.over.what}"
            result.append(judged(what, ratios, target.least if stated else None, at_least=True))
    for line in lines:
        if line["of_bare"]:
            result.append(judged(f"{line['what']}: training over bare passes", line["of_bare"], LEAST_OF_BARE, True))
        if line["contestant"] == OURS:
            ratio = line["executed"] / line["needed"]
            result.append(judged(f"{line['what']}: operations executed over needed", [ratio] * 3, MOST_EXECUTED, False))
    return result


def judged(what: str, ratios: list[float], limit: float | None, at_least: bool) -> dict[str, Any]:
    met = None if limit is None else (ratios[1] >= limit if at_least else ratios[1] <= limit)
    return {"what": what, "ratio": ratios, "at_least" if at_least else "at_most": limit, "met": met}


def machine(setting: Setting) -> dict[str, Any]:
    """product: FLOP/s of one core, in the product that docs/planning.md compares machines by."""
    device = torch.cuda.get_device_name() if setting.on_gpu else None
    return {"cpu": cpu(), "cores": os.cpu_count(), "product": measure.product(), "gpu": device,
            "python": platform.python_version(), "packages": {name: version(name) for name in PACKAGES},
            "busy": measure.busy()}  # fmt: skip


def cpu() -> str:
    info = Path("/proc/cpuinfo")
    names = re.findall(r"^model name\s*: (.*)$", info.read_text(), re.M) if info.exists() else []
    return names[0] if names else platform.processor() or platform.machine()


def markdown(told: dict[str, Any]) -> str:
    """The section of one run."""
    cell = told["cell"]
    head = ["contestant", "variant", "rows/s", "peak MiB", f"a cell of {cell['updates']:,} updates",
            "GFLOP a row: needed", "executed", "executed / needed", "share of the peak", "training / bare"]  # fmt: skip
    lines = [told_setting(told), "", row(head), row(["---", "---", *["---:"] * (len(head) - 2)])]
    lines += [row(cells(line)) for line in told["lines"]]
    lines += ["", "| ratio (one run, by repetition) | measured | target | |", "|---|---:|---:|---|"]
    lines += [row(verdict(one)) for one in told["targets"]]
    return "\n".join(lines) + "\n"


def row(parts: list[str]) -> str:
    return f"| {' | '.join(parts)} |"


def told_setting(told: dict[str, Any]) -> str:
    """What was measured, on what."""
    one, on = told["setting"], told["machine"]
    packages = ", ".join(f"{name} {number}" for name, number in on["packages"].items())
    shown = [
        f"{one['backbone']} (random weights), lengths of {one['task']}, {one['dtype']}, {one['batch_size']} rows an "
        f"update in micro-batches of {one['micro_batch_size']}, {one['prompt_length']} vectors, inputs of at most "
        f"{one['max_tokens']}; {one['updates']} updates in each of {len(told['lines'][0]['repetitions'])} repetitions: "
        "median [quartiles].",
        f"On {on['gpu'] + ' beside ' if on['gpu'] else ''}{on['cpu']}, {on['cores']} cores, "
        f"{on['product'] / 1e9:.0f} GFLOP/s a core in a product of 1,500; {one['threads']} threads, peak "
        f"{told['peak'] / 1e9:.0f} GFLOP/s; {packages}.",
    ]
    if not on["gpu"]:
        low, high = told["share_of_threads"]
        shown.append(f"Contestants had {low:.0%} to {high:.0%} of their threads' time.")
    return " ".join(shown + ([f"**Not to be relied on: {on['busy']}**"] if on["busy"] else []))


def cells(line: dict[str, Any]) -> list[str]:
    gib = "" if line["peak_bytes"] is None else f"{line['peak_bytes'] / 2**20:,.0f}"
    return [
        line["contestant"],
        line["what"],
        quartiles(line["rows_per_second"]),
        gib,
        f"{line['seconds_of_cell'] / 3600:.2f} h",
        f"{line['needed'] / 1e9:.2f}",
        f"{line['executed'] / 1e9:.2f}",
        f"{line['executed'] / line['needed']:.2f}",
        quartiles(line["of_peak"]),
        quartiles(line["of_bare"]) if line["of_bare"] else "",
    ]


def verdict(one: dict[str, Any]) -> list[str]:
    sign, limit = (">=", one["at_least"]) if "at_least" in one else ("<=", one["at_most"])
    stated = "" if limit is None else f"{sign} {limit:g}"
    return [
        one["what"],
        quartiles(one["ratio"]),
        stated,
        "" if one["met"] is None else "met" if one["met"] else "**missed**",
    ]


def quartiles(values: list[float]) -> str:
    low, middle, high = (f"{value:.3g}" for value in values)
    return middle if low == high else f"{middle} [{low}, {high}]"


def write(page: Path, told: dict[str, Any], text: str) -> None:
    """Put a section in its place in a page: instead of the former one of this machine and setting, or at the end."""
    one, on = told["setting"], told["machine"]
    where = on["gpu"] or f"{on['cpu']}, {on['cores']} cores, {one['threads']} threads"
    name = f"{one['backbone']}, {one['task']}, {one['dtype']}, {where}"
    begin, end = f"<!-- peers: {name} -->", f"<!-- end of peers: {name} -->"
    section = f"{begin}\n## {name}\n\n`python benchmarks/peers.py`: {text}{end}\n"
    before = page.read_text(encoding="utf-8") if page.exists() else HEADER
    former = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}\n", re.S)
    after = former.sub(lambda _: section, before) if former.search(before) else f"{before}\n{section}"
    files.write_text(page, after)
