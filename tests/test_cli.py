"""What a person sees who types a command wrong, or too early."""

import csv
import errno
import json
import os
import shutil
import subprocess
import sys

import pytest
import yaml
from conftest import ROOT

from dp import files
from dp.commands import cli, common
from dp.study import grid
from dp.study.study import load


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


def test_a_prediction_needs_no_folder_of_tasks(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(ROOT)
    call = ("predict", "--scale", "text", "--run", "minilm-l6/full/cb/fixed/seed7", "--text", "a")
    assert "scale 'text' has no such run; the nearest is" in said(capsys, *call)


def test_an_unknown_run_names_the_nearest(capsys):
    message = said(capsys, "train", "--run", "tiny-t5/full/toy/adap_po/seed0", *SMOKE)
    assert message.startswith("dp train: --run tiny-t5/full/toy/adap_po/seed0: scale 'smoke' has no such run")
    assert "the nearest is tiny-t5/full/toy/adap_pos/seed0" in message


def test_a_run_before_its_inputs_says_what_makes_them(capsys):
    for made, missing in (
        ([], "results/tokenize/smoke/tiny-t5/toy/tokens"),
        (["fetch-backbone", "--backbone", "tiny-t5"], "results/tokenize/smoke/tiny-t5/toy/tokens"),
        (["fetch-task", "--task", "toy"], "results/tokenize/smoke/tiny-t5/toy/tokens"),
        (
            ["tokenize", "--task", "toy", "--backbone", "tiny-t5"],
            "results/tokenize/smoke/tiny-t5/toy/features/masked_mean",
        ),
    ):
        if made:
            cli.main([*made, *SMOKE])
        message = said(capsys, "train", "--run", "tiny-t5/full/toy/adap_ins_pos/seed0", *SMOKE)
        assert f"{missing} has no record.json; `snakemake --cores all` makes it" in message
    message = said(capsys, "evaluate", "--run", "tiny-t5/full/toy/adap_pos/seed0", *SMOKE)
    assert "results/train/smoke/tiny-t5/full/toy/adap_pos/seed0 has no record.json" in message


def test_what_is_not_trained_is_no_run_to_train(capsys, project):
    assert "has no such run" in said(capsys, "train", "--run", "tiny-t5/full/toy/majority/seed0", *SMOKE)
    assert "has no such run" in said(capsys, "train", "--run", "tiny-t5/full/toy/fixed/trial0", *SMOKE)
    assert "has no search" in said(capsys, "choose", "--variant", "tiny-t5/full/toy/fixed", *SMOKE)


def test_a_scale_that_trains_nothing_says_so(capsys, project):
    path = project / "workflow/scales/smoke.yaml"
    scale = yaml.safe_load(path.read_text()) | {"variants": ["majority"]}
    path.write_text(yaml.safe_dump(scale))
    assert "scale 'smoke'" in said(capsys, "train", "--run", "tiny-t5/full/toy/fixed/seed0", *SMOKE)


def test_a_setting_without_a_value_shows_the_form(capsys):
    assert "write it as key=value" in said(capsys, "train", "--run", "x", "--set", "smoke")


def test_settings_of_the_workflow_reach_the_command_and_set_goes_before_them(capsys, monkeypatch):
    monkeypatch.setenv(common.SETTINGS_VARIABLE, '{"scale": "nowhere"}')
    assert "scale: 'nowhere' has no file" in said(capsys, "train", "--run", "x")
    assert "scale 'smoke' has no such run" in said(capsys, "train", "--run", "x", *SMOKE)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("tokenize", "--backbone", "nope", "--task", "toy"), "no such backbone; the nearest is tiny-t5"),
        (("tokenize", "--backbone", "tiny-t5", "--task", "tay"), "from source 'made_up'; the nearest is toy"),
        (("features", "--backbone", "nope", "--task", "toy"), "--backbone nope: scale 'smoke' has no such backbone"),
        (("features", "--backbone", "tiny-t5", "--task", "x/../y"), "--task x/../y: scale 'smoke' has no such task"),
        (("fetch-backbone", "--backbone", "tiny-t6"), "params.yaml defines no such backbone; the nearest is tiny-t5"),
        (("fetch-task", "--task", "tay"), "no task 'tay'"),
        (("plan", "--backbone", "nope"), "--backbone nope: scale 'smoke' has no such backbone; the nearest is tiny-t5"),
        (("plan", "--regime", "ful"), "--regime ful: scale 'smoke' has no such regime; the nearest is full"),
        (("plan", "--table", "A"), "--table A: the paper has no such table; the nearest is A_position"),
        (("evaluate", "--run", "nope"), "--run nope: scale 'smoke' has no such run; the nearest is"),
        (("claims", "--claim", "nope"), "the nearest valid name is"),
        (("status", "--set", "scale=["), "--set scale=[, line 1: is not valid YAML"),
        (("status", "--set", "scale=010"), "010 is an octal number in YAML 1.1"),
        (("status", "--scale", "smok"), "the nearest valid name is 'smoke'"),
        (("status", "--scale", "s" * 300), "String should have at most 100 characters"),
    ],
)  # fmt: skip
def test_a_name_that_is_none_is_a_paragraph_with_the_nearest(capsys, arguments, words):
    command, *rest = arguments
    message = said(capsys, command, *SMOKE, *rest)
    assert words in message and message.count("\n") == 1


