"""The whole project in a folder of its own, with a scale that takes seconds, and its tools as a user calls them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import yaml
from conftest import ROOT

SCALE = """
description: A test's of the whole pipeline.
backbones: [tiny-t5]
source: made_up
tasks: {{made_up: [toy]}}
regimes: [{{kind: full}}]
variants: [{variants}]
seeds: [{seeds}]
max_tokens: 32
prompt: {{length: 4}}
training: {{steps: {steps}, batch_size: 8, micro_batch_size: 8, evaluate_every: {every}, checkpoint_every: 2,
           optimizer: {{warmup_steps: 2}}}}
compute: {{device: cpu}}
"""
BIN = Path(sys.executable).parent


def environment(root):
    return os.environ | {
        "HF_HUB_OFFLINE": "1",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PYTHONPATH": str(root),
        "PATH": f"{BIN}:{os.environ['PATH']}",
    }


def make(root, variants="majority, fixed, adap_ins_pos", seeds="0, 1", steps=8):
    """A committed copy of the project whose parameters name the scale `e2e`; nothing has run in it."""
    command = ["git", "ls-files", "-co", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    for name in listed.stdout.splitlines():
        if (ROOT / name).exists():
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, root / name)
    (root / "dvc.lock").unlink(missing_ok=True)
    scale = SCALE.format(variants=variants, seeds=seeds, steps=steps, every=steps // 2)
    (root / "workflow/scales/e2e.yaml").write_text(scale)
    params = yaml.safe_load((root / "params.yaml").read_text()) | {"scale": "e2e"}
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    git(root, "init", "-q")
    commit(root, "copy")
    return root


def run(root, *command, check=True, **more):
    """What a command printed on both streams, and its exit status."""
    done = subprocess.run(command, cwd=root, env=environment(root) | more, capture_output=True, text=True)
    printed = done.stdout + done.stderr
    assert not check or done.returncode == 0, printed
    return printed, done.returncode


def git(root, *arguments):
    return run(root, "git", "-c", "user.name=test", "-c", "user.email=test@example.org", *arguments)[0]


def commit(root, message):
    git(root, "add", "-A")
    git(root, "commit", "-qm", message)


def snakemake(root, *arguments, check=False, **more):
    return run(root, BIN / "snakemake", "--cores", "2", "--nocolor", *arguments, check=check, **more)


def jobs(root, *arguments, dry=False, **more):
    """Run Snakemake (or only ask it): the first output of each job that is no target."""
    printed, _ = snakemake(root, *(["-np"] if dry else []), "--quiet", "progress", *arguments, check=True, **more)
    outputs = [line for line in printed.splitlines() if line.startswith("    output: ")]
    return sorted(line.split()[1].split(",")[0] for line in outputs)


def dvc(root, *arguments, check=True):
    printed, _ = run(root, BIN / "dvc", *arguments, check=check)
    return printed


def short(outputs):
    """Phase and run of each output."""
    return [str(Path(name).parent).removeprefix("results/").replace("/e2e", "") for name in outputs]
