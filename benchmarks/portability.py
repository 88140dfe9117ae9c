"""Do the verdicts of scale demo hold under other numerics on this machine? They are a statement about the planted
world, and neither about the rounding of a processor nor about one backbone.

    python benchmarks/portability.py [--out portability] [--cores 2] [--only avx2,two threads] [--headline]

Runs the committed project in a clone for each condition: other instruction sets of torch, MKL and oneDNN, two threads
for each job, and backbones that other seeds pre-train anew, in two minutes each. Prints, and writes to
<out>/portability.md, each condition's verdicts and the cells whose verdict is another than here as it is. A cell that
goes between `holds` and `fails` flips, which makes the exit status 1; to and from `unclear` is listed. --headline: the
null task, the position per instance and what breaks it, alone. A call that was stopped goes on where it was.
"""

import argparse
import csv
import os
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any, NamedTuple

import yaml

from dp import files

ROOT = Path(__file__).resolve().parent.parent
DEMO = Path("workflow/scales/demo.yaml")
PREDICTED = Path("workflow/predictions/demo.yaml")
HEADLINE = {
    "planted_first": ["fixed", "adap_ins_pos"],
    "planted_cue_end": ["fixed", "adap_ins_pos", "adap_ins_pos-backwards", "adap_ins_pos-wrong_feature",
                        "adap_ins_pos-unlearned"],
}  # fmt: skip
AS_IT_IS = "as it is"
OTHER_SEEDS = 5
"""Added to each backbone's pre-training seed."""


class Condition(NamedTuple):
    environment: Mapping[str, str] = MappingProxyType({})
    threads: int = 1
    other_seeds: bool = False


CONDITIONS = {
    AS_IT_IS: Condition(),
    "no vector instructions in torch": Condition({"ATEN_CPU_CAPABILITY": "default"}),
    "avx2": Condition({"ATEN_CPU_CAPABILITY": "avx2", "MKL_CBWR": "AVX2", "ONEDNN_MAX_CPU_ISA": "AVX2"}),
    "any x86": Condition({"ATEN_CPU_CAPABILITY": "default", "MKL_CBWR": "COMPATIBLE", "ONEDNN_MAX_CPU_ISA": "SSE41"}),
    "two threads": Condition(threads=2),
    "other pre-training seeds": Condition(other_seeds=True),
}
Cell = tuple[str, str, str]  # regime, task, variant


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("portability"))
    parser.add_argument("--cores", type=int, default=os.cpu_count() or 1)
    parser.add_argument("--only", type=lambda text: text.split(","), default=list(CONDITIONS))
    parser.add_argument("--headline", action="store_true")
    arguments = parser.parse_args()
    if unknown := set(arguments.only) - CONDITIONS.keys():
        parser.error(f"--only: no condition {', '.join(sorted(unknown))}; there are {', '.join(CONDITIONS)}")
    found = {}
    for name in dict.fromkeys([AS_IT_IS, *arguments.only]):
        clone = arguments.out.resolve() / name.replace(" ", "-")
        prepared(clone, CONDITIONS[name], arguments.headline)
        run(clone, CONDITIONS[name], arguments.cores)
        found[name] = verdicts(clone / "results" / "report" / "demo")
    text, flipped = compared(found)
    files.write_text(arguments.out / "portability.md", text)
    print(text)
    return int(flipped)


def prepared(clone: Path, condition: Condition, headline: bool) -> None:
    """A clone of the last commit, changed and committed; one of this commit and condition is used as it is."""
    of = f"{git(ROOT, 'rev-parse', 'HEAD')}: {condition}, {'headline' if headline else 'all'}"
    if clone.exists():
        if git(clone, "log", "-1", "--format=%s") != of:
            raise SystemExit(f"{clone}: was made of another commit or condition; delete it, or choose another --out.")
        return
    half = clone.with_name(f"{clone.name}.part")
    shutil.rmtree(half, ignore_errors=True)
    git(ROOT, "clone", "--quiet", str(ROOT), str(half))
    change(half, condition, headline)
    name = ["-c", "user.name=portability", "-c", "user.email=portability@localhost"]
    git(half, *name, "commit", "--quiet", "--allow-empty", "--all", "--message", of)
    half.rename(clone)


