"""Predictions: what is refused, when one holds or fails, the null task, what was told apart, and the report of it."""

import csv
import os
import re
import subprocess
import sys
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
import yaml
from conftest import ROOT
from scipy import stats
from synthetic_results import N, one, predictions, report, reseal, study_in, unpadded, write_results

from dp import files, paths
from dp.errors import UserError
from dp.report.figures import planted_choices
from dp.results import separation
from dp.results.predicted import verdict
from dp.results.table import summary
from dp.statistics.intervals import of_runs, wilson
from dp.statistics.p_values import gap, holm, p_better, p_equivalent
from dp.study.contents import report_config
from dp.study.prediction_file import check, read
from dp.study.study import load, training_of

VARIANTS = ["majority", "fixed", "postfix", "adap_pos", "adap_ins_pos", "adap_ins_pos-shuffled", "adap_ins_vec"]
TRAINED = VARIANTS[1:]
WRITTEN = {
    "predictions": [
        {"regime": "full", "tasks": ["alpha"], "variants": ["adap_ins_pos"], "accuracy": [0.9, 1], "because": "It can"},
        {"regime": "full", "tasks": ["alpha"], "variants": ["fixed"], "accuracy": [0, 0.7], "because": "it cannot"},
        {"regime": "full", "tasks": ["alpha"], "variants": ["adap_pos"], "accuracy": [0.9, 1], "because": "say so."},
        {"regime": "full", "tasks": ["alpha"], "accuracy": [0.2, 1], "because": "chance",
         "variants": ["majority", "postfix", "adap_ins_pos-shuffled", "adap_ins_vec"]},
        {"regime": "full", "tasks": ["beta"], "variants": VARIANTS, "accuracy": [0.2, 1], "because": "chance"},
        {"regime": "multitask", "tasks": ["alpha", "beta"], "variants": VARIANTS, "accuracy": [0.2, 1], "because": "x"},
    ],
    "null_task": {"regime": "full", "task": "beta", "against": "fixed"},
    "planted": [
        {"regime": "full", "task": "alpha", "factor": "split", "variants": ["adap_ins_pos"]},
        {"regime": "full", "task": "alpha", "factor": "pool", "variants": ["adap_ins_vec"]},
        {"regime": "multitask", "tasks": ["alpha", "beta"], "factor": "split", "variants": ["adap_pos"]},
    ],
}  # fmt: skip
CELLS = {(regime, task, variant) for regime in ("full", "multitask") for task in ("alpha", "beta")
         for variant in VARIANTS}  # fmt: skip
LEARNED = {name: set() for name in VARIANTS} | {"adap_ins_vec": {"pool"}}
LEARNED |= {name: {"split"} for name in ("adap_pos", "adap_ins_pos", "adap_ins_pos-shuffled")}
ACCURACIES = {"majority": [0.6], "adap_ins_pos": [1, 1, 1], "fixed": [0.84, 0.85, 0.87], "adap_pos": [0.65, 1, 1]}


def changed(*path, to):
    """The written predictions with one value replaced, or taken out where `to` is None."""
    raw = yaml.safe_load(yaml.safe_dump(WRITTEN))
    here = raw
    for part in path[:-1]:
        here = here[part]
    if to is None:
        del here[path[-1]]
    else:
        here[path[-1]] = to
    return raw


def given(folder, raw):
    (folder / "predicted.yaml").write_text(yaml.safe_dump(raw))
    return read(folder / "predicted.yaml")


REFUSED = [
    (("predictions", 0, "accuracy"), [0.9, 0.8], r"predictions\.0.*low end is above"),
    (("predictions", 0, "accuracy"), [0.9, 1.1], r"predictions\.0\.accuracy\.1 = 1\.1"),
    (("predictions", 0, "acuracy"), 1, r"predictions\.0\.acuracy'; the nearest valid name is 'accuracy'"),
    (("predictions", 0, "because"), None, r"predictions\.0\.because' is missing"),
    (("planted", 0, "tasks"), ["alpha", "beta"], r"planted\.0.*either task"),
    (("planted", 2, "regime"), "full", r"planted\.2.*multitask regime"),
    (("planted", 2, "tasks"), ["alpha"], r"planted\.2.*at least two"),
    (("planted", 0, "factor"), "position", r"planted\.0\.factor = 'position'"),
]


@pytest.mark.parametrize(("path", "to", "message"), REFUSED)
def test_a_malformed_file_is_refused(tmp_path, path, to, message):
    with pytest.raises(UserError, match=message):
        given(tmp_path, changed(*path, to=to))


