"""Tiny backbones of every family, made-up rows, and the real data where it is at hand."""

import os
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import pytest
import torch

os.environ.setdefault("HF_HUB_OFFLINE", "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
torch.set_num_threads(1)

from dp.backbones import load as backbones  # noqa: E402
from dp.backbones import random_weights  # noqa: E402
from dp.data import made_up, tokens  # noqa: E402
from dp.params import Study  # noqa: E402
from dp.params import load as load_params  # noqa: E402
from dp.tasks import model as tasks  # noqa: E402

ROOT = Path(__file__).parents[1]
TINY = {"seq2seq": "tiny-t5", "causal": "tiny-llama"}
FAMILIES = sorted(TINY)


@pytest.fixture(scope="session")
def study() -> Study:
    """The smoke scale."""
    return load_params(ROOT, {"scale": "smoke"})


@pytest.fixture(scope="session")
def tiny_folders(study, tmp_path_factory) -> dict[str, Path]:
    """Family -> a folder as `fetch-backbone` leaves it."""
    folders = {}
    for family, name in TINY.items():
        folder = tmp_path_factory.mktemp(name)
        source = study.params.backbones[name].source
        random_weights.write_words_tokenizer(folder, source.architecture)
        random_weights.model(source, backbones.load_tokenizer(folder)).save_pretrained(folder)
        folders[family] = folder
    return folders


@pytest.fixture
def tiny(tiny_folders):
    """Load a fresh tiny backbone of a family."""
    return lambda family: backbones.load(tiny_folders[family], family)


@pytest.fixture(scope="session")
def toy_split(tiny_folders):
    """Tokens of the toy task for a family: (Split, label word ids)."""

    def make(family: str, split: str = "train", count: int = 24) -> tuple[tokens.Split, list[int]]:
        tokenizer = backbones.load_tokenizer(tiny_folders[family])
        task = tasks.load("toy")
        rows = made_up.rows(split, count, seed=0)
        ids = [torch.tensor(tokenizer(tasks.render(task, family, row["fields"]))["input_ids"]) for row in rows]
        # Rows of equal length would hide every mistake with padding.
        ids = [torch.cat([row[: 5 + n % 7], row[-2:]]) for n, row in enumerate(ids)]
        words = [tokens.word_id(tokenizer, word) for word in task.templates[family].words]
        return tokens.Split(ids, rows), words

    return make


@pytest.fixture(scope="session")
def superglue() -> Path:
    """The official SuperGLUE files, for tests that need real data."""
    folder = Path(os.environ.get("SUPERGLUE", ROOT.parent / "shared" / "superglue"))
    if not (folder / "BoolQ" / "train.jsonl").exists():
        pytest.skip(f"no SuperGLUE data at {folder}; set SUPERGLUE to a folder with <Task>/{{train,val}}.jsonl")
    return folder


@cache
def _index_in_reach() -> bool:
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--quiet", "--dest", tempfile.mkdtemp(), "six"]
    return subprocess.run(command, capture_output=True, timeout=120).returncode == 0


def pytest_runtest_setup(item):
    if item.get_closest_marker("network") and not _index_in_reach():
        pytest.skip("no package index in reach")
