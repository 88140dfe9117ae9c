"""What became of each artifact, exactly; what the rest will take; and what a person reads of it."""

import io
import json
import os
import pty
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest
from conftest import PATIENCE, ROOT
from synthetic_results import change, predictions, study_in, write_record, write_results

from dp import files, paths
from dp.commands import cli
from dp.jobs import mark as state
from dp.jobs import project, stale
from dp.jobs.job import Job
from dp.lineage import standings as status
from dp.lineage import status_text
from dp.lineage.standings import Spent, Standing, Survey, left
from dp.study.resolve import jobs

REGIMES = [{"kind": "full"}, {"kind": "fewshot", "k": [4], "sample_seeds": [0, 1]}, {"kind": "multitask"}]
CHANGES = {"regimes": REGIMES, "variants": ["majority", "fixed", "adap_ins_pos"], "seeds": [0, 1]}
TRAINED = Path("results/train/synthetic/tiny-t5/full/alpha/fixed/seed1")
EVALUATED = Path("results/evaluate/synthetic/tiny-t5/full/alpha/fixed/seed1")
REPORT = paths.report("synthetic")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A folder in which everything is made, a report of one word too."""
    root = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as patch:
        found = study_in(root, patch, **CHANGES)
        write_results(found, lambda cell: predictions(0.8, cell.seed))
        files.write_text(REPORT / "results.csv", "word\n")
        write_record(jobs(found)[REPORT], {"outputs": ["results.csv"]})
    return root


@pytest.fixture
def study(made, tmp_path, monkeypatch):
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    return study_in(tmp_path, monkeypatch, **CHANGES)


def states(study, survey=None):
    """Folder -> (state, why) of all that is not done."""
    found = (survey or Survey(study)).standings()
    return {folder.as_posix(): (one.state, one.why) for folder, one in found.items() if one.state != "done"}


def mark(folder, **changes):
    own = {"state": "running", "command": "train", "pid": os.getpid(), "host": os.uname().nodename, "started": 1e9}
    files.write_json(paths.state(folder), own | changes)


def dead():
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


STALE_REPORT = {str(REPORT): ("stale", "what it reads is stale")}
READS_MISSING = ("stale", "what it reads is missing")


def test_all_is_done(study):
    assert states(study) == {}
    found = Survey(study).standings()
    assert len(found) == 2 + 1 + 2 + 2 + (2 * 2 * 2 * 3 + 2 * 2) + (5 * 2 * 3 + 5 * 2) + 1
    assert Counter(one.job.command for one in found.values())["evaluate"] == 2 * (3 + 1) * (2 * 2 + 1)


def test_nothing_is_made(tmp_path, monkeypatch):
    study = study_in(tmp_path, monkeypatch, **CHANGES)
    found = Survey(study).standings().values()
    assert {(one.state, one.why, one.mark, one.cost) for one in found} == {("missing", None, None, None)}


def test_a_parameter(study, tmp_path, monkeypatch):
    changed = study_in(tmp_path, monkeypatch, **CHANGES, overrides={"fixed": {"steps": 160}})
    found = states(changed)
    assert set(found.values()) == {("stale", "training.steps was 120, is 160"), ("stale", "what it reads is stale")}
    assert {folder for folder, (_, why) in found.items() if why == "what it reads is stale"} == {str(REPORT)}
    assert {folder for folder in found if "/fixed/" not in folder} == {str(REPORT)}
    assert len(found) == (2 * 3 * 2 + 2) + 2 * 4 * 2 + 1


def test_code(study):
    def edited(record):
        record["used"]["code"]["digest"] = "0" * 64
        record["used"]["code"]["modules"]["dp/training/loop.py"] = "0" * 64
        return record

    change(TRAINED / "record.json", edited)
    changed = ("stale", f"input changed: {TRAINED}/record.json")
    assert states(study) == {str(TRAINED): ("stale", "code changed: dp/training/loop.py"), str(EVALUATED): changed,
                             str(REPORT): changed}  # fmt: skip


def test_a_record_is_gone(study):
    (TRAINED / "record.json").unlink()
    assert states(study) == {str(TRAINED): ("missing", None), str(EVALUATED): READS_MISSING, str(REPORT): READS_MISSING}


def test_an_output_is_gone(study):
    (EVALUATED / "predictions.jsonl").unlink()
    assert states(study) == {str(EVALUATED): ("missing", "an output is gone"), str(REPORT): READS_MISSING}


@pytest.mark.parametrize("text", ["{", "[]", "null", '{"made": {}}'])
def test_a_record_that_is_none(study, text):
    (EVALUATED / "record.json").write_text(text)
    assert states(study) == {str(EVALUATED): ("stale", "its record cannot be read")} | STALE_REPORT


def test_an_input_that_was_made_anew(study):
    """The tuned prompt is another; the evaluation still rests on the one before."""
    change(TRAINED / "steps.jsonl", lambda lines: lines[:-1])
    changed = ("stale", f"input changed: {TRAINED}/record.json, {TRAINED}/steps.jsonl")
    assert states(study) == {str(EVALUATED): changed, str(REPORT): changed}
    change(TRAINED.with_name("seed0") / "steps.jsonl", lambda lines: lines[:-1])
    assert printed(study)[-2:] == ["2 x evaluate: input changed", "1 x report: input changed"]


def test_a_task_file(study, monkeypatch):
    of = project.project_digest
    monkeypatch.setattr(stale, "project_digest", lambda name: files.sha256(task) if name == str(task) else of(name))
    rows = paths.task_rows("alpha", "made_up")
    task = Path("dp/tasks/alpha.yaml")

    def read_it(record):
        record["used"]["inputs"][str(task)] = files.sha256(task)
        return record

    files.write_text(task, "version: 1\n")
    for folder in (rows, paths.tokens("synthetic", "tiny-t5", "alpha")):
        change(folder / "record.json", read_it)
    write_record(jobs(study)[REPORT], {"outputs": ["results.csv"]})
    assert states(study) == {}
    files.write_text(task, "version: 2\n")
    found = states(study)
    assert found[str(rows)] == ("stale", f"input changed: {task}")
    assert {folder for folder in found if "/full/beta/" in folder or "/majority/" in folder} == {
        folder for folder in found if "/alpha/majority/" in folder
    }


def test_a_job_runs(study):
    mark(TRAINED)
    expected = {str(TRAINED): ("running", None), str(EVALUATED): ("stale", "what it reads is running")}
    assert states(study) == expected | {str(REPORT): ("stale", "what it reads is running")}
    (TRAINED / "record.json").unlink()
    assert states(study)[str(TRAINED)] == ("running", None)


def test_a_job_failed(study):
    mark(EVALUATED, state="failed", error="UserError: no")
    assert states(study) == {}, "it was made since, as by `dvc checkout`"
    (EVALUATED / "metrics.json").unlink()
    expected = {str(EVALUATED): ("failed", None), str(REPORT): ("stale", "what it reads is failed")}
    assert states(study) == expected
    assert Survey(study).standings()[EVALUATED].mark["error"] == "UserError: no"


def test_a_job_was_killed(study):
    pid = dead()
    for folder in (TRAINED, EVALUATED):
        mark(folder, pid=pid)
    assert states(study) == {}, "what they had made before is still there"
    for folder in (TRAINED, EVALUATED):
        (folder / "record.json").unlink()
    killed = {str(TRAINED): ("missing", "killed; resumes from its last checkpoint"),
              str(EVALUATED): ("missing", "killed; the same command runs again")}  # fmt: skip
    assert states(study) == killed | {str(REPORT): READS_MISSING}


def test_on_another_host_a_job_counts_as_running(study):
    mark(TRAINED, pid=dead(), host="elsewhere")
    assert states(study)[str(TRAINED)] == ("running", None)


@pytest.mark.parametrize(
    ("squeue", "state"),
    [
        ("echo RUNNING", "running"),
        ("true", "missing"),  # it ended a while ago
        ("echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1", "missing"),
        ("echo 'slurm_load_jobs error: Unable to contact slurm controller' >&2; exit 1", "running"),
    ],
)
def test_of_a_job_on_another_host_slurm_can_tell(study, tmp_path, monkeypatch, squeue, state):
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/squeue").write_text(f'#!/bin/sh\n[ "$4" = 17 ] || exit 3\n{squeue}\n')
    (tmp_path / "bin/squeue").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'bin'}:{os.environ['PATH']}")
    (TRAINED / "record.json").unlink()
    mark(TRAINED, pid=dead(), host="elsewhere", slurm_job="17")
    assert states(study)[str(TRAINED)][0] == state


def test_what_slurm_printed_of_a_job_is_named_the_newest(study):
    (TRAINED / "record.json").unlink()
    mark(TRAINED, pid=dead())
    standing = next(one for folder, one in Survey(study).standings().items() if folder == TRAINED)
    own = standing.log
    for number, text in ((1, f"    log: {own}\n"), (3, f"    log: {own}\n"), (4, f"    log: {own.parent}/other.log\n")):
        path = Path(f"results/logs/slurm/rule_train_run/{number}.log")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        os.utime(path, (number, number))
    assert standing.logs["cluster_log"] == "results/logs/slurm/rule_train_run/3.log"


def test_a_survey_sees_what_changed_since_its_last_look(study):
    survey = Survey(study)
    assert states(study, survey) == {}
    path = EVALUATED / "record.json"
    whole = path.read_text()
    path.write_text("{")
    assert states(study, survey) == {str(EVALUATED): ("stale", "its record cannot be read")} | STALE_REPORT
    path.unlink()
    assert states(study, survey)[str(EVALUATED)] == ("missing", None)
    path.write_text(whole)
    assert states(study, survey) == {}


def job(folder, command="train", state="done", cost=None):
    return Standing(Job(Path("results", folder), command, {}, ()), state, cost=cost)


def runs(count, *costs, where="b/full/t/v"):
    return [job(f"train/s/{where}/seed{n}", cost=cost) for n, cost in enumerate(costs)] + [
        job(f"train/s/{where}/seed{n + 50}", state="missing") for n in range(count)
    ]


def core(*hours):
    return [Spent("core", one) for one in hours]


def test_the_rest_takes_the_median_of_the_nearest_that_are_done():
    same = runs(2, *core(1, 2, 9))
    assert left(same, same) == ({"gpu": 0, "core": 4}, 0)
    other_task = [*same, *runs(1, where="b/full/t2/v")]
    assert left(other_task, other_task).hours == {"gpu": 0, "core": 6}
    few = [*runs(0, *core(5), where="b/fewshot-k4-s0/t/v"), *runs(3, *core(1), where="b/full/t/v"),
           *runs(1, where="b/fewshot-k8-s1/t/v")]  # fmt: skip
    assert left(few, few) == ({"gpu": 0, "core": 3 * 1 + 5}, 0)
    other_variant = [*runs(0, *core(1, 2, 6)), *runs(1, where="b/full/t/w")]
    assert left(other_variant, other_variant).hours["core"] == 2
    other_backbone = [*runs(0, *core(1, 2)), *runs(0, *core(7), where="c/full/t/v"), *runs(1, where="d/full/t/v")]
    assert left(other_backbone, other_backbone).hours["core"] == 2
    near = [*runs(0, *core(1, 1, 1), where="c/full/t/v"), *runs(1, *core(4), where="b/full/t/w"), *runs(1)]
    assert left(near, near).hours["core"] == 4 + 4
    stranger = [*same, job("evaluate/s/b/full/t/v/seed0", "evaluate", "failed"), job("report/s", "report", "stale")]
    assert left(stranger, stranger) == ({"gpu": 0, "core": 4}, 2)


def test_only_done_ones_tell_and_what_is_done_takes_nothing():
    some = [job("train/s/b/full/t/v/seed0", state="stale"), job("train/s/b/full/t/v/seed1", state="running")]
    assert left(some, some) == ({"gpu": 0, "core": 0}, 2)
    done = runs(0, *core(1, 2))
    assert left(done, done) == ({"gpu": 0, "core": 0}, 0)
    assert left([], done) == ({"gpu": 0, "core": 0}, 0)


def test_hours_of_gpus_and_of_cores_are_apart():
    mixed = runs(2, Spent("gpu", 1), Spent("gpu", 3), Spent("gpu", 4), Spent("core", 100), Spent("core", 300))
    assert left(mixed, mixed) == ({"gpu": 6, "core": 0}, 0)
    assert status.costs(mixed) == {"gpu": 8, "core": 400}


def test_a_record_tells_its_cost(study):
    def of(device, threads):
        def changed(record):
            record["with"] |= {"device": device, "threads": threads}
            record["made"]["wall_seconds"] = 1800
            return record

        change(TRAINED / "record.json", changed)
        return Survey(study).standings()[TRAINED].cost

    assert of("cpu", 4) == Spent("core", 2.0)
    assert of("cpu", None) == Spent("core", 0.5)
    assert of("NVIDIA H100", 4) == Spent("gpu", 0.5)
    assert status.costs(Survey(study).standings().values())["gpu"] == 0.5


def test_grids(study):
    (TRAINED / "record.json").unlink()
    full, few, union = status.grids(study, Survey(study).standings().values())
    assert [(one.backbone, one.regime, one.tasks) for one in (full, few, union)] == [
        ("tiny-t5", "full", ["alpha", "beta"]),
        ("tiny-t5", "fewshot-k4", ["alpha", "beta"]),
        ("tiny-t5", "multitask", ["all", "alpha", "beta"]),
    ]
    assert list(full.rows) == ["majority", "fixed", "adap_ins_pos"]
    assert full.rows["majority"] == {task: {"evaluate": {"done": 1}} for task in ("alpha", "beta")}
    assert full.rows["fixed"]["alpha"] == {"train": {"done": 1, "missing": 1}, "evaluate": {"done": 1, "stale": 1}}
    assert full.rows["fixed"]["beta"] == {"train": {"done": 2}, "evaluate": {"done": 2}}
    assert few.rows["fixed"]["alpha"] == {"train": {"done": 4}, "evaluate": {"done": 4}}
    assert few.rows["majority"]["alpha"] == {"evaluate": {"done": 2}}
    assert union.rows["fixed"] == {"all": {"train": {"done": 2}}, "alpha": {"evaluate": {"done": 2}},
                                   "beta": {"evaluate": {"done": 2}}}  # fmt: skip


def printed(study):
    """The page's lines, with each run of blanks as one."""
    text = io.StringIO()
    status_text.print_page(study, list(Survey(study).standings().values()), text)
    return [re.sub(r"\s+", " ", line).strip() for line in text.getvalue().splitlines()]