@pytest.mark.parametrize(
    "long", ["x" * 16_000, "a\nb" * 4_000, "\ud83d" * 16_000], ids=["one word", "lines", "surrogates"]
)
@pytest.mark.parametrize(
    "arguments",
    [("train", "--run"), ("tokenize", "--task", "toy", "--backbone"), ("fetch-task", "--task"), ("choose", "--variant"),
     ("plan", "--table"), ("status", "--set"), ("status", "--scale"), ("why",), ("diff",), ("claims", "--claim"),
     ("fetch-backbone", "--backbone"), ("status", "--nothing"), ()],
)  # fmt: skip
def test_no_error_repeats_thousands_of_characters(capsys, arguments, long):
    message = said(capsys, *arguments, long)
    assert len(message) < 2500 and "Traceback" not in message


def test_scale_is_for_every_command(capsys):
    for name in cli.COMMANDS:
        with pytest.raises(SystemExit) as stop:
            cli.main([name, "--help"])
        assert stop.value.code == 0 and "--scale NAME" in capsys.readouterr().out
    assert "scale 'open' has no such run" in said(
        capsys, "train", "--run", "x", "--set", "scale=smoke", "--scale", "open"
    )


def test_a_download_needs_no_scale(project):
    """As docs/extend.md has it: a task from a folder of one's own, and a backbone, whatever the scale asks for."""
    (project / "workflow/scales/demo.yaml").write_text("no scale at all")
    cli.main(["fetch-backbone", "--backbone", "tiny-llama"])
    assert (project / "results/download/backbones/tiny-llama/record.json").is_file()
    cli.main(["fetch-task", "--task", "toy", "--set", "source=made_up"])
    assert (project / "results/download/tasks/toy/made_up/record.json").is_file()


def test_what_is_downloaded_is_what_the_scale_would_ask_for(project):
    """The source of rows is the scale's where none is named, and the record asks for the same as the grid."""
    cli.main(["fetch-task", "--task", "toy", *SMOKE])
    record = files.read_json(project / "results/download/tasks/toy/made_up/record.json")
    asked = grid.rows_config(load(project, {"scale": "smoke"}), "toy")
    assert record["asked"].items() >= asked.items()


def test_rows_from_a_folder_need_its_path(capsys):
    assert "folder: is not set" in said(capsys, "fetch-task", "--task", "rte", "--set", "source=folder")