UNFIT = [
    (("predictions", 0, "regime"), "ful", r"predictions\.0: regime 'ful' is not evaluated; the nearest .* 'full'"),
    (("predictions", 0, "tasks"), ["alpa"], r"predictions\.0: task 'alpa' is not evaluated in full; .*'alpha'"),
    (("predictions", 0, "variants"), ["fixd"], r"predictions\.0: variant 'fixd' .* in full/alpha; .*'fixed'"),
    (("predictions", 1, "variants"), ["adap_ins_pos"], r"predictions\.1: full/alpha/adap_ins_pos .* predictions\.0 "),
    (("predictions", 1), None, r"1 evaluated cells have no prediction: full/alpha/fixed;"),
    (("predictions", 5), None, r"14 evaluated cells have no prediction: (multitask/\S+, ){10}\.\.\.;"),
    (("null_task", "against"), "fixt", r"null_task: variant 'fixt' .*'fixed'"),
    (("planted", 0, "task"), "gamma", r"planted\.0: task 'gamma'"),
    (("planted", 0, "variants"), ["fixed"], r"planted\.0\.variants: 'fixed' learns no split"),
    (("planted", 1), WRITTEN["planted"][0], r"planted\.1: is about full alpha split, as planted\.0 is"),
]


@pytest.mark.parametrize(("path", "to", "message"), UNFIT)
def test_predictions_that_do_not_fit_the_grid_are_refused(tmp_path, path, to, message):
    with pytest.raises(ValueError, match=message):
        check(given(tmp_path, changed(*path, to=to)), CELLS, LEARNED)


def test_the_study_checks_its_predictions_and_names_the_file(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"synthetic\.yaml: predicted\.yaml: predictions\.1: variant 'fixt'"):
        predicted_study(tmp_path, monkeypatch, changed("predictions", 1, "variants", to=["fixt"]))


class Measured:
    """One run; its interval over examples is read only where all runs agree."""

    cell = SimpleNamespace(backbone="any")

    def __init__(self, value, low, high):
        self.metrics = {"metrics": {"accuracy": {"value": value, "low": low, "high": high}}}


def judged(values, predicted):
    """The verdict on runs of these accuracies on 400 examples."""
    interval = wilson(round(values[0] * 400), 400) if len(set(values)) == 1 else (None, None)
    found = summary([Measured(value, *interval) for value in values], "accuracy")
    return verdict(found["low"], found["high"], predicted)


@pytest.mark.parametrize(
    ("values", "predicted", "expected"),
    [
        ([1.0, 1.0, 1.0], (0.99, 1), "holds"),  # Wilson's interval of 400 of 400 begins at 0.9905
        ([1.0, 1.0, 1.0], (0.995, 1), "unclear"),
        ([1.0, 1.0, 1.0], (0, 0.99), "fails"),
        ([0.65, 1.0], (0.9, 1), "unclear"),
        ([0.65, 1.0], (0, 1), "holds"),  # the interval is cut to what an accuracy can be
        ([0.97, 0.98, 0.99], (0.95, 1), "holds"),  # 0.98 +- 0.0248
        ([0.97, 0.98, 0.99], (0.96, 1), "unclear"),
        ([0.97, 0.98, 0.99], (0, 0.955), "fails"),
        ([0.97, 0.98, 0.99], (0, 0.956), "unclear"),
    ],
)
def test_verdicts_of_known_intervals(values, predicted, expected):
    assert judged(values, predicted) == expected


def rate(draw, predicted, what, repeats=1000):
    return sum(judged(draw(), predicted) == what for _ in range(repeats)) / repeats


@pytest.mark.parametrize("seeds", [3, 5])
def test_a_true_prediction_seldom_fails_and_a_false_one_seldom_holds(seeds):
    rng = np.random.default_rng(0)

    def normal(mean):
        return lambda: np.clip(mean + 0.03 * rng.standard_normal(seeds), 0, 1).round(4)

    def missing_the_optimum_at_times():
        return np.where(rng.random(seeds) < 0.28, 0.65, 1.0)

    assert rate(normal(0.8), (0.8, 1), "fails") < 0.04, "the worst case: the true mean at an end of the range"
    assert rate(normal(0.8), (0.799, 0.801), "fails") < 0.065, "and in a range narrower than any interval"
    assert rate(missing_the_optimum_at_times, (0.9, 1), "fails") < 0.04
    assert rate(normal(0.795), (0.8, 1), "holds") < 0.04
    assert rate(normal(0.9), (0.8, 1), "holds") > 0.6
    assert rate(normal(0.6), (0.8, 1), "fails") > 0.9