def test_the_page(study):
    other = Path("results/train/synthetic/tiny-t5/full/alpha/adap_ins_pos/seed0")
    mark(TRAINED, started=0)
    mark(other, state="failed", error="UserError: too [red]hot[/red]")
    (other / "record.json").unlink()
    files.write_text(Path("results/logs/train/synthetic/tiny-t5/full/alpha/adap_ins_pos/seed0.log"), "hot\n")
    lines = printed(study)
    assert "majority eval 1/1 eval 1/1" in lines
    assert "fixed 1/2 +1 running, eval 1/2 1 stale 2/2" in lines
    assert "adap_ins_pos 1/2 1 failed, eval 1/2 1 stale 2/2" in lines
    assert "tiny-t5, fewshot-k4: all done (16 trainings and 20 evaluations)" in lines
    assert "tiny-t5, multitask: all done (4 trainings and 10 evaluations)" in lines
    assert "train 28 26 1 1 0 0 5.4 core min 25 core s" in lines
    assert "evaluate 40 38 0 0 2 0 7.9 core min 25 core s" in lines
    assert "report 1 0 0 0 1 0 unknown for 1 artifact" in lines
    assert "all 76 71 1 1 3 0 15 core min 50 core s, unknown for 1 artifact" in lines
    assert "spent 15 core min; left 50 core s, unknown for 1 artifact" in lines
    running = next(line for line in lines if line.startswith(str(TRAINED)))
    assert re.fullmatch(rf"{TRAINED} on {os.uname().nodename}, process {os.getpid()}, since \d+ h \d+ min", running)
    log = "results/logs/train/synthetic/tiny-t5/full/alpha/adap_ins_pos/seed0.log"
    assert f"{other}: UserError: too [red]hot[/red] (log: {log})" in lines
    assert lines[lines.index("stale, by reason") + 1 :] == [
        "1 x evaluate: what it reads is running",
        "1 x evaluate: what it reads is failed",
        "1 x report: what it reads is running",
    ]