def test_an_unknown_command_lists_the_known_ones(capsys):
    message = said(capsys, "trian")
    assert "invalid choice: 'trian'" in message and "train" in message


def test_the_whole_chain_by_hand(project, capsys):
    """Every command in turn, without Snakemake: the rules hold nothing that the commands lack."""
    smoke = ("--set", "scale=smoke", "--set", "allow_dirty=true")
    study = load(project, {"scale": "smoke"})
    cli.main(["fetch-backbone", "--backbone", "tiny-t5", *smoke])
    for task in study.tasks:
        cli.main(["fetch-task", "--task", task, *smoke])
        cli.main(["tokenize", "--backbone", "tiny-t5", "--task", task, *smoke])
        cli.main(["features", "--backbone", "tiny-t5", "--task", task, *smoke])
    for cell in grid.needed_trainings(study):
        cli.main(["train", "--run", cell.run, *smoke])
    for cell in grid.cells(study):
        cli.main(["evaluate", "--run", cell.run, *smoke])
    cli.main(["report", *smoke])
    folder = project / "results/report/smoke"
    with (folder / "results.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 7 * 2 * 2
    assert {path.suffix for path in (folder / "figures").iterdir()} == {".csv", ".svg", ".png"}
    staged = [row for row in rows if row["variant"] == "adap_pos_ins_vec-staged"]
    assert [row["steps"] for row in staged] == ["16"] * 4, "its own updates and those of the run whose split it keeps"
    with (folder / "choices.csv").open() as file:
        choices = list(csv.DictReader(file))
    found = {(row["regime"], row["task"], row["factor"]) for row in choices if row["variant"] == "adap_ins_all"}
    assert found == {(regime, task, factor) for regime in ("full", "multitask") for task in study.tasks
                     for factor in ("split", "length", "pool of seed0")}  # fmt: skip
    shares = [float(row["share"]) for row in choices if row["factor"] == "split" and row["variant"] == "adap_pos"
              and (row["regime"], row["task"]) == ("full", "toy")]  # fmt: skip
    assert sum(shares) == pytest.approx(1) and len(shares) == 5


# Whatever the output is


def schema(monkeypatch, run):
    """`dp schema` that does something else."""
    monkeypatch.setattr("dp.commands.schema.run", run)


def call(*arguments, code=None, shell=None, **variables):
    """`python -m dp` in a process of its own: (exit status, stdout, stderr). `code` runs before it."""
    program = [sys.executable, "-m", "dp"] if code is None else [sys.executable, "-c", f"{code}\nimport dp.__main__"]
    command = ["bash", "-c", f"set -o pipefail; {shell}", "bash", *program] if shell else program
    env = os.environ | {"PYTHONPATH": str(ROOT)} | variables
    done = subprocess.run([*command, *arguments], capture_output=True, env=env, timeout=120)
    return done.returncode, done.stdout.decode(), done.stderr.decode()


PRINTS = """
import dp.commands.schema
def run(arguments):
    for n in range(100_000):
        print("line", n, "\\u2502 \\udcff")
    raise SystemExit(1)
dp.commands.schema.run = run
"""


@pytest.mark.parametrize("reader", ["head -n 1", "true"])
def test_a_reader_that_has_seen_enough_ends_it_without_a_word(reader):
    status, _, err = call("schema", code=PRINTS, shell=f'"$@" | {reader}')
    assert (status, err) == (141, "")


def test_a_broken_pipe_that_is_no_output_is_an_error(monkeypatch):
    def run(arguments):
        read, write = os.pipe()
        os.close(read)
        os.write(write, b"x")

    schema(monkeypatch, run)
    with open(os.devnull, "w") as nowhere:
        monkeypatch.setattr(sys, "stdout", nowhere)
        monkeypatch.setattr(sys, "stderr", nowhere)
        with pytest.raises(BrokenPipeError):
            cli.main(["schema"])


@pytest.mark.parametrize("code", [PRINTS, PRINTS.replace("100_000", "1")])
def test_an_output_that_is_full_is_one_paragraph(code):
    status, _, err = call("schema", code=code, shell='"$@" > /dev/full')
    assert status == 2 and err.startswith("dp schema: the output: No space left on device.") and err.count("\n") == 1


@pytest.mark.parametrize("closed", [">&-", "2>&-", "<&-", "<&- >&- 2>&-"])
def test_a_closed_stream_becomes_no_file_of_ours(project, closed):
    """Its number would be that of the next file that is opened, and take what is printed."""
    code = PRINTS.replace("range(100_000):", "[0]:\n        file = open('kept', 'w')\n        os.write(2, b'words')")
    status, *_ = call("schema", code=f"import os{code}", shell=f'"$@" {closed}')
    assert status == 1 and (project / "kept").read_text() == ""


def test_what_the_encoding_of_the_output_lacks_is_escaped():
    status, out, err = call("schema", code=PRINTS.replace("100_000", "1"), PYTHONIOENCODING="ascii")
    assert (status, out, err) == (1, "line 0 \\u2502 \\udcff\n", "")
    assert call("schema", code=PRINTS.replace("100_000", "1"), PYTHONIOENCODING="utf-8")[1] == "line 0 │ \\udcff\n"


def test_json_is_json_in_any_encoding(project):
    (project / "params.yaml").write_text((project / "params.yaml").read_text().replace("scale: demo", "scale: smoke"))
    status, out, _ = call("status", "--json", PYTHONIOENCODING="ascii")
    assert status == 0 and json.loads(out)


@pytest.mark.parametrize("number", [errno.EROFS, errno.EACCES, errno.ENOSPC])
def test_what_the_machine_refuses_is_one_paragraph_that_names_the_file(project, monkeypatch, capsys, number):
    def mkstemp(*arguments, **more):
        raise OSError(number, os.strerror(number), "results/.train.jsonl.x.part")

    monkeypatch.setattr(files.tempfile, "mkstemp", mkstemp)
    message = said(capsys, "schema")
    assert message.startswith(f"dp schema: workflow/params.schema.json: {os.strerror(number)}. ")
    assert message.count("\n") == 1


def test_a_mistake_of_ours_keeps_its_traceback(monkeypatch):
    schema(monkeypatch, lambda arguments: os.stat("nowhere"))
    with pytest.raises(FileNotFoundError):
        cli.main(["schema"])


@pytest.mark.parametrize(
    "arguments",
    [("claims", "--table", ""), ("claims", "--claim="), ("sync", "--remote", ""), ("diff", ""), ("diff", "HEAD", "")],
)
def test_an_empty_argument_is_not_taken_for_none(capsys, arguments):
    """What a shell makes of "$TABLE" where there is no such variable."""
    assert ": nothing stands here; name what you mean" in said(capsys, *arguments)


@pytest.mark.parametrize("seconds", ["-1", "0", "nan", "inf", "1e300", "soon"])
def test_an_interval_is_one_that_can_be_slept_for(capsys, seconds):
    assert f"--watch: '{seconds}' is no number of seconds from 0.1 to 86400" in said(
        capsys, "status", f"--watch={seconds}"
    )


@pytest.mark.parametrize("path", ["params.yaml", "workflow/scales/demo.yaml"])
def test_an_empty_file_of_parameters_is_called_empty(project, capsys, path):
    (project / path).write_text("# nothing\n")
    assert said(capsys, "status").startswith(f"dp status: {path} is empty: ")


def test_a_disk_that_fills_while_a_file_is_written_is_named_by_that_file(monkeypatch, capsys):
    """`write` fails without a name; the message must not blame standard output."""

    def full(*arguments, **more):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(files.Path, "write_text", full)
    assert said(capsys, "schema").startswith("dp schema: workflow/params.schema.json: No space left on device. ")
