"""`dp sync`: what it takes over, and what it refuses; tests/test_remotes.py pulls from real remotes."""

import atexit
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path

import pytest
from built_project import commit, environment, git, make
from synthetic_results import change, planted, report, study_in, write_results

from dp.commands import cli
from dp.errors import UserError
from dp.lineage.syncing import check, recorded_settings
from dp.study import resolve

REPORT = "results/report/e2e/results.csv"
PREDICTIONS = "results/evaluate/e2e/tiny-t5/full/toy/fixed/seed0/predictions.jsonl"


@cache
def scratch() -> Path:
    """One folder for this process; DVC keeps its indexes there too."""
    folder = Path(tempfile.mkdtemp(prefix="dp-sync-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def call(root, *command, **more):
    """Run a command of this interpreter's environment in `root`."""
    own = {"OMP_NUM_THREADS": "1", "DVC_SITE_CACHE_DIR": str(scratch() / "dvc"), "AWS_EC2_METADATA_DISABLED": "true"}
    start = subprocess.Popen if more.pop("background", False) else subprocess.run
    return start(command, cwd=root, env=environment(root) | own, text=True, stdin=subprocess.DEVNULL,
                 stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **more)  # fmt: skip


def right(root, *command):
    done = call(root, *command)
    assert done.returncode == 0, done.stdout
    return done.stdout


def sync(root, *arguments):
    """Exit status and words."""
    done = call(root, sys.executable, "-m", "dp", "sync", *arguments)
    return done.returncode, done.stdout


@cache
def recorded() -> Path:
    """A project with a small scale, made by `dvc repro` and committed: what somebody shares. Read only."""
    root = make(scratch() / "project", variants="majority, fixed", seeds="0", steps=4)
    right(root, "dvc", "repro")
    commit(root, "results")
    return root


def clone(folder, remote=None) -> Path:
    """A fresh clone; `remote`: words of `dvc remote add` behind its name."""
    git(folder, "clone", "-q", str(recorded()), "clone")
    if remote:
        right(folder / "clone", "dvc", "remote", "add", "--local", "--default", "store", *remote)
    return folder / "clone"


def checked_out(folder) -> Path:
    """A fresh clone that shares the cache of the project that it is a clone of: `dvc checkout` brings the data."""
    root = clone(folder)
    right(root, "dvc", "cache", "dir", "--local", str(recorded() / ".dvc/cache"))
    right(root, "dvc", "checkout")
    return root


def waiting(root):
    """Rules of the jobs that Snakemake would run."""
    words = right(root, "snakemake", "-np")
    return sorted(re.findall(r"^rule (\w+):", words, re.MULTILINE)) if "Nothing to be done" not in words else []


def up_to_date(root):
    """Both doors have nothing to do, and both bring the bytes of the project."""
    assert waiting(root) == []
    assert "Data and pipelines are up to date" in right(root, "dvc", "status")
    assert "output:" not in right(root, "dvc", "repro"), "dvc repro ran a job"
    return same_bytes(root)


def same_bytes(root):
    files = [path.relative_to(recorded()) for path in (recorded() / "results").rglob("*") if path.is_file()]
    shared = [path for path in files if path.parts[1] != "logs"]
    assert len(shared) > 20 and str(shared).count("report") > 10
    for path in shared:
        assert (root / path).read_bytes() == (recorded() / path).read_bytes(), path
    return True


def untouched(root):
    return not any((root / ".snakemake/metadata").glob("*"))


@pytest.fixture(scope="module")
def synthetic(tmp_path_factory):
    """A synthetic scale, all of it consistent: its folder and its artifacts."""
    root = tmp_path_factory.mktemp("synthetic")
    with pytest.MonkeyPatch.context() as monkeypatch:
        study = study_in(root, monkeypatch)
        write_results(study, planted)
        report()
        return root, resolve.jobs(study)


@pytest.fixture
def complete(synthetic, tmp_path, monkeypatch):
    """Its artifacts, in a copy that is the working directory."""
    root, made = synthetic
    shutil.copytree(root, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")
    check(made)
    return made


def refused(made):
    with pytest.raises(UserError) as raised:
        check(made)
    return str(raised.value)


def training(made):
    return next(one.folder for one in made.values() if one.command == "train")


@pytest.mark.parametrize("command", ["fetch-backbone", "tokenize", "train", "evaluate", "report"])
def test_one_flipped_byte_of_any_output_is_refused(complete, command):
    folder = next(one.folder for one in complete.values() if one.command == command)
    path = sorted(path for path in folder.rglob("*") if path.is_file() and path.name != "record.json")[-1]
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    words = refused(complete)
    assert words.startswith("1 files are not what") and str(path) in words and "Nothing was taken over" in words


def test_a_missing_output_and_an_edited_record_are_refused(complete):
    folder = training(complete)
    (folder / "steps.jsonl").unlink()
    record = folder / "record.json"
    record.write_text(record.read_text().replace('"steps": 120', '"steps": 121'))
    assert str(record) in refused(complete)
    record.write_text(record.read_text().replace('"steps": 121', '"steps": 120'))
    assert str(folder / "steps.jsonl") in refused(complete)


def test_what_was_never_made_is_refused(complete):
    shutil.rmtree(training(complete))
    assert f"{training(complete)} (not made)" in refused(complete)


def test_a_sealed_record_of_other_code_parameters_or_inputs_is_refused(complete):
    """What `dvc commit` would record without asking Snakemake."""
    record = training(complete) / "record.json"
    whole = record.read_bytes()

    def other(edit):
        change(record, lambda value: (edit(value), value)[1])
        words = refused(complete)
        record.write_bytes(whole)
        check(complete)
        return re.findall(r"\((.*?)\)", words)

    assert other(lambda value: value["used"]["code"].update(digest="0" * 64))[0].startswith("code changed: ")
    assert other(lambda value: value["asked"].update(seed=7))[0] == "seed was 7, is 0"
    assert other(lambda value: value["asked"].pop("max_tokens"))[0].startswith("max_tokens was not asked for")
    path = next(path for path in complete if path.name == "tokens") / "tokens.safetensors"
    assert other(lambda value: value["used"]["inputs"].update({str(path): "0" * 64}))[0] == f"input changed: {path}"


def test_a_record_of_a_parameter_that_is_asked_for_no_more_is_refused(complete):
    change(training(complete) / "record.json", lambda value: value["asked"].update(more=1) or value)
    assert "(more was 1, is not asked for)" in refused(complete)


def test_many_damaged_files_are_counted_and_the_first_named(complete):
    for folder, one in complete.items():
        if one.command == "evaluate":
            (folder / "metrics.json").unlink()
            (folder / "predictions.jsonl").unlink()
    assert re.match(r"12 files .* and 2 more\.", refused(complete))


COMMAND = "snakemake --cores all --rerun-incomplete -- train"


def lock(*commands):
    return {str(number): {"cmd": command} for number, command in enumerate(commands)}


def test_the_settings_are_those_of_the_recorded_commands():
    assert recorded_settings(lock(COMMAND, COMMAND)) == []
    set_ = "snakemake --cores all --config scale=paper 'folder=/a b' --rerun-incomplete -- "
    assert recorded_settings(lock(set_ + "train", set_ + "report")) == ["folder=/a b", "scale=paper"]
    with pytest.raises(UserError, match=r"different settings .*0: none, 1: folder=/a b scale=paper"):
        recorded_settings(lock(COMMAND, set_ + "report"))


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (None, "params.yaml does not exist; run from the project's root"),
        ("", "nothing was recorded: run the pipeline"),
        ("stages: {}", "names no stage"),
        ("a: [", "not valid YAML"),
        ("stages: {train: {outs: []}}", "dvc.lock: is not what DVC writes: key 'stages.train.cmd' is missing"),
    ],
)
def test_without_a_usable_lock_there_is_nothing_to_bring(tmp_path, monkeypatch, capsys, content, words):
    monkeypatch.chdir(tmp_path)
    if content is not None:
        Path("params.yaml").write_text("scale: any")
    if content:
        Path("dvc.lock").write_text(content)
    with pytest.raises(SystemExit) as raised:
        cli.main(["sync"])
    assert raised.value.code == 2 and words in capsys.readouterr().err


def test_the_scale_is_not_for_the_caller_to_choose(capsys):
    with pytest.raises(SystemExit) as raised:
        cli.main(["sync", "--set", "scale=smoke"])
    assert raised.value.code == 2 and "leave out --set" in capsys.readouterr().err


@pytest.mark.slow
def test_snakemake_knows_afterwards_what_was_made(tmp_path):
    """Every job has its metadata: a later edit of parameters or code reruns its dependents and no others."""
    root = checked_out(tmp_path)
    status, words = sync(root, "--no-pull")
    assert status == 0 and len(re.findall(r"^  \d+\.\d s$", words, re.MULTILINE)) == 4, words
    assert up_to_date(root)
    assert "missing provenance" not in right(root, "snakemake", "-n", "--forceall")
    path = root / "dp/report/figures/chosen_splits.py"
    code = path.read_text()
    path.write_text(code + "\nEDITED = True\n")
    assert waiting(root) == ["all", "report_scale"]
    path.write_text(code)
    assert waiting(root) == []
    scale = root / "workflow/scales/e2e.yaml"
    scale.write_text(scale.read_text().replace("steps: 4", "steps: 6"))
    assert waiting(root) == ["all", "evaluate_run", "report_scale", "train_run"]
    assert sync(root, "--no-pull")[0] == 2


@pytest.mark.slow
def test_other_code_parameters_or_results_stop_it_with_the_words_of_dvc(tmp_path):
    root = checked_out(tmp_path)
    edits = {"dp/study/search.py": "\n# words\n", "params.yaml": "\n# words\n", "dvc.yaml": None}
    for name, more in edits.items():
        path = root / name
        before = path.read_text()
        path.write_text(before + more if more else before.replace("--rerun-incomplete", "--rerun-triggers mtime"))
        status, words = sync(root, "--no-pull")
        assert status == 2 and "check out the commit" in words and "changed" in words, words
        path.write_text(before)
    (root / PREDICTIONS).write_text("{}")
    status, words = sync(root, "--no-pull")
    assert (
        status == 2 and "modified:           results/evaluate" in words and "`dvc checkout --force` restores" in words
    )
    assert untouched(root)


@pytest.mark.slow
def test_unsaved_results_of_another_scale_are_never_removed(tmp_path):
    root = clone(tmp_path, [str(tmp_path / "remote")])
    right(recorded(), "dvc", "remote", "add", "--local", "--force", "--default", "store", str(tmp_path / "remote"))
    right(recorded(), "dvc", "push")
    mine = root / "results/train/open/mine.txt"
    mine.parent.mkdir(parents=True)
    mine.write_text("made here")
    status, words = sync(root)
    assert status == 2 and "mine.txt" in words and "`dvc pull` failed" in words, words
    assert mine.read_text() == "made here" and untouched(root)


@pytest.mark.slow
def test_another_snakemake_in_the_folder_is_refused_by_its_lock(tmp_path):
    root = checked_out(tmp_path)
    (root / "Snakefile").write_text((root / "Snakefile").read_text() + WAITING)
    git(root, "commit", "-qam", "wait")
    right(root, "dvc", "commit", "--force")
    assert sync(root, "--no-pull")[0] == 0
    process = call(root, "snakemake", "--cores", "1", "wait", background=True)
    while not (root / "waiting").exists() and process.poll() is None:
        time.sleep(0.05)
    status, words = sync(root, "--no-pull")
    (root / "go").touch()
    process.communicate()
    assert status == 2 and "cannot be locked" in words and "another sync works in this folder" in words, words
    status, words = sync(root, "--no-pull")
    assert status == 0, words


WAITING = """
rule wait:
    input: "results/report/e2e/results.csv"
    output: "waited"
    shell: "touch waiting; until [ -e go ]; do sleep 0.1; done; touch waited"
"""


@pytest.mark.slow
@pytest.mark.parametrize("last", ["pulling", "taking"])
def test_an_interrupted_sync_leaves_nothing_half_and_goes_on(tmp_path, last):
    right(recorded(), "dvc", "remote", "add", "--local", "--force", "--default", "store", str(tmp_path / "remote"))
    right(recorded(), "dvc", "push")
    root = clone(tmp_path, [str(tmp_path / "remote")])
    # What a shell runs in the background ignores SIGINT, and so would this.
    process = call(root, sys.executable, "-m", "dp", "sync", background=True, start_new_session=True,
                   preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))  # fmt: skip
    for line in process.stdout:
        if line.startswith(last):
            break
    time.sleep(1 if last == "taking" else 0.3)
    os.killpg(process.pid, signal.SIGINT)
    words = process.communicate()[0]
    assert process.returncode == 130 and "goes on from what is here" in words, words
    status, words = sync(root)
    assert status == 0 and up_to_date(root), words