def test_what_was_not_begun_is_a_line(tmp_path, monkeypatch):
    lines = printed(study_in(tmp_path, monkeypatch, **CHANGES))
    assert lines[:3] == [
        "tiny-t5, full: nothing yet (8 trainings and 10 evaluations)",
        "tiny-t5, fewshot-k4: nothing yet (16 trainings and 20 evaluations)",
        "tiny-t5, multitask: nothing yet (4 trainings and 10 evaluations)",
    ]
    assert lines[-1] == "spent nothing; left unknown for 76 artifacts"


@pytest.mark.parametrize(
    ("trained", "evaluated", "text"),
    [
        ({"done": 3}, {"done": 3}, "3/3"),
        ({"done": 7}, {"done": 3}, "7/7"),
        ({"missing": 7}, {"missing": 3}, "0/7"),
        ({"done": 3}, {"done": 1, "missing": 2}, "3/3, eval 1/3"),
        ({"done": 1, "missing": 2}, {"done": 1, "missing": 2}, "1/3"),
        ({"done": 1, "missing": 6}, {"done": 1, "missing": 2}, "1/7, eval 1/3"),
        ({"done": 1, "running": 1, "failed": 1}, {}, "1/3 +1 running 1 failed"),
        ({}, {"done": 2, "stale": 1}, "eval 2/3 1 stale"),
        ({}, {}, ""),
    ],
)
def test_a_cell(trained, evaluated, text):
    counts = {"train": Counter(trained), "evaluate": Counter(evaluated)}
    assert status_text._cell({name: count for name, count in counts.items() if count}).plain == text


