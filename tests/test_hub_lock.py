"""The paper scale's hub as it really is: locked, fetched, said in record and log, and had again without a network."""

import json
import subprocess
from pathlib import Path

import hub_layout
import pytest
import torch
import yaml
from built_project import BIN, commit, git, make, run, snakemake
from conftest import ROOT, SUPERGLUE
from hub_layout import LARGE_COMMIT, SUPER_GLUE, SUPER_GLUE_COMMIT
from hub_server import Hub, serving
from safetensors.torch import load_file
from small_project import Project
from synthetic_results import change, one, planted, report, study_in, table, write_results
from test_hub import server  # noqa: F401  a fixture

from dp import files, paths
from dp.commands import cli
from dp.lineage.auditing import audit
from dp.sources import rows
from dp.sources.hub_lock import LOCK
from dp.tasks import model as tasks

TASKS = ("boolq", "multirc", "wic", "cb", "rte")
FORMATS = {"t5-small-lm": "pickle", "t5-base-lm": "safetensors", "t5-large-lm": "safetensors", "t5-xl-lm": "pickle"}
REVISIONS = {"t5-small-lm": "main", "t5-base-lm": "refs/pr/2", "t5-large-lm": LARGE_COMMIT, "t5-xl-lm": "main"}
BY_TORCH = [("t5-small-lm", ["pytorch_model.bin"]),
            ("t5-xl-lm", [f"pytorch_model-0000{n}-of-00002.bin" for n in (1, 2)])]  # fmt: skip
NO_WEIGHTS = ("config.json", "special_tokens_map.json", "tokenizer.json", "tokenizer_config.json")


def commit_of(hub: Hub, name: str) -> str:
    return hub.branches.get((f"google/{name}-adapt", REVISIONS[name]), REVISIONS[name])


def sums(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): path.read_text() for path in sorted(folder.rglob("SHA256SUMS"))}


@pytest.fixture
def paper(tmp_path, monkeypatch):
    """The paper scale in a folder with a history."""
    monkeypatch.chdir(tmp_path)
    Project(tmp_path, ["fixed"])
    (tmp_path / "workflow/scales/paper.yaml").write_text((ROOT / "workflow/scales/paper.yaml").read_text())
    (tmp_path / ".gitignore").write_text("results\ncache\nclient\n")
    git(tmp_path, "init", "-q")
    commit(tmp_path, "a project")
    return tmp_path