def test_welch_and_holm_agree_with_other_computations():
    better, against = [0.80, 0.84, 0.83], [0.78, 0.77, 0.80]
    expected = stats.ttest_ind(better, against, equal_var=False, alternative="greater").pvalue
    assert p_better(gap(better, against, 400)) == pytest.approx(expected, rel=1e-9)
    assert holm([0.01, 0.04, 0.03, 0.5]) == pytest.approx([0.04, 0.09, 0.09, 0.5])
    assert holm([0.6, 0.7]) == [1.0, 1.0]


def test_runs_that_agree_exactly_are_compared_by_their_examples():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert p_better(gap([1.0] * 3, [1.0] * 3, 400)) == 0.5
        assert p_better(gap([1.0] * 3, [0.9975] * 3, 400)) > 0.2
        assert p_better(gap([1.0] * 3, [0.5] * 3, 400)) < 1e-6
        assert p_better(gap([0.5], [0.4, 0.42, 0.44], 400)) < 0.05
        assert p_better(gap([0.4] * 3, [0.9, 0.92, 0.91], 400)) > 0.99


def test_equivalence_is_two_one_sided_t_tests():
    one, other, margin = [0.97, 0.98, 0.99, 0.985], [0.975, 0.98, 0.985, 0.99], 0.02
    for paired in (False, True):
        if paired:
            tests = [stats.ttest_1samp(np.subtract(one, other), bound, alternative=way).pvalue
                     for bound, way in ((-margin, "greater"), (margin, "less"))]  # fmt: skip
        else:
            tests = [stats.ttest_ind(np.add(one, shift), other, equal_var=False, alternative=way).pvalue
                     for shift, way in ((margin, "greater"), (-margin, "less"))]  # fmt: skip
        assert p_equivalent(gap(one, other, 400, paired), margin) == pytest.approx(max(tests), rel=1e-6)
    assert p_equivalent(gap([1.0] * 5, [1.0] * 5, 400, paired=True), margin) < 0.01, "no spread: the examples' own"
    assert p_equivalent(gap([0.95] * 5, [1.0] * 5, 400, paired=True), margin) > 0.95
    assert p_equivalent(gap([1.0, 0.8, 1.0], [1.0, 1.0, 1.0], 400), margin) > 0.05, "too few to say"


def test_pairing_by_backbone_takes_out_what_backbones_share():
    one, other = [0.70, 0.80, 0.90], [0.68, 0.785, 0.88]
    assert p_better(gap(one, other, 400, paired=True)) < 0.01 < 0.3 < p_better(gap(one, other, 400))


def test_what_differs_by_the_same_on_each_backbone_owes_nothing_to_how_backbones_differ():
    fixed = [1.0, 0.97, 0.94, 1.0, 0.90]
    same = gap(fixed, fixed, 400, paired=True)
    assert same.mean == 0 and same.variance**0.5 < 0.015, "the examples' own, where backbones spread by 4 points"
    assert gap([0.9] * 5, [1.0, 1.0, 1.0, 1.0, 0.9], 400, paired=True).freedom == 4, "differences that differ"


def worst(rng, shift):
    """The least corrected p of 20 variants, the first of them better by `shift`."""
    against = 0.8 + 0.01 * rng.standard_normal(3)
    variants = 0.8 + 0.01 * rng.standard_normal((20, 3))
    variants[0] += shift
    return int(np.argmin(found := holm([p_better(gap(v, against, 400)) for v in variants]))), min(found)


def test_one_better_variant_among_twenty_is_caught_and_chance_seldom_is():
    rng = np.random.default_rng(0)
    caught = [worst(rng, 0.15) for _ in range(100)]
    assert np.mean([number == 0 and p < 0.05 for number, p in caught]) > 0.95
    assert np.mean([worst(rng, 0)[1] < 0.05 for _ in range(500)]) < 0.08


@pytest.mark.parametrize(
    ("shares", "expected"),
    [
        ([[1, 0, 0], [0, 0, 1]], 1.0),
        ([[1, 0, 0], [0.5, 0.5, 0]], 0.5),
        ([[0.2, 0.3, 0.5]] * 3, 0.0),
        ([[1, 0], [1, 0], [0, 1]], 2 / 3),
    ],
)
def test_distance(shares, expected):
    groups = {str(number): np.array(vector) for number, vector in enumerate(shares)}
    assert separation.distance(groups) == pytest.approx(expected)


