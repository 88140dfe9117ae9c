"""Tiny backbones of every family, made-up rows, and the real data where it is at hand."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from functools import cache, partial
from pathlib import Path

import pytest
import torch

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
torch.set_num_threads(1)
for number, handler in ((signal.SIGINT, signal.default_int_handler), (signal.SIGHUP, signal.SIG_DFL)):
    signal.signal(number, handler)  # nohup and a shell's & have them ignored, by what the tests start too

from dp.backbones import families  # noqa: E402
from dp.backbones.definition import BackboneEntry  # noqa: E402
from dp.backbones.names import ARCHITECTURES  # noqa: E402
from dp.data import tokens  # noqa: E402
from dp.data.choices import answering  # noqa: E402
from dp.data.encoding import encode, gather  # noqa: E402
from dp.study.study import Study  # noqa: E402
from dp.study.study import load as load_params  # noqa: E402
from dp.tasks import model as tasks  # noqa: E402
from dp.training.loop_config import LoopConfig  # noqa: E402
from dp.worlds import made_up, random_weights  # noqa: E402

ROOT = Path(__file__).parents[1]
PATIENCE = 300
"""Seconds until what a test waits for counts as missing: long, for a machine may be busy."""
SUPERGLUE = Path(os.environ.get("SUPERGLUE", ROOT.parent / "shared" / "superglue"))


def tiny_backbone(family: str, head: str = "verbalizer") -> BackboneEntry:
    """A tiny backbone of a family with random weights, as params.yaml would define it."""
    drawn = {"kind": "random", "architecture": ARCHITECTURES[family], "shape": families.FAMILIES[family].tiny}
    return BackboneEntry.model_validate(
        {"family": family, "head": head, "source": drawn | {"tokenizer": {"kind": "words"}}}
    )


# Family under test -> its tiny backbone; `masked` is the encoder family with a verbalizer.
TINY = {family: tiny_backbone(family) for family in families.FAMILIES}
TINY |= {"masked": TINY["encoder"], "encoder": tiny_backbone("encoder", "linear")}
FAMILIES = sorted(TINY)


def typed(config) -> LoopConfig:
    """A resolved configuration as what trains reads it."""
    return LoopConfig.model_validate(config)


@pytest.fixture(scope="session")
def study() -> Study:
    """The smoke scale."""
    return load_params(ROOT, {"scale": "smoke"})


@pytest.fixture(scope="session")
def tiny_folders(tmp_path_factory) -> dict[str, Path]:
    """Family -> a folder as `fetch-backbone` leaves it."""
    folders = {}
    for name, backbone in TINY.items():
        folder, family = tmp_path_factory.mktemp(name), families.FAMILIES[backbone.family]
        tokenizer = random_weights.words_tokenizer(family, made_up.WORDS)
        tokenizer.save_pretrained(folder)
        random_weights.model(family, backbone.source, tokenizer).save_pretrained(folder)
        folders[name] = folder
    return folders


@pytest.fixture
def tiny(tiny_folders):
    """Load a fresh tiny backbone of a family."""

    def load(family: str):
        definition = TINY[family]
        return families.load(tiny_folders[family], definition.family, definition.head)

    return load


@pytest.fixture(scope="session")
def toy_split(tiny_folders):
    """Tokens of the toy task for a family."""

    def make(family: str, split: str = "train", count: int = 24) -> tokens.Split:
        definition = TINY[family]
        tokenizer = families.load_tokenizer(tiny_folders[family])
        toy = tasks.load("toy").templates
        template = toy.get(definition.family, toy["causal"])
        task = tasks.load("toy").model_copy(update={"templates": {definition.family: template}})
        answer = answering(tokenizer, task, definition.family, definition.head)
        render = partial(tasks.render, task, definition.family)
        examples, rows = [], made_up.rows("yes_no", split, count, seed=0)
        for n, row in enumerate(rows):
            found, _ = encode(
                tokenizer, definition.family, definition.head, render, answer(row), row, task.truncate, 99
            )
            # Rows of equal length would hide every mistake with padding.
            examples.append(found._replace(ids=[*found.ids[: 5 + n % 7], *found.ids[-2:]]))
        return gather(examples, rows)

    return make


@pytest.fixture(scope="session")
def superglue() -> Path:
    """The official SuperGLUE files, for tests that need real data."""
    if not (SUPERGLUE / "BoolQ" / "train.jsonl").exists():
        pytest.skip(f"no SuperGLUE data at {SUPERGLUE}; set SUPERGLUE to a folder with <Task>/{{train,val}}.jsonl")
    return SUPERGLUE


@cache
def _index_in_reach() -> bool:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--dest", tempfile.mkdtemp(), "six"]
    return subprocess.run(command, capture_output=True, timeout=120).returncode == 0


def pytest_runtest_setup(item):
    if item.get_closest_marker("network") and not _index_in_reach():
        pytest.skip("no package index in reach")


@pytest.fixture(scope="session")
def built(tmp_path_factory) -> Path:
    """The whole project with the scale `e2e` of built_project.py, run once by Snakemake."""
    from built_project import jobs, make

    root = make(tmp_path_factory.mktemp("project") / "copy")
    jobs(root)
    return root


@pytest.fixture
def project(built, tmp_path) -> Path:
    """A copy of the built project whose time stamps are kept."""
    copy = tmp_path / "copy"
    shutil.copytree(built, copy, symlinks=True)
    return copy
