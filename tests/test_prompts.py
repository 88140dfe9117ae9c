"""How prompts begin, and what representations, lengths and task-level choices compute, against hand computations."""

import pytest
import torch
from torch import nn

from dp.errors import UserError
from dp.numerics import seeds
from dp.prompts.choice import Moment
from dp.prompts.initial import initial_vectors
from dp.prompts.policy import Length, Policy, Position
from dp.prompts.prompt_config import Init
from dp.prompts.representations import Mixture, Pool, Residual, Single

H = 5
TABLE = torch.arange(40.0)[:, None].expand(40, H) + torch.arange(H) / 10  # row r begins with r


def rows_of(count, seed=0, words=(), **init):
    """The rows of TABLE that the vectors begin as."""
    vectors = initial_vectors(count, Init(**init), TABLE, list(words), seed)
    numbers = vectors[:, 0].round().long()
    assert torch.equal(vectors, TABLE[numbers])
    return numbers.tolist()


def test_vocabulary_begins_as_the_first_rows_whatever_the_seed():
    assert rows_of(6, kind="vocabulary") == rows_of(6, seed=1, kind="vocabulary") == [0, 1, 2, 3, 4, 5]


def test_sampled_rows_are_distinct_and_among_the_common_ones():
    drawn = [rows_of(10, seed, kind="sampled", common=12) for seed in range(30)]
    assert all(len(set(rows)) == 10 and max(rows) < 12 for rows in drawn)
    assert {row for rows in drawn for row in rows} == set(range(12))
    assert len({tuple(rows) for rows in drawn}) == 30 and drawn[0] == rows_of(10, 0, kind="sampled", common=12)
    assert set(rows_of(40, kind="sampled")) == set(range(40)), "`common` may exceed the table"


def test_label_words_come_first_and_other_sampled_rows_follow():
    drawn = [rows_of(6, seed, words=[7, 30, 7], kind="label_words", common=10) for seed in range(30)]
    for rows in drawn:
        assert rows[:2] == [7, 30] and len(set(rows)) == 6
        assert all(row < 10 for row in rows[2:])
    assert {row for rows in drawn for row in rows[2:]} == set(range(10)) - {7}
    assert rows_of(1, words=[7, 30], kind="label_words") == [7], "more words than vectors"


def test_uniform_fills_its_bounds_and_nothing_beyond():
    vectors = initial_vectors(300, Init(kind="uniform", bound=0.25), TABLE, [], 3)
    assert vectors.shape == (300, H), "a table of 40 rows is no limit"
    assert 0.249 < vectors.max() <= 0.25 and -0.25 <= vectors.min() < -0.249
    assert vectors.mean().abs() < 0.25 / 3**0.5 / 1500**0.5 * 4
    assert not torch.equal(vectors, initial_vectors(300, Init(kind="uniform", bound=0.25), TABLE, [], 4))


@pytest.mark.parametrize(("kind", "common", "there"), [("vocabulary", 5, 40), ("sampled", 5, 5), ("label_words", 5, 5)])
def test_a_table_that_is_too_small_is_an_error(kind, common, there):
    assert len(rows_of(there, kind=kind, common=common)) == there
    with pytest.raises(UserError, match=rf"{kind}: {there + 1} vectors need as many rows .* and {there} are there"):
        rows_of(there + 1, kind=kind, common=common)


def test_the_vectors_are_a_float32_copy_of_the_table():
    table = TABLE.bfloat16().requires_grad_()
    vectors = initial_vectors(3, Init(), table, [], 0)
    assert vectors.dtype == torch.float32 and not vectors.requires_grad
    vectors += 100
    assert table.max() < 50


@pytest.fixture
def mixture():
    """Four prompts of three vectors."""
    generator = torch.Generator().manual_seed(0)
    return Mixture(torch.randn(4, 3, H, generator=generator), generator)


def moment(step=0, training=False, rows=6, seed=0, number=0):
    return Moment(seed, step, number, torch.arange(rows), training, draws=training)


MEAN = torch.randn(6, H, generator=torch.Generator().manual_seed(1))


