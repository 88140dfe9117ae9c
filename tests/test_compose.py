"""The seam: where vectors are inserted, what is masked, and the exact gradient of the split."""

import pytest
import torch
from torch.nn.functional import one_hot

from dp.prompts.compose import candidate_products, compose, source_index, target_index

B, P, T, H = 5, 4, 7, 3
LENGTHS = torch.tensor([7, 5, 3, 6, 2])
TAILS = [torch.zeros(B, dtype=torch.long), torch.ones(B, dtype=torch.long), torch.tensor([0, 1, 3, 2, 1])]
SPLITS = [torch.zeros(B, dtype=torch.long), torch.full((B,), P), torch.tensor([0, 1, 2, 3, 4])]
each_tail = pytest.mark.parametrize("tails", TAILS, ids=["no tail", "one", "by row"])
each_order = pytest.mark.parametrize("rotate", [False, True], ids=["plain", "rotated"])


@pytest.fixture
def inputs():
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(B, P, H, generator=generator, dtype=torch.float64)
    x = torch.randn(B, T, H, generator=generator, dtype=torch.float64)
    mask = (torch.arange(T) < LENGTHS[:, None]).long()
    return vectors, x, mask


def by_hand(vectors, x, mask, split, tails, rotate=False):
    """X'_s from slices, row by row. Any last dimension, or none."""
    rows = []
    for v, text, m, s, tail in zip(vectors, x, mask, split.tolist(), tails.tolist(), strict=True):
        n = int(m.sum())
        body, end, padding = text[: n - tail], text[n - tail : n], text[n:]
        front, rear = (v[P - s :], v[: P - s]) if rotate else (v[:s], v[s:])
        rows.append(torch.cat([front, body, rear, end, padding]))
    return torch.stack(rows)


@each_order
@each_tail
@pytest.mark.parametrize("split", SPLITS, ids=["postfix", "prefix", "by row"])
def test_composed_sequence_is_front_body_rear_tail_padding(inputs, split, tails, rotate):
    vectors, x, mask = inputs
    sequence = compose(vectors, split, x, mask, tails, rotate=rotate)
    assert torch.equal(sequence.embeds, by_hand(vectors, x, mask, split, tails, rotate))
    ones, zeros = torch.ones(B, P), torch.zeros(B, P)
    assert torch.equal(sequence.present, by_hand(ones, mask, mask, split, tails).long())
    assert torch.equal(sequence.text, by_hand(zeros, mask, mask, split, tails).long())
    assert torch.equal(sequence.present, sequence.present.sort(dim=1, descending=True).values)
    assert sequence.gate is None and torch.equal(sequence.visible, sequence.present)


@each_order
def test_a_gate_hides_the_same_vectors_wherever_they_stand(inputs, rotate):
    """Vector 3 is dropped in every row, vector 2 in the odd ones."""
    vectors, x, mask = inputs
    tails, split = TAILS[2], SPLITS[2]
    gate = torch.ones(B, P)
    gate[:, 2], gate[1::2, 1] = 0, 0
    sequence = compose(vectors, split, x, mask, tails, gate=gate, rotate=rotate)
    assert torch.equal(sequence.embeds, by_hand(vectors, x, mask, split, tails, rotate))
    assert torch.equal(sequence.gate, by_hand(gate, mask, mask, split, tails, rotate))
    assert torch.equal(sequence.present, by_hand(torch.ones(B, P), mask, mask, split, tails).long())
    assert torch.equal(sequence.visible, by_hand(gate, mask, mask, split, tails, rotate).long())
    dropped = vectors[gate == 0]
    hidden = sequence.embeds[(sequence.present == 1) & (sequence.visible == 0)]
    assert {tuple(row) for row in dropped.tolist()} == {tuple(row) for row in hidden.tolist()}


