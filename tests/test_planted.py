"""On frozen models made by hand, where the best split is known, the position policies find it."""

import pytest
import torch
from torch.nn import functional

from dp import seeds
from dp.prompts.choice import Moment
from dp.prompts.positions import Position
from dp.prompts.prompt import SoftPrompt
from dp.prompts.representations import Single

P, T, H, STEPS = 4, 5, 8, 300


def frozen_loss(embeds, wanted):
    """A frozen 'model' that reads one coordinate: its loss is least where the text begins at position `wanted`.

    The text's first token carries 1 in coordinate 0 and nothing else does; the model asks for it at `wanted` [B].
    """
    scores = embeds[:, : P + 1, 0] * 4
    return functional.cross_entropy(scores, wanted)


def learn(policy, wanted_of, seed):
    """Train a position policy alone; the splits it chooses at the end, and the features' wanted splits."""
    prompt = SoftPrompt(
        Single(torch.zeros(P, H)), Position(policy, P, H, seeds.generator(seed, "position initialisation"))
    )
    prompt.representation.requires_grad_(False)
    generator = seeds.generator(seed, "planted data")
    optimizer = torch.optim.Adam([p for p in prompt.parameters() if p.requires_grad], lr=0.05)
    x = torch.zeros(32, T, H)
    x[:, 0, 0] = 1
    mask = torch.ones(32, T, dtype=torch.long)
    for step in range(STEPS):
        feature = torch.randn(32, H, generator=generator)
        composed, _ = prompt(x, mask, 0, feature, Moment(seed, step, 0, 1.0, torch.arange(32)))
        optimizer.zero_grad()
        frozen_loss(composed.embeds, wanted_of(feature)).backward()
        optimizer.step()
    feature = torch.randn(256, H, generator=generator)
    chosen = prompt.position(feature, Moment(seed, None, 0, 1.0, torch.arange(256)))
    return chosen.candidate, wanted_of(feature)


@pytest.mark.parametrize("best", [0, 1, 4])
def test_adap_pos_finds_the_planted_split_of_the_task(best):
    found = [learn("task", lambda f: torch.full((len(f),), best), seed)[0][0].item() for seed in range(20)]
    assert found.count(best) >= 19, found


def test_adap_ins_pos_finds_the_planted_split_of_each_instance():
    """The sign of one coordinate of the feature decides between split 1 and split 3."""
    shares = []
    for seed in range(20):
        chosen, wanted = learn("instance", lambda f: torch.where(f[:, 2] > 0, 1, 3), seed)
        shares.append((chosen == wanted).float().mean().item())
    assert sum(share > 0.9 for share in shares) >= 18, shares
