"""Whatever became of a record: every command that reads it ends in a finding or in one paragraph that names it."""

import json
import shutil

import pytest
from small_project import Project

from dp import cli, files, grid
from dp.commands import common
from dp.errors import UserError
from dp.lineage import record
from dp.lineage.artifacts import artifacts
from dp.lineage.audit import before_jobs
from dp.study import load

TOKENS = "results/tokenize/small/tiny-t5/toy/tokens/record.json"
TRAINED = "results/train/small/tiny-t5/full/toy/fixed/seed0/record.json"
COMMANDS = [("audit",), ("status", "--json"), ("why", "tiny-t5/full/toy/fixed/seed0"), ("plan",), ("diff", "."),
            ("export",), ("claims",), ("report",)]  # fmt: skip


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    root = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.delenv(common.SETTINGS_VARIABLE, raising=False)
        patch.setattr(record, "commit", lambda *root: {"commit": "c" * 40, "dirty": False})
        project = Project(root, ["majority", "fixed"])
        project.prepare()
        for cell in grid.needed_trainings(project.study):
            project.train(cell.run)
        for cell in grid.cells(project.study):
            project.evaluate(cell.run)
        cli.main(["report"])
        yield root


@pytest.fixture
def project(made, tmp_path, monkeypatch):
    shutil.copytree(made, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    monkeypatch.setattr(record, "commit", lambda *root: {"commit": "c" * 40, "dirty": False})
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
    assert [str(one.path) for one in before_jobs(artifacts(load()))[0]] == [path], "no door computes with it"


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
