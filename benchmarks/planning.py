"""Snakemake on a growing paper scale: seconds (wall, CPU) and peak memory to list it, to plan it and to find it done.

    python benchmarks/planning.py [--seeds 1 5 20] [--done 1] [--out DIR]

`--seeds`: training seeds of the copy of the paper scale, whose own are 5. `list`: dp.study.resolve alone. `plan`: a
dry run with nothing made. `--done`: for these numbers of seeds, small files and records stand for every artifact, and
`nothing to do` is a dry run after that; Snakemake's own records of the jobs are missing (its `--touch` takes 0.1 s a
job), so it compares time stamps alone. Every measurement is one process.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import yaml

from dp import files
from dp.jobs.closure import code_digest, modules
from dp.jobs.job import SUMS, Job
from dp.jobs.record import environment, sealed
from dp.study.resolve import jobs
from dp.study.study import load

ROOT = Path(__file__).resolve().parents[1]
COPIED = ("dp", "workflow", "profiles", "Snakefile", "params.yaml", "environment.yml")
LIST = """
from dp.study.resolve import jobs
from dp.study.study import load
print(len(jobs(load(settings={"scale": "growing"}))), "artifacts")
"""
SNAKEMAKE = [sys.executable, "-m", "snakemake", "--cores", "2", "--config", "scale=growing", "--quiet", "rules"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 5])
    parser.add_argument("--done", type=int, nargs="*", default=[])
    parser.add_argument("--out", type=Path, help="where to work (default: a temporary folder)")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        for seeds in arguments.seeds:
            folder = (arguments.out or Path(temporary)).resolve() / f"seeds{seeds}"
            project(folder, seeds)
            say(seeds, "list", measured(folder, [sys.executable, "-c", LIST]))
            say(seeds, "plan", measured(folder, [*SNAKEMAKE, "-n"]))
            if seeds in arguments.done:
                os.chdir(folder)
                made = fill(jobs(load(settings={"scale": "growing"})))
                print(f"{seeds} seeds: {made} artifacts stand in for real ones", flush=True)
                say(seeds, "nothing to do", measured(folder, [*SNAKEMAKE, "-n"]))


def project(folder: Path, seeds: int) -> None:
    """The project with the scale `growing`: the paper's with that many training seeds."""
    folder.mkdir(parents=True)
    for name in COPIED:
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, folder / name)
    scale = yaml.safe_load((ROOT / "workflow/scales/paper.yaml").read_text()) | {"seeds": list(range(seeds))}
    (folder / "workflow/scales/growing.yaml").write_text(yaml.safe_dump(scale))


def measured(folder: Path, command: list[str]) -> tuple[float, float, float, str]:
    """Wall seconds, CPU seconds, peak MiB and the last line that says a number or that nothing is to be done."""
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as printed:
        process = subprocess.Popen(command, cwd=folder, env=os.environ | {"PYTHONPATH": str(folder)}, text=True,
                                   stdout=printed, stderr=subprocess.STDOUT)  # fmt: skip
        _, status, usage = os.wait4(process.pid, 0)
        printed.seek(0)
        text = printed.read()
    if status:
        sys.exit(text[-2000:])
    told = re.findall(r"^(?:total +\d+|\d+ artifacts|Nothing to be done.*)$", text, re.MULTILINE)
    wall = time.perf_counter() - started
    return wall, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024, told[-1] if told else ""


def say(seeds: int, what: str, found: tuple[float, float, float, str]) -> None:
    wall, cpu, memory, told = found
    print(f"{seeds:3} seeds  {what:14} {wall:7.1f} s wall {cpu:7.1f} s CPU {memory:6.0f} MiB  {told}", flush=True)


def fill(wanted: dict[Path, Job]) -> int:
    """Small files and a sealed record for every artifact."""
    settings = environment() | {"dirty": False}
    codes = {
        one: {"digest": code_digest(*one), "modules": modules(*one)}
        for one in {(job.command, job.family) for job in wanted.values()}
    }
    made: dict[Path, dict[str, str]] = {}
    for folder, one in wanted.items():
        for name in one.outputs:
            files.write_text(folder / name, f"{folder}/{name}\n")
        digests = {name: files.sha256(folder / name) for name in one.outputs}
        files.write_text(folder / SUMS, "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items())))
        digests[SUMS] = files.sha256(folder / SUMS)
        inputs = {} if one.command == "report" else {path: d for up in one.upstream for path, d in made[up].items()}
        record: dict[str, Any] = {"command": one.command, "asked": one.asked, "with": settings,
                                  "used": {"inputs": inputs, "code": codes[one.command, one.family]},
                                  "made": {"status": "complete", "outputs": digests}}  # fmt: skip
        files.write_json(folder / "record.json", sealed(record))
        made[folder] = {f"{folder}/{name}": digest for name, digest in digests.items()}
    return len(made)


if __name__ == "__main__":
    main()
