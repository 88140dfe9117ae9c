"""Content alone decides, whatever time stamps say: edits and replaced trees under old ones, trees that tar copied, and
files that DVC linked from its cache. Both doors, the audit and `sync` agree each time.
"""

import os
import shutil
from pathlib import Path

import pytest
from agreement import CLEAN, EVERYTHING, verdicts
from built_project import BIN, commit, dvc, git, jobs, make, run, short, snakemake
from synthetic_results import change

pytestmark = pytest.mark.slow
OLD = 1_000_000_000
TASK = "dp/tasks/toy.yaml"
TOKENS = "results/tokenize/e2e/tiny-t5/toy/tokens"
AFTER_TOKENS = ["evaluate/tiny-t5/full/toy/fixed/seed0", "evaluate/tiny-t5/full/toy/majority/seed0", "report",
                "train/tiny-t5/full/toy/fixed/seed0"]  # fmt: skip
AFTER_TASK = sorted(["download/tasks/toy/made_up", "tokenize/tiny-t5/toy/tokens", *AFTER_TOKENS])


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    root = make(tmp_path_factory.mktemp("project") / "copy", variants="majority, fixed", seeds="0", steps=4)
    dvc(root, "repro")
    commit(root, "results")
    return root


def aged(path):
    """As `cp -p`, `rsync -a` and `tar` leave a file that was made elsewhere, long ago."""
    for one in [path, *path.rglob("*")]:
        os.utime(one, (OLD, OLD))


def edit_template(root):
    path = root / TASK
    path.write_text(path.read_text().replace(" question: {question}", " asked: {question}"))
    aged(path)


def stale(found):
    return sorted(short(f"{path}/x" for path in found.audit.get("stale", [])))


def sync(root):
    return run(root, BIN / "python", "-m", "dp", "sync", "--no-pull", check=False)


def tarred(root):
    copy = root.with_name("unpacked")
    copy.mkdir()
    run(root, "tar", "-cf", copy.with_suffix(".tar"), ".")
    run(root, "tar", "-xf", copy.with_suffix(".tar"), "-C", copy)
    return copy


def linked(kind):
    def link(root):
        dvc(root, "config", "cache.type", kind)
        dvc(root, "checkout", "--relink", "--force")
        commit(root, kind)
        path = root / TOKENS / "tokens.safetensors"
        assert path.is_symlink() if kind == "symlink" else path.stat().st_nlink > 1
        return root

    return link


@pytest.mark.parametrize(
    "place",
    [linked("symlink"), *(pytest.param(one, marks=pytest.mark.exhaustive) for one in (linked("hardlink"), tarred))],
    ids=["symlink", "hardlink", "tar"],
)
def test_a_template_edited_under_an_old_stamp(project, place):
    """All say so before; all are content after either door has made it; DVC still holds what was made before."""
    root = place(project)
    assert verdicts(root) == CLEAN
    before = (root / TOKENS / "tokens.safetensors").read_bytes()
    edit_template(root)
    found = verdicts(root)
    assert {*found.audit} == {"stale"} and stale(found) == found.snakemake == AFTER_TASK
    assert found.dvc == {"outs": [], "deps": EVERYTHING}
    words, status = sync(root)
    assert status == 2 and "modified:           dp" in words, words
    commit(root, "template")
    assert sorted(short(jobs(root))) == AFTER_TASK
    assert verdicts(root).dvc["outs"] == ["download", "evaluate", "report", "tokenize", "train"]
    assert "output:" not in dvc(root, "repro")
    assert verdicts(root) == CLEAN
    words, status = sync(root)
    assert status == 0 and verdicts(root) == CLEAN, words
    commit(root, "results")
    assert (root / TOKENS / "tokens.safetensors").read_bytes() != before
    git(root, "checkout", "-q", "HEAD~2")
    dvc(root, "checkout", "--force")
    assert (root / TOKENS / "tokens.safetensors").read_bytes() == before
    words, status = sync(root)
    assert status == 0 and verdicts(root) == CLEAN, words


def test_the_same_bytes_under_another_stamp_are_no_change(project):
    for stamp in (OLD, None):
        for path in [*(project / "dp").rglob("*"), *(project / "results").rglob("*")]:
            os.utime(path, None if stamp is None else (stamp, stamp))
        assert verdicts(project) == CLEAN


def test_an_upstream_folder_replaced_under_old_stamps(project):
    """Another one that is whole in itself, as another machine would make it; then what DVC recorded, restored."""
    change(project / TOKENS / "rows.json", lambda rows: rows | {"labels": [*rows["labels"], "other"]})
    aged(project / TOKENS)
    found = verdicts(project)
    assert stale(found) == found.snakemake == AFTER_TOKENS
    assert found.audit["unlocked"] == ["results/tokenize"] and found.dvc["outs"] == ["tokenize"]
    words, status = sync(project)
    assert status == 2 and "not those that dvc.lock recorded: `dvc pull`" in words, words
    dvc(project, "checkout", "--force")
    assert verdicts(project) == CLEAN


def test_what_is_stale_is_not_touched_nor_taken_for_made_where_notes_are_lost(project):
    edit_template(project)
    words, status = snakemake(project, "--touch")
    assert status != 0 and f"input changed: {TASK}. So --touch may not take it for made" in words, words
    shutil.rmtree(project / ".snakemake/metadata")
    words, status = snakemake(project, "-n")
    assert status != 0 and "Snakemake has no notes" in words and "dp sync --no-pull" in words, words
    git(project, "stash")
    words, status = sync(project)
    assert status == 0, words
    git(project, "stash", "pop")
    aged(project / TASK)
    found = verdicts(project)
    assert stale(found) == found.snakemake == AFTER_TASK
    shutil.rmtree(project / Path(TOKENS).parents[1])
    shutil.rmtree(project / ".snakemake/metadata")
    words, status = snakemake(project, "-n")
    assert status != 0 and "results/download/tasks/toy/made_up: input changed" in words, words


def test_dvc_does_not_start_another_scale_beside_results_that_it_has_not_recorded(project):
    """As after `snakemake --config scale=e2e` in a project whose params.yaml names another scale."""
    params = project / "params.yaml"
    own = params.read_text()
    params.write_text(own.replace("scale: e2e", "scale: smoke"))
    assert run(project, BIN / "python", "-c", UNRECORDED)[0].strip() == "[]"
    lock = (project / "dvc.lock").read_text()
    (project / "dvc.lock").unlink()
    words = dvc(project, "repro", check=False)
    assert "scale smoke, of which nothing was made here, while results of e2e lie here" in words, words
    assert "write `scale: e2e` into params.yaml" in words and not (project / "dvc.lock").exists()
    params.write_text(own)
    assert "output:" not in dvc(project, "repro")
    assert (project / "dvc.lock").read_text() == lock and verdicts(project) == CLEAN


UNRECORDED = "from dp.lineage.scales import unrecorded; print(unrecorded('smoke'))"
