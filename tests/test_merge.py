"""`dp sync --merge`: what sites made of one scale becomes a consistent whole, and nothing is lost on the way."""

import re
import shutil
import subprocess
import sys
from collections import Counter
from functools import partial
from pathlib import Path

import pytest
from built_project import commit, git, jobs, make, run, short
from synthetic_results import change, planted, study_in, vouch, write_record, write_results

from dp import files
from dp.commands import cli
from dp.errors import Interrupted, UserError
from dp.jobs.inputs import inputs_of
from dp.jobs.record import sealed
from dp.lineage import merging
from dp.lineage.sites import Site
from dp.lineage.versions import HERE, Left, offered
from dp.lineage.whole import consistent
from dp.study import resolve

TRAINING = Path("results/train/synthetic/tiny-t5/full/alpha/fixed/seed0")
EVALUATION = Path("results/evaluate/synthetic/tiny-t5/full/alpha/fixed/seed0")
REPORT = Path("results/report/synthetic")


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A synthetic scale and what stands for its report, all consistent: its folder, its study and its jobs."""
    root = tmp_path_factory.mktemp("made")
    with pytest.MonkeyPatch.context() as monkeypatch:
        study = study_in(root, monkeypatch)
        write_results(study, planted)
        asked = resolve.jobs(study)
        for name in asked[REPORT].outputs:
            files.write_text(REPORT / name, name)
        write_record(asked[REPORT], {"outputs": asked[REPORT].outputs})
        return root, study, asked


@pytest.fixture
def sites(made, tmp_path, monkeypatch):
    """Makes a site: as if all had been made on its host, with other files where `edits` (file -> change of it) says so,
    and without what is of the `lacking` tasks."""

    def make_one(name, edits=None, lacking=(), with_report=False):
        root = tmp_path / name
        shutil.copytree(made[0], root)
        monkeypatch.chdir(root)
        for folder, job in made[2].items():
            if set(folder.parts) & set(lacking) or (job.command == "report" and not with_report):
                shutil.rmtree(folder)
                continue
            for path, edit in (edits or {}).items():
                if path.parent == folder:
                    path.write_text(edit(path.read_text()))
            record = {key: value for key, value in files.read_json(folder / "record.json").items() if key != "seal"}
            record["with"]["host"] = f"host-{name}"
            record["made"]["outputs"] = vouch(folder, job.outputs)
            record["used"]["inputs"] = {path: digest for path, digest in inputs_of(job).items() if digest}
            files.write_json(folder / "record.json", sealed(record))
        return root

    monkeypatch.chdir(made[0])
    return make_one


def whole_of(made, roots, *prefer):
    versions, unfit = offered(made[2], roots)
    whole = consistent(made[2], versions, list(roots), prefer)
    # Whatever is taken was made from what is taken, by the bytes on disk.
    for folder, one in whole.taken.items():
        read = files.read_json(one.root / folder / "record.json")["used"]["inputs"]
        for path, digest in read.items():
            if path.startswith("results/"):
                source = whole.taken[Path(path).parent].root
                assert files.sha256(source / path) == digest, (folder, path)
    return whole, unfit


def of(whole):
    """Folder -> names of the sites that have what is taken."""
    return {folder: one.sites for folder, one in whole.taken.items()}


def timed(seconds):
    """A log of the same run in which every step took so long."""
    return {TRAINING / "steps.jsonl": lambda text: text.replace('"splits"', f'"seconds": {seconds}, "splits"')}


OTHER = {
    TRAINING / "tuned.safetensors": lambda text: text.replace("tuned", "rounded"),
    EVALUATION / "predictions.jsonl": lambda text: text.replace('"prediction": 1', '"prediction": 0', 1),
}


def test_parts_of_two_sites_make_a_whole_that_lacks_the_report_alone(made, sites):
    roots = {"a": sites("a", lacking=["beta"]), "b": sites("b", lacking=["alpha"])}
    whole, unfit = whole_of(made, roots)
    assert not whole.conflicts and not unfit and not whole.left
    assert set(made[2]) - set(whole.taken) == {REPORT}
    for folder, names in of(whole).items():
        assert names == (("b",) if "beta" in folder.parts else ("a",)), folder


def test_the_same_bytes_at_both_are_one_version_of_both(made, sites):
    root = sites("a", with_report=True)
    whole, _ = whole_of(made, {"a": root, "b": root})
    assert set(of(whole).values()) == {("a", "b")} and set(whole.taken) == set(made[2])


@pytest.mark.parametrize("preferred", ["a", "b"])
def test_a_conflict_is_named_at_its_root_and_takes_what_rests_on_it_along(made, sites, preferred):
    roots = {"a": sites("a"), "b": sites("b", OTHER)}
    whole, _ = whole_of(made, roots)
    (conflict,) = whole.conflicts
    assert conflict.folder == TRAINING and not conflict.settled and conflict.rests == [1, 1]
    assert all(f"{name} (host-{name}, 2026-01-02T03:04:05+00:00), 1 rest on it" in str(conflict) for name in "ab")
    assert f"{TRAINING}: tuned.safetensors: " in str(conflict)
    whole, _ = whole_of(made, roots, preferred)
    (conflict,) = whole.conflicts
    assert conflict.settled and conflict.taken is whole.taken[TRAINING]
    assert of(whole)[TRAINING] == of(whole)[EVALUATION] == (preferred,)
    left = {(one.site, one.job.folder, one.why.partition(" (")[0]) for one in whole.left}
    loser = "b" if preferred == "a" else "a"
    assert left == {(loser, TRAINING, "differs from what is taken"), (loser, EVALUATION, "rests on what is not taken")}
    assert set(made[2]) - set(whole.taken) == {REPORT}


def test_a_third_sites_conflict_is_not_settled_by_preferring_who_has_no_part_in_it(made, sites):
    roots = {"a": sites("a"), "b": sites("b", OTHER), "c": sites("c", lacking=["alpha"])}
    for name in "ab":  # so that nothing rests on either
        shutil.rmtree(roots[name] / EVALUATION)
    assert not whole_of(made, roots, "c")[0].conflicts[0].settled
    assert of(whole_of(made, roots, "c", "b")[0])[TRAINING] == ("b",)


@pytest.mark.parametrize("prefer", [(), ("a",)])
def test_other_times_are_no_conflict_and_what_most_rests_on_is_taken(made, sites, prefer):
    """Evaluations read the record of their training: one of b cannot go with a training of a, however alike."""
    roots = {"a": sites("a", timed(1.0)), "b": sites("b", timed(2.0))}
    shutil.rmtree(roots["a"] / EVALUATION)
    whole, _ = whole_of(made, roots, *prefer)
    assert not whole.conflicts and not whole.left
    assert of(whole)[TRAINING] == of(whole)[EVALUATION] == ("b",)
    assert of(whole)[Path(str(TRAINING).replace("fixed", "adap_ins_pos"))] == ("a",)


@pytest.mark.parametrize("preferred", ["a", "b"])
def test_evaluations_that_differ_though_their_trainings_are_alike_are_a_conflict(made, sites, preferred):
    """The record of the other training hides none; and whoever is preferred has its own training taken along."""
    predictions = EVALUATION / "predictions.jsonl"
    roots = {"a": sites("a", timed(1.0)), "b": sites("b", timed(2.0) | {predictions: OTHER[predictions]})}
    (conflict,) = whole_of(made, roots)[0].conflicts
    assert conflict.folder == EVALUATION and "prediction was 1, is 0" in str(conflict)
    whole, _ = whole_of(made, roots, preferred)
    assert of(whole)[TRAINING] == of(whole)[EVALUATION] == (preferred,)


def test_what_is_damaged_or_of_something_else_is_left_and_taken_from_another(made, sites):
    roots = {"a": sites("a"), "b": sites("b", timed(2.0))}
    path = roots["b"] / EVALUATION / "predictions.jsonl"
    path.write_text(path.read_text()[:-7])
    change(roots["a"] / TRAINING / "record.json", lambda record: record | {"asked": record["asked"] | {"seed": 7}})
    whole, unfit = whole_of(made, roots)
    assert {(one.site, one.job.folder, one.why) for one in unfit} == {
        ("a", TRAINING, "seed was 7, is 0"),
        ("b", EVALUATION, "predictions.jsonl not what its job wrote"),
    }
    assert of(whole)[TRAINING] == ("b",) and EVALUATION not in whole.taken
    assert [(one.site, one.job.folder) for one in whole.left] == [("a", EVALUATION)]


# --- into a clone


@pytest.fixture
def clone(made, sites, monkeypatch):
    """Calls `merge` in a site's folder, with the folders of others in place of what DVC would bring. Returns what
    Snakemake was asked to take for made."""

    def call(here, roots, *prefer):
        targets = []

        def snakemake(*arguments, settings, targets=()):
            if "--touch" in arguments:
                touched.extend(targets)
            return subprocess.CompletedProcess([], 0, "Nothing to be done", "")

        touched = targets
        monkeypatch.chdir(here)
        monkeypatch.setattr(merging, "bring", lambda sites, fetch: roots)
        monkeypatch.setattr(merging.doors, "snakemake", snakemake)
        merging.merge(made[1], [], [Site(name, None) for name in roots], list(prefer))
        return touched

    return call


def bytes_of(root):
    return {path.relative_to(root): path.read_bytes() for path in (root / "results").rglob("*") if path.is_file()}


def test_what_is_missing_comes_and_what_lies_here_stays(made, sites, clone, capsys):
    here, there = sites("here", lacking=["beta"]), sites("b")
    before, theirs = bytes_of(here), bytes_of(there)
    touched = clone(here, {"b": there})
    after = bytes_of(here)
    assert before.items() <= after.items()
    assert all(theirs[path] == after[path] for path in after.keys() - before.keys())
    assert after.keys() == {path for path in theirs if REPORT not in path.parents}
    assert touched == [f"{folder}/record.json" for folder in made[2] if folder != REPORT]
    words = capsys.readouterr().out
    counts = Counter("beta" in folder.parts for folder in made[2] if folder != REPORT)
    assert f"{len(made[2]) - 1} of {len(made[2])} artifacts: {counts[False]} here, {counts[True]} from b; 1 to" in words


def test_nothing_that_lies_here_is_overwritten(made, sites, clone, capsys):
    """Neither without a word nor with one: what gives way, and what rested on it, is kept."""
    here, there = sites("here", with_report=True), sites("b", OTHER)
    before = bytes_of(here)
    with pytest.raises(UserError, match=r"1 artifacts differ between here and b.*Nothing was merged"):
        clone(here, {"b": there})
    assert bytes_of(here) == before
    clone(here, {"b": there}, HERE)
    assert bytes_of(here) == before
    clone(here, {"b": there}, "b")
    after = bytes_of(here)
    assert files.sha256(here / TRAINING / "record.json") == files.sha256(there / TRAINING / "record.json")
    (kept,) = (here / "results/replaced").iterdir()
    for path, content in before.items():
        gone = {TRAINING, EVALUATION, REPORT} & set(path.parents)
        assert after[kept.relative_to(here) / path.relative_to("results") if gone else path] == content, path
    assert f"3 artifacts that lay here gave way; they are kept in {kept.relative_to(here)}" in capsys.readouterr().out
    assert not (here / REPORT).exists() and (here / EVALUATION).is_dir()


@pytest.mark.parametrize("after", [0, 1, 4])
def test_a_merge_that_is_stopped_leaves_whole_artifacts_and_goes_on(made, sites, clone, monkeypatch, after):
    here, there = sites("here", lacking=["beta"]), sites("b", OTHER)
    count, copyfile = iter(range(100)), shutil.copyfile

    def stopped(source, target):
        copyfile(source, target)
        if next(count) == after:
            raise KeyboardInterrupt

    monkeypatch.setattr(shutil, "copyfile", stopped)
    with pytest.raises(Interrupted, match="the same command goes on"):
        clone(here, {"b": there}, "b")
    for record in (here / "results").glob("[!.]*/**/record.json"):
        outputs = files.read_json(record)["made"]["outputs"]
        assert all(files.sha256(record.parent / name) == digest for name, digest in outputs.items())
    monkeypatch.setattr(shutil, "copyfile", copyfile)
    clone(here, {"b": there}, "b")
    whole, _ = whole_of(made, {HERE: here})
    assert set(whole.taken) == set(made[2]) - {REPORT} and not (here / merging.BESIDE).exists()
    assert files.sha256(here / TRAINING / "record.json") == files.sha256(there / TRAINING / "record.json")


def test_what_changes_while_it_is_copied_is_not_taken(made, sites, clone, monkeypatch):
    here, there = sites("here", lacking=["beta"]), sites("b")
    monkeypatch.setattr(shutil, "copyfile", lambda source, target: target.write_bytes(source.read_bytes() + b" "))
    before = bytes_of(here)
    with pytest.raises(UserError, match="changed while it was copied from b"):
        clone(here, {"b": there})
    assert {path: one for path, one in bytes_of(here).items() if path.parts[1] != ".merging"} == before


def test_a_merge_waits_for_what_writes_here(made, sites, clone):
    here = sites("here")
    lock = here / ".snakemake/locks/0.input.lock"
    lock.parent.mkdir(parents=True)
    lock.touch()
    with pytest.raises(UserError, match="a `snakemake` works in this folder"):
        clone(here, {"b": sites("b")})


def test_a_snakemake_that_began_while_the_sites_were_brought_is_not_worked_beside(made, sites, clone, monkeypatch):
    here = sites("here", lacking=["beta"])
    lock = here / ".snakemake/locks/0.input.lock"

    def look(*arguments):
        lock.parent.mkdir(parents=True, exist_ok=True)
        lock.touch()
        return offered(*arguments)

    monkeypatch.setattr(merging, "offered", look)
    before = bytes_of(here)
    with pytest.raises(UserError, match="a `snakemake` works in this folder"):
        clone(here, {"b": sites("b")})
    assert bytes_of(here) == before


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--merge", "no-such-branch:a"], "'no-such-branch' is no git revision here"),
        (["--merge", "HEAD", "--prefer", "HAED"], "--prefer HAED: no such site is merged; the nearest is HEAD"),
        (["--merge", "HEAD", "--merge", "HEAD:b"], "'HEAD' stands there twice"),
        (["--merge", "HEAD:a"], "HEAD has no dvc.lock"),
        (["--prefer", "a"], "name them with --merge"),
    ],
)
def test_what_cannot_be_merged_is_said_before_anything_is_brought(
    made, monkeypatch, tmp_path, capsys, arguments, words
):
    shutil.copytree(made[0], tmp_path / "here")
    git(tmp_path / "here", "init", "-q")
    commit(tmp_path / "here", "all")
    monkeypatch.chdir(tmp_path / "here")
    with pytest.raises(SystemExit) as raised:
        cli.main(["sync", "--scale", "synthetic", *arguments])
    assert raised.value.code == 2 and words in capsys.readouterr().err


# --- for real: DVC's remotes, git's branches, Snakemake's notes


def test_what_is_not_taken_is_counted_by_reason_without_the_folders_that_it_names(made):
    job = made[2][TRAINING]
    why = "rests on what is not taken (input changed: results/train/{}/record.json, results/train/{}/steps.jsonl)"
    left = [Left("b", job, why.format(name, name)) for name in ("one", "two")] + [Left("b", job, "was cut: results/x")]
    assert merging._left(left) == [
        "not taken of b: 2 x train: rests on what is not taken (input changed)",
        "not taken of b: 1 x train: was cut",
    ]


@pytest.mark.slow
def test_two_sites_a_conflict_and_a_third_clone_that_makes_the_rest(tmp_path):
    origin = make(tmp_path / "origin", variants="majority, fixed", seeds="0, 1, 2", steps=4)
    own = {"OMP_NUM_THREADS": "1", "DVC_SITE_CACHE_DIR": str(tmp_path / "dvc")}
    call = partial(run, **own)
    run_seed0, run_seed2 = (f"e2e/tiny-t5/full/toy/fixed/seed{seed}" for seed in (0, 2))

    def site(name, seeds, plant=None):
        root, host = tmp_path / name, {"DYNAMIC_PROMPTING_HOST": f"host-{name}"}
        git(tmp_path, "clone", "-q", str(origin), name)
        git(root, "switch", "-qc", name)
        scale = root / "workflow/scales/e2e.yaml"
        scale.write_text(scale.read_text().replace("seeds: [0, 1, 2]", f"seeds: [{seeds}]"))
        commit(root, "its part")
        call(root, "dvc", "remote", "add", "--local", "--default", "store", str(tmp_path / f"remote-{name}"))
        if plant:
            call(root, "snakemake", "--cores", "2", "train", **host)
            change(root / "results/train" / run_seed0 / "steps.jsonl", plant)
        call(root, "dvc", "repro", **host)
        commit(root, "results")
        call(root, "dvc", "push")
        git(root, "push", "-q", "origin", name)

    site("a", "0")
    site("b", "0, 1", lambda lines: [line | {"loss": 9.0} if "loss" in line else line for line in lines])
    git(tmp_path, "clone", "-q", str(origin), "all")
    root = tmp_path / "all"
    for name in "ab":
        call(root, "dvc", "remote", "add", "--local", name, str(tmp_path / f"remote-{name}"))

    def merge(*arguments):
        command = (sys.executable, "-m", "dp", "sync", "--merge", "origin/a:a", *arguments)
        words, status = call(root, *command, check=False)
        assert not (root / ".cache/dp/merge").exists(), words
        return words, status

    words, status = merge("--merge", "origin/b:a")  # b pushed to another remote
    assert status == 2 and "does not get all that its dvc.lock names" in words and "Traceback" not in words, words
    words, status = merge("--merge", "origin/b:b")
    assert status == 2 and "1 artifacts differ between origin/a and origin/b" in words, words
    (line,) = re.findall("^conflict: (.*)$", words, re.MULTILINE)
    assert line.startswith(f"results/train/{run_seed0}: steps.jsonl: [0].loss was ") and "is 9.0" in line
    assert re.search(r"origin/a \(host-a, .*1 rest on it; by origin/b \(host-b, .*1 rest on it$", line), line
    assert not (root / "results/train").exists()
    words, status = merge("--merge", "origin/b:b", "--prefer", "origin/a")
    assert status == 0 and "8 of 11 artifacts: 6 from origin/a, 2 from origin/b; 3 to make" in words, words
    assert "not taken of origin/b: 1 x train: differs from what is taken" in words
    hosts = {"DYNAMIC_PROMPTING_HOST": "host-all", **own}
    wanted = [f"evaluate/{run_seed2}", "report/e2e", f"train/{run_seed2}"]
    assert short(jobs(root, dry=True, **hosts)) == [name.replace("/e2e", "") for name in wanted]
    jobs(root, **hosts)
    text = (root / "results/report/e2e/reproducibility.md").read_text()
    assert re.findall(r"^\| host +\| (\S+) +\| (\d+) of 10", text, re.MULTILINE) == [
        ("host-a", "6"), ("host-all", "2"), ("host-b", "2")]  # fmt: skip
    assert "made by host-a (6), host-all (3), host-b (2)" in call(root, sys.executable, "-m", "dp", "status")[0]
    assert "output:" not in call(root, "dvc", "repro")[0], "dvc repro ran a job"
    assert "up to date" in call(root, "dvc", "status")[0]
    made_here = bytes_of(root)
    words, status = merge("--merge", "origin/b:b", "--prefer", "origin/a")  # once more: all is here
    assert status == 0 and "11 of 11 artifacts: 11 here; 0 to make" in words and bytes_of(root) == made_here, words
    assert jobs(root, dry=True, **hosts) == []