def predicted_study(root, monkeypatch, raw=WRITTEN, **changes):
    (root / "predicted.yaml").write_text(yaml.safe_dump(raw))
    scale = {"predictions": "predicted.yaml", "variants": VARIANTS, "seeds": [0, 1, 2],
             "regimes": [{"kind": "full"}, {"kind": "multitask"}]}  # fmt: skip
    return study_in(root, monkeypatch, **scale | changes)


def lines_of(cell):
    """Question 0 is asked in the even rows; adap_ins_pos answers it at split 0, another at 3, half of the latter in
    run 2. The pool's weights differ by question by a half. adap_pos takes one split per multitask task."""
    accuracy = ACCURACIES[cell.variant][cell.seed] if cell.task == "alpha" and cell.variant in ACCURACIES else 0.6

    def split(i):
        match cell.variant:
            case "adap_ins_pos":
                return 3 if i % 2 and (cell.seed < 2 or i % 4 == 1) else 0
            case "adap_pos":
                return 4 if cell.task == "beta" and cell.regime == "multitask" else 1
        return 4

    lines = predictions(accuracy, cell.seed, split)
    if cell.variant == "adap_ins_vec":
        pools = ([0.5, 0.25, 0.25], [0.0, 0.5, 0.5])
        lines = [line | {"pool": pools[i % 2]} for i, line in enumerate(lines)]
    return lines


def write_all(study):
    write_results(study, lines_of)
    rows = [{"id": f"e{i}", "fields": {"question": f"word {1 + i % 2}, feature 0"}} for i in range(N)]
    write_rows(rows)