def git(root: Path, *arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=root, check=True, text=True, stdout=subprocess.PIPE).stdout.strip()


def change(clone: Path, condition: Condition, headline: bool) -> None:
    scale = yaml.safe_load((clone / DEMO).read_text())
    params = yaml.safe_load((clone / "params.yaml").read_text())
    if headline:
        narrow(clone, scale)
    scale["compute"]["threads"] = condition.threads
    if condition.other_seeds:
        for name in scale["backbones"]:
            own = params["backbones"][name.removesuffix("-shipped")]["source"]
            params["backbones"][name]["source"] = own | {"seed": own["seed"] + OTHER_SEEDS}
    (clone / DEMO).write_text(yaml.safe_dump(scale, sort_keys=False))
    (clone / "params.yaml").write_text(yaml.safe_dump(params, sort_keys=False))


def narrow(clone: Path, scale: dict[str, Any]) -> None:
    """The scale, and the predictions about it, to HEADLINE."""
    scale["tasks"] = {"made_up": list(HEADLINE)}
    scale["regimes"] = [{"kind": "full", "tasks": [task], "variants": names} for task, names in HEADLINE.items()]
    scale["variants"] = HEADLINE["planted_cue_end"]
    written = yaml.safe_load((clone / PREDICTED).read_text())
    kept = []
    for entry in written["predictions"]:
        for task in set(entry["tasks"]) & HEADLINE.keys():
            names = [name for name in entry["variants"] if name in HEADLINE[task]]
            if entry["regime"] == "full" and names:
                kept.append(entry | {"tasks": [task], "variants": names})
    written["predictions"] = kept
    written["planted"] = [entry | {"variants": ["adap_ins_pos"]} for entry in written["planted"]
                          if entry.get("task") == "planted_cue_end"]  # fmt: skip
    (clone / PREDICTED).write_text(yaml.safe_dump(written, sort_keys=False))


def run(clone: Path, condition: Condition, cores: int) -> None:
    command = ["snakemake", "--cores", str(cores), "--config", "scale=demo"]
    inner = Path(sys.executable).parent
    environment = os.environ | condition.environment | {"PATH": f"{inner}{os.pathsep}{os.environ['PATH']}"}
    environment["PYTHONPATH"] = str(clone)
    with (clone / "portability.log").open("a") as log:
        if subprocess.run(command, cwd=clone, env=environment, stdout=log, stderr=log).returncode:
            raise SystemExit(f"{clone}: the run failed; portability.log there says why. The same call goes on from it.")


def verdicts(report: Path) -> dict[Cell, str]:
    """Of each predicted cell, and of each variant on the null task."""
    found = {}
    for name in ("predictions", "null_task"):
        with (report / f"{name}.csv").open() as file:
            for row in csv.DictReader(file):
                regime = "null task" if name == "null_task" else row["regime"]
                found[regime, row["task"], row["variant"]] = row["verdict"]
    return found


def compared(found: dict[str, dict[Cell, str]]) -> tuple[str, bool]:
    """The Markdown tables, and whether a verdict flipped between holds and fails."""
    usual, flipped = found[AS_IT_IS], False
    lines = ["| condition | hold | fail | unclear | another verdict |", "|---|---:|---:|---:|---|"]
    for name, own in found.items():
        count = Counter(own.values())
        other = []
        for cell, verdict in own.items():
            if verdict != usual[cell]:
                flips = {verdict, usual[cell]} == {"holds", "fails"}
                flipped |= flips
                text = f"{' '.join(cell)}: {usual[cell]} to {verdict}"
                other.append(f"**{text}**" if flips else text)
        lines.append(f"| {name} | {count['holds']} | {count['fails']} | {count['unclear']} | {'; '.join(other)} |")
    return "\n".join(lines) + "\n", flipped


if __name__ == "__main__":
    sys.exit(main())
