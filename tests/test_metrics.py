import random

import numpy as np
import pytest
from scipy import stats
from sklearn import metrics as sklearn_metrics

from dp.results.metrics import compute
from dp.statistics.bootstraps import over_clusters
from dp.statistics.intervals import of_runs


def rows(gold, predicted, groups=None, clusters=None):
    ids = [f"example-{i}" for i in range(len(gold))]
    return [
        {"id": name, "gold": g, "prediction": p, "group": group, "cluster": cluster}
        for name, g, p, group, cluster in zip(ids, gold, predicted, groups or ids, clusters or ids, strict=True)
    ]


def found(predictions, *names, classes=2, majority_class=0):
    return compute(predictions, names or ("accuracy",), classes, "validation", majority_class)


def paragraphs(count=40, seed=0):
    """Answers to two questions on each paragraph, right more often on some paragraphs than on others."""
    draw = random.Random(seed)
    gold, predicted, groups, clusters = [], [], [], []
    for paragraph in range(count):
        skill = draw.choice([0.2, 0.9])
        for question in range(2):
            for _ in range(draw.randint(2, 5)):
                gold.append(draw.randint(0, 1))
                predicted.append(gold[-1] if draw.random() < skill else 1 - gold[-1])
                groups.append(f"{paragraph}/{question}")
                clusters.append(f"{paragraph}")
    return rows(gold, predicted, groups, clusters)


def test_values_by_hand():
    gold = [1, 0, 1, 1, 0, 0, 1]
    predicted = [1, 0, 1, 0, 0, 1, 1]
    groups = ["a", "a", "b", "b", "c", "c", "d"]
    result = found(rows(gold, predicted, groups, ["p", "p", "p", "p", "q", "q", "q"]), "accuracy", "f1a", "exact_match")
    values = {name: entry["value"] for name, entry in result["metrics"].items()}
    assert values == {"accuracy": 5 / 7, "f1a": 2 * 3 / (4 + 4), "exact_match": 2 / 4}
    assert (result["split"], result["n"], result["majority"]) == ("validation", 7, 4 / 7)


def test_values_equal_scikit_learn():
    draw = np.random.default_rng(3)
    gold = draw.integers(0, 3, 200).tolist()
    predicted = draw.integers(0, 3, 200).tolist()
    result = found(rows(gold, predicted), "accuracy", "macro_f1", classes=3)["metrics"]
    assert result["accuracy"]["value"] == pytest.approx(sklearn_metrics.accuracy_score(gold, predicted))
    assert result["macro_f1"]["value"] == pytest.approx(sklearn_metrics.f1_score(gold, predicted, average="macro"))
    binary = paragraphs()
    expected = sklearn_metrics.f1_score([r["gold"] for r in binary], [r["prediction"] for r in binary])
    assert found(binary, "f1a")["metrics"]["f1a"]["value"] == pytest.approx(expected)


def test_macro_f1_leaves_out_a_class_that_never_occurs_and_counts_one_that_is_only_predicted():
    gold = [0, 0, 1, 1]
    assert found(rows(gold, [0, 0, 1, 1]), "macro_f1", classes=3)["metrics"]["macro_f1"]["value"] == 1.0
    predicted = [0, 0, 1, 2]
    expected = sklearn_metrics.f1_score(gold, predicted, average="macro")
    assert found(rows(gold, predicted), "macro_f1", classes=3)["metrics"]["macro_f1"]["value"] == pytest.approx(
        expected
    )


def test_wilson_interval_equals_the_formula():
    right, n, z = 63, 100, stats.norm.ppf(0.975)
    entry = found(rows([1] * 50 + [0] * 50, [1] * 50 + [0] * 13 + [1] * 37))["metrics"]["accuracy"]
    share = right / n
    centre = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * np.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    assert entry["interval"] == "wilson"
    assert (entry["low"], entry["high"]) == (pytest.approx(centre - half), pytest.approx(centre + half))


@pytest.mark.parametrize("name", ["accuracy", "f1a", "exact_match"])
def test_cluster_bootstrap_equals_resampling_whole_paragraphs_one_by_one(name):
    predictions = paragraphs()
    clusters = {}
    for row in predictions:
        clusters.setdefault(row["cluster"], []).append(row)

    def value(sample):
        gold, predicted = [row["gold"] for row in sample], [row["prediction"] for row in sample]
        if name == "f1a":
            return sklearn_metrics.f1_score(gold, predicted)
        if name == "accuracy":
            return np.mean(np.equal(gold, predicted))
        right = {}
        for row in sample:
            key = (row["copy"], row["group"])
            right[key] = right.get(key, True) and row["gold"] == row["prediction"]
        return np.mean(list(right.values()))

    draw = random.Random(1)
    values = []
    for _ in range(1000):
        picked = draw.choices(list(clusters.values()), k=len(clusters))
        values.append(value([row | {"copy": copy} for copy, members in enumerate(picked) for row in members]))
    entry = found(predictions, name)["metrics"][name]
    assert entry["interval"] == "cluster_bootstrap"
    assert [entry["low"], entry["high"]] == pytest.approx(np.quantile(values, [0.025, 0.975]).tolist(), abs=0.025)


