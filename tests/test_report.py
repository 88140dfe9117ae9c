import csv
import hashlib
import math
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT
from PIL import Image
from synthetic_results import (
    SCALE,
    N,
    change,
    one,
    planted,
    predictions,
    report,
    study_in,
    table,
    unpadded,
    write_results,
)

from dp import files, paths
from dp.errors import UserError
from dp.jobs.inputs import inputs_of
from dp.jobs.job import SUMS
from dp.results import runs
from dp.study.contents import report_files
from dp.study.resolve import report_job
from dp.study.study import load


def test_results_csv(tmp_path, monkeypatch):
    study = study_in(tmp_path, monkeypatch)
    write_results(study, planted)
    rows = table(report())
    assert ",".join(rows[0]) == (
        "backbone,regime,k,task,source,variant,protocol,metric,split,n,backbones,seeds,mean,low,high,interval,majority,"
        "collapsed,"
        "steps,trials,chosen,trainable,seconds,truncated,labels,runs"
    )
    assert [(row["task"], row["variant"]) for row in rows] == [
        (task, variant) for task in ("alpha", "beta") for variant in ("majority", "fixed", "adap_ins_pos")
    ]
    record = paths.evaluation("synthetic", "tiny-t5/full/alpha/adap_ins_pos/seed0") / "record.json"
    expected = {
        "backbone": "tiny-t5", "regime": "full", "k": "", "task": "alpha", "source": "made_up",
        "variant": "adap_ins_pos", "protocol": "controlled", "metric": "accuracy", "split": "validation", "n": "100",
        "backbones": "1",
        "seeds": "1", "mean": "0.900000", "low": "0.825634", "high": "0.944771", "interval": "examples",
        "majority": "0.600000", "collapsed": "0/1", "steps": "120", "trials": "1",
        "chosen": "", "trainable": "128", "seconds": "10.000000",
        "truncated": "5", "labels": "random-weights;single-seed;subset",
        "runs": hashlib.sha256(record.read_bytes()).hexdigest()[:12],
    }  # fmt: skip
    assert one(rows, task="alpha", variant="adap_ins_pos") == expected
    assert one(rows, task="beta", variant="fixed")["collapsed"] == "1/1"
    baseline = one(rows, task="alpha", variant="majority")
    assert (baseline["steps"], baseline["trainable"], baseline["seconds"]) == ("0", "0", "0.000000")
    assert baseline["labels"] == "random-weights;subset"


def test_few_shot_rows_aggregate_training_and_sample_seeds(tmp_path, monkeypatch):
    regimes = [{"kind": "full"}, {"kind": "fewshot", "k": [8, 16], "sample_seeds": [0, 1]}]
    study = study_in(tmp_path, monkeypatch, regimes=regimes, seeds=[0, 1], variants=["majority", "fixed"])
    shares = {"fewshot-k16-s0": (0.70, 0.74), "fewshot-k16-s1": (0.78, 0.58)}

    def lines_of(cell):
        return predictions(shares[cell.regime][cell.seed] if cell.regime in shares else 0.8, cell.seed)

    write_results(study, lines_of)
    rows = table(report())
    assert {(row["regime"], row["k"]) for row in rows} == {("full", ""), ("fewshot", "8"), ("fewshot", "16")}
    row = one(rows, k="16", task="alpha", variant="fixed")
    values = [0.70, 0.74, 0.78, 0.58]
    half = 3.182446 * math.sqrt(sum((v - 0.7) ** 2 for v in values) / 3) / 2
    assert (row["seeds"], row["interval"], row["mean"]) == ("4", "seeds", "0.700000")
    assert [float(row["low"]), float(row["high"])] == pytest.approx([0.7 - half, 0.7 + half], abs=2e-6)
    assert (row["collapsed"], row["seconds"]) == ("1/4", "10.500000")
    assert "single-seed" not in row["labels"]
    assert len(set(row["runs"].split(";"))) == 4
    assert one(rows, k="16", task="alpha", variant="majority")["seeds"] == "2"


