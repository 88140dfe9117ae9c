"""The report's statistics: against enumeration and other routes, on runs with and without an effect, and end to end."""

import itertools
import math
from collections import defaultdict
from statistics import fmean

import numpy as np
import pytest
import yaml
from conftest import ROOT
from scipy import stats
from synthetic_results import N, change, one, predictions, study_in, write_results

from dp import paths
from dp.errors import UserError
from dp.report.figures.gain_over_fixed import average
from dp.results import aggregates, best_of_many, comparisons, prices
from dp.results import runs as evaluated
from dp.results.table import rows as result_rows
from dp.results.table import to_csv
from dp.results.twins import twins
from dp.statistics import over_tasks
from dp.statistics.bootstraps import over_runs
from dp.statistics.intervals import of_values
from dp.statistics.p_values import holm
from dp.statistics.paired import compare
from dp.study.study import load

VARIANTS = ["majority", "fixed", "fixed-select_on_reported", "adap_ins_pos", "adap_ins_pos-rotation",
            "adap_ins_pos-select_on_reported", "adap_ins_pos-released", "adap_ins_pos-shuffled"]  # fmt: skip
SEEDS = [4, 5, 6]
ACCURACIES = {
    "majority": [0.6],
    "fixed": [0.6, 0.62, 0.61],
    "fixed-select_on_reported": [0.66, 0.64, 0.68],
    "adap_ins_pos": [0.8, 0.9, 0.85],
    "adap_ins_pos-rotation": [0.78, 0.88, 0.84],
    "adap_ins_pos-select_on_reported": [0.8, 0.92, 0.85],
    "adap_ins_pos-released": [0.5, 0.5, 0.5],
    "adap_ins_pos-shuffled": [0.7, 0.6, 0.65],
}
MODULES = (comparisons, aggregates, best_of_many, prices)


def accuracy(cell):
    """On beta everything is 2 points worse; under few-shot, one more."""
    worse = 0.02 * (cell.task == "beta") + 0.01 * cell.regime.startswith("fewshot")
    own = ACCURACIES[cell.variant]
    return own[SEEDS.index(cell.seed) if len(own) > 1 else 0] - worse


def answered(cell):
    return predictions(accuracy(cell), seed=len(cell.variant) + cell.seed)