def write_rows(rows):
    """As if they had been fetched."""
    folder = paths.task_rows("alpha", "made_up")
    files.write_jsonl(folder / "validation.jsonl", rows)
    reseal(folder)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A report over synthetic results, made once; tests read it."""
    root = tmp_path_factory.mktemp("predicted")
    with pytest.MonkeyPatch.context() as patch:
        study = predicted_study(root, patch)
        write_all(study)
        folder = root / report()
    return root, study, folder


def csv_of(folder, name):
    with (folder / name).open() as file:
        return list(csv.DictReader(file))


def test_predictions_csv_holds_every_evaluated_cell_once(made):
    _, _, folder = made
    rows = csv_of(folder, "predictions.csv")
    assert {(row["regime"], row["task"], row["variant"]) for row in rows} == CELLS and len(rows) == len(CELLS)
    alpha = {row["variant"]: row for row in rows if (row["regime"], row["task"]) == ("full", "alpha")}
    assert {name: alpha[name]["verdict"] for name in ("adap_ins_pos", "fixed", "adap_pos", "majority")} == {
        "adap_ins_pos": "holds", "fixed": "fails", "adap_pos": "unclear", "majority": "holds"}  # fmt: skip
    row = alpha["fixed"]
    low, high = of_runs(ACCURACIES["fixed"])
    assert [float(row[key]) for key in ("predicted_low", "predicted_high", "mean", "low", "high")] == pytest.approx(
        [0, 0.7, np.mean(ACCURACIES["fixed"]), low, high], abs=1e-6
    )
    assert (row["seeds"], row["interval"], row["because"], row["labels"], row["majority"]) == (
        "3", "seeds", "it cannot", "random-weights;subset", "0.600000")  # fmt: skip
    same = one(csv_of(folder, "results.csv"), regime="full", task="alpha", variant="fixed")
    assert {key: row[key] for key in ("mean", "low", "high", "interval", "majority", "runs")} == {
        key: same[key] for key in ("mean", "low", "high", "interval", "majority", "runs")
    }


def test_null_task_compares_every_trained_variant(made):
    rows = csv_of(made[2], "null_task.csv")
    assert [row["variant"] for row in rows] == [name for name in TRAINED if name != "fixed"]
    assert {(row["task"], row["against"], row["verdict"], row["p_holm"]) for row in rows} == {
        ("beta", "fixed", "unclear", "1.000000")  # 100 rows cannot say that a difference is below 2 points
    }
    assert {(row["difference"], row["margin"]) for row in rows} == {("0.000000", "0.020000")}
    half = stats.t.ppf(0.975, 2 * (N - 1)) * (2 * (62 / 104) * (42 / 104) / N) ** 0.5
    assert [float(row["high"]) for row in rows] == pytest.approx([half] * len(rows), abs=1e-6)


def test_planted_choices_csv(made):
    rows = csv_of(made[2], "planted_choices.csv")
    found = {(row["regime"], row["factor"], row["variant"]): row for row in rows}
    numbers = {key: (row["planted"], float(row["mean"]), float(row["agree"])) for key, row in found.items()}
    assert numbers == {
        ("full", "split", "adap_pos"): ("no", 0.0, 0.0),
        ("full", "split", "adap_ins_pos"): ("yes", pytest.approx(5 / 6, abs=1e-6), pytest.approx(2 / 3, abs=1e-6)),
        ("full", "split", "adap_ins_pos-shuffled"): ("no", 0.0, 0.0),
        ("full", "pool", "adap_ins_vec"): ("yes", 0.5, 0.0),
        ("multitask", "split", "adap_pos"): ("yes", 1.0, 1.0),
        ("multitask", "split", "adap_ins_pos"): ("no", 0.0, 0.0),
        ("multitask", "split", "adap_ins_pos-shuffled"): ("no", 0.0, 0.0),
    }
    assert found["multitask", "split", "adap_pos"]["task"] == "alpha + beta"
    assert found["full", "pool", "adap_ins_vec"]["low"] == ""
    assert float(found["full", "split", "adap_ins_pos"]["low"]) == pytest.approx(of_runs([1, 1, 0.5])[0], abs=1e-6)
    details = csv_of(made[2] / "figures", "planted_choices.csv")
    shares = {(row["runs"], row["group"], row["value"]): float(row["share"]) for row in details
              if row["variant"] == "adap_ins_pos"}  # fmt: skip
    assert {key: share for key, share in shares.items() if share} == {
        ("3 runs", "word 1, feature 0", "0"): 1.0,
        ("3 runs", "word 2, feature 0", "0"): pytest.approx(1 / 6, abs=1e-6),
        ("3 runs", "word 2, feature 0", "3"): pytest.approx(5 / 6, abs=1e-6),
    }
    assert {row["runs"] for row in details if row["factor"] == "pool"} == {"3 runs"}
    assert "no" not in {row["planted"] for row in details if "planted" in row}


def test_prompts_of_a_pool_are_told_by_what_they_serve_and_not_by_their_number():
    """One run has the question's prompts the other way round, one has two of three for the second."""
    first, second = [[0.9, 0.1, 0.0], [0.2, 0.7, 0.1]], [[0.1, 0.0, 0.9], [0.7, 0.1, 0.2]]
    third = [[0.2, 0.7, 0.1], [0.35, 0.25, 0.4]]
    ordered = [planted_choices._in_order({"a": np.array(a), "b": np.array(b)}) for a, b in (first, second, third)]
    assert [one["a"].tolist() for one in ordered] == [[0.9, 0.1, 0.0], [0.9, 0.1, 0.0], [0.7, 0.1, 0.2]]
    assert [one["b"].tolist() for one in ordered] == [[0.2, 0.7, 0.1], [0.2, 0.7, 0.1], [0.25, 0.4, 0.35]]


def test_predictions_md(made):
    text = unpadded((made[2] / "predictions.md").read_text())
    assert (
        "**Of 28 predicted cells 26 hold, 1 fail and 1 are unclear; on beta, where nothing dynamic can help, 0 of 5 "
        in text
    )
    assert "| fixed | 85.3 [81.5, 89.1] (predicted 0 to 70) **fails** | 60.0 [" in text
    assert "- fixed on alpha (tiny-t5, full): 85.3 [81.5, 89.1], predicted 0 to 70 because it cannot.\n" in text
    assert re.search(r"## What is unclear\n\n- adap_pos on alpha .* because say so\.\n", text)
    assert "| tiny-t5 | full | alpha | split | adap_ins_pos | yes | 0.83 [0.12, 1.00] | 2/3 |" in text
    for name in ("predictions", "planted_choices"):
        assert f"(figures/{name}.png)" in text and (made[2] / "figures" / f"{name}.png").is_file()


def test_the_record_names_the_questions_and_the_predictions(made):
    root, _, folder = made
    record = files.read_json(folder / "record.json")
    rows = paths.task_rows("alpha", "made_up") / "validation.jsonl"
    assert record["used"]["inputs"][str(rows)] == files.sha256(root / rows)
    assert record["asked"]["predictions"]["null_task"]["against"] == "fixed"
    written = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert written == {*record["made"]["outputs"], "record.json"}


