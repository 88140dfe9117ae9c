"""Batches: what collate pads, and which rows come when, for one task and for a mixture of several."""

import hashlib
from collections import Counter

import pytest
import torch

from dp.data import batches, tokens
from dp.data.batches import collate, mixing_shares, training_batches
from dp.data.encoding import Example, gather


def split_of(*examples):
    rows = [{"id": str(n), "label": n % 2, "group": str(n), "cluster": str(n)} for n in range(len(examples))]
    return gather([Example(*example) for example in examples], rows)


PLAIN = split_of(([5, 6, 7], [40, 41], 1, []), ([8], [42, 43], 2, []), ([9, 10], [40, 41], 3, []))
ANSWERS = split_of(([5, 6], [40, 41, 50], 1, []), ([8], [42, 43, 51], 1, [30, 31]), ([9], [40, 41, 52], 1, [32]))


def test_collate_pads_to_the_longest_row_of_the_batch():
    features = torch.arange(6.0).view(3, 2)
    batch = collate(PLAIN, [2, 1], features)
    assert batch.ids.tolist() == [[9, 10], [8, 0]] and batch.mask.tolist() == [[1, 1], [1, 0]]
    assert batch.labels.tolist() == [0, 1] and batch.rows.tolist() == [2, 1]
    assert batch.features.tolist() == [[4, 5], [2, 3]]
    assert batch.outputs.tolist() == [[40, 41], [42, 43]] and batch.tails.tolist() == [3, 2]
    assert batch.answers is None and batch.tasks.tolist() == [0, 0]


def test_a_width_pads_every_batch_alike_and_is_never_too_small():
    batch = collate(PLAIN, [2, 1], width=4)
    assert batch.ids.tolist() == [[9, 10, 0, 0], [8, 0, 0, 0]]
    assert batch.mask.tolist() == [[1, 1, 0, 0], [1, 0, 0, 0]]
    assert collate(PLAIN, [0, 1], width=3).ids.shape == (2, 3)
    with pytest.raises(ValueError, match="width 2 is less than the longest row's 3 tokens"):
        collate(PLAIN, [0, 1], width=2)


def test_answers_are_padded_with_a_number_that_is_no_piece():
    assert collate(ANSWERS, [0, 1, 2]).answers.tolist() == [[-1, -1], [30, 31], [32, -1]]
    assert collate(ANSWERS, [2, 0]).answers.tolist() == [[32], [-1]]
    assert collate(ANSWERS, [0]).answers is None


def test_a_batch_of_a_union_knows_its_tasks():
    batch = collate(tokens.union([PLAIN, ANSWERS]), [4, 0]).to("cpu")
    assert batch.tasks.tolist() == [1, 0] and batch.outputs.tolist() == [[42, 43, 51], [40, 41, -1]]
    assert batch.answers.tolist() == [[30, 31], [-1, -1]] and batch.features is None
    moved = batch.to("meta")
    assert all(value.is_meta for value in vars(moved).values() if isinstance(value, torch.Tensor))
    assert moved.padded == batch.padded


def test_a_batch_knows_whether_it_is_padded():
    for rows, width, padded in (([0], None, False), ([0, 0], 3, False), ([0, 1], None, True), ([0], 4, True)):
        batch = collate(PLAIN, rows, width=width)
        assert batch.padded is padded is not bool(batch.mask.all())
        assert batch.to("cpu").repeated(2).padded is padded


def order(size, *purpose):
    """A permutation from a named seed, by the definition of dp/numerics/seeds.py."""
    digest = hashlib.sha256("/".join(map(str, purpose)).encode()).digest()
    return torch.randperm(
        size, generator=torch.Generator().manual_seed(int.from_bytes(digest[:8], "big") >> 1)
    ).tolist()