def made(tmp_path, monkeypatch, lines_of=answered, **changes):
    """A synthetic study and its runs."""
    study = study_in(tmp_path, monkeypatch, **({"seeds": SEEDS, "variants": VARIANTS} | changes))
    write_results(study, lines_of)
    return study, evaluated.read(study)


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The folder of the usual synthetic scale."""
    root = tmp_path_factory.mktemp("synthetic")
    with pytest.MonkeyPatch.context() as patch:
        made(root, patch)
    return root


@pytest.fixture
def usual(written, monkeypatch):
    """The usual synthetic study and its runs."""
    monkeypatch.chdir(written)
    study = load(settings={"scale": "synthetic"})
    return study, evaluated.read(study)


def binary(draw, *shares, examples=200):
    return [(draw.random(examples) < share).astype(float) for share in shares]


# Aggregates


def test_the_interquartile_mean_is_that_of_the_middle_half_of_all_runs():
    assert over_tasks.interquartile_mean([np.array([0.0, 1, 2, 3]), np.array([10.0, 11, 50, 100])]) == 6.5
    assert over_tasks.interquartile_mean([np.array([1.0, 2, 6])]) == 3  # a quarter of three is rounded down to none


def test_the_mean_weighs_tasks_equally_whatever_their_runs():
    assert over_tasks.mean([np.array([0.0, 1.0]), np.array([1.0])]) == 0.75


def test_improvement_counts_pairs_and_halves_ties():
    draw = np.random.default_rng(1)
    ours = [draw.integers(0, 4, 5) / 4 for _ in range(3)]
    theirs = [draw.integers(0, 4, 4) / 4 for _ in range(3)]
    by_hand = [
        sum(1 if x > y else 0.5 if x == y else 0 for x in a for y in b) / (len(a) * len(b))
        for a, b in zip(ours, theirs, strict=True)
    ]
    by_ranks = [stats.mannwhitneyu(a, b).statistic / (len(a) * len(b)) for a, b in zip(ours, theirs, strict=True)]
    assert any((a[:, None] == b).any() for a, b in zip(ours, theirs, strict=True))
    assert over_tasks.improvement(ours, theirs) == pytest.approx(np.mean(by_hand)) == pytest.approx(np.mean(by_ranks))
    assert over_tasks.improvement(ours, ours) == 0.5


def test_the_bootstrap_draws_runs_within_tasks():
    # The lowest mean takes the lower run of each task twice, with probability 1/16; across tasks it would be 0.
    low, high = over_runs(over_tasks.mean, [np.array([0.0, 1.0]), np.array([0.2, 0.4])])
    assert (low, high) == pytest.approx((0.1, 0.7))


def test_the_bootstrap_equals_the_enumerated_one():
    scores = [np.array([0.1, 0.5, 0.8]), np.array([0.3, 0.35, 0.9])]
    resamples = [
        np.mean([np.mean(a), np.mean(b)])
        for a in itertools.product(scores[0], repeat=3)
        for b in itertools.product(scores[1], repeat=3)
    ]
    expected = np.quantile(resamples, [0.025, 0.975])
    np.testing.assert_allclose(over_runs(over_tasks.mean, scores), expected, atol=0.02)


def test_no_interval_where_resampling_moves_nothing():
    scores = [np.array([0.1]), np.array([0.5])]
    assert over_runs(over_tasks.mean, scores) == (None, None)
    above = [np.array([0.8, 0.9, 0.7])]
    assert over_runs(over_tasks.improvement, above, [np.array([0.1, 0.2, 0.3])]) == (None, None)
    assert over_runs(over_tasks.mean, above) != (None, None)


# Two variants on the same examples


def test_one_run_each_is_mcnemars_exact_test():
    draw = np.random.default_rng(2)
    for _ in range(5):
        a, b = binary(draw, 0.8, 0.6, examples=30)
        told = (a - b)[a != b]
        signs = np.array(list(itertools.product([1, -1], repeat=len(told))))
        expected = np.mean(np.abs(signs.sum(axis=1)) >= abs(told.sum()))
        found = compare(a[None], b[None], np.arange(30))
        assert found.test == "exact McNemar"
        assert found.p == pytest.approx(expected)
        assert found.difference == pytest.approx(a.mean() - b.mean())


def test_clustered_examples_are_flipped_as_clusters():
    draw = np.random.default_rng(3)
    a, b = binary(draw, 0.8, 0.6, examples=60)
    clusters = np.arange(60) // 6
    gained = np.array([(a - b)[clusters == c].sum() for c in range(10)])
    signs = np.array(list(itertools.product([1, -1], repeat=10)))
    expected = np.mean(np.abs((signs * gained).sum(axis=1)) >= abs(gained.sum()) - 1e-9)
    found = compare(a[None], b[None], clusters)
    assert found.test == "sign flip of clusters"
    assert found.p == pytest.approx(expected)


def test_ten_copies_of_an_example_are_no_ten_examples():
    a, b = (np.isin(np.arange(80), rows).astype(float) for rows in (range(12), range(12, 17)))  # 12 wins, 5 losses
    once = compare(a[None], b[None], np.arange(80))
    copies = [np.repeat(run, 10)[None] for run in (a, b)]
    apart, together = compare(*copies, np.arange(800)), compare(*copies, np.repeat(np.arange(80), 10))
    assert once.p > 0.05 > apart.p
    assert together.p == pytest.approx(once.p, abs=0.03)
    assert (together.low, together.high) == pytest.approx((once.low, once.high), abs=0.02)


def test_the_paired_bootstrap_by_another_route():
    draw = np.random.default_rng(5)
    a, b = binary(draw, 0.8, 0.7, examples=150)
    found = compare(a[None], b[None], np.arange(150))
    ours, theirs = np.append(a, [1, 0]), np.append(b, [0, 1])
    other = stats.bootstrap((ours, theirs), lambda x, y, axis: (x - y).mean(axis=axis), paired=True, vectorized=True,
                            method="percentile", rng=draw).confidence_interval  # fmt: skip
    assert (found.low, found.high) == pytest.approx((other.low, other.high), abs=0.01)
    assert found.low < found.difference < found.high


@pytest.mark.parametrize("runs", [1, 3])
def test_equal_answers_are_no_proof_of_equality(runs):
    a = np.tile((np.arange(50) < 40).astype(float), (runs, 1))
    found = compare(a, a, np.arange(50))
    assert (found.difference, found.p) == (0, 1)
    assert -0.1 < found.low < -0.01 < 0.01 < found.high < 0.1


def test_several_runs_by_mean_squares():
    """The two-way layout of each variant, runs x examples, in the terms of an analysis of variance."""
    draw = np.random.default_rng(6)
    examples = 40
    one, other = ((draw.random((seeds, 1)) + draw.random((seeds, examples)) > 0.8).astype(float) for seeds in (3, 4))
    error, squares = 0.0, 0.0
    for table in (one, other):
        seeds, grand = len(table), table.mean()
        of_runs = examples * sum((row.mean() - grand) ** 2 for row in table) / (seeds - 1)
        rest = sum(
            (table[s, i] - table[s].mean() - table[:, i].mean() + grand) ** 2
            for s in range(seeds)
            for i in range(examples)
        ) / ((seeds - 1) * (examples - 1))
        error += max(of_runs - rest, 0) / (seeds * examples)
        squares += (of_runs / (seeds * examples)) ** 2 / (seeds - 1)
    gained = [*(one.mean(axis=0) - other.mean(axis=0)), 1, -1]
    by_example = np.var(gained, ddof=1) / len(gained)
    error, squares = error + by_example, squares + by_example**2 / (examples - 1)
    freedom = error**2 / squares
    found, difference = compare(one, other, np.arange(examples)), one.mean() - other.mean()
    half = stats.t.ppf(0.975, freedom) * math.sqrt(error)
    p = 2 * stats.t.sf(abs(difference) / math.sqrt(error), freedom)
    expected = (difference, difference - half, difference + half, p)
    assert found[:4] == pytest.approx(expected)


def test_a_variant_that_draws_nothing_has_no_spread_of_runs():
    draw = np.random.default_rng(7)
    constant = np.array(binary(draw, 0.5))
    runs = np.array(binary(draw, 0.8, 0.82, 0.78))
    one_run, three_runs = (
        compare(constant, runs, np.arange(200)),
        compare(np.repeat(constant, 3, 0), runs, np.arange(200)),
    )
    assert one_run.test == "t over runs and examples"
    assert one_run == three_runs
    assert one_run.p < 0.001


def null(draw, seeds, examples, of_run, of_variant):
    """p of two variants that are alike but for the draw of runs and examples."""
    shared = draw.normal(0, 1, examples)
    one, other = (
        (1 + shared + draw.normal(0, of_variant, examples) + draw.normal(0, of_run, (seeds, 1))
         + draw.normal(0, 0.5, (seeds, examples)) > 0).astype(float)
        for _ in range(2)
    )  # fmt: skip
    spread = [(runs.mean(), runs.mean(axis=1).std(ddof=1) + 1e-9, seeds) for runs in (one, other)]
    alone = stats.ttest_ind_from_stats(*spread[0], *spread[1], equal_var=False).pvalue
    return compare(one, other, np.arange(examples)).p, alone


@pytest.mark.parametrize("seeds", [3, 5])
@pytest.mark.parametrize(("of_run", "of_variant"), [(0, 0.5), (0.3, 0.3)])
def test_a_true_null_hypothesis_is_seldom_rejected(seeds, of_run, of_variant):
    draw = np.random.default_rng(8)
    here, alone = np.array([null(draw, seeds, 100, of_run, of_variant) for _ in range(400)]).T
    assert (here < 0.05).mean() < 0.08
    assert 0.25 < (here < 0.5).mean() < 0.6
    if of_run == 0:  # what a test over seeds alone leaves out
        assert (alone < 0.05).mean() > 0.09


def test_pairing_removes_what_a_seed_does_to_both():
    draw = np.random.default_rng(9)
    base = np.array(binary(draw, 0.5, 0.7, 0.9))
    better = np.where(np.cumsum(base == 0, axis=1) <= 10, 1.0, base)  # ten rows more, in every run
    paired = compare(better, base, np.arange(200), same_runs=True)
    unpaired = compare(better, base, np.arange(200))
    assert paired.difference == unpaired.difference == pytest.approx(0.05)
    assert paired.p < 0.05 < unpaired.p
    assert paired.high - paired.low < (unpaired.high - unpaired.low) / 3


def test_swapping_the_variants_swaps_the_answer():
    draw = np.random.default_rng(10)
    one, other = np.array(binary(draw, 0.8, 0.7, 0.9)), np.array(binary(draw, 0.6, 0.65, 0.5))
    there, back = compare(one, other, np.arange(200)), compare(other, one, np.arange(200))
    assert (there.difference, there.low, there.high) == pytest.approx((-back.difference, -back.high, -back.low))
    assert there.p == back.p


def test_holm_by_its_definition():
    draw = np.random.default_rng(11)
    p = draw.random(7) ** 3
    order = np.argsort(p)
    expected = np.empty(7)
    for rank, which in enumerate(order):
        expected[which] = min(1, max((7 - j) * p[order[j]] for j in range(rank + 1)))
    assert holm(list(p)) == pytest.approx(list(expected))
    assert holm([]) == []


def test_the_interval_of_a_mean():
    assert of_values([1.0, 2.0, 3.0]) == pytest.approx((2 - 4.302653 / 3**0.5, 2 + 4.302653 / 3**0.5))
    assert of_values([0.1]) == of_values([0.1, 0.1]) == (None, None)


# End to end


def test_comparisons_of_a_scale(usual):
    study, runs = usual
    rows = comparisons.rows(study, runs)
    wanted = [name for name in VARIANTS if name != "fixed"]
    assert [(row["task"], row["variant"]) for row in rows] == [(t, v) for t in ("alpha", "beta") for v in wanted]
    row = one(rows, task="beta", variant="adap_ins_pos")
    assert row["difference"] == pytest.approx(0.24)
    assert 0 < row["low"] < 0.24 < row["high"]
    assert (row["n"], row["seeds"], row["against"], row["k"]) == (N, 3, "fixed", None)
    assert row["p_holm"] == pytest.approx(holm([other["p"] for other in rows])[rows.index(row)]) and row["p"] < 0.05
    digests = {run.digest[:12]: run for run in runs}
    assert {(digests[name].cell.task, digests[name].cell.variant) for name in row["runs"].split(";")} == {
        ("beta", "adap_ins_pos"), ("beta", "fixed")
    }  # fmt: skip
    assert one(rows, task="alpha", variant="majority")["p"] > 0.05
    assert "single-seed" not in row["labels"]


def test_a_family_is_one_backbone_regime_and_k(tmp_path, monkeypatch):
    regimes = [{"kind": "full"}, {"kind": "fewshot", "k": [2, 4]}]
    variants = ["majority", "fixed", "adap_ins_pos"]
    study, runs = made(tmp_path, monkeypatch, regimes=regimes, variants=variants)
    rows, families = comparisons.rows(study, runs), defaultdict(list)
    for row in rows:
        families[row["regime"], row["k"]].append(row)
    assert {key: len(members) for key, members in families.items()} == {
        ("full", None): 4, ("fewshot", 2): 4, ("fewshot", 4): 4
    }  # fmt: skip
    for members in families.values():
        assert [row["p_holm"] for row in members] == pytest.approx(holm([row["p"] for row in members]))


def test_one_seed_is_compared_by_mcnemar_and_labelled(tmp_path, monkeypatch):
    study, runs = made(tmp_path, monkeypatch, seeds=[4], variants=["majority", "fixed", "adap_ins_pos"])
    rows = comparisons.rows(study, runs)
    assert {row["test"] for row in rows} == {"exact McNemar"}
    assert all("single-seed" in row["labels"].split(";") for row in rows)
    (row,) = [row for row in aggregates.rows(study, runs) if row["variant"] == "adap_ins_pos"]
    assert "single-seed" in row["labels"].split(";")
    assert (row["mean"], row["mean_low"], row["iqm_high"]) == (pytest.approx(0.79), None, None)


def test_clusters_reach_the_test(tmp_path, monkeypatch):
    def clustered(cell):
        return [line | {"cluster": f"c{i // 10}"} for i, line in enumerate(answered(cell))]

    study, runs = made(tmp_path, monkeypatch, clustered, seeds=[4], variants=["fixed", "adap_ins_pos"])
    assert {row["test"] for row in comparisons.rows(study, runs)} == {"sign flip of clusters"}


def test_other_examples_are_refused(tmp_path, monkeypatch):
    def renamed(cell):
        lines = answered(cell)
        return [*lines[1:], lines[0]] if cell.variant == "adap_ins_pos" else lines

    study, runs = made(tmp_path, monkeypatch, renamed)
    with pytest.raises(UserError, match=r"adap_ins_pos/seed4/predictions\.jsonl do not hold the same examples"):
        comparisons.rows(study, runs)


def test_aggregates_cover_the_tasks_that_fixed_was_run_on(tmp_path, monkeypatch):
    regimes = [
        {"kind": "full", "tasks": ["alpha"], "variants": ["majority", "fixed", "adap_ins_pos"]},
        {"kind": "full", "tasks": ["beta"], "variants": ["adap_ins_pos", "adap_pos"]},
    ]
    ours = ACCURACIES | {"adap_pos": [0.9, 0.9, 0.9]}
    monkeypatch.setitem(ACCURACIES, "adap_pos", ours["adap_pos"])
    variants = ["majority", "fixed", "adap_ins_pos", "adap_pos"]
    study, runs = made(tmp_path, monkeypatch, regimes=regimes, variants=variants)
    rows = aggregates.rows(study, runs)
    assert [(row["variant"], row["tasks"]) for row in rows] == [(v, "alpha") for v in variants[:3]]
    row = one(rows, variant="adap_ins_pos")
    assert (row["mean"], row["improvement"], row["seeds"]) == (pytest.approx(0.85), 1, 3)
    assert one(rows, variant="fixed")["improvement"] is None


def test_aggregates_over_two_tasks(usual):
    study, runs = usual
    row = one(aggregates.rows(study, runs), variant="adap_ins_pos")
    assert row["tasks"] == "alpha;beta"
    assert row["mean"] == pytest.approx(0.84)
    assert row["iqm"] == pytest.approx((0.8 + 0.83 + 0.85 + 0.88) / 4)
    assert row["mean_low"] < 0.84 < row["mean_high"]
    assert len(row["runs"].split(";")) == 12


def test_without_fixed_there_is_nothing_to_compare(tmp_path, monkeypatch):
    study, runs = made(tmp_path, monkeypatch, variants=["majority", "adap_ins_pos"])
    for module in MODULES[:2]:
        assert module.rows(study, runs) == []
        assert to_csv(module.COLUMNS, []) == ",".join(module.COLUMNS) + "\n"


def test_optimism_of_held_out_and_of_reported_looks(usual):
    study, runs = usual
    rows = [row for row in best_of_many.rows(study, runs) if row["task"] == "alpha"]
    assert [row["variant"] for row in rows] == [v for v in VARIANTS if v not in ("majority", "adap_ins_pos-shuffled")]
    held_out = one(rows, variant="fixed")
    assert (held_out["rows"], held_out["evaluations"], held_out["seeds"]) == ("selection", 3, 3)
    assert (held_out["best"], held_out["last"]) == pytest.approx((0.8, 0.7))
    assert (held_out["chosen"], held_out["best_minus_chosen"]) == (pytest.approx(0.61), pytest.approx(0.19))
    assert (held_out["low"], held_out["high"]) == pytest.approx(of_values([0.2, 0.18, 0.19]))
    reported = one(rows, variant="adap_ins_pos-select_on_reported")
    assert (reported["rows"], reported["chosen"]) == ("reported", pytest.approx(0.85))  # of adap_ins_pos
    assert reported["best_minus_chosen"] == pytest.approx(-0.05)
    assert len(reported["runs"].split(";")) == 6
    alone = one(rows, variant="adap_ins_pos-released")  # nothing differs from it in that switch alone
    assert (alone["rows"], alone["chosen"], alone["best_minus_chosen"]) == ("reported", None, None)
    assert (alone["best_minus_last"], alone["low"]) == (pytest.approx(0.1), None)


def test_the_optimism_of_a_union_is_that_of_each_task(tmp_path, monkeypatch):
    study, _ = made(tmp_path, monkeypatch, regimes=[{"kind": "multitask"}], variants=["fixed"])
    for seed in SEEDS:
        log = paths.train_run("synthetic", f"tiny-t5/multitask/all/fixed/seed{seed}") / "steps.jsonl"
        change(log, by_task)
    rows = best_of_many.rows(study, evaluated.read(study))
    assert [row["task"] for row in rows] == ["alpha", "beta"]
    assert [(row["best"], row["last"]) for row in rows] == [pytest.approx((0.6, 0.6)), pytest.approx((1.0, 0.8))]


def by_task(lines):
    """0.5 and 0.5, then 0.6 and 1, then 0.6 and 0.8, as single precision has them."""
    shares = {40: [0.5, 0.5], 80: [0.6, 1.0], 120: [0.6, 0.8]}
    found = []
    for line in lines:
        if "selection" in line:
            own = [float(np.float32(share)) for share in shares[line["step"]]]
            line = line | {"selection": {"accuracy": sum(own) / 2, "loss": 1.0, "by_task": own}}
        found.append(line)
    return found


def test_a_difference_of_nothing_has_no_sign():
    assert str(best_of_many._minus([0.81, 0.1], [0.8100000023841858, 0.0])) == "[0.0, 0.1]"


def test_prices_pair_a_variant_with_the_one_without_its_switches(usual):
    study, runs = usual
    rows = [row for row in prices.rows(study, runs) if row["task"] == "alpha"]
    assert [(row["variant"], row["against"]) for row in rows] == [
        ("fixed-select_on_reported", "fixed"),
        ("adap_ins_pos-rotation", "adap_ins_pos"),
        ("adap_ins_pos-select_on_reported", "adap_ins_pos"),
        ("adap_ins_pos-released", "adap_ins_pos"),
    ]
    row = one(rows, variant="adap_ins_pos-rotation")
    assert (row["switches"], row["with"], row["without"]) == ("rotation", pytest.approx(2.5 / 3), pytest.approx(0.85))
    assert row["difference"] == pytest.approx(-0.05 / 3)
    assert one(rows, variant="adap_ins_pos-released")["switches"].split(";") == sorted(
        study.params.variants["adap_ins_pos-released"].switches
    )


def test_a_price_is_paired_by_seed(tmp_path, monkeypatch):
    """Every run of a seed gets the same rows wrong but for two that the switch costs it: seeds differ by 20 points."""

    def answered(cell):
        lost = 20 * SEEDS.index(cell.seed) if cell.seed in SEEDS else 0
        wrong = lost + 3 * (cell.variant == "fixed-select_on_reported")
        return [line | {"prediction": 1 - line["gold"] if i < wrong else line["gold"]}
                for i, line in enumerate(predictions(1.0))]  # fmt: skip

    study, runs = made(tmp_path, monkeypatch, answered, variants=["fixed", "fixed-select_on_reported"])
    (row, _), (free, _) = prices.rows(study, runs), comparisons.rows(study, runs)
    assert row["difference"] == free["difference"] == pytest.approx(-0.03)
    assert row["high"] - row["low"] < 0.15 < 0.8 < free["high"] - free["low"]


def test_runs_without_a_counterpart_are_left_out_of_a_pair(tmp_path, monkeypatch):
    def part(variants, sample_seeds):
        return {"kind": "fewshot", "k": [2], "variants": variants, "sample_seeds": sample_seeds}

    regimes = [part(["fixed"], [0]), part(["fixed-select_on_reported"], [1, 0])]
    study, runs = made(tmp_path, monkeypatch, variants=["fixed", "fixed-select_on_reported"], regimes=regimes)
    row, _ = prices.rows(study, runs)
    assert (row["seeds"], row["with"], row["without"]) == (3, pytest.approx(0.65), pytest.approx(0.6))
    row = one(best_of_many.rows(study, runs), task="alpha", variant="fixed-select_on_reported")
    assert (row["seeds"], row["best_minus_chosen"]) == (3, pytest.approx(0.2))
    assert all("-s0/" in run.cell.run for run in runs if run.digest[:12] in row["runs"].split(";"))


def test_no_price_where_the_training_differs_too(tmp_path, monkeypatch):
    study = load(ROOT, {"scale": "ablation"})
    pairs = twins(study)
    assert pairs["fixed-update_every_micro_batch", "fixed"] == ["update_every_micro_batch"]
    assert ("adap_ins_pos-rotation", "fixed") not in pairs
    assert ("adap_ins_pos", "adap_ins_pos-rotation") not in pairs
    slower = {"fixed-select_on_reported": {"optimizer": {"lr": 0.2}}}
    study, runs = made(tmp_path, monkeypatch, overrides=slower)
    assert "fixed-select_on_reported" not in {row["variant"] for row in prices.rows(study, runs)}
    (row, _) = [row for row in best_of_many.rows(study, runs) if row["variant"] == "fixed-select_on_reported"]
    assert row["chosen"] is None


def test_a_switch_of_the_scales_protocol_is_no_price(usual):
    study, runs = usual
    released = study.model_copy(update={"scale": study.scale.model_copy(update={"protocol": "released"})})
    assert prices.rows(released, runs) == []


def test_every_switch_that_acts_in_the_ablation_is_priced():
    study = load(ROOT, {"scale": "ablation"})
    single = {extra[0] for extra in twins(study).values() if len(extra) == 1}
    # Its backbone has no dropout, its schedule no warm-up; no task's choice is drawn at evaluation, nothing fine-tuned;
    # tokens are shared by all variants.
    idle = {"dropout", "warmup_from_zero", "draw_by_four", "prompt_beside_finetuning", "short_schedule",
            "truncate_as_released"}  # fmt: skip
    assert single == set(study.params.protocols["released"]) - idle


def test_the_same_rows_twice(usual):
    study, runs = usual
    for module in MODULES:
        first, second = (to_csv(module.COLUMNS, module.rows(study, runs)) for _ in range(2))
        assert first == second
        assert "-0.000000" not in first


# several pre-training seeds of one model

TWO_SEEDS = {f"tiny-t5-{n}": {"family": "seq2seq", "seed_of": "tiny-t5-seeds"} for n in (0, 1, 2)}


def pooled(tmp_path, monkeypatch, accuracy_of, variants=("fixed", "adap_ins_pos"), **changes):
    """A synthetic study of three pre-training seeds, two training seeds each, and its runs."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    source = params["backbones"]["tiny-t5"]["source"]
    params["backbones"] |= {name: entry | {"source": source | {"seed": int(name[-1])}}
                            for name, entry in TWO_SEEDS.items()}  # fmt: skip
    monkeypatch.setattr("synthetic_results.ROOT", tmp_path / "given")
    (tmp_path / "given").mkdir()
    (tmp_path / "given" / "params.yaml").write_text(yaml.safe_dump(params))
    return made(tmp_path, monkeypatch,
                lambda cell: predictions(accuracy_of(cell), seed=hash_of(cell)), backbones=list(TWO_SEEDS),
                seeds=[1, 2], variants=list(variants), **{"tasks": {"made_up": ["alpha"]}} | changes)  # fmt: skip


