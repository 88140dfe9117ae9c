"""How fast the engine trains: one run, several seeds in shared passes, and both compiled; and do its bytes repeat?

    python benchmarks/engine.py [--backbone t5-small-lm] [--task rte] [--variant adap_ins_pos] [--seeds 5]
                                [--updates 16] [--dtype bfloat16] [--torch-compile reduce-overhead] [--json FILE]

Rows have the task's real lengths, weights are random, of the backbone's true shape (no download), as in `peers.py`.
Each way trains once for what it compiles and for memory, then in every repetition, there and back in turn. `update`:
time in which all its runs make one, the mean of a training, the median of the repetitions. `gain`: as many updates of
one run, one after another, over that.
`needed`: share of the device's measured peak that the operations needed take, no position of which is padding.
`bytes`: whether the repetitions made the same. `loss off by`: at most, of the first run, from the first way's.
"""

import argparse
import os
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import torch
from peers_contestants import CLASSES, OURS, Line, peak
from peers_setting import Setting, config, make_backbone, needed, rows, study

from dp import files
from dp.backbones.families import load
from dp.classifier.classifier import classifier
from dp.compute.features import of_split
from dp.data.tokens import Split
from dp.numerics.devices import device
from dp.study import grid
from dp.training.advance import Passes, together
from dp.training.fitting import fitting_parts
from dp.training.loop import Rows, updates
from dp.training.loop_config import LoopConfig, TorchCompile
from dp.training.state import State


class Way(NamedTuple):
    runs: int
    torch_compile: TorchCompile | None

    def __str__(self) -> str:
        runs = "one run" if self.runs == 1 else f"{self.runs} seeds together"
        return f"{runs}, compiled" if self.torch_compile else runs


class Engine:
    """One backbone and its rows, which every way trains on."""

    def __init__(self, setting: Setting, config: LoopConfig, features: bool, where: str) -> None:
        self.config, self.where = config, where
        self.backbone = load(setting.folder, setting.entry.family, setting.head, setting.dtype, where)
        split = rows(setting, "train")
        self.rows = Rows(split, self._features(split) if features else None)
        self.passes: dict[Way, Passes] = {}

    def train(self, way: Way) -> tuple[float, list[float], str]:
        """Mean seconds of an update of all runs, the losses of the first, and a digest of what all tuned."""
        own = self.config.model_copy(update={"torch_compile": way.torch_compile})
        names = {"together": ["seed0", "the others"]}  # one order of short and long batches for every way
        configs = [own.model_copy(update=names | {"seed": seed}) for seed in range(way.runs)]
        models = [classifier(one, self.backbone, [CLASSES], [], self.where) for one in configs]
        for model in models:
            model.fit_features(self.rows.features)
        if way not in self.passes:
            parts = fitting_parts(models, *self.rows, own)
            self.passes[way] = Passes(self.backbone, parts, way.torch_compile)
        held_out = Rows(self.rows.split.take([0]), None if self.rows.features is None else self.rows.features[:1])
        with tempfile.TemporaryDirectory() as folder:
            begun = {}
            for model, one in zip(models, configs, strict=True):
                run = Path(folder) / str(one.seed)
                run.mkdir()

                def begin(clock, stop, model=model, one=one, run=run):  # type: ignore[no-untyped-def]
                    return updates(model, self.rows, [held_out], one, run, State(run, ""), stop, clock, shown="")

                begun[run] = begin
            made = together(begun, self.passes[way], [], lambda *given: None)
            for outcome in made.values():
                if isinstance(outcome, Exception):
                    raise outcome
            logs = [
                [line for line in files.read_jsonl(run / "state" / "steps.jsonl") if "loss" in line] for run in made
            ]
        seconds = statistics.fmean(sum(line["seconds"] for line in lines) for lines in zip(*logs, strict=True))
        tuned = [one["tensors"][name].cpu().float().numpy().tobytes().hex() for one in made.values()
                 for name in sorted(one["tensors"])]  # fmt: skip
        return seconds, [line["loss"] for line in logs[0]], files.digest(tuned)

    def _features(self, split: Split) -> torch.Tensor:
        return of_split(split, self.backbone, None, self.config.evaluation_batch_size, self.where)


