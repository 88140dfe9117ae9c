"""What a person sees who types a command wrong, or too early."""

import shutil

import pytest
from conftest import ROOT

from dp import cli
from dp.commands import common


@pytest.fixture(autouse=True)
def project(tmp_path, monkeypatch):
    shutil.copy(ROOT / "params.yaml", tmp_path)
    shutil.copytree(ROOT / "workflow" / "scales", tmp_path / "workflow" / "scales")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(common.SETTINGS_VARIABLE, raising=False)
    return tmp_path


def said(capsys, *arguments):
    with pytest.raises(SystemExit) as stop:
        cli.main(list(arguments))
    assert stop.value.code == 2
    return capsys.readouterr().err


SMOKE = ("--set", "scale=smoke")


def test_an_unknown_run_names_the_nearest(capsys):
    message = said(capsys, "train", "--run", "tiny-t5/full/toy/adap_po/seed0", *SMOKE)
    assert message.startswith("dp train: --run tiny-t5/full/toy/adap_po/seed0: scale 'smoke' has no such run")
    assert "the nearest is tiny-t5/full/toy/adap_pos/seed0" in message


def test_a_run_before_its_inputs_says_what_makes_them(capsys):
    message = said(capsys, "train", "--run", "tiny-t5/full/toy/fixed/seed0", *SMOKE)
    assert "results/tokenize/smoke/tiny-t5/toy/tokens has no record.json; `snakemake --cores all` makes it" in message


def test_a_setting_without_a_value_shows_the_form(capsys):
    assert "write it as key=value" in said(capsys, "train", "--run", "x", "--set", "smoke")


def test_settings_of_the_workflow_reach_the_command_and_set_goes_before_them(capsys, monkeypatch):
    monkeypatch.setenv(common.SETTINGS_VARIABLE, '{"scale": "nowhere"}')
    assert "scale: 'nowhere' has no file" in said(capsys, "train", "--run", "x")
    assert "scale 'smoke' has no such run" in said(capsys, "train", "--run", "x", *SMOKE)


def test_an_unknown_command_lists_the_known_ones(capsys):
    message = said(capsys, "trian")
    assert "invalid choice: 'trian'" in message and "train" in message


def test_the_whole_chain_by_hand(project, capsys):
    """Every command in turn, without Snakemake: the rules hold nothing that the commands lack."""
    smoke = ("--set", "scale=smoke", "--set", "allow_dirty=true")
    cli.main(["fetch-task", "--task", "toy", *smoke])
    cli.main(["fetch-backbone", "--backbone", "tiny-t5", *smoke])
    cli.main(["tokenize", "--backbone", "tiny-t5", "--task", "toy", *smoke])
    cli.main(["features", "--backbone", "tiny-t5", "--task", "toy", *smoke])
    for variant in ("majority", "zero-shot", "finetune", "fixed", "adap_pos", "adap_ins_pos"):
        for regime in ("full", "fewshot-k4-s0"):
            run = f"tiny-t5/{regime}/toy/{variant}/seed0"
            if variant not in ("majority", "zero-shot"):
                cli.main(["train", "--run", run, *smoke])
            cli.main(["evaluate", "--run", run, *smoke])
    cli.main(["report", *smoke])
    folder = project / "results/report/smoke"
    rows = (folder / "results.csv").read_text().splitlines()
    assert len(rows) == 1 + 6 * 2
    assert {path.suffix for path in (folder / "figures").iterdir()} == {".csv", ".svg", ".png"}
    fewshot = [row.split(",") for row in rows[1:] if ",fewshot,4," in row]
    assert len(fewshot) == 6