@pytest.mark.parametrize(
    ("rotate", "expected"),
    [
        (False, ["x x p1 p2 p3 e -", "p1 x x p2 p3 e -", "p1 p2 x x p3 e -", "p1 p2 p3 x x e -"]),
        (True, ["x x p1 p2 p3 e -", "p3 x x p1 p2 e -", "p2 p3 x x p1 e -", "p1 p2 p3 x x e -"]),
    ],
    ids=["plain", "rotated"],
)
def test_every_split_of_three_vectors_in_words(rotate, expected):
    """p1 p2 p3 around the body `x x`; `e` is the end of the text that stays behind, `-` padding."""
    names = {1: "p1", 2: "p2", 3: "p3", 4: "x", 5: "e", 6: "-"}
    vectors, x = (torch.tensor(ids)[None, :, None].float() for ids in ([1, 2, 3], [4, 4, 5, 6]))
    mask, tail = torch.tensor([[1, 1, 1, 0]]), torch.tensor([1])
    for s, words in enumerate(expected):
        sequence = compose(vectors, torch.tensor([s]), x, mask, tail, rotate=rotate)
        assert " ".join(names[int(value)] for value in sequence.embeds.flatten()) == words
        assert sequence.present.tolist() == [[1, 1, 1, 1, 1, 1, 0]]
        assert sequence.text.tolist() == [[int(word in ("x", "e")) for word in words.split()]]


@each_order
def test_target_index_inverts_source_index(rotate):
    split, body = torch.tensor([0, 2, 4, 1, 3]), torch.tensor([7, 5, 2, 6, 0])
    source, target = (find(split, body, P, T, rotate) for find in (source_index, target_index))
    assert torch.equal(source.gather(1, target), torch.arange(P + T).expand(B, -1))


@each_order
@each_tail
@pytest.mark.parametrize("gated", [False, True], ids=["all seen", "gated"])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_gradients_equal_the_materialised_mixture(inputs, tails, rotate, gated, dtype):
    """Of vectors, text, split and gate, against autograd in float64 through all P + 1 sequences.

    The gate is mixed like a coordinate of the sequences: text has 1 there, padding 0.
    """
    vectors, x, mask = inputs
    split = SPLITS[2]
    generator = torch.Generator().manual_seed(1)
    upstream = torch.randn(B, P + T, H, generator=generator, dtype=torch.float64)
    of_gate = torch.randn(B, P + T, generator=generator, dtype=torch.float64)
    gate = (torch.arange(P) < torch.tensor([0, 4, 1, 3, 2])[:, None]).double()
    weights = one_hot(split, P + 1).double()

    def gradients(forward, dtype):
        leaves = [value.to(dtype).requires_grad_() for value in (vectors, x, weights, gate)]
        leaves = [leaf.detach().clone().requires_grad_() for leaf in leaves]
        embeds, seen = forward(*leaves)
        loss = (embeds * upstream.to(dtype)).sum()
        if gated:
            loss = loss + (seen * of_gate.to(seen)).sum()
        loss.backward()
        return [leaf.grad for leaf in leaves[: 4 if gated else 3]]

    def materialised(v, text, weights, gate):
        columns = torch.cat([v, gate[..., None]], dim=2), torch.cat([text, mask[..., None]], dim=2)
        every = [by_hand(*columns, mask, torch.full((B,), s), tails, rotate) for s in range(P + 1)]
        mixed = torch.einsum("bs,sbnh->bnh", weights, torch.stack(every))
        return mixed[..., :-1], mixed[..., -1]

    def ours(v, text, weights, gate):
        sequence = compose(v, split, text, mask, tails, weights, gate if gated else None, rotate)
        return sequence.embeds, sequence.gate

    for found, expected in zip(gradients(ours, dtype), gradients(materialised, torch.float64), strict=True):
        assert found.dtype == dtype
        torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=1e-5)


@each_order
def test_products_stay_exact_over_long_inputs_of_a_large_model(rotate):
    """T5-large's size: float32 sums over half a million terms, against float64 over each candidate in turn."""
    generator = torch.Generator().manual_seed(2)
    vectors, x, grad = (torch.randn(1, rows, 1024, generator=generator) for rows in (20, 480, 500))
    body = torch.tensor([479])
    products = candidate_products(grad, vectors, x, body, rotate)
    source = torch.cat([vectors, x], dim=1).double()
    expected = []
    for s in range(21):
        index = source_index(torch.tensor([s]), body, 20, 480, rotate)[..., None].expand(-1, -1, 1024)
        expected.append((grad.double() * source.gather(1, index)).sum())
    reference = torch.stack(expected)
    assert (products[0] - reference).abs().max() / reference.abs().max() < 1e-6