def hash_of(cell):
    return int(cell.backbone[-1]) * 10 + cell.seed + 100 * len(cell.variant)


BY_BACKBONE = {0: 0.5, 1: 0.7, 2: 0.9}


def of_seed(cell):
    gain = 0.05 + 0.01 * int(cell.backbone[-1]) if cell.variant == "adap_ins_pos" else 0.0
    return BY_BACKBONE[int(cell.backbone[-1])] + gain + 0.02 * (cell.seed - 1)


def test_pre_training_seeds_have_one_row_with_the_interval_of_a_mixed_model(tmp_path, monkeypatch):
    study, runs = pooled(tmp_path, monkeypatch, of_seed)
    row = one(result_rows(study, runs), variant="fixed")
    assert (row["backbone"], row["backbones"], row["seeds"], row["interval"]) == ("tiny-t5-seeds", 3, 6, "backbones")
    # Random backbones, random seeds within: the variance of the mean is MS(backbones) / runs, with B - 1 degrees
    cells = np.array([[of_seed(run.cell) for run in runs if run.cell.variant == "fixed" and run.cell.backbone == name]
                      for name in TWO_SEEDS])  # fmt: skip
    mean_squares = 2 * ((cells.mean(axis=1) - cells.mean()) ** 2).sum() / 2
    half = stats.t.ppf(0.975, 2) * (mean_squares / 6) ** 0.5
    assert row["mean"] == pytest.approx(cells.mean())
    assert row["low"] == pytest.approx(max(cells.mean() - half, 0)) and row["high"] == pytest.approx(1.0)
    assert "single-pretraining" not in row["labels"]


