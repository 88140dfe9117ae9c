"""DVC's own commands over the pipeline (docs/dvc.md), held against the files of the report."""

import csv
import json
import sys

import pytest
import yaml
from built_project import commit, dvc, git, jobs, run

pytestmark = pytest.mark.slow
REPORT = "results/report/e2e"
METRICS = ("mean", "low", "high", "majority", "collapsed", "seeds")


@pytest.fixture
def recorded(project):
    dvc(project, "repro")
    commit(project, "results")
    return project


def asked(root, *arguments):
    """What a command of DVC says with --json; what it says beside that is no warning."""
    printed = dvc(root, *arguments, "--json")
    assert "failed to load" not in printed, printed
    return json.loads(printed)


def rows(root, name="results.csv", report=REPORT):
    with (root / report / name).open() as file:
        return list(csv.DictReader(file))


def cells(root):
    """What `dvc metrics` is to say, from results.csv."""
    return {
        f"{REPORT}/metrics/{row['backbone']}/{row['regime']}/{row['task']}/{row['variant']}.json": {
            key: float(row[key].split("/")[0]) for key in METRICS
        }
        for row in rows(root)
        if row["metric"] == "accuracy"
    }


def of_one_variant(root):
    """Commits a scale `small`."""
    scale = yaml.safe_load((root / "workflow/scales/e2e.yaml").read_text()) | {"variants": ["majority"]}
    (root / "workflow/scales/small.yaml").write_text(yaml.safe_dump(scale))
    commit(root, "a scale")


def test_metrics_plots_and_params_of_two_revisions(recorded):
    before = cells(recorded)
    shown = asked(recorded, "metrics", "show")[""]["data"]
    assert {path: of["data"] for path, of in shown.items()} == before and len(before) == 3
    text = dvc(recorded, "metrics", "show").splitlines()
    assert text[0].split() == ["Path", *sorted(METRICS)] and len(text) == 4
    assert asked(recorded, "metrics", "diff") == asked(recorded, "params", "diff") == {}
    for stage in yaml.safe_load((recorded / "dvc.lock").read_text())["stages"].values():
        assert stage["params"]["params.yaml"] == {"scale": "e2e", "source": None, "folder": None, "tasks": None,
                                                  "allow_dirty": False}  # fmt: skip

    path = recorded / "workflow/scales/e2e.yaml"
    path.write_text(path.read_text().replace("steps: 8,", "steps: 12,").replace("every: 4", "every: 6"))
    jobs(recorded)
    after = cells(recorded)
    changed = {
        path: {key: {"old": before[path][key], "new": new} for key, new in of.items() if new != before[path][key]}
        for path, of in after.items()
    }
    found = asked(recorded, "metrics", "diff")
    assert {path: {key: {"old": one["old"], "new": one["new"]} for key, one in of.items()}
            for path, of in found.items()} == {path: of for path, of in changed.items() if of}  # fmt: skip
    assert found, "four more updates change no number: this test compares nothing"
    steps = {
        "training.steps": {"old": 8, "new": 12, "diff": 4},
        "training.evaluate_every": {"old": 4, "new": 6, "diff": 2},
    }
    assert asked(recorded, "params", "diff") == {"workflow/scales/e2e.yaml": steps}

    plots = asked(recorded, "plots", "diff")["data"]
    assert set(plots) == {f"{REPORT}/{name}.csv" for name in
                          ("results", "figures/learning_curves", "figures/paper_comparison")}  # fmt: skip
    for name, (plot,) in plots.items():
        values = plot["content"]["data"]["values"]
        added = ("rev", "filename", "field")
        here = [{key: value for key, value in one.items() if key not in added} for one in values
                if one["rev"] == "workspace"]  # fmt: skip
        assert here == rows(recorded, name.removeprefix(f"{REPORT}/"))
        assert {one["rev"] for one in values} == {"HEAD", "workspace"}
        assert "<DVC" not in json.dumps(plot["content"])
    assert "dvc_plots/index.html" in dvc(recorded, "plots", "show")
    assert "dvc_plots" not in git(recorded, "status", "--short")


def test_another_scale_is_named_and_shown(recorded):
    params = recorded / "params.yaml"
    params.write_text(params.read_text().replace("scale: e2e", "scale: smoke"))
    assert asked(recorded, "params", "diff", "--targets", "params.yaml") == {
        "params.yaml": {"scale": {"old": "e2e", "new": "smoke"}}
    }
    assert {"workflow/scales/e2e.yaml", "workflow/scales/smoke.yaml"} < set(asked(recorded, "params", "diff"))
    changes = asked(recorded, "status")["train"][0]["changed deps"]
    assert changes == {"params.yaml": {"scale": "modified"}}


def test_an_experiment_beside_the_workspace(recorded):
    """`--dry` hashes what it does not make, unless it is forced."""
    said = dvc(recorded, "exp", "run", "--dry", "-S", "scale=smoke", check=False)
    assert "results/download" in said, "DVC's dry run works: docs/dvc.md need no longer say how"
    said = dvc(recorded, "exp", "run", "--dry", "--force", "-S", "scale=smoke")
    for phase in ("download", "tokenize", "train", "evaluate", "report"):
        assert f"> snakemake --cores all --rerun-incomplete -- {phase}" in said
    assert git(recorded, "status", "--short") == ""

    change = ("-S", "workflow/scales/e2e.yaml:training.steps=12")
    said = dvc(recorded, "exp", "run", "--temp", *change, check=False)
    assert "training.steps was 8, is 12" in said and "dvc exp run --copy-paths .snakemake" in said, said
    before = rows(recorded)
    dvc(recorded, "exp", "run", "--temp", "--copy-paths", ".snakemake", "--name", "another", *change)
    assert git(recorded, "status", "--short") == "" and rows(recorded) == before
    dvc(recorded, "exp", "apply", "another")
    assert yaml.safe_load((recorded / "workflow/scales/e2e.yaml").read_text())["training"]["steps"] == 12
    assert [row["runs"] for row in rows(recorded)] != [row["runs"] for row in before]
    run(recorded, sys.executable, "-m", "dp", "sync", "--no-pull")
    assert jobs(recorded, dry=True) == []
    assert len(asked(recorded, "metrics", "show")[""]["data"]) == len(cells(recorded)) == 3


def test_an_experiment_in_the_workspace(recorded):
    """Where DVC has recorded what lies here."""
    of_one_variant(recorded)
    dvc(recorded, "exp", "run", "-S", "scale=small")
    assert [row["variant"] for row in rows(recorded, report="results/report/small")] == ["majority"]
    assert (recorded / REPORT / "results.csv").exists() and jobs(recorded, dry=True) == []
    locked = yaml.safe_load((recorded / "dvc.lock").read_text())["stages"]
    assert {stage["params"]["params.yaml"]["scale"] for stage in locked.values()} == {"small"}


def test_an_experiment_in_the_workspace_takes_away_what_was_not_recorded(project):
    """DVC's doing, before it calls anything: docs/dvc.md warns of it. Once it does not, the warning may go."""
    folder = project / "results/download/tasks"
    assert (folder / "toy").exists() and not (project / "dvc.lock").exists()
    (folder / "unrecorded").touch()
    dvc(project, "exp", "run", "download")
    assert (folder / "toy").exists() and not (folder / "unrecorded").exists()
    assert (project / REPORT / "results.csv").exists(), "of other stages than the one that was asked for"
