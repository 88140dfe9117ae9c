"""Whatever became of a record, or of what it vouches for: a finding, or one paragraph that names it."""

import json
import re
import shutil
from pathlib import Path

import pytest
from small_project import in_a_clean_tree, made, reseal

from dp import files
from dp.commands import cli
from dp.errors import UserError
from dp.jobs import record
from dp.lineage.auditing import before_jobs
from dp.study.resolve import jobs
from dp.study.study import load

TOKENS = "results/tokenize/small/tiny-t5/toy/tokens/record.json"
TRAINED = "results/train/small/tiny-t5/full/toy/fixed/seed0/record.json"
COMMANDS = [("audit",), ("status", "--json"), ("why", "tiny-t5/full/toy/fixed/seed0"), ("plan",), ("diff", "."),
            ("export",), ("claims",), ("report",)]  # fmt: skip


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    root = tmp_path_factory.mktemp("made")
    with made(root, ["majority", "fixed"]):
        yield root


@pytest.fixture
def project(small, tmp_path, monkeypatch):
    shutil.copytree(small, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    in_a_clean_tree(monkeypatch)
    return tmp_path / "copy"


def sealed(change):
    """A record that vouches for what another version of the code, or a forger, wrote."""

    def damage(text):
        content = json.loads(text)
        del content["seal"]
        change(content)
        return json.dumps(record.sealed(content))

    return damage


DAMAGES = {
    "cut short": lambda text: text[: len(text) // 2],
    "empty": lambda text: "",
    "edited": lambda text: text.replace('"command": "t', '"command": "x'),
    "half a surrogate pair": lambda text: text.replace('"command": "t', '"command": "\\ud800'),
    "nested": lambda text: '{"made": ' + "[" * 100_000,
    "digits": lambda text: '{"made": ' + "9" * 5_000 + "}",
    "a list": lambda text: "[]",
    "no outputs": sealed(lambda content: content["made"].pop("outputs")),
    "no environment": sealed(lambda content: content.pop("with")),
    "a word for seconds": sealed(lambda content: content["made"].update(wall_seconds="long")),
    "no date": sealed(lambda content: content["made"].update(started="yesterday")),
    "a path outside": sealed(lambda content: content["made"]["outputs"].update({"../x": "0"})),
    "modules": sealed(lambda content: content["used"]["code"].update(modules=None)),
    "rows": sealed(lambda content: content["made"].update(rows=3, steps="many")),
}


@pytest.mark.parametrize("path", [TOKENS, TRAINED], ids=["tokens", "training"])
@pytest.mark.parametrize("damage", list(DAMAGES))
def test_a_damaged_record_is_named(project, capsys, path, damage):
    text = (project / path).read_text()
    (project / path).write_text(DAMAGES[damage](text), encoding="utf-8")
    for command in COMMANDS:
        with pytest.raises(SystemExit) as stop:
            cli.main([*command])
            raise SystemExit(0)
        said = capsys.readouterr()
        assert "Traceback" not in said.err
        if stop.value.code == 2:
            assert said.err.count("\n") == 1 and len(said.err) < 3000
        if command[0] in ("audit", "plan", "diff", "export"):
            assert stop.value.code in (1, 2) and path.removesuffix("/record.json") in said.out + said.err, command
    assert [str(one.path) for one in before_jobs(jobs(load()))[0]] == [path], "no door computes with it"


EVALUATED = "results/evaluate/small/tiny-t5/full/toy/fixed/seed0"
OTHERS = {
    "no accuracy": ("metrics.json", b'"accuracy": {', b'"precision": {', "holds no accuracy, only \\['precision'\\]"),
    "no number": ("metrics.json", b'"n": ', b'"n": [1], "m": ', r"n = \[1\]: .* valid integer"),
    "a share over 1": ("metrics.json", b'"majority": 0', b'"majority": 7', "majority = 7.*less than or equal to 1"),
    "no answer": ("predictions.jsonl", b'"prediction"', b'"said"', "line 1: .* key 'prediction' is missing"),
    "a word for a split": ("predictions.jsonl", b'"split": 4', b'"split": "b"', "line 1: .* split = 'b': .* integer"),
    "rows that are gone": ("predictions.jsonl", b"\n", b"", r"line 1: is no JSON \(Extra data"),
    "no loss": ("steps.jsonl", b'"loss": ', b'"loss": [1], "was": ', r"line 1: .* loss = \[1\]: .* valid number"),
    "no evaluation": ("steps.jsonl", b'"selection": {', b'"selection": {"by_task": 3, ', "by_task = 3: .* valid list"),
}


@pytest.mark.parametrize("case", list(OTHERS))
def test_what_no_job_of_this_version_wrote_is_named(project, capsys, case):
    """Its record vouches for the bytes, so that no digest tells."""
    name, old, new, said = OTHERS[case]
    path = project / (EVALUATED if name != "steps.jsonl" else str(Path(TRAINED).parent)) / name
    assert old in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(old, new, 1))
    reseal(path)
    with pytest.raises(SystemExit) as stop:
        cli.main(["report"])
    printed = capsys.readouterr().err
    assert stop.value.code == 2 and re.search(rf"seed0/{name}.*{said}.*Restore it", printed), printed


def test_fewer_predictions_than_their_metrics_are_of(project, capsys):
    path = project / EVALUATED / "predictions.jsonl"
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:-1]))
    reseal(path)
    with pytest.raises(SystemExit):
        cli.main(["report"])
    assert re.search(r"predictions\.jsonl: holds 39 lines, and .* of 40 rows", capsys.readouterr().err)


def test_the_audit_goes_on_beside_metrics_of_no_job(project, capsys):
    path = project / EVALUATED / "metrics.json"
    path.write_bytes(path.read_bytes().replace(b'"collapsed": ', b'"fallen": ', 1))
    reseal(path)
    with pytest.raises(SystemExit) as stop:
        cli.main(["audit"])
    printed = capsys.readouterr().out
    assert stop.value.code == 1 and re.search(r"tampered.*metrics\.json.*collapsed' is missing", printed, re.DOTALL)


@pytest.mark.parametrize("command", ["diff", "export"])
def test_records_that_lead_nowhere_are_named_in_one_paragraph(project, capsys, command):
    for path in (project / "results").rglob("record.json"):
        path.unlink()
        path.symlink_to("nowhere")
    with pytest.raises(SystemExit) as stop:
        cli.main([command, *(["."] if command == "diff" else [])])
    printed = capsys.readouterr().err
    assert stop.value.code == 2 and "record.json" in printed and len(printed) < 2000


def test_a_folder_in_place_of_a_record(project):
    (project / TOKENS).unlink()
    (project / TOKENS).mkdir()
    with pytest.raises(UserError, match="cannot be read"):
        record.read((project / TOKENS).parent)


@pytest.mark.parametrize("text", ["", "{", "[]", '{"state": "failed"}', '{"state": "running", "pid": "x"}', "[" * 9999])
def test_a_damaged_mark_is_none(project, capsys, text):
    files.write_text(project / "results/logs/train/small/tiny-t5/full/toy/fixed/seed0.state.json", text)
    for command in (["status"], ["audit"]):
        with pytest.raises(SystemExit) as stop:
            cli.main(command)
            raise SystemExit(0)
        assert stop.value.code in (0, 1)