def test_a_scale_is_locked_whole_without_its_weights_and_rows(server: Hub, paper, capsys):  # noqa: F811
    hub_layout.backbones(server, paper / "client/x")
    names = {task: tasks.load(task).sources.hub.files for task in TASKS}
    content = {name: name.encode() for files_of in names.values() for name in files_of.values()}
    server.push(f"datasets/{SUPER_GLUE}", content, "a branch that moves on", SUPER_GLUE_COMMIT)
    cli.main(["lock", "--scale", "paper"])
    said = capsys.readouterr().out
    assert f"t5-base-lm: google/t5-base-lm-adapt@refs/pr/2 is commit {commit_of(server, 't5-base-lm')}; " in said
    assert f"t5-large-lm: google/t5-large-lm-adapt@{LARGE_COMMIT} is a commit; " in said
    assert f"cb: datasets/{SUPER_GLUE}@{SUPER_GLUE_COMMIT} is a commit; cb/train-00000-of-00001.parquet, " in said
    assert said.endswith("git add workflow/hub.lock.yaml && git commit -m 'Hub revisions of scale paper'\n")
    got = {
        line.split()[1].rpartition("/")[2] for line in server.requests if line.startswith("GET") and "/api/" not in line
    }
    assert got == {*NO_WEIGHTS, "pytorch_model.bin.index.json"}, "small files alone, to know what they are"

    # every file that a fetch will read is in the lock, with the digest of its bytes
    locked = yaml.safe_load(LOCK.read_text())
    for name in FORMATS:
        commit_at, repo = commit_of(server, name), f"google/{name}-adapt"
        pinned = locked[repo][REVISIONS[name]]
        wanted = {*NO_WEIGHTS, "spiece.model", *dict(BY_TORCH).get(name, ["model.safetensors"])}
        wanted |= {"pytorch_model.bin.index.json"} if name == "t5-xl-lm" else set()
        assert pinned["commit"] == commit_at and set(pinned["files"]) == wanted
        held = server.commits[repo, commit_at]
        assert all(digest == hub_layout.sha256(held[file]) for file, digest in pinned["files"].items())
    assert set(locked[f"datasets/{SUPER_GLUE}"][SUPER_GLUE_COMMIT]["files"]) == content.keys()

    # fetched before the lock is committed, and after: no label is needed then, and the lock stays as it is
    before = LOCK.read_bytes()
    small = ["fetch-backbone", "--backbone", "t5-small-lm", "--scale", "paper"]
    record = paths.backbone("t5-small-lm") / "record.json"
    cli.main(small)
    assert files.read_json(record)["made"]["pinned"] is False
    commit(paper, "lock")
    server.push("google/t5-small-lm-adapt", {"pytorch_model.bin": b"moved on"})
    cli.main(["lock", "--scale", "paper"])
    said = capsys.readouterr().out
    assert "as the lock had it" in said and f"{LOCK} is committed as it is." in said
    cli.main(small)
    made = files.read_json(record)["made"]
    assert (
        made["pinned"] is True
        and made["commit"] == yaml.safe_load(before)["google/t5-small-lm-adapt"]["main"]["commit"]
    )
    assert LOCK.read_bytes() == before, "all was locked, so nothing is left to commit"


def test_what_cannot_be_locked_is_said_and_the_rest_is_locked(server: Hub, paper, capsys):  # noqa: F811
    hub_layout.backbones(server, paper / "client/x")
    server.tokens["google/t5-large-lm-adapt"] = "hf_other"
    with pytest.raises(SystemExit):
        cli.main(["lock", "--scale", "paper"])
    said = capsys.readouterr().err
    assert (
        "6 of 9 are not locked:\n  hub: " in said
        and said.count("\n  hub: ") == 6
        and "google/t5-large-lm-adapt is gated" in said
    )
    assert f"there is no datasets/{SUPER_GLUE}" in said
    assert "google/t5-small-lm-adapt" in LOCK.read_text()
    cli.main(["lock", "--scale", "small"])
    assert "reads nothing from the hub" in capsys.readouterr().out


def test_a_number_that_rests_on_an_unpinned_commit_says_so(tmp_path, monkeypatch):
    study = study_in(tmp_path, monkeypatch)
    write_results(study, planted)
    at = {"repo": "who/knows", "revision": "main", "commit": "a" * 40}

    def labels(folder: Path, **made: object) -> dict[str, bool]:
        change(folder / "record.json", lambda record: record | {"made": record["made"] | made})
        found = table(report())
        return {task: "unpinned" in one(found, task=task, variant="fixed")["labels"] for task in ("alpha", "beta")}

    beta, backbone = paths.task_rows("beta", "made_up"), paths.backbone("tiny-t5")
    assert labels(beta) == {"alpha": False, "beta": False}
    assert labels(beta, **at, pinned=False) == {"alpha": False, "beta": True}
    assert labels(beta, pinned=True) == {"alpha": False, "beta": False}
    assert labels(backbone, **at) == {"alpha": True, "beta": True}, "a record that does not say it"
    (found,) = [one for one in audit(study).findings if one.kind == "unpinned"]
    assert found.path == backbone and f"commit {at['commit']} of who/knows, revision main" in found.why
    assert (
        "are of a commit of the hub that no commit of the project names"
        in (paths.report("synthetic") / "report.html").read_text()
    )