def test_metrics_have_the_accuracy_of_each_row(tmp_path, monkeypatch):
    regimes = [{"kind": "full"}, {"kind": "fewshot", "k": [8], "sample_seeds": [0, 1]}, {"kind": "multitask"}]
    study = study_in(tmp_path, monkeypatch, regimes=regimes, seeds=[0, 1], variants=["majority", "fixed"])
    write_results(
        study, lambda cell: predictions(0.6 + 0.1 * cell.seed, cell.seed), metric_names=("macro_f1", "accuracy")
    )
    folder = report()
    expected = {}
    for row in table(folder):
        if row["metric"] == "accuracy":
            regime = "fewshot-k8" if row["regime"] == "fewshot" else row["regime"]
            name = f"tiny-t5/{regime}/{row['task']}/{row['variant']}.json"
            numbers = {key: float(row[key]) for key in ("mean", "low", "high", "majority")}
            bad, seeds = row["collapsed"].split("/")
            assert row["seeds"] == seeds
            expected[name] = numbers | {"collapsed": int(bad), "seeds": int(seeds)}
    found = {path.relative_to(folder / "metrics").as_posix(): files.read_json(path)
             for path in (folder / "metrics").rglob("*.json")}  # fmt: skip
    assert len(found) == 12 and found == expected
    assert {type(value) for numbers in found.values() for value in numbers.values()} == {int, float}


def test_runs_that_agree_exactly_are_not_given_an_interval_of_no_width(tmp_path, monkeypatch):
    study = study_in(tmp_path, monkeypatch, seeds=[0, 1, 2], variants=["fixed"])
    write_results(study, lambda cell: predictions(0.6, cell.seed))
    row = one(table(report()), task="alpha")
    assert (row["seeds"], row["interval"], row["mean"]) == ("3", "examples", "0.600000")
    assert float(row["low"]) == pytest.approx(0.502, abs=1e-3)


def test_results_md(tmp_path, monkeypatch):
    study = study_in(tmp_path, monkeypatch)
    write_results(study, planted)
    text = unpadded((report() / "results.md").read_text())
    assert "| variant | alpha (n = 100) | beta (n = 100) |" in text
    cell = "90.0 [82.6, 94.5]"
    assert f"| adap_ins_pos | {cell} | {cell} |" in text
    assert re.search(r"\| fixed \| 61\.0 \[[\d., ]+\] collapsed 1/1 \|", text)
    assert re.search(r"\| majority \| 60\.0 \[[\d., ]+\] \|", text), "the majority class is no collapsed run"
    assert "majority rate*" not in text
    assert "- alpha, rows used: validation 100 of 300." in text
    assert "- alpha, inputs cut to 480 tokens: train 7 of 80, validation 5 of 100." in text
    assert "single-seed: one training run" in text and "(all numbers of variant fixed, adap_ins_pos)" in text
    assert "random-weights: " in text


def test_results_md_names_the_majority_rate_where_no_variant_does(tmp_path, monkeypatch):
    study = study_in(tmp_path, monkeypatch, variants=["fixed"])
    write_results(study, planted, metric_names=("accuracy", "macro_f1"))
    text = unpadded((report() / "results.md").read_text())
    assert text.count("| *majority rate* | 60.0 | 60.0 |") == 1
    assert "## tiny-t5, full: macro_f1" in text


def test_figures_are_drawn_from_their_csv_alone_and_name_its_digest(tmp_path, monkeypatch):
    study = study_in(tmp_path, monkeypatch)
    write_results(study, planted)
    figures = report() / "figures"
    for name in ("accuracy_by_variant", "chosen_splits", "learning_curves"):
        source = f"{name}.csv sha256:{files.sha256(figures / f'{name}.csv')}"
        picture = Image.open(figures / f"{name}.png")
        assert {key: picture.info[key] for key in picture.info if key != "dpi"} == {"Source": source}
        drawing = (figures / f"{name}.svg").read_text()
        assert source in drawing and "<dc:date>" not in drawing
        for words in ("alpha", "beta", "random-weights: the backbone", "subset: only"):
            assert words in drawing, (name, words)
    assert "majority 60.0" in (figures / "accuracy_by_variant.svg").read_text()
    assert "single-seed: one" in (figures / "accuracy_by_variant.svg").read_text()


