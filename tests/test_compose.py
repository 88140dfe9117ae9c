"""The seam: where vectors are inserted, and the exact gradient of the split."""

import pytest
import torch

from dp.prompts.compose import candidate_products, compose, source_index, target_index

B, P, T, H = 5, 4, 7, 3


@pytest.fixture
def inputs():
    generator = torch.Generator().manual_seed(0)
    vectors = torch.randn(B, P, H, generator=generator, dtype=torch.float64)
    x = torch.randn(B, T, H, generator=generator, dtype=torch.float64)
    lengths = torch.tensor([7, 5, 2, 6, 3])
    mask = (torch.arange(T) < lengths[:, None]).long()
    return vectors, x, mask


def by_hand(vectors, x, mask, split, tail):
    """X'_s from Python lists, row by row."""
    rows = []
    for v, text, m, s in zip(vectors, x, mask, split, strict=True):
        n = int(m.sum())
        body, end, padding = text[: n - tail], text[n - tail : n], text[n:]
        rows.append(torch.cat([v[:s], body, v[s:], end, padding]))
    return torch.stack(rows)


@pytest.mark.parametrize("tail", [0, 1])
def test_composed_sequence_is_prefix_body_suffix_tail_padding(inputs, tail):
    vectors, x, mask = inputs
    for split in (torch.zeros(B), torch.full((B,), P), torch.tensor([0, 1, 2, 3, 4])):
        split = split.long()
        composed = compose(vectors, split, x, mask, tail)
        assert torch.equal(composed.embeds, by_hand(vectors, x, mask, split, tail))
        assert composed.mask.sum(1).tolist() == (mask.sum(1) + P).tolist()
        assert torch.equal(composed.mask, composed.mask.sort(dim=1, descending=True).values)


def test_target_index_inverts_source_index():
    split, body = torch.tensor([0, 2, 4, 1, 3]), torch.tensor([7, 5, 2, 6, 0])
    source, target = source_index(split, body, P, T), target_index(split, body, P, T)
    assert torch.equal(source.gather(1, target), torch.arange(P + T).expand(B, -1))


@pytest.mark.parametrize("tail", [0, 1])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_gradients_equal_the_materialised_mixture(inputs, tail, dtype):
    vectors, x, mask = (value.to(dtype) if value.is_floating_point() else value for value in inputs)
    split = torch.tensor([0, 1, 2, 3, 4])
    upstream = torch.randn(B, P + T, H, generator=torch.Generator().manual_seed(1)).to(dtype)
    one_hot = torch.nn.functional.one_hot(split, P + 1).to(dtype)

    def gradients(forward):
        leaves = [value.clone().requires_grad_() for value in (vectors, x, one_hot)]
        (forward(*leaves) * upstream).sum().backward()
        return [leaf.grad for leaf in leaves]

    def materialised(v, text, weights):
        candidates = [by_hand(v, text, mask, torch.full((B,), s), tail) for s in range(P + 1)]
        return torch.einsum("bs,sbnh->bnh", weights, torch.stack(candidates))

    cheap = gradients(lambda v, text, weights: compose(v, split, text, mask, tail, weights).embeds)
    exact = gradients(materialised)
    for ours, reference in zip(cheap, exact, strict=True):
        torch.testing.assert_close(ours, reference, rtol=1e-5, atol=1e-5)


def test_products_stay_exact_over_long_inputs_of_a_large_model():
    """T5-large's size: float32 sums over half a million terms, against float64 over each candidate in turn."""
    generator = torch.Generator().manual_seed(2)
    vectors, x, grad = (torch.randn(1, rows, 1024, generator=generator) for rows in (20, 480, 500))
    body = torch.tensor([479])
    products = candidate_products(grad, vectors, x, body)
    source = torch.cat([vectors, x], dim=1).double()
    expected = []
    for s in range(21):
        index = source_index(torch.tensor([s]), body, 20, 480)[..., None].expand(-1, -1, 1024)
        expected.append((grad.double() * source.gather(1, index)).sum())
    reference = torch.stack(expected)
    assert (products[0] - reference).abs().max() / reference.abs().max() < 1e-6