def test_answers_of_one_paragraph_are_no_independent_evidence():
    gold = [0, 1] * 200
    predicted = [0, 1] * 120 + [1, 0] * 80
    independent = found(rows(gold, predicted))["metrics"]["accuracy"]
    clusters = [str(i // 20) for i in range(400)]
    dependent = found(rows(gold, predicted, clusters, clusters))["metrics"]["accuracy"]
    assert dependent["value"] == independent["value"]
    assert dependent["high"] - dependent["low"] > 3 * (independent["high"] - independent["low"])


def test_the_order_of_predictions_changes_nothing():
    predictions = paragraphs()
    shuffled = random.Random(5).sample(predictions, len(predictions))
    names = ("accuracy", "f1a", "exact_match", "macro_f1")
    assert found(predictions, *names) == found(shuffled, *names)


def test_resamples_are_the_same_each_time_and_centred():
    sums = np.stack([np.arange(50.0), np.full(50, 49.0)], 1)
    low, high = over_clusters(sums, lambda totals: totals[:, 0] / totals[:, 1])
    assert (low, high) == over_clusters(sums, lambda totals: totals[:, 0] / totals[:, 1])
    error = np.std(sums[:, 0] / 49) / np.sqrt(50)
    assert (low, high) == (pytest.approx(0.5 - 1.96 * error, abs=0.01), pytest.approx(0.5 + 1.96 * error, abs=0.01))


def test_interval_over_runs_by_hand():
    values = [0.60, 0.64, 0.68]
    half = 4.302653 * 0.04 / 3**0.5
    assert of_runs(values) == (pytest.approx(0.64 - half, abs=1e-6), pytest.approx(0.64 + half, abs=1e-6))
    assert of_runs([0.5, 0.9]) == (0.0, 1.0)


def test_a_healthy_run_has_not_collapsed():
    result = found(rows([0] * 60 + [1] * 40, [0] * 58 + [1] * 42))
    assert (result["collapsed"], result["collapsed_because"]) == (False, None)


def test_a_run_at_the_majority_rate_of_the_reported_rows_has_collapsed():
    gold = [0] * 70 + [1] * 30
    predicted = [0] * 55 + [1] * 15 + [1] * 14 + [0] * 16
    result = found(rows(gold, predicted))
    assert result["metrics"]["accuracy"]["value"] == 0.69
    assert result["collapsed"] and "majority rate 0.7000" in result["collapsed_because"]


def test_the_rate_that_counts_is_neither_chance_nor_that_of_the_train_split():
    gold = [0] * 70 + [1] * 30
    at_chance = found(rows(gold, [0] * 35 + [1] * 35 + [1] * 15 + [0] * 15))
    assert at_chance["metrics"]["accuracy"]["value"] == 0.5 and not at_chance["collapsed"]
    assert at_chance["majority"] == 0.7
    at_rate_of_class_1 = found(rows(gold, [0] * 10 + [1] * 60 + [1] * 20 + [0] * 10), majority_class=1)
    assert at_rate_of_class_1["metrics"]["accuracy"]["value"] == 0.3 and not at_rate_of_class_1["collapsed"]
    assert (at_rate_of_class_1["majority"], at_rate_of_class_1["majority_class"]) == (0.7, 1)


def test_a_constant_answer_has_collapsed_whatever_its_accuracy():
    result = found(rows([0] * 90 + [1] * 10, [1] * 100))
    assert result["collapsed"] and result["collapsed_because"] == "class 1 is predicted throughout"


def test_collapse_is_judged_by_accuracy_where_accuracy_is_not_asked_for():
    result = found(rows([0] * 70 + [1] * 30, [0] * 69 + [1] + [0] * 29 + [1]), "macro_f1")
    assert list(result["metrics"]) == ["macro_f1"] and result["collapsed"]


@pytest.mark.parametrize(
    ("predictions", "names", "classes", "message"),
    [
        ([], ["accuracy"], 2, "no predictions"),
        (rows([0], [2]), ["accuracy"], 2, "example-0: prediction 2"),
        (rows([3], [0]), ["accuracy"], 3, "example-0: gold 3"),
        (rows([0, 1], [0, 1], ["q", "q"], ["a", "b"]), ["exact_match"], 2, "group q lies in more than one cluster"),
    ],
)
def test_refusals(predictions, names, classes, message):
    with pytest.raises(ValueError, match=message):
        compute(predictions, names, classes, "validation", 0)
