"""Whatever a person types behind `python -m dp`: an answer, or a refusal that can be read."""

import shutil

import pytest
from conftest import ROOT
from fuzzing import counts, ended, explore
from hypothesis import strategies as st

from dp.commands import cli, common

ODD = ["", " ", "-", "--", "-x", "--set", "--help", "x" * 300, "x" * 5000, "\ud83d", "\x00", "\x1b[31m", "é", "=",
       "a=", "=b", "scale=[", "scale=smoke", "scale=nope", "scale=", "scale=../params", "source=folder",
       "folder=/nowhere", "folder=~root", "allow_dirty=2024-13-45", "seeds=[0]", "variants={}", "variants={a: b}",
       "backbones=", "scale=&a [*a]", "a: b", "[", "*", "**/*", "..", "../../etc", "/", "/etc/passwd", "results",
       "results/report/smoke/results.csv:2", "x:0", "x:" + "9" * 5000, "x.csv:-1", "0", "-1", "nan", "inf", "1e999",
       "HEAD", "HEAD~1", "@{", ":/", "^", "tiny-t5", "tiny-t5/full/toy/fixed", "tiny-t5/full/toy/adap_pos/seed9",
       "full", "A", "toy"]  # fmt: skip
OPTIONS = {
    "fetch-task": ["--task"],
    "fetch-backbone": ["--backbone"],
    "tokenize": ["--task", "--backbone"],
    "features": ["--task", "--backbone", "--pooling"],
    "train": ["--run"],
    "choose": ["--variant"],
    "evaluate": ["--run"],
    "report": [],
    "claims": ["--table", "--claim"],
    "why": ["", "--json"],
    "diff": ["", "--json"],
    "audit": ["--full", "--prune", "--allow", "--json"],
    "plan": ["--scale", "--table", "--backbone", "--regime"],
    "status": ["--watch", "--json"],
    "export": [],
    "publish": ["--check"],
    "sync": ["--remote", "--no-pull"],
    "tensorboard": [],
    "predict": ["--run", "--task", "--text", "--field", "--file", "--batch-size"],
    "draft-task": ["", "--name", "--text", "--label", "--separator", "--resplit"],
    "nope": [],
}
"""Command -> options; "" is an argument without a name. Those that write where they are told to are left out."""
FLAGS = {"--json", "--full", "--prune", "--check", "--no-pull"}


@pytest.fixture
def project(tmp_path, monkeypatch):
    shutil.copy(ROOT / "params.yaml", tmp_path)
    shutil.copytree(ROOT / "workflow/scales", tmp_path / "workflow/scales")
    shutil.copytree(ROOT / "workflow/predictions", tmp_path / "workflow/predictions")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(common.SETTINGS_VARIABLE, raising=False)


def lines():
    """Command lines; what would fetch, train or tokenize for real is not among them."""
    word = st.one_of(st.sampled_from(ODD), st.text(max_size=10))

    def option(name):
        return st.just([name]) if name in FLAGS else word.map(lambda value: [name, value] if name else [value])

    def line(command):
        options = [option(name) for name in OPTIONS[command]]
        parts = st.tuples(*(st.one_of(one, one, st.just([])) for one in options))
        odd = st.lists(word.map(lambda value: ["--set", value]), max_size=2)
        settings = st.one_of(st.just([["--set", "scale=smoke"]]), st.just([]), odd)
        more = st.one_of(st.just([]), st.just([]), st.just([]), word.map(lambda one: [one]))
        return st.builds(lambda *groups: [command, *(word for group in groups for one in group for word in one)],
                         parts, settings, more.map(lambda one: [one]))  # fmt: skip

    return st.sampled_from(sorted(OPTIONS)).flatmap(line).filter(lambda line: not is_work(line))


def is_work(line):
    names = {"toy", "tiny-t5"}
    return line[0] in ("fetch-task", "fetch-backbone", "tokenize", "features") and not names.isdisjoint(line)


@counts(few=60, share=0.01)
def test_command_lines(project, cases):
    explore(lambda line: f"{line[0]} {ended(cli.main, line)}", lines(), cases)
