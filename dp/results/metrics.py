"""The metrics of one evaluation, each with an interval over examples, and whether the run collapsed."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np

from dp.closed import nearest
from dp.errors import UserError
from dp.statistics.bootstraps import over_clusters
from dp.statistics.intervals import Floats, Ints, wilson


class Examples(NamedTuple):
    """Of N examples; groups and clusters are numbered from 0."""

    gold: Ints
    predicted: Ints
    group: Ints
    cluster: Ints
    classes: int


class Metric(NamedTuple):
    """A statistic of counts that add up over clusters, so that clusters can be drawn again for its interval.

    counts: -> [G, S], S counts of each of G clusters. value: totals [R, S] -> [R], shares in 0..1. classes: how many a
    task must have; None: any number.
    """

    counts: Callable[[Examples], Floats]
    value: Callable[[Floats], Floats]
    classes: int | None = None


def _right(examples: Examples) -> Floats:
    """Right examples, and all."""
    clusters = examples.cluster.max() + 1
    right = np.bincount(examples.cluster, examples.gold == examples.predicted, clusters)
    return np.stack([right, np.bincount(examples.cluster, minlength=clusters)], 1)


def _right_groups(examples: Examples) -> Floats:
    """Groups without a wrong example, and all."""
    clusters = examples.cluster.max() + 1
    wrong = np.bincount(examples.group, examples.gold != examples.predicted)
    home = np.zeros(len(wrong), dtype=int)
    home[examples.group] = examples.cluster
    return np.stack([np.bincount(home, wrong == 0, clusters), np.bincount(home, minlength=clusters)], 1)


def _confusion(examples: Examples) -> Floats:
    """[G, C * C], gold by prediction."""
    clusters, cells = examples.cluster.max() + 1, examples.classes**2
    where = examples.cluster * cells + examples.gold * examples.classes + examples.predicted
    return np.bincount(where, minlength=clusters * cells).reshape(clusters, cells).astype(float)


def _share(totals: Floats) -> Floats:
    """Totals [R, 2] of right ones and of all -> share [R]."""
    return totals[:, 0] / totals[:, 1]


def _f1(totals: Floats) -> tuple[Floats, Floats]:
    """Confusion counts [R, C * C] -> F1 [R, C] (0 where undefined), and which classes occur."""
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


METRICS = {
    "accuracy": Metric(_right, _share),
    "exact_match": Metric(_right_groups, _share),
    "f1a": Metric(_confusion, _f1a, classes=2),
    "macro_f1": Metric(_confusion, _macro_f1),
}
"""accuracy: share of examples. exact_match: share of groups (questions) with every example right. f1a: F1 of class 1
over all examples (answers). macro_f1: mean F1 of the classes that occur among the gold labels or the predictions."""


def check(names: Sequence[str], classes: int, where: str) -> None:
    """Raises UserError where a metric is unknown, or is not for so many classes."""
    for name in names:
        if name not in METRICS:
            raise UserError(f"{where}: metrics: '{name}' is unknown{nearest(name, METRICS)}.")
        wanted = METRICS[name].classes
        if wanted not in (None, classes):
            raise UserError(f"{where}: metrics: {name} is for {wanted} classes, and there are {classes}; take it out.")


def compute(
    predictions: Sequence[dict[str, Any]],
    metric_names: Sequence[str],
    classes: int,
    split_name: str,
    majority_class: int,
) -> dict[str, Any]:
    """The content of metrics.json, from predictions with `gold`, `prediction`, `group` and `cluster`.

    Each of METRICS is a share in 0..1 with a 95 % interval: Wilson for the accuracy of examples that are their own
    clusters, otherwise 1,000 resamples of the clusters.

    `majority` is the share of the most frequent class among these very examples: what a constant answer can reach
    here. `majority_class` is the one given, the most frequent class of the train split. A run has collapsed
    (paper.md section 4) if it predicts one class throughout or its accuracy interval contains `majority`.

    Raises ValueError on no predictions, a label outside 0..classes-1 and, for exact_match, a group that spans clusters;
    as `check`.
    """
    _check(predictions, metric_names, classes)
    gold = np.array([row["gold"] for row in predictions])
    predicted = np.array([row["prediction"] for row in predictions])
    group, cluster = (_codes([row[key] for row in predictions]) for key in ("group", "cluster"))
    examples = Examples(gold, predicted, group, cluster, classes)
    metrics = {}
    for name in dict.fromkeys(("accuracy", *metric_names)):
        metric = METRICS[name]
        counts = metric.counts(examples)
        value = float(metric.value(counts.sum(axis=0, keepdims=True))[0])
        if name == "accuracy" and len(counts) == len(gold):
            kind, (low, high) = "wilson", wilson(int((gold == predicted).sum()), len(gold))
        else:
            kind, (low, high) = "cluster_bootstrap", over_clusters(counts, metric.value)
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


def _collapse(predicted: Ints, accuracy: dict[str, Any], majority: float) -> str | None:
    if len(np.unique(predicted)) == 1:
        return f"class {predicted[0]} is predicted throughout"
    if accuracy["low"] <= majority <= accuracy["high"]:
        return f"the accuracy interval contains the majority rate {majority:.4f}"
    return None


def _codes(names: list[str]) -> Ints:
    """Each name's number among the distinct names, counted from 0."""
    return np.unique(np.array(names), return_inverse=True)[1]


def _check(predictions: Sequence[dict[str, Any]], metric_names: Sequence[str], classes: int) -> None:
    if not predictions:
        raise ValueError("there are no predictions to compute metrics from")
    check(metric_names, classes, "predictions")
    homes: dict[str, str] = {}
    for row in predictions:
        for key in ("gold", "prediction"):
            if not 0 <= row[key] < classes:
                raise ValueError(f"example {row['id']}: {key} {row[key]} is outside 0..{classes - 1}")
        if "exact_match" in metric_names and homes.setdefault(row["group"], row["cluster"]) != row["cluster"]:
            raise ValueError(f"example {row['id']}: group {row['group']} lies in more than one cluster")