@pytest.mark.parametrize(("rows", "size", "steps"), [(130, 8, 65), (5, 8, 7), (1100, 16, 90), (64, 8, 8)])
def test_batches_of_one_task_are_epochs_cut_into_sorted_shuffled_windows(rows, size, steps):
    lengths = [5 + (n * 37) % 200 for n in range(rows)]
    wide = min(64, max(1, rows // size))
    stream = [row for epoch in range(steps * size // rows + wide * size // rows + 2)
              for row in order(rows, 3, "epoch order", epoch)]  # fmt: skip
    expected = []
    for window in range(-(-steps // wide)):
        part = sorted(stream[window * wide * size :][: wide * size], key=lambda row: lengths[row])
        expected += [part[b * size : b * size + size] for b in order(wide, 3, "batch order", window)]
    assert training_batches(lengths, size, steps, seed=3) == expected[:steps]


def test_runs_of_one_order_have_rows_of_their_own_and_lengths_alike():
    """Five seeds' batches, padded to the widest of a step: by one order 3 % more, by their own half as much again."""
    lengths = [5 + (n * 37) % 200 for n in range(1100)]

    def widths(batches):
        return [max(lengths[row] for row in batch) for batch in batches]

    def excess(runs):
        alone = sum(sum(widths(run)) for run in runs)
        return len(runs) * sum(map(max, zip(*map(widths, runs), strict=True))) / alone

    shared = [training_batches(lengths, 16, 128, seed, order=7) for seed in range(5)]
    apart = [training_batches(lengths, 16, 128, seed) for seed in range(5)]
    assert excess(shared) < 1.05 and excess(apart) > 1.4
    assert len({str(run) for run in shared}) == 5
    for seed in range(5):
        assert sorted(map(sorted, shared[seed][:64])) == sorted(map(sorted, apart[seed][:64]))


@pytest.mark.parametrize(
    ("sizes", "alpha", "cap", "expected"),
    [
        ([100, 300], 1.0, None, [1 / 4, 3 / 4]),
        ([100, 300], 0.0, None, [1 / 2, 1 / 2]),
        ([100, 400], 0.5, None, [10 / 30, 20 / 30]),
        ([1, 4, 900], 0.5, 100, [1 / 13, 2 / 13, 10 / 13]),
        ([100, 300, 5000], 1.0, 200, [1 / 5, 2 / 5, 2 / 5]),
        ([7], 0.3, 2, [1.0]),
    ],
)
def test_mixing_shares(sizes, alpha, cap, expected):
    assert mixing_shares(sizes, alpha, cap) == pytest.approx(expected, rel=1e-12)


def test_a_task_without_rows_cannot_be_mixed():
    with pytest.raises(ValueError, match=r"a task has no rows: \[3, 0\]"):
        mixing_shares([3, 0], 0.5, None)


SIZES = [900, 100, 25]
TASKS = [task for task, size in enumerate(SIZES) for _ in range(size)]
LENGTHS = [5 + (n * 37) % 200 for n in range(len(TASKS))]


@pytest.mark.parametrize(("alpha", "cap"), [(1.0, None), (0.5, None), (0.5, 100), (1.0, 100), (0.0, None)])
def test_drawn_batches_have_the_mixing_shares(alpha, cap):
    drawn = training_batches(LENGTHS, 16, 2000, 0, TASKS, alpha, cap)
    assert all(len(batch) == 16 for batch in drawn) and len(drawn) == 2000
    counts = Counter(TASKS[row] for batch in drawn for row in batch)
    weights = [min(size, cap or size) ** alpha for size in SIZES]
    for task, weight in enumerate(weights):
        share = weight / sum(weights)
        deviation = (share * (1 - share) / 32000) ** 0.5
        assert abs(counts[task] / 32000 - share) < 4 * deviation


def test_each_task_of_a_mixture_goes_through_epochs_of_its_own():
    drawn = training_batches(LENGTHS, 16, 2048, 0, TASKS, 0.5)
    counts = Counter(row for batch in drawn for row in batch)
    assert set(counts) == set(range(len(TASKS)))
    for task in range(3):
        of_task = [counts[row] for row, of in enumerate(TASKS) if of == task]
        assert max(of_task) - min(of_task) <= 1, "2048 batches are whole windows, so only the last epoch is unfinished"


def test_epochs_and_mixture_are_drawn_anew_each_time():
    tasks = [0] * 8 + [1] * 8
    windows = training_batches([1] * 16, 16, 40, 0, tasks)  # a window is one batch; equal lengths keep the order
    first_halves = [[row for row in batch if tasks[row] == 0] for batch in windows]
    assert len({tuple(tasks[row] for row in batch) for batch in windows}) > 30
    stream = [row for batch in first_halves for row in batch]
    epochs = [tuple(stream[n : n + 8]) for n in range(0, len(stream) - 7, 8)]
    assert all(sorted(epoch) == list(range(8)) for epoch in epochs) and len(set(epochs)) == len(epochs)
    second = [row - 8 for batch in windows for row in batch if tasks[row]]
    assert stream[:8] != second[:8], "tasks are shuffled apart"


def test_a_mixture_depends_on_its_arguments_alone():
    planned = training_batches(LENGTHS, 16, 100, 0, TASKS, 0.5, 100)
    torch.manual_seed(1)
    assert training_batches(LENGTHS, 16, 40, 0, TASKS, 0.5, 100) == planned[:40]
    assert training_batches(LENGTHS, 16, 100, 0, torch.tensor(TASKS).tolist(), 0.5, 100) == planned
    for changed in [(1, TASKS, 0.5, 100), (0, TASKS, 0.6, 100), (0, TASKS, 0.5, 90)]:
        assert training_batches(LENGTHS, 16, 100, *changed) != planned
    state = torch.random.get_rng_state()
    training_batches(LENGTHS, 16, 10, 0, TASKS)
    assert torch.equal(state, torch.random.get_rng_state())


def test_a_mixture_is_bucketed_by_length():
    planned = training_batches(LENGTHS, 16, 128, 0, TASKS, 0.5)
    unsorted = [list(range(n, n + 16)) for n in range(0, 1008, 16)]
    assert batches.padding_share(planned, LENGTHS) < batches.padding_share(unsorted, LENGTHS) / 4


@pytest.mark.parametrize("beside", [0, 5])
def test_rows_are_scored_in_batches_of_as_many_positions(beside):
    """At most those of eight rows of 30 tokens: as many rows as fit, each once, the shortest first."""
    generator = torch.Generator().manual_seed(1)
    lengths = torch.randint(1, 31, (500,), generator=generator).tolist()
    found = batches.evaluation_batches(lengths, 8, 30, beside)
    assert [row for batch in found for row in batch] == sorted(range(500), key=lengths.__getitem__)
    most = 8 * (30 + beside)
    for batch, after in zip(found, [*found[1:], None], strict=True):
        assert len(batch) * (max(lengths[row] for row in batch) + beside) <= most
        assert after is None or (len(batch) + 1) * (lengths[after[0]] + beside) > most, "one more had fitted"
    assert len(found) < 500 / 8


def test_rows_of_full_length_come_by_the_number_that_is_set():
    assert [len(batch) for batch in batches.evaluation_batches([30] * 20, 8, 30, 4)] == [8, 8, 4]
    assert batches.evaluation_batches([50, 3], 1, 30) == [[1], [0]]
    assert batches.evaluation_batches([], 8, 30) == []