def measured(setting: Setting, line: Line, ways: list[Way], repetitions: int) -> dict[str, Any]:
    """What every way took, beside the device's peak."""
    own = config(setting, line)
    with device(own.compute) as where:
        engine = Engine(setting, own, grid.needs_features(study(), line.variant), where)
        found: dict[Way, list[tuple[float, list[float], str]]] = {way: [] for way in ways}
        for way in ways:
            start = time.perf_counter()
            engine.train(way)
            print(f"{way}: ready after {time.perf_counter() - start:.1f} s", flush=True)
        for round_ in range(repetitions):
            for way in ways if round_ % 2 else reversed(ways):
                found[way].append(engine.train(way))
        top = statistics.median(peak(where, setting.dtype) for _ in range(3))
        flops = needed(setting, line, engine.rows.split) / setting.updates
        name = torch.cuda.get_device_name() if where != "cpu" else f"CPU, {setting.threads} thread(s)"
    seconds = {way: statistics.median(one[0] for one in found[way]) for way in ways}
    alone = seconds[ways[0]]
    told = [
        {"way": str(way), "update": seconds[way], "spread": [min(times), max(times)],
         "gain": alone * way.runs / seconds[way],
         "needed": flops * way.runs / seconds[way] / top, "20000": 20000 * seconds[way] / 60,
         "same_bytes": len({one[2] for one in found[way]}) == 1, **engine.passes[way].facts(),
         "loss_from_first": max(abs(x - y) for x, y in zip(found[way][0][1], found[ways[0]][0][1], strict=True))}
        for way in ways for times in [[one[0] for one in found[way]]]
    ]  # fmt: skip
    return {"device": name, "peak": top, "dtype": setting.dtype, "backbone": setting.backbone, "variant": line.what,
            "task": setting.task, "batch": [setting.batch_size, setting.micro_batch_size], "ways": told}  # fmt: skip


def table(told: dict[str, Any]) -> str:
    batch, micro = told["batch"]
    lines = [
        f"{told['backbone']}, {told['variant']}, lengths of {told['task']}, {batch} rows in {micro}s, {told['dtype']}, "
        f"{told['device']}, {told['peak'] / 1e9:,.0f} GFLOP/s in a product",
        "",
        "| way | update | spread | gain | needed | 20,000 updates | bytes | shapes | first passes | loss off by |",
        "|---|--:|--:|--:|--:|--:|---|--:|--:|--:|",
    ]
    for way in told["ways"]:
        low, high = way["spread"]
        made = way.get("compiled", {"shapes": "", "first_passes_seconds": ""})
        lines.append(
            f"| {way['way']} | {1000 * way['update']:.1f} ms | {1000 * low:.1f} to {1000 * high:.1f} "
            f"| {way['gain']:.2f} | {way['needed']:.2f} | {way['20000']:.1f} min | "
            f"{'same' if way['same_bytes'] else 'differ'} | {made['shapes']} | {made['first_passes_seconds']} "
            f"| {way['loss_from_first']:.1e} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--backbone", default="t5-small-lm")
    parser.add_argument("--task", default="rte", help="whose lengths the rows have")
    parser.add_argument("--variant", default="adap_ins_pos")
    parser.add_argument("--seeds", type=int, default=5, help="that are trained together")
    parser.add_argument("--updates", type=int, default=16, help="of a training, 64 at most")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--micro-batch-size", type=int, default=32)
    parser.add_argument("--max-tokens", type=int, default=480)
    parser.add_argument("--prompt-length", type=int, default=20)
    parser.add_argument("--device", choices=["auto", "cpu"], default="auto")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--threads", type=int, default=1, help="on a CPU")
    parser.add_argument("--torch-compile", choices=["default", "reduce-overhead", "none"], default="default")
    parser.add_argument("--pad-to-multiple-of", type=int, default=32)
    parser.add_argument("--json", type=Path)
    arguments = parser.parse_args()
    known = study()
    able = [one for one in known.params.variants if grid.is_trained(known, one) and grid.only_reads(known, one)]
    if arguments.variant not in able:
        parser.error(f"--variant {arguments.variant}: is none whose runs can share passes; there are {', '.join(able)}")
    where = "cuda" if torch.cuda.is_available() and arguments.device != "cpu" else "cpu"
    os.environ.setdefault("CUDA_VISIBLE_DEVICES", "0")
    torch.set_num_threads(arguments.threads)
    names = ("backbone", "task", "dtype", "threads", "updates", "batch_size", "micro_batch_size", "max_tokens",
             "prompt_length")  # fmt: skip
    ways = [Way(1, None), Way(arguments.seeds, None)]
    if arguments.torch_compile != "none":
        graphs = TorchCompile(mode=arguments.torch_compile, pad_to_multiple_of=arguments.pad_to_multiple_of)
        ways += [Way(1, graphs), Way(arguments.seeds, graphs)]
    with tempfile.TemporaryDirectory() as folder:
        setting = Setting(device=where, folder=Path(folder), evaluated=1, seed=0,
                          **{name: getattr(arguments, name) for name in names})  # fmt: skip
        make_backbone(setting)
        told = measured(setting, Line(OURS, arguments.variant, None), ways, arguments.repetitions)
    print(table(told))
    if arguments.json:
        files.write_json(arguments.json, told)


if __name__ == "__main__":
    main()