@pytest.mark.parametrize(
    ("hours", "text"), [(1234.4, "1,234 core h"), (10, "10 core h"), (9.87, "9.9 core h"), (1, "1.0 core h"),
                        (0.5, "30 core min"), (0.05, "3.0 core min"), (0.01, "36 core s"), (1e-6, "0.0 core s")],
)  # fmt: skip
def test_an_amount(hours, text):
    assert status_text._amount(hours, "core") == text


def test_a_pipe_gets_whole_lines_without_colour(study, monkeypatch, capsys):
    monkeypatch.setenv("COLUMNS", "40")
    mark(TRAINED)
    cli.main(["status", "--set", "scale=synthetic"])
    text = capsys.readouterr().out
    assert "\x1b" not in text
    assert f"  {TRAINED} on " in text
    assert not [line for line in text.splitlines() if line != line.rstrip()]


def test_a_pipe_gets_tables_as_wide_as_they_are(tmp_path, monkeypatch, capsys):
    names = [f"a_task_with_a_long_name_{n}" for n in range(8)]
    study_in(tmp_path, monkeypatch, tasks={"made_up": names})
    mark(Path(f"results/train/synthetic/tiny-t5/full/{names[3]}/fixed/seed0"))
    cli.main(["status", "--set", "scale=synthetic"])
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert ["variant", *names] in lines


