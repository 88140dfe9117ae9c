"""What a user would pick instead, side by side: peft under Trainer, the paper's procedure, and this project.

    python benchmarks/peers.py [--backbone smollm2-135m] [--task rte] [--repetitions 5] [--updates 4]
                               [--variants fixed adap_ins_pos:straight_through adap_ins_pos:marginal]
                               [--contestants peft peft-tuned paper ours] [--write] [--json FILE]

Every contestant trains the same rows: lengths are drawn from the task's real distribution, weights are random, of the
backbone's true shape (no download). A measurement is a process of its own; after a first round, which only counts
operations, each repetition has them all, every other one in the reverse order. Beside each of our updates stands the
bare forward and backward pass of the very same batch, taken right before it.

--write: the result as a section of benchmarks/README.md, in place of this machine's former one.
"""

import argparse
import os
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import peers_report as report
import torch
from peers_contestants import CONTESTANTS, OF_PAPER, PAPER, measured, runs
from peers_setting import ROOT, Line, Setting, backbones, make_backbone, needed, quantiles, rows, study

from dp import files
from dp.data.batches import WINDOW
from dp.errors import UserError
from dp.planning.measure import busy
from dp.prompts.estimators import ESTIMATORS
from dp.study import grid, search

VARIANTS = ["fixed", "adap_ins_pos:straight_through", "adap_ins_pos:marginal"]


def main() -> None:
    arguments = parsed()
    device = "cuda" if torch.cuda.is_available() and arguments.device != "cpu" else "cpu"
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")  # Trainer takes all that it sees
    with tempfile.TemporaryDirectory() as folder:
        names = ("backbone", "task", "dtype", "threads", "updates", "evaluated", "batch_size", "micro_batch_size",
                 "max_tokens", "prompt_length", "seed")  # fmt: skip
        setting = Setting(device=device, folder=Path(folder), **{name: getattr(arguments, name) for name in names})
        lines = lines_of(arguments.variants, arguments.contestants)
        make_backbone(setting)
        if warning := busy():
            print(f"Warning: {warning}", flush=True)
        found = measure_all(setting, lines, arguments.repetitions)
    cell = report.Cell(arguments.cell_updates, arguments.evaluate_every, arguments.task)
    told = report.told(setting, found, {line: needed(setting, line, rows(setting, "train")) for line in lines}, cell)
    text = report.markdown(told)
    print(text, end="")
    if arguments.json:
        files.write_json(arguments.json, told)
    if arguments.write:
        report.write(ROOT / "benchmarks" / "README.md", told, text)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="smollm2-135m")
    parser.add_argument("--task", default="rte", help="whose lengths the rows have")
    parser.add_argument("--variants", nargs="+", default=VARIANTS, help="a variant, or variant:estimator")
    parser.add_argument("--contestants", nargs="+", default=list(CONTESTANTS))
    parser.add_argument("--repetitions", type=int, default=5)
    parser.add_argument("--updates", type=int, default=4, help=f"timed in each repetition, {WINDOW} at most")
    parser.add_argument("--evaluated", type=int, default=1, help="micro-batches that an evaluation is timed on")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--micro-batch-size", type=int, default=8)
    parser.add_argument("--max-tokens", type=int, default=480, help="the longest allowed input")
    parser.add_argument("--prompt-length", type=int, default=20)
    parser.add_argument("--cell-updates", type=int, default=20000, help="of a finished cell")
    parser.add_argument("--evaluate-every", type=int, default=500, help="updates; on all validation rows")
    parser.add_argument("--device", choices=["auto", "cpu"], default="auto")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--threads", type=int, default=1, help="on a CPU")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--write", action="store_true")
    arguments = parser.parse_args()
    try:
        check(arguments)
    except UserError as error:
        parser.error(str(error))
    return arguments


def check(arguments: argparse.Namespace) -> None:
    """Raises UserError for a name that is none, or sizes that do not go together."""
    known = study()
    trained = [name for name in known.params.variants if grid.is_trained(known, name) and name != "linear-probe"]
    lone = [name for name in trained if not known.params.variants[name].needs]
    one_of("--backbone", arguments.backbone, backbones())
    one_of("--task", arguments.task, sorted({task for task, _ in quantiles()}))
    for name in arguments.contestants:
        one_of("--contestants", name, CONTESTANTS)
    for name in arguments.variants:
        variant, _, estimator = name.partition(":")
        one_of("--variants", variant, lone)
        if estimator:
            one_of(f"--variants {variant}:", estimator, list(ESTIMATORS))
    lines_of(arguments.variants, arguments.contestants)
    if not 1 <= arguments.updates <= WINDOW or arguments.batch_size % arguments.micro_batch_size:
        raise UserError(f"--updates must be 1 to {WINDOW}, and --batch-size a multiple of --micro-batch-size.")


def one_of(option: str, name: str, known: Any) -> None:
    if name not in known:
        raise UserError(f"{option}: there is no '{name}'; there are {', '.join(known)}")


def lines_of(variants: list[str], contestants: list[str]) -> list[Line]:
    """Each contestant with each variant that it has. The paper's procedure has one estimator, its own.

    Raises UserError where none has any.
    """
    found = []
    for name in variants:
        variant, _, estimator = name.partition(":")
        for contestant in contestants:
            if runs(contestant, variant):
                own = estimator_of(variant, "straight_through" if contestant == PAPER else estimator)
                found.append(Line(contestant, variant, own))
    if not found:
        raise UserError(f"None of {', '.join(contestants)} has {', '.join(variants)}: peft has fixed, the paper's "
                        f"procedure {', '.join(OF_PAPER)}.")  # fmt: skip
    return list(dict.fromkeys(found))


def estimator_of(variant: str, asked: str) -> str | None:
    """The estimator of a variant's choice: the one asked for, else the scale's. Raises UserError where nothing is
    chosen and one is asked for."""
    known = study()
    if search.applies("anneal", known.definition(variant)):
        return asked or known.scale.choice.estimator
    if asked:
        raise UserError(f"--variants: {variant} chooses nothing, so '{asked}' has no say in it.")
    return None


def measure_all(setting: Setting, lines: list[Line], repetitions: int) -> dict[Line, list[dict[str, Any]]]:
    """Of each line what a counting round found, and then every repetition."""
    found: dict[Line, list[dict[str, Any]]] = {line: [] for line in lines}
    for round_ in range(repetitions + 1):
        for line in lines if round_ % 2 else reversed(lines):
            with ProcessPoolExecutor(1, get_context("spawn")) as pool:
                one = pool.submit(measured, setting, line, round_ == 0, time.monotonic()).result()
            found[line].append(one)
            took = f"{one['seconds']:.2f} s" if round_ else f"{one['flops']:.3g} FLOPs"
            print(f"round {round_} of {repetitions}: {line.contestant}, {line.what}: {took}", flush=True)
    return found


if __name__ == "__main__":
    main()