def test_chosen_splits_counts_the_predictions_of_all_runs(tmp_path, monkeypatch):
    study = study_in(tmp_path, monkeypatch, seeds=[0, 1], variants=["fixed", "random", "adap_ins_pos"])

    def lines_of(cell):
        return predictions(0.9, cell.seed, lambda i: 1 if i < 20 + 40 * cell.seed else 4)

    write_results(study, lines_of)
    with (report() / "figures" / "chosen_splits.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert {row["variant"] for row in rows} == {"adap_ins_pos"}
    shares = {row["split"]: float(row["share"]) for row in rows if row["task"] == "alpha"}
    assert shares == {"0": 0.0, "1": 0.4, "2": 0.0, "3": 0.0, "4": 0.6}
    assert {(row["examples"], row["seeds"]) for row in rows} == {("200", "2")}


def test_learning_curves_average_runs_and_mark_each_selected_step(tmp_path, monkeypatch):
    study = study_in(tmp_path, monkeypatch, seeds=[0, 1], variants=["majority", "fixed"])
    write_results(study, planted)
    with (report() / "figures" / "learning_curves.csv").open() as file:
        rows = [row for row in csv.DictReader(file) if row["task"] == "alpha"]
    assert {row["variant"] for row in rows} == {"fixed"}
    points = {
        what: [(int(row["step"]), float(row["value"])) for row in rows if row["quantity"] == what]
        for what in ("loss", "accuracy", "selected")
    }
    assert points["accuracy"] == [(40, 0.5), (80, 0.8), (120, 0.7)]
    assert points["selected"] == [(80, 0.8), (80, 0.8)]
    assert len(points["loss"]) == 40
    step, loss = points["loss"][0]
    assert (step, loss) == (3, pytest.approx((2 / 1 + 2 / 2 + 2 / 3) / 3 + 0.5, abs=1e-6))


def test_figures_say_when_there_is_nothing_to_draw(tmp_path, monkeypatch):
    study = study_in(tmp_path, monkeypatch, variants=["majority", "zero-shot"])
    write_results(study, lambda cell: predictions(0.6))
    figures = report() / "figures"
    assert "No variant of this scale chooses a split." in (figures / "chosen_splits.svg").read_text()
    assert "No variant of this scale is trained." in (figures / "learning_curves.svg").read_text()


def test_bytes_repeat_under_another_time_zone_locale_and_directory(tmp_path, monkeypatch):
    outputs = []
    for number, surroundings in enumerate(
        ({"TZ": "UTC", "LC_ALL": "C"}, {"TZ": "Asia/Kathmandu", "LC_ALL": "tr_TR.UTF-8", "PYTHONHASHSEED": "7"})
    ):
        root = tmp_path / f"copy{number}"
        root.mkdir()
        write_results(study_in(root, monkeypatch), planted)
        (root / "matplotlibrc").write_text(f"axes.linewidth: {1 + number}\n")
        environment = os.environ | surroundings | {"PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-m", "dp", "report", "--set", "scale=synthetic"]
        subprocess.run(command, check=True, cwd=root, env=environment)
        outputs.append(files.read_json(root / paths.report("synthetic") / "record.json")["made"]["outputs"])
    assert {*outputs[0]} == {*report_files(load(settings={"scale": "synthetic"})), SUMS}
    assert outputs[0] == outputs[1]


def test_the_record_names_what_was_read_and_what_was_written(tmp_path, monkeypatch):
    study = study_in(tmp_path, monkeypatch)
    write_results(study, planted)
    folder = report()
    record = files.read_json(folder / "record.json")
    read = record["used"]["inputs"]
    assert read == inputs_of(report_job(study))
    assert {"dp/paper/cells.csv", "dp/report/page/page.html"} <= {name for name in read if name.startswith("dp/")}
    made = {path for path in Path("results").rglob("*") if path.parts[1] != "report"}
    names = {"train": ["steps.jsonl"], "evaluate": ["metrics.json", "predictions.jsonl"]}
    assert {Path(name) for name in read if not name.startswith("dp/")} == {
        path for path in made if path.name == "record.json" or path.name in names.get(path.parts[1], [])
    }
    written = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert written == {*record["made"]["outputs"], "record.json"}


@pytest.mark.parametrize("name", ["record.json", "metrics.json", "predictions.jsonl"])
def test_a_missing_evaluation_is_refused(tmp_path, monkeypatch, name):
    study = study_in(tmp_path, monkeypatch)
    write_results(study, planted)
    gone = paths.evaluation("synthetic", "tiny-t5/full/beta/fixed/seed0") / name
    gone.unlink()
    with pytest.raises(UserError, match=rf"^1 .* missing: {re.escape(str(gone))}\. "):
        runs.read(study)


def test_many_missing_evaluations_are_counted_and_ten_are_shown(tmp_path, monkeypatch, capsys):
    study_in(tmp_path, monkeypatch, seeds=list(range(6)))
    with pytest.raises(SystemExit):
        report()
    message = capsys.readouterr().err
    of_baselines, of_trained, records_before_them = 2 * 3, 2 * 2 * 6 * 5, 2 + 1 + 2 + 2
    assert f" {of_baselines + of_trained + records_before_them} files" in message
    assert message.count("results/") == 10
    assert not paths.report("synthetic").exists()


@pytest.mark.parametrize("phase", ["train", "evaluate"])
@pytest.mark.parametrize(("dirty", "label"), [(True, "dirty-tree"), (None, "no-commit")])
def test_a_number_without_a_commit_is_refused_or_admitted_with_a_label(tmp_path, monkeypatch, phase, dirty, label):
    study = study_in(tmp_path, monkeypatch)
    write_results(study, planted)
    run = "tiny-t5/full/beta/fixed/seed0"
    path = Path("results", phase, "synthetic", run, "record.json")
    change(path, lambda record: record | {"with": record["with"] | {"commit": None, "dirty": dirty}})
    with pytest.raises(UserError, match=rf"^1 .*{run}.*allow_dirty"):
        runs.read(study)
    rows = table(report("allow_dirty=true"))
    assert label in one(rows, task="beta", variant="fixed")["labels"].split(";")
    assert label not in one(rows, task="alpha", variant="fixed")["labels"].split(";")


def test_an_evaluation_made_under_other_parameters_is_refused(tmp_path, monkeypatch):
    write_results(study_in(tmp_path, monkeypatch), planted)
    study = study_in(tmp_path, monkeypatch, training=SCALE["training"] | {"steps": 160})
    with pytest.raises(UserError, match=r"^4 evaluations .*\(training\.steps was 120, is 160\)"):
        runs.read(study)


def test_runs_of_one_cell_that_report_different_examples_are_refused(tmp_path, monkeypatch):
    study = study_in(tmp_path, monkeypatch, seeds=[0, 1])
    write_results(study, lambda cell: predictions(0.8, cell.seed)[: N - cell.seed])
    with pytest.raises(SystemExit):
        report()


def test_pools_of_two_sample_seeds_are_told_apart(tmp_path, monkeypatch):
    regimes = [{"kind": "fewshot", "k": [8], "sample_seeds": [0, 1]}]
    study = study_in(tmp_path, monkeypatch, regimes=regimes, variants=["adap_ins_vec"])

    def lines_of(cell):
        weights = [0.25, 0.75] if cell.regime.endswith("s0") else [1.0, 0.0]
        return [line | {"pool": weights} for line in predictions(0.8)]

    write_results(study, lines_of)
    with (report() / "choices.csv").open() as file:
        found = {(row["factor"], row["value"]): float(row["share"]) for row in csv.DictReader(file)
                 if row["task"] == "alpha"}  # fmt: skip
    assert found == {
        ("pool of fewshot-k8-s0, seed0", "0"): 0.25, ("pool of fewshot-k8-s0, seed0", "1"): 0.75,
        ("pool of fewshot-k8-s1, seed0", "0"): 1.0, ("pool of fewshot-k8-s1, seed0", "1"): 0.0,
    }  # fmt: skip