def test_watching_a_pipe_prints_once_and_says_so(study, capsys):
    cli.main(["status", "--set", "scale=synthetic", "--watch"])
    text = capsys.readouterr().out
    assert text.count("scale synthetic") == 1
    assert text.endswith("--watch: standard output is no terminal, so this was printed once.\n")


def test_json(study, capsys):
    mark(TRAINED, state="failed", error="no")
    (TRAINED / "record.json").unlink()
    cli.main(["status", "--set", "scale=synthetic", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["scale"] == "synthetic" and found["artifacts"] == 76
    assert found["states"] == {"done": 73, "running": 0, "failed": 1, "stale": 2, "missing": 0}
    assert {name: phase["artifacts"] for name, phase in found["phases"].items()} == {
        "download": 3, "tokenize": 4, "train": 28, "evaluate": 40, "report": 1}  # fmt: skip
    assert found["spent_hours"] == {"gpu": 0, "core": pytest.approx(73 * 12.5 / 3600)}
    assert found["left_hours"] == {"gpu": 0, "core": pytest.approx(2 * 12.5 / 3600)}
    assert found["left_unknown"] == 1
    assert [(one["folder"], one["state"], one["why"]) for one in found["not_done"]] == [
        (str(TRAINED), "failed", None),
        (str(EVALUATED), "stale", "what it reads is failed"),
        (str(REPORT), "stale", "what it reads is failed"),
    ]
    assert found["not_done"][0]["mark"]["error"] == "no" and found["not_done"][0]["log"] is None
    assert found["grids"][0]["rows"]["fixed"]["alpha"]["train"] == {"done": 1, "failed": 1}


def test_watch_and_json_exclude_each_other(study, capsys):
    with pytest.raises(SystemExit) as stop:
        cli.main(["status", "--watch", "1", "--json"])
    assert stop.value.code == 2 and "not allowed with" in capsys.readouterr().err


def test_a_terminal_is_watched_until_ctrl_c(study):
    """The view changes while it is watched, and ends without a traceback."""
    leader, follower = pty.openpty()
    command = [sys.executable, "-m", "dp", "status", "--set", "scale=synthetic", "--watch", "0.1"]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "120", "LINES": "60"}
    process = subprocess.Popen(command, stdin=follower, stdout=follower, stderr=follower, env=environment,
                               start_new_session=True, preexec_fn=_take_terminal)  # fmt: skip
    os.close(follower)
    shown = _until(leader, "left nothing")
    (EVALUATED / "record.json").unlink()
    shown += _until(leader, "unknown for 1 artifact")
    os.write(leader, b"\x03")
    shown += _rest(leader)
    assert process.wait(30) == 0
    os.close(leader)
    assert "Traceback" not in shown and "KeyboardInterrupt" not in shown


def _take_terminal():
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # what a shell runs in the background ignores it


def _until(descriptor, words):
    text, end = "", time.monotonic() + PATIENCE
    while words not in text:
        assert time.monotonic() < end, f"{words!r} is not shown: {text[-2000:]}"
        text += os.read(descriptor, 1 << 16).decode(errors="replace")
    return text


def _rest(descriptor):
    """All that comes until the other side is closed: who writes to a full terminal waits for a reader."""
    text = ""
    try:
        while read := os.read(descriptor, 1 << 16):
            text += read.decode(errors="replace")
    except OSError:
        pass
    return text


def test_state_marks_of_the_commands_are_those_that_are_read(study):
    """The folder that a job marks is the one that is looked at."""
    (TRAINED / "record.json").unlink()
    with pytest.raises(ZeroDivisionError), state.marked(TRAINED, "train"):
        assert states(study)[str(TRAINED)] == ("running", None)
        raise ZeroDivisionError("of its own")
    assert Survey(study).standings()[TRAINED].mark["error"] == "ZeroDivisionError: of its own"
