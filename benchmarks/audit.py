"""Seconds (wall and CPU) and peak memory of `audit` on synthetic runs: nothing changed, nothing kept yet, and `--full`.

    python benchmarks/audit.py [--runs 2000] [--repeats 5]

A run is a training and its evaluation, with outputs of the usual sizes (some kilobytes each) and real records, in a
temporary folder. Every measurement is a process of its own; printed are medians, with the time of importing and of
listing the artifacts in them. `before jobs` is what each call of snakemake adds.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from dp import files, paths
from dp.jobs.closure import PACKAGE, code_digest, modules
from dp.jobs.digests import FILE
from dp.jobs.job import Job
from dp.jobs.project import project_digest
from dp.jobs.record import environment, sealed
from dp.study.resolve import jobs
from dp.study.study import load

ROOT = Path(__file__).resolve().parents[1]
OUTPUTS = {
    "fetch-task": {"train.jsonl": 20000, "validation.jsonl": 20000},
    "fetch-backbone": {"config.json": 1000, "model.safetensors": 200000},
    "tokenize": {"tokens.safetensors": 50000, "rows.json": 20000},
    "train": {"tuned.safetensors": 4000, "config.json": 2000, "steps.jsonl": 6000},
    "evaluate": {"predictions.jsonl": 8000, "metrics.json": 800},
    "report": {"results.csv": 0},
}
FACTS: dict[str, dict[str, Any]] = {
    "tokenize": {"rows": {}, "available": {}, "truncated": {}},
    "train": {"steps": 1, "steps_before": 0, "selected_step": None, "trainable_parameters": 1, "step_seconds": 1.0,
              "trials": 1, "setting": None},
    "evaluate": {"labels": []},
}  # fmt: skip
"""What the record of a command has to hold beside its outputs."""
METRICS = {"split": "validation", "n": 1, "majority": 0.5, "majority_class": 0, "collapsed": False,
           "collapsed_because": None,
           "metrics": {"accuracy": {"value": 0.9, "low": 0.8, "high": 1.0, "interval": "Wilson"}}}  # fmt: skip
MEASURED = """
import json, resource, sys, time
from pathlib import Path
start = time.perf_counter()
from dp.lineage import auditing
from dp.study.resolve import jobs
from dp.study.study import load
study = load(Path(), {"scale": "benchmark"})
mode = sys.argv[1]
found = auditing.before_jobs(jobs(study)) if mode == "before" else [auditing.audit(study, mode == "full").findings]
assert not any(found), found
print(time.perf_counter() - start, time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=2000)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        made = make(arguments.runs)
        time.sleep(2.1)  # younger files are not believed
        print(
            f"{arguments.runs} runs, {len(made)} artifacts, {size():.0f} MB below results/, {os.cpu_count()} CPU cores"
        )
        for name, mode in (("nothing kept yet", "cold"), ("nothing changed", "warm"), ("--full", "full"),
                           ("before jobs, as warm", "before")):  # fmt: skip
            wall, cpu, memory = map(
                statistics.median, zip(*(measured(mode) for _ in range(arguments.repeats)), strict=True)
            )
            print(f"{name:26} {wall:6.2f} s wall {cpu:6.2f} s CPU {memory:5.0f} MiB", flush=True)


def measured(mode: str) -> list[float]:
    """Wall seconds, CPU seconds and peak MiB of one audit in a process of its own."""
    if mode == "cold":
        FILE.unlink(missing_ok=True)
    command = [sys.executable, "-c", MEASURED, mode]
    path = os.environ | {"PYTHONPATH": str(PACKAGE.parent)}
    done = subprocess.run(command, env=path, check=True, stdout=subprocess.PIPE, text=True)
    return [float(part) for part in done.stdout.split()]


def make(runs: int) -> list[Job]:
    """All artifacts of a scale of that many runs, in the working directory."""
    scale = {
        "description": "The audit benchmark's.",
        "backbones": ["tiny-t5"],
        "source": "made_up",
        "tasks": {"made_up": ["alpha"]},
        "regimes": [{"kind": "full"}],
        "variants": ["fixed"],
        "seeds": list(range(runs)),
    }
    Path("workflow", "scales").mkdir(parents=True)
    Path("params.yaml").write_text((ROOT / "params.yaml").read_text())
    Path("workflow", "scales", "benchmark.yaml").write_text(yaml.safe_dump(scale))
    found = list(jobs(load(Path(), {"scale": "benchmark"})).values())
    settings = environment() | {"dirty": False, "commit": "0" * 40}
    codes = {
        one: {"digest": code_digest(*one), "modules": modules(*one)} for one in {(j.command, j.family) for j in found}
    }
    made: dict[Path, dict[str, str]] = {}
    for one in found:
        made[one.folder] = write(one, made, settings, codes[one.command, one.family])
    return found


def write(one: Job, made: dict[Path, dict[str, str]], settings: dict[str, Any], code: dict[str, Any]) -> dict[str, str]:
    """An artifact's files and record; path -> digest of all of them."""
    for name, count in OUTPUTS[one.command].items():
        text = json.dumps(METRICS | {"of": str(one.folder)}) + "\n"
        files.write_text(one.folder / name, text + " " * max(0, count - len(text)) if count else "")
    digests = {name: files.sha256(one.folder / name) for name in OUTPUTS[one.command]}
    inputs = {name: digest for name in one.project if (digest := project_digest(name))}
    inputs |= {path: digest for folder in one.upstream for path, digest in made[folder].items()}
    record = sealed({"command": one.command, "asked": one.asked, "used": {"inputs": inputs, "code": code},
                     "with": settings, "made": FACTS.get(one.command, {}) | {
                         "status": "complete", "outputs": digests, "started": "2026-01-01T00:00:00+00:00",
                         "wall_seconds": 1.0}})  # fmt: skip
    files.write_json(one.folder / "record.json", record)
    own = {f"{one.folder}/{name}": digest for name, digest in digests.items()}
    return own | {f"{one.folder}/record.json": files.sha256(one.folder / "record.json")}


def size() -> float:
    return sum(path.stat().st_size for path in paths.RESULTS.rglob("*") if path.is_file()) / 1e6


if __name__ == "__main__":
    main()
