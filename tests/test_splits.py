"""Drawing rows: stratified, by cluster, disjoint, repeatable."""

from collections import Counter

from dp.data.splits import carve, draw, per_label


def rows(counts, per_cluster=1):
    made = [{"label": label} for label, count in enumerate(counts) for _ in range(count)]
    return [row | {"cluster": str(n // per_cluster)} for n, row in enumerate(made)]


def labels(pool, numbers):
    return Counter(pool[n]["label"] for n in numbers)


def test_selection_is_carved_stratified_disjoint_and_repeatable():
    pool = rows([115, 119, 16])
    train, selection = carve(pool, 0.2, seed=0)
    assert sorted(train + selection) == list(range(250))
    assert labels(pool, selection) == {0: 23, 1: 24, 2: 3}
    assert carve(pool, 0.2, seed=0) == (train, selection)
    assert carve(pool, 0.2, seed=1) != (train, selection)


def test_rows_of_one_cluster_stay_on_one_side():
    pool = rows([600, 400], per_cluster=10)
    train, selection = carve(pool, 0.1, seed=0)
    assert {pool[n]["cluster"] for n in train}.isdisjoint(pool[n]["cluster"] for n in selection)
    assert len(selection) == 100


def test_a_draw_keeps_label_shares_and_a_rare_label():
    pool = rows([900, 90, 10])
    assert labels(pool, draw(pool, 100, 0, "x")) == {0: 90, 1: 9, 2: 1}
    assert labels(pool, draw(pool, 20, 0, "x")) == {0: 18, 1: 1, 2: 1}
    assert len(draw(pool, 2, 0, "x")) == 2
    assert draw(pool, None, 0, "x") == draw(pool, 5000, 0, "x") == list(range(1000))
    assert draw(pool, 100, 0, "x") != draw(pool, 100, 0, "y")


def test_few_shot_takes_k_of_each_label_and_all_of_a_short_one():
    pool = rows([115, 119, 16])
    assert labels(pool, per_label(pool, 32, 0, "x")) == {0: 32, 1: 32, 2: 16}
    assert labels(pool, per_label(pool, 4, 0, "x")) == {0: 4, 1: 4, 2: 4}
    assert per_label(pool, 4, 0, "x") != per_label(pool, 4, 1, "x")
