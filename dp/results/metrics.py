"""The metrics of one evaluation, each with an interval over examples, and whether the run collapsed."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from dp.statistics.intervals import Floats, cluster_bootstrap, wilson


def _share(totals: Floats) -> Floats:
    """Totals [R, 2] of right ones and of all -> share [R]."""
    return totals[:, 0] / totals[:, 1]


def _f1(totals: Floats) -> tuple[Floats, Floats]:
    """Confusion counts [R, C * C], gold by prediction -> F1 [R, C] (0 where undefined), and which classes occur."""
    classes = round(totals.shape[1] ** 0.5)
    confusion = totals.reshape(-1, classes, classes)
    hits = np.diagonal(confusion, axis1=1, axis2=2)
    seen = confusion.sum(axis=1) + confusion.sum(axis=2)
    return 2 * hits / np.maximum(seen, 1), seen > 0


def _f1a(totals: Floats) -> Floats:
    return _f1(totals)[0][:, 1]


def _macro_f1(totals: Floats) -> Floats:
    scores, occurs = _f1(totals)
    return (scores * occurs).sum(axis=1) / occurs.sum(axis=1)


STATISTICS: dict[str, Callable[[Floats], Floats]] = {
    "accuracy": _share,
    "exact_match": _share,
    "f1a": _f1a,
    "macro_f1": _macro_f1,
}


def compute(
    predictions: Sequence[dict[str, Any]],
    metric_names: Sequence[str],
    classes: int,
    split_name: str,
    majority_class: int,
) -> dict[str, Any]:
    """The content of metrics.json, from predictions with `gold`, `prediction`, `group` and `cluster`.

    accuracy: share of examples. exact_match: share of groups (questions) with every example right. f1a: F1 of class 1
    over all examples (answers). macro_f1: mean F1 of the classes that occur among the gold labels or the predictions.
    Each is a share in 0..1 with a 95 % interval: Wilson for the accuracy of examples that are their own clusters,
    otherwise 1,000 resamples of the clusters.

    `majority` is the share of the most frequent class among these very examples: what a constant answer can reach
    here. `majority_class` is the one given, the most frequent class of the train split. A run has collapsed
    (paper.md section 4) if it predicts one class throughout or its accuracy interval contains `majority`.

    Raises ValueError on no predictions, an unknown metric, a label outside 0..classes-1, f1a with more than two
    classes, and, for exact_match, a group that spans clusters.
    """
    _check(predictions, metric_names, classes)
    gold = np.array([row["gold"] for row in predictions])
    predicted = np.array([row["prediction"] for row in predictions])
    cluster = _codes([row["cluster"] for row in predictions])
    group = _codes([row["group"] for row in predictions])
    metrics = {}
    for name in dict.fromkeys(("accuracy", *metric_names)):
        sums = _cluster_sums(name, gold, predicted, group, cluster, classes)
        value = float(STATISTICS[name](sums.sum(axis=0, keepdims=True))[0])
        if name == "accuracy" and len(sums) == len(gold):
            kind, (low, high) = "wilson", wilson(int((gold == predicted).sum()), len(gold))
        else:
            kind, (low, high) = "cluster_bootstrap", cluster_bootstrap(sums, STATISTICS[name])
        metrics[name] = {"value": value, "low": low, "high": high, "interval": kind}
    majority = float(np.bincount(gold).max() / len(gold))
    because = _collapse(predicted, metrics["accuracy"], majority)
    return {
        "split": split_name,
        "n": len(gold),
        "majority": majority,
        "majority_class": majority_class,
        "collapsed": because is not None,
        "collapsed_because": because,
        "metrics": {name: metrics[name] for name in metric_names},
    }


def absent(
    gold: Sequence[int], metric_names: Sequence[str], split_name: str, majority_class: int, why: str
) -> dict[str, Any]:
    """The content of metrics.json of a run that ended in the status `overflow`: no number, and `overflow` says why."""
    majority = float(np.bincount(gold).max() / len(gold))
    return {
        "split": split_name,
        "n": len(gold),
        "majority": majority,
        "majority_class": majority_class,
        "collapsed": None,
        "collapsed_because": None,
        "overflow": why,
        "metrics": dict.fromkeys(metric_names),
    }


def _collapse(predicted: np.ndarray, accuracy: dict[str, Any], majority: float) -> str | None:
    if len(np.unique(predicted)) == 1:
        return f"class {predicted[0]} is predicted throughout"
    if accuracy["low"] <= majority <= accuracy["high"]:
        return f"the accuracy interval contains the majority rate {majority:.4f}"
    return None


def _codes(names: list[str]) -> np.ndarray:
    """Each name's number among the distinct names, counted from 0."""
    return np.unique(np.array(names), return_inverse=True)[1]


def _cluster_sums(
    name: str, gold: np.ndarray, predicted: np.ndarray, group: np.ndarray, cluster: np.ndarray, classes: int
) -> Floats:
    """The additive counts [G, S] of every cluster that the metric's statistic needs."""
    clusters = cluster.max() + 1
    right = gold == predicted
    if name == "accuracy":
        return np.stack([np.bincount(cluster, right, clusters), np.bincount(cluster, minlength=clusters)], 1)
    if name == "exact_match":
        wrong = np.bincount(group, ~right)
        home = np.zeros(len(wrong), dtype=int)
        home[group] = cluster
        return np.stack([np.bincount(home, wrong == 0, clusters), np.bincount(home, minlength=clusters)], 1)
    cells = classes * classes
    where = cluster * cells + gold * classes + predicted
    return np.bincount(where, minlength=clusters * cells).reshape(clusters, cells).astype(float)


def _check(predictions: Sequence[dict[str, Any]], metric_names: Sequence[str], classes: int) -> None:
    if not predictions:
        raise ValueError("there are no predictions to compute metrics from")
    unknown = set(metric_names) - set(STATISTICS)
    if unknown:
        raise ValueError(f"unknown metrics {sorted(unknown)}; the known ones are {sorted(STATISTICS)}")
    if "f1a" in metric_names and classes != 2:
        raise ValueError(f"f1a is the F1 of class 1 of two classes, and the task has {classes}")
    homes: dict[str, str] = {}
    for row in predictions:
        for key in ("gold", "prediction"):
            if not 0 <= row[key] < classes:
                raise ValueError(f"example {row['id']}: {key} {row[key]} is outside 0..{classes - 1}")
        if "exact_match" in metric_names and homes.setdefault(row["group"], row["cluster"]) != row["cluster"]:
            raise ValueError(f"example {row['id']}: group {row['group']} lies in more than one cluster")