def test_variants_are_compared_backbone_by_backbone(tmp_path, monkeypatch):
    study, runs = pooled(tmp_path, monkeypatch, of_seed)
    (row,) = comparisons.rows(study, runs)
    assert row["test"] == "t over backbones and examples" and row["difference"] == pytest.approx(0.06)
    assert row["low"] > 0, "backbones differ by 40 points, the differences on them by 2"
    shares = np.array([[[line["gold"] == line["prediction"] for line in run.predictions()] for run in runs
                        if (run.cell.variant, run.cell.backbone) == (variant, name)]
                       for variant in ("adap_ins_pos", "fixed") for name in TWO_SEEDS]).mean(axis=1)  # fmt: skip
    by_hand = compare(shares[:3], shares[3:], np.arange(N), same_runs=True)
    assert row["p"] == pytest.approx(by_hand.p) and row["low"] == pytest.approx(by_hand.low)


def test_one_of_several_pre_training_seeds_is_labelled(tmp_path, monkeypatch):
    study, runs = pooled(tmp_path, monkeypatch, of_seed)
    only = [run for run in runs if run.cell.backbone == "tiny-t5-1"]
    assert {row["labels"] for row in result_rows(study, only)} == {"random-weights;single-pretraining;subset"}


def test_prices_pair_runs_of_one_backbone(tmp_path, monkeypatch):
    variants = ("fixed", "fixed-select_on_reported")
    study, runs = pooled(tmp_path, monkeypatch, of_seed, variants)
    (row,) = prices.rows(study, runs)
    assert row["seeds"] == 6 and row["difference"] == pytest.approx(0)


