"""Under `fillers` a run ends in a status and not in a number, and every place where the number would stand says so."""

import csv
import math
import re
import shutil

import pytest
import torch
from conftest import typed
from safetensors.torch import load_file
from small_project import Project
from synthetic_results import reseal, unpadded
from test_battery import config_of, features_of

from dp import files, paths
from dp.classifier.classifier import classifier
from dp.commands import cli
from dp.compute.choose import best
from dp.errors import UserError
from dp.lineage import auditing as audit
from dp.lineage import standings as status
from dp.results.table import to_csv
from dp.training import loop, overflow
from dp.training.state import tensors_of

VARIANTS = ["majority", "fixed", "adap_length", "adap_length-frozen", "adap_ins_pos"]
SETTINGS = ("--set", "allow_dirty=true")
CELL = "tiny-t5/full/toy/adap_length"


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A small scale under `released`, whose runs were all made, and its report."""
    root = tmp_path_factory.mktemp("overflow")
    patch = pytest.MonkeyPatch()
    patch.chdir(root)
    made = Project(root, VARIANTS, protocol="released", seeds=[0, 1])
    made.prepare()
    cli.main(["features", "--backbone", "tiny-t5", "--task", "toy", "--pooling", "padded_mean"])
    for variant in VARIANTS[1:]:
        for seed in (0, 1):
            made.train(f"tiny-t5/full/toy/{variant}/seed{seed}")
    for variant in VARIANTS:
        for seed in (0, 1) if variant != "majority" else (0,):
            made.evaluate(f"tiny-t5/full/toy/{variant}/seed{seed}")
    cli.main(["report", *SETTINGS])
    patch.undo()
    return made


@pytest.fixture
def inside(project, monkeypatch):
    monkeypatch.chdir(project.root)
    return project.study


def rows(name):
    with (paths.report("small") / name).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def text(name):
    return (paths.report("small") / name).read_text(encoding="utf-8")


def test_a_training_ends_well_and_says_at_which_update_and_why(inside):
    folder = paths.train_run("small", f"{CELL}/seed0")
    made = files.read_json(folder / "record.json")["made"]
    assert made["status"] == "overflow" and not (folder / "state").exists() and not (folder / "failure.json").exists()
    update = made["overflow"]["update"]
    assert made["steps"] == update - 1 < 8 and made["selected_step"] is None
    assert (
        f"at update {update} of 8" in made["overflow"]["why"] and "norm of the gradient is" in made["overflow"]["why"]
    )
    log = files.read_jsonl(folder / "steps.jsonl")
    assert log[-1]["status"] == "overflow" and sum("loss" in line for line in log) == update - 1
    assert all(value.isfinite().all() for value in load_file(folder / "tuned.safetensors").values())


def test_the_evaluation_has_the_status_and_no_number(inside):
    folder = paths.evaluation("small", f"{CELL}/seed0")
    assert files.read_jsonl(folder / "predictions.jsonl") == []
    metrics = files.read_json(folder / "metrics.json")
    assert metrics["metrics"] == {"accuracy": None} and metrics["collapsed"] is None
    assert "overflows float32" in metrics["overflow"]
    made = files.read_json(folder / "record.json")["made"]
    assert made["status"] == "overflow" and "overflow" in made["labels"]


def test_a_choice_that_was_never_learned_is_not_frozen_and_trained_on(inside):
    made = files.read_json(paths.train_run("small", f"{CELL}-frozen/seed0") / "record.json")["made"]
    assert made["status"] == "overflow" and made["steps"] == 0
    assert made["overflow"]["why"].startswith("the run whose choice it was to start from: the norm")


def test_others_have_their_numbers(inside):
    found = {row["variant"]: row for row in rows("results.csv")}
    for variant in ("majority", "fixed", "adap_ins_pos"):
        assert found[variant]["mean"] and "overflow" not in found[variant]["labels"]
    assert [row["variant"] for row in rows("aggregates.csv") if row["mean"]] == ["majority", "fixed", "adap_ins_pos"]


def test_every_csv_says_it_and_no_number_takes_it_in(inside):
    numbers = {
        "results.csv": ("mean", "low", "high", "collapsed"),
        "comparisons.csv": ("difference", "low", "high", "p", "p_holm"),
        "aggregates.csv": ("mean", "iqm", "improvement"),
        "optimism.csv": ("best", "last", "chosen", "best_minus_last"),
        "figures/accuracy_by_variant.csv": ("mean", "low", "high"),
        "tables/cost.csv": ("mean", "low", "high"),
    }
    for name, columns in numbers.items():
        for variant in ("adap_length", "adap_length-frozen"):
            (row,) = [row for row in rows(name) if row["variant"] == variant]
            assert all(row[column] == "" for column in columns), (name, row)
            assert "overflow" in row["labels"].split(";"), (name, row)
            assert row["seeds"] == "2" if "seeds" in row else True
    assert {row["variant"] for row in rows("choices.csv")} == {"adap_ins_pos"}
    assert {row["variant"] for row in rows("figures/cost.csv")} == {"fixed", "adap_ins_pos"}
    assert "overflow" in {row["quantity"] for row in rows("figures/learning_curves.csv")}
    (metrics,) = (paths.report("small") / "metrics").rglob("adap_length.json")
    assert files.read_json(metrics) == {"majority": 0.5, "seeds": 2, "overflowed": 1}


def test_every_page_and_drawing_says_it(inside):
    assert "| adap_length | overflow |" in unpadded(text("results.md"))
    assert "- overflow: the gradient of the fillers" in text("results.md")
    assert "overflow: 8 of " in text("reproducibility.md")
    assert "Ended in an overflow and in no number" in text("reproducibility.md")
    assert "overflow" in next(line for line in text("tables/cost.md").splitlines() if "| adap_length " in line)
    page = text("report.html")
    assert "2 numbers are none: runs of adap_length, adap_length-frozen ended in an overflow" in page
    assert '<b>overflow</b> <small><span aria-hidden="true">↓</span> no number</small>' in page
    for name in ("accuracy_by_variant", "learning_curves", "optimism", "gain_over_fixed"):
        drawing = text(f"figures/{name}.svg")
        assert "overflow" in drawing, name


def test_audit_status_why_and_diff_say_it(inside, capsys):
    found = [one for one in audit.audit(inside).findings if one.kind == "overflow"]
    assert [one.path for one in found][:2] == [paths.evaluation("small", f"{CELL}/seed{n}") for n in (0, 1)]
    assert all("overflows float32" in one.why for one in found) and len(found) == 4
    assert not [one for one in audit.audit(inside).findings if one.kind == "seeds"]
    cli.main(["status"])
    assert "done without a number" in capsys.readouterr().out
    assert len(status.as_json(inside, status.Survey(inside).standings())["overflowed"]) == 8
    line = next(n for n, row in enumerate(rows("results.csv"), 2) if row["variant"] == "adap_length")
    cli.main(["why", f"results/report/small/results.csv:{line}"])
    said = capsys.readouterr().out
    assert "no number: the norm of the gradient is" in said and "no step selected: the norm" in said


def test_a_number_that_came_or_went_is_the_first_change(inside, capsys, tmp_path):
    other = tmp_path / "results"
    shutil.copytree("results", other)
    report = other / "report" / "small"
    found = rows("results.csv")
    (row,) = [row for row in found if row["variant"] == "adap_length"]
    row |= {"mean": 0.7, "low": 0.6, "high": 0.8}
    files.write_text(report / "results.csv", to_csv(found[0], found))
    reseal(report)
    with pytest.raises(SystemExit):
        cli.main(["diff", str(other), "results"])
    assert re.search(r"70.00 \[60.00, 80.00\] \(2\) +-> +overflow \(2\) +not to be compared", capsys.readouterr().out)


def test_a_plan_says_it_before_any_hour_is_spent(inside, capsys):
    cli.main(["plan"])
    said = capsys.readouterr().out
    assert "No number will come of adap_length, adap_length-frozen: " in said


def test_a_trial_that_overflowed_is_chosen_only_where_all_did():
    none, some = {"accuracy": None, "loss": None}, {"accuracy": 0.2, "loss": 9.0}
    assert best([none, some, some | {"accuracy": 0.3}]) == 2
    assert best([none, none]) == 0


@pytest.fixture
def start(tiny, toy_split, tmp_path, monkeypatch):
    """Four updates, the second of which has the norm given."""

    def begin(norm, switches=("fillers", "straight_through"), variant="adap_length"):
        backbone, split = tiny("seq2seq"), toy_split("seq2seq")
        config = config_of("seq2seq", variant, steps=4, evaluate_every=1) | {"switches": list(switches)}
        if "straight_through" in switches and config["choice"]:
            config["choice"]["estimator"] = "straight_through"
        values = iter([1.0, norm, 1.0, 1.0])
        monkeypatch.setattr(torch.nn.utils, "get_total_norm", lambda _: torch.tensor(next(values)))
        found = loop.Rows(split, features_of(backbone, split))
        model = classifier(typed(config), backbone, [2], [], "cpu")
        model.fit_features(found.features)
        return loop.train(model, found, [found], typed(config), tmp_path / "run", "same")

    return begin


@pytest.mark.parametrize("norm", [math.inf, math.nan, 1e16])
def test_a_norm_beyond_float32_ends_the_run(start, tmp_path, monkeypatch, norm):
    original, seen = loop._select, []

    def select(classifier, *arguments):
        seen.append(tensors_of(classifier.kept()))
        return original(classifier, *arguments)

    monkeypatch.setattr(loop, "_select", select)
    made = start(norm)
    assert len(seen) == 1 and made["tensors"].keys() == seen[0].keys()
    assert all(torch.equal(made["tensors"][name], value) for name, value in seen[0].items()), "as they were before it"
    assert (made["status"], made["steps"], made["overflow"]["update"]) == ("overflow", 1, 2)
    assert made["selected_step"] is None and made["selection"]["accuracy"] is None
    assert not (tmp_path / "run" / "state").exists()


BOTH = ("fillers", "straight_through")


@pytest.mark.parametrize(
    ("switches", "variant"),
    [(BOTH[:1], "adap_length"), (BOTH[1:], "adap_length"), (BOTH, "fixed"), (BOTH, "adap_pos")],
)
def test_only_fillers_that_carry_a_gradient_are_such_an_outcome(start, switches, variant):
    try:
        made = start(math.inf, switches, variant)
    except UserError:
        return  # an error that names its cause
    assert "status" not in made


def test_a_loss_that_is_none_ends_it_too():
    assert overflow.why(math.nan, 1.0) == "the loss is nan"
    assert overflow.why(1.0, 3.0) is None