def test_bytes_repeat_under_another_hash_seed(made):
    """The solver of the figures' layout depends on it, in its last digits."""
    root, _, folder = made
    before = files.read_json(folder / "record.json")["made"]["outputs"]
    command = [sys.executable, "-m", "dp", "report", "--set", "scale=synthetic"]
    subprocess.run(command, check=True, cwd=root, env=os.environ | {"PYTHONHASHSEED": "3"})
    assert files.read_json(folder / "record.json")["made"]["outputs"] == before


def test_the_report_and_no_run_is_asked_anew_when_predictions_change(tmp_path, monkeypatch):
    study = predicted_study(tmp_path, monkeypatch)
    files.write_text(tmp_path / "predicted.yaml", yaml.safe_dump(changed("predictions", 0, "accuracy", to=[0.8, 1])))
    other = load(tmp_path, {"scale": "synthetic"})
    assert report_config(study) != report_config(other)
    assert training_of(study.scale, "fixed") == training_of(other.scale, "fixed")


def test_sample_seeds_are_judged_apart(tmp_path, monkeypatch):
    names = ["fewshot-k8-s0", "fewshot-k8-s1"]
    raw = WRITTEN | {
        "predictions": [
            {"regime": regime, "tasks": ["alpha", "beta"], "variants": ["fixed", "adap_ins_pos"],
             "accuracy": [0.5, 0.8], "because": "x"} for regime in names],
        "null_task": WRITTEN["null_task"] | {"regime": names[0]},
        "planted": [WRITTEN["planted"][0] | {"regime": names[1]}],
    }  # fmt: skip
    regimes = [{"kind": "fewshot", "k": [8], "sample_seeds": [0, 1]}]
    study = predicted_study(tmp_path, monkeypatch, raw, variants=["fixed", "adap_ins_pos"], regimes=regimes)
    write_all(study)
    write_results(study, lambda cell: predictions(0.65 if cell.regime == names[0] else 0.95, split=lambda i: 2))
    folder = report()
    rows = csv_of(folder, "predictions.csv")
    assert {(row["regime"], row["k"], row["seeds"], row["verdict"]) for row in rows} == {
        (names[0], "8", "3", "holds"), (names[1], "8", "3", "fails")}  # fmt: skip
    assert [row["variant"] for row in csv_of(folder, "null_task.csv")] == ["adap_ins_pos"]
    assert [(row["regime"], row["seeds"]) for row in csv_of(folder, "planted_choices.csv")] == [(names[1], "3")]


def test_rows_without_a_question_and_with_a_single_one_are_refused(tmp_path, monkeypatch, capsys):
    write_all(predicted_study(tmp_path, monkeypatch))
    path = paths.task_rows("alpha", "made_up") / "validation.jsonl"
    for fields, message in (({}, "no field 'question'"), ({"question": "same"}, "all ask 'same'")):
        write_rows([{"id": f"e{i}", "fields": fields} for i in range(N)])
        with pytest.raises(SystemExit):
            report()
        assert message in capsys.readouterr().err
    path.unlink()
    with pytest.raises(SystemExit):
        report()
    assert f"missing: {path}" in capsys.readouterr().err


def test_a_scale_without_predictions_has_no_such_pages(tmp_path, monkeypatch):
    study = study_in(tmp_path, monkeypatch, variants=["fixed"])
    write_results(study, lambda cell: predictions(0.6))
    assert not [path for path in report().rglob("*") if "predict" in path.name or "planted" in path.name]


@pytest.mark.slow
def test_snakemake_knows_the_files_of_predictions(tmp_path, monkeypatch):
    raw = yaml.safe_load(yaml.safe_dump(WRITTEN).replace("alpha", "toy").replace("beta", "toy_choice"))
    predicted_study(tmp_path, monkeypatch, raw, tasks={"made_up": ["toy", "toy_choice"]})
    rules = [f"workflow/{path.name}" for path in (ROOT / "workflow").glob("*.smk")]
    for name in ("Snakefile", "dp", *rules, "workflow/rules", "environment.yml"):
        (tmp_path / name).symlink_to(ROOT / name)
    command = [sys.executable, "-m", "snakemake", "--cores", "1", "-np", "--config", "scale=synthetic", "--", "report"]
    done = subprocess.run(command, capture_output=True, text=True)
    (job,) = re.findall(r"rule report_scale:\n(.*?)\n\n", done.stdout + done.stderr, re.S)
    for name in ("predictions.csv", "null_task.csv", "planted_choices.csv", "predictions.md"):
        assert f"results/report/synthetic/{name}" in job
    assert "results/download/tasks/toy/made_up/record.json" in job