def test_what_is_left_out_on_one_pre_training_seed_is_left_out_on_all(tmp_path, monkeypatch):
    with pytest.raises(UserError, match=r"without: 'tiny-t5-0' and 'tiny-t5-1' are pre-training seeds"):
        pooled(tmp_path, monkeypatch, of_seed, without={"tiny-t5-1": ["adap_ins_pos"]})


def test_over_tasks_a_backbone_is_one_draw(tmp_path, monkeypatch):
    """Two tasks on which the same backbone is the better one: they add nothing to what three backbones say."""
    study, runs = pooled(tmp_path, monkeypatch, of_seed, tasks={"made_up": ["alpha", "beta"]})
    row = one(aggregates.rows(study, runs), variant="fixed")
    assert row["tasks"] == "alpha;beta"
    means = [np.mean([run.metrics["metrics"]["accuracy"]["value"] for run in runs
                      if (run.cell.variant, run.cell.backbone) == ("fixed", name)]) for name in TWO_SEEDS]  # fmt: skip
    low, high = of_values(means)
    assert (row["mean_low"], row["mean_high"]) == pytest.approx((max(low, 0), min(high, 1)))
    # Better on each backbone, though no better than another backbone's fixed
    gained = one(aggregates.rows(study, runs), variant="adap_ins_pos")
    assert gained["improvement"] == 1.0
    apart = [np.array([run.metrics["metrics"]["accuracy"]["value"] for run in runs if run.cell.variant == name])
             for name in ("adap_ins_pos", "fixed")]  # fmt: skip
    assert over_tasks.improvement([apart[0]], [apart[1]]) < 0.8