def test_a_mixture_is_its_most_probable_prompt_times_the_probability(mixture):
    vectors, weights = mixture(None, torch.zeros(6), MEAN, moment())
    assert {name for name, _ in mixture.named_parameters()} == {"prompts", "router"}, "the router has no bias"
    torch.testing.assert_close(mixture.router @ mixture.router.T, torch.eye(4))
    chosen = []
    for row in range(6):
        exponentials = [torch.exp(MEAN[row] @ mixture.router[k]).item() for k in range(4)]
        best = exponentials.index(max(exponentials))
        share = exponentials[best] / sum(exponentials)
        torch.testing.assert_close(vectors[row], share * mixture.prompts[best])
        torch.testing.assert_close(weights[row], torch.tensor([share if k == best else 0.0 for k in range(4)]))
        chosen.append(best)
    assert len(set(chosen)) > 1


def test_training_noise_multiplies_the_logits(mixture):
    """On logits 1, 1, 1, 1 the noisy ones are normal around 1, so every prompt is drawn; on zeros there is no noise."""
    with torch.no_grad():
        mixture.router.copy_(torch.eye(4, H))
    ones = torch.ones(4000, H)
    weights = mixture(None, torch.zeros(4000), ones, moment(training=True, rows=4000)).weights
    shares = (weights > 0).float().mean(0)
    assert (shares - 0.25).abs().max() < 3 * (0.25 * 0.75 / 4000) ** 0.5
    # The largest of four softmax terms of normal logits, by a simulation of its own.
    normal = 1 + torch.randn(200_000, 4, generator=torch.Generator().manual_seed(5))
    expected = normal.softmax(1).amax(1)
    assert weights.sum(1).mean().item() == pytest.approx(
        expected.mean().item(), abs=4 * expected.std().item() / 4000**0.5
    )
    still = mixture(None, torch.zeros(6), torch.zeros(6, H), moment(training=True)).weights
    assert torch.equal(still.sum(1), torch.full((6,), 0.25))
    quiet = mixture(None, torch.zeros(6), ones[:6], moment()).weights
    assert torch.equal(quiet.sum(1), torch.full((6,), 0.25)), "no noise at evaluation"


@pytest.mark.parametrize("training", [False, True])
def test_the_router_learns_through_the_probability_alone(mixture, training):
    """d(p_b)/d(logit_k) = p_b (1[k = b] - p_k) at the logits that were used; the noise's factor is a constant."""
    upstream = torch.randn(6, 3, H, generator=torch.Generator().manual_seed(2))
    vectors, weights = mixture(None, torch.zeros(6), MEAN, moment(3, training))
    (vectors * upstream).sum().backward()
    logits = MEAN @ mixture.router.detach().T
    if training:
        uniform = moment(3, True).each("router", 4)
        logits = logits * (1 + torch.distributions.Normal(0.0, 1.0).icdf(uniform).float())
    probabilities = logits.softmax(1)
    expected = torch.zeros(4, H)
    for row in range(6):
        b = int(weights[row].argmax())
        assert b == int(probabilities[row].argmax())
        of_probability = (upstream[row] * mixture.prompts[b].detach()).sum()
        jacobian = probabilities[row, b] * (torch.eye(4)[b] - probabilities[row])
        expected += of_probability * jacobian[:, None] * MEAN[row]
    torch.testing.assert_close(mixture.router.grad, expected, rtol=1e-4, atol=1e-5)
    of_prompts = torch.zeros(4, 3, H)
    for row in range(6):
        of_prompts[weights[row].argmax()] += weights[row].detach().max() * upstream[row]
    torch.testing.assert_close(mixture.prompts.grad, of_prompts)