@pytest.mark.slow
@pytest.mark.skipif(not SUPERGLUE.is_dir(), reason="the official SuperGLUE files are not at hand (SUPERGLUE)")
def test_the_paper_scale_is_fetched_from_the_hub_as_it_is_and_had_again_offline(tmp_path):
    """From nothing: locked, committed, fetched by Snakemake; then the hub is gone, and so are the results."""
    with serving() as hub:
        tensors = hub_layout.backbones(hub, tmp_path / "made")
        hub.push(f"datasets/{SUPER_GLUE}", hub_layout.super_glue(SUPERGLUE), commit=SUPER_GLUE_COMMIT)
        root = make(tmp_path / "project")
        scale = root / "workflow/scales/paper.yaml"  # all of its backbones and tasks, and few of its thousands of runs
        thin = {"seeds": [0], "regimes": [{"kind": "full"}]}
        scale.write_text(yaml.safe_dump(yaml.safe_load(scale.read_text()) | thin))
        commit(root, "few runs")
        fresh = {"HOME": str(tmp_path / "home"), "HF_HOME": str(tmp_path / "home/hf"), "HF_ENDPOINT": hub.url}
        fresh |= {"HF_HUB_OFFLINE": "0", "DP_CACHE": "", "HF_TOKEN": ""}
        call = ("--config", "scale=paper", "--", "download")
        warned, status = snakemake(root, "-n", *call, **fresh)
        assert status == 0 and "t5-small-lm, t5-base-lm, t5-xl-lm is to come from" in warned, warned
        assert "python -m dp lock --scale paper" in warned
        run(root, BIN / "python", "-m", "dp", "lock", "--scale", "paper", **fresh)
        weights = [name for name in ("model.safetensors", "pytorch_model.bin") if hub.gets(name)]
        assert not weights and not hub.gets("train-00000-of-00001.parquet")
        commit(root, "lock")
        said, status = snakemake(root, *call, **fresh)
        assert status == 0 and "labelled unpinned" not in said, said
        assert not git(root, "status", "--porcelain"), "the lock was whole"
        check_backbones(hub, root / "results", tensors, said)
        check_tasks(hub, root / "results", said)
        assert not hub.gets("tf_model.h5") and not hub.gets("test-00000-of-00001.parquet")

    gone = fresh | {"HF_HUB_OFFLINE": "1"}  # and the server is down
    said, status = snakemake(root, *call, **gone)
    assert status == 0 and "Nothing to be done" in said, said
    before = sums(root / "results/download")
    assert len(before) == 9
    subprocess.run(["rm", "-rf", root / "results"], check=True)
    said, status = snakemake(root, *call, **gone)
    assert status == 0, said
    assert sums(root / "results/download") == before


def check_backbones(hub: Hub, results: Path, tensors: dict[str, hub_layout.Tensors], said: str) -> None:
    for name, kind in FORMATS.items():
        folder = results / "download/backbones" / name
        made = files.read_json(folder / "record.json")["made"]
        assert (made["format"], made["revision"], made["commit"]) == (kind, REVISIONS[name], commit_of(hub, name))
        assert made["pinned"] is True and made["labels"] == [] and "spiece.model" in made["files"]
        assert f"hub: google/{name}-adapt@{REVISIONS[name]}" in said and f"took weights as {kind}, " in said
        found = load_file(folder / "model.safetensors")
        assert found.keys() == tensors[name].keys()
        assert all(torch.equal(found[key], tensors[name][key].float()) for key in found), name


def check_tasks(hub: Hub, results: Path, said: str) -> None:
    """The rows are those of the official folder, in their order."""
    for task in TASKS:
        folder = results / f"download/tasks/{task}/hub"
        made = files.read_json(folder / "record.json")["made"]
        assert made["commit"] == SUPER_GLUE_COMMIT and made["pinned"] is True
        official, _ = rows.fetch(tasks.load(task), "folder", str(SUPERGLUE))
        for split in ("train", "validation"):
            assert files.read_jsonl(folder / f"{split}.jsonl") == json.loads(json.dumps(official[split])), (task, split)
        assert f"datasets/{SUPER_GLUE}@{SUPER_GLUE_COMMIT}: took rows, {task}/train-00000-of-00001.parquet" in said