def test_the_average_gain_of_a_pretraining_has_the_interval_of_dependent_tasks():
    parts = [(0.1, 0.0, 0.2), (0.1, 0.0, 0.2)]
    assert average(parts, dependent=True) == pytest.approx((0.1, 0.0, 0.2))
    assert average(parts, dependent=False)[1] > 0.02


def test_the_last_bit_of_a_mean_is_no_spread_of_backbones(tmp_path, monkeypatch):
    values = {0: [0.9, 0.8], 1: [0.85, 0.85], 2: [0.8, 0.9]}
    assert fmean(values[0]) != fmean(values[1])
    study, runs = pooled(tmp_path, monkeypatch, lambda cell: 0.6, variants=("fixed",))
    for run in runs:
        run.metrics["metrics"]["accuracy"]["value"] = values[int(run.cell.backbone[-1])][run.cell.seed - 1]
    assert one(result_rows(study, runs), variant="fixed")["interval"] == "examples"


def test_what_breaks_a_choice_has_no_price(tmp_path, monkeypatch):
    variants = ("fixed", "adap_ins_pos", "adap_ins_pos-backwards")
    study, runs = pooled(tmp_path, monkeypatch, of_seed, variants)
    assert prices.rows(study, runs) == []


def test_seeds_within_a_backbone_are_no_independent_draws():
    """95 % intervals of a mean over 5 backbones x 10 seeds, backbones differing: over backbones, and over all runs."""
    rng, covered = np.random.default_rng(0), {"backbones": 0, "runs": 0}
    for _ in range(400):
        cells = 0.5 + 0.05 * rng.standard_normal((5, 1)) + 0.05 * rng.standard_normal((5, 10))
        for name, values in (("backbones", cells.mean(axis=1)), ("runs", cells.ravel())):
            low, high = of_values(list(values))
            covered[name] += low <= 0.5 <= high
    assert covered["backbones"] > 0.92 * 400 and covered["runs"] < 0.7 * 400