def test_residual_is_the_prompt_plus_a_normalised_bottleneck_of_it():
    initial = torch.randn(3, H, generator=torch.Generator().manual_seed(0))
    residual = Residual(initial.clone(), 2, torch.Generator().manual_seed(1))
    assert residual.down.weight.shape == (2, H) and residual.up.weight.shape == (H, 2)
    assert all(p.abs().max() <= size**-0.5 for layer, size in ((residual.down, H), (residual.up, 2))
               for p in layer.parameters())  # fmt: skip
    reference = nn.Sequential(nn.Linear(H, 2), nn.ReLU(), nn.Linear(2, H), nn.LayerNorm(H))
    scale, shift = torch.linspace(0.5, 1.5, H), torch.linspace(-1, 1, H)
    with torch.no_grad():
        residual.norm.weight.copy_(scale)
        residual.norm.bias.copy_(shift)
        for layer, own in zip([reference[0], reference[2], reference[3]], [residual.down, residual.up, residual.norm],
                              strict=True):  # fmt: skip
            layer.load_state_dict(own.state_dict())
    said = residual(None, torch.zeros(4), MEAN[:4], moment())
    assert said.weights is None and said.vectors.shape == (4, 3, H)
    for vectors in said.vectors:
        torch.testing.assert_close(vectors, initial + reference(initial))
    # Once more by plain arithmetic, without any of nn's layers.
    down, up = residual.down, residual.up
    hidden = [[max(0.0, float(down.weight[j] @ p + down.bias[j])) for j in range(2)] for p in initial]
    raw = torch.tensor([[sum(h * float(up.weight[i, j]) for j, h in enumerate(row)) + float(up.bias[i])
                         for i in range(H)] for row in hidden])  # fmt: skip
    centred = raw - raw.mean(1, keepdim=True)
    normalised = centred / (centred.square().mean(1, keepdim=True) + 1e-5).sqrt()
    torch.testing.assert_close(said.vectors[0], initial + normalised * scale + shift)


def test_a_pool_is_the_softmax_mixture_of_its_prompts_and_never_draws():
    initial = torch.randn(3, 2, H, generator=torch.Generator().manual_seed(0))
    pool = Pool(initial, policy("task", tasks=2, candidates=3).logits, tanh=False)
    with torch.no_grad():
        pool.logits.logits.copy_(torch.tensor([[0.0, 1.0, 2.0], [1.0, 0.0, -1.0]]))
    tasks = torch.tensor([0, 1, 0])
    said = [
        pool(None, tasks, MEAN[:3], moment(step, training)) for step, training in ((0, True), (1, True), (0, False))
    ]
    for row, scores in enumerate(([0.0, 1.0, 2.0], [1.0, 0.0, -1.0], [0.0, 1.0, 2.0])):
        exponentials = torch.tensor(scores).exp()
        shares = exponentials / exponentials.sum()
        for vectors, weights in said:
            torch.testing.assert_close(weights[row], shares)
            torch.testing.assert_close(vectors[row], sum(shares[k] * initial[k] for k in range(3)))


def policy(kind, tasks=1, candidates=5, frozen=False):
    return Policy(kind, candidates, tasks, H, seeds.generator(0, "policy"), frozen, relu=False)


def test_each_task_has_its_own_logits_and_draws_once_per_batch():
    """Two tasks mixed in one batch: rows of a task agree, the tasks draw apart, and each follows its own logits."""
    choice = policy("task", tasks=2)
    with torch.no_grad():
        choice.logits.logits.copy_(torch.tensor([[0.0, 1.0, 0.5, 0.0, -1.0], [1.0, 0.0, 0.0, 0.5, 0.0]]))
    tasks, drawn = torch.tensor([0, 1, 1, 0, 1, 0]), []
    for step in range(2000):
        chosen = choice(None, tasks, moment(step, True), "position").candidate
        assert len(set(chosen[tasks == 0].tolist())) == len(set(chosen[tasks == 1].tolist())) == 1
        drawn.append(chosen[:2])
    drawn = torch.stack(drawn)
    assert 0.1 < (drawn[:, 0] == drawn[:, 1]).float().mean() < 0.4, "the draws of the two tasks are apart"
    for task in (0, 1):
        shares = torch.bincount(drawn[:, task], minlength=5) / 2000
        expected = choice.logits.logits[task].detach().softmax(0)
        assert (shares - expected).abs().max() < 3 * (0.25 / 2000) ** 0.5
    still = choice(None, tasks, moment(0), "position")
    assert still.candidate.tolist() == [1, 0, 0, 1, 0, 1] and still.weights is None


def test_a_row_moves_the_logits_of_its_own_task_alone():
    choice = policy("task", tasks=3)
    chosen = choice(None, torch.tensor([0, 2]), moment(0, True, rows=2), "position")
    (chosen.weights * torch.arange(5.0)).sum().backward()
    moved = choice.logits.logits.grad.abs().sum(1) > 0
    assert moved.tolist() == [True, False, True]


@pytest.mark.parametrize("kind", ["task", "instance"])
def test_factors_micro_batches_steps_and_seeds_draw_apart(kind):
    choice = policy(kind, candidates=50)
    zeros = torch.zeros(6, dtype=torch.long)

    def draw(purpose="position", **when):
        return choice(MEAN, zeros, moment(training=True, **when), purpose).candidate.tolist()

    draws = [draw(), draw("length"), draw(step=1), draw(number=1), draw(seed=1)]
    assert draws[0] == draw() and len({tuple(d) for d in draws}) == 5
    assert len(set(draws[0])) == 1 if kind == "task" else len(set(draws[0])) > 2


@pytest.mark.parametrize("kind", ["task", "instance"])
def test_a_frozen_policy_never_draws_nor_learns(kind):
    choice = policy(kind, frozen=True)
    assert not any(p.requires_grad for p in choice.parameters())
    for p in choice.parameters():
        nn.init.normal_(p, generator=torch.Generator().manual_seed(3))
    zeros = torch.zeros(6, dtype=torch.long)
    expected = choice.logits(MEAN, zeros).argmax(1).tolist()
    for step in range(20):
        chosen = choice(MEAN, zeros, moment(step, training=True), "position")
        assert chosen.candidate.tolist() == expected and chosen.weights is None
    drawn = Moment(0, 0, 0, torch.arange(6), training=False, draws=True)
    assert choice(MEAN, zeros, drawn, "position").candidate.tolist() == expected, "not at a noisy evaluation either"


@pytest.mark.parametrize("kind", ["task", "instance"])
def test_a_length_keeps_the_first_vectors_and_its_gate_carries_the_gradient(kind):
    """Length 3 of 4 keeps three; d(gate_i)/d(weight_l) = 1 where length l keeps vector i, which is where i < l."""
    length = Length(4, policy(kind))
    zeros = torch.zeros(6, dtype=torch.long)
    seen = set()
    for step in range(30):
        kept = length(MEAN, zeros, moment(step, training=True))
        for n, gate in zip(kept.chosen.candidate.tolist(), kept.gate.tolist(), strict=True):
            assert gate == [1.0] * n + [0.0] * (4 - n)
            seen.add(n)
    assert seen == {0, 1, 2, 3, 4}
    upstream = torch.tensor([1.0, 10.0, 100.0, 1000.0])
    (kept.gate * upstream).sum().backward()
    found = [p.grad.clone() for p in length.parameters()]
    length.zero_grad()
    chosen = length.policy(MEAN, zeros, moment(29, training=True), "length")
    (chosen.weights * torch.tensor([0.0, 1.0, 11.0, 111.0, 1111.0])).sum().backward()
    for ours, expected in zip(found, (p.grad for p in length.parameters()), strict=True):
        assert expected.abs().max() > 0
        torch.testing.assert_close(ours, expected, rtol=1e-5, atol=1e-5)
    quiet = length(MEAN, zeros, moment())
    assert not quiet.gate.requires_grad
    taken = quiet.chosen.candidate.tolist()
    assert quiet.gate.sum(1).tolist() == taken == length.policy.logits(MEAN, zeros).argmax(1).tolist()


def test_fixed_splits_and_the_random_one():
    rows = moment(rows=4000)
    for where, split in (("prefix", 4), ("postfix", 0), (3, 3), (0, 0)):
        chosen = Position(where, 4, None)(None, torch.zeros(4000), rows)
        assert chosen.candidate.tolist() == [split] * 4000 and chosen.weights is None
    for training in (False, True):
        drawn = Position("random", 4, None)(None, torch.zeros(4000), moment(training=training, rows=4000)).candidate
        shares = torch.bincount(drawn, minlength=5) / 4000
        assert len(shares) == 5 and (shares - 0.2).abs().max() < 3.5 * (0.16 / 4000) ** 0.5


def test_a_single_prompt_is_the_same_for_every_row():
    initial = torch.randn(3, H, generator=torch.Generator().manual_seed(0))
    said = Single(initial)(None, torch.zeros(2), MEAN[:2], moment())
    assert said.weights is None and torch.equal(said.vectors, torch.stack([initial, initial]))
