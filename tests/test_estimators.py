"""How choices are learned: what each estimator is worth against the expected loss, written out by hand."""

import copy
import itertools
import math
from dataclasses import replace

import pytest
import torch
from conftest import typed
from small_project import small_study
from test_battery import config_of, features_of
from torch.nn import functional

from dp import files
from dp.classifier.classifier import classifier
from dp.classifier.scoring import score
from dp.data.batches import collate, training_batches
from dp.numerics import seeds
from dp.prompts.choice import Moment
from dp.prompts.estimators import ESTIMATORS, objective
from dp.prompts.policy import Length, Policy, Position
from dp.prompts.prompt import SoftPrompt
from dp.study import grid
from dp.training import loop

P = 4
FACTORS = {
    "adap_pos": ("position",), "adap_length": ("length",), "adap_all": ("position", "length"),
    "adap_ins_pos": ("position",), "adap_ins_length": ("length",), "adap_ins_all": ("position", "length"),
}  # fmt: skip
CASES = [("seq2seq", variant, micro) for variant in FACTORS for micro in (8, 2)] + [
    (family, variant, 8) for family in ("causal", "encoder", "masked") for variant in ("adap_all", "adap_ins_all")
]
STILL = {"name": "adamw", "lr": 1e-30, "weight_decay": 0.0, "schedule": "constant", "warmup_steps": 0, "clip_norm": 1e9}


def config_with(variant, family="seq2seq", estimator="exact", entropy=0.0, samples=2, **training):
    """Of a training that does not move, so that the gradients of its steps can be compared."""
    config = config_of(family, variant, optimizer=STILL, **training)
    config["choice"] |= {"estimator": estimator, "entropy": entropy, "samples": samples}
    return config


def built(config, backbone, features, tasks=1):
    """A model whose choices are far from even and, by instance, differ between the rows."""
    model = classifier(typed(config), backbone, [2] * tasks, [], "cpu")
    model.fit_features(features)
    with torch.no_grad():
        for name, value in model.kept().items():
            if "logits" in name:
                torch.nn.init.normal_(value, std=0.3 if name.endswith("weight") else 1.0,
                                      generator=seeds.generator(7, name))  # fmt: skip
                if tasks > 1:
                    value[:] = value[:1].clone()
    return model


def trained_gradients(model, rows, config, folder, monkeypatch):
    """Of each step of a training, by name, as the optimizer would get them."""
    found = []

    def take(parameters, limit, norm):
        named = {id(value): name for name, value in model.trained().items()}
        found.append({named[id(value)]: value.grad.clone() for value in parameters})

    with monkeypatch.context() as patch:
        patch.setattr(torch.nn.utils, "clip_grads_with_norm_", take)
        loop.train(model, rows, [rows], typed(config), folder, "identity")
    losses = [line["loss"] for line in files.read_jsonl(folder / "steps.jsonl") if "loss" in line]
    return found, losses


def first_batch(split, config, step=0):
    lengths = [len(ids) for ids in split.ids]
    return training_batches(lengths, config["training"]["batch_size"], config["training"]["steps"], 0)[step]


# exact: the expected loss, and so its gradient


def probabilities(model, factor, batch, features):
    """[B, P + 1], from the bare parameters and the training rows' features."""
    kept = model.kept()
    if f"prompt.{factor}.policy.logits.logits" in kept:
        return kept[f"prompt.{factor}.policy.logits.logits"][batch.tasks].softmax(1)
    weight, bias = (kept[f"prompt.{factor}.policy.logits.{part}"] for part in ("weight", "bias"))
    standard = (batch.features - features.mean(0)) / features.std(0, correction=0) / features.shape[1] ** 0.5
    return (standard @ weight.T + bias).softmax(1)


def settled(model, factors, pair):
    """The model's own vectors under one split and one length, for which nothing is drawn."""
    prompt, length = model.prompt, None
    if "length" in factors:
        policy = Policy("task", P + 1, 1, 1, seeds.generator(0, "none"), frozen=True, relu=False)
        policy.logits.logits.data[0, pair["length"]] = 1
        length = Length(P, policy)
    said = SoftPrompt(prompt.representation, Position(pair.get("position", "prefix"), P, None), length,
                      rotate=False, fillers=False, standard=prompt.standard)  # fmt: skip
    other = copy.copy(model)
    other.prompt = said
    return other


def expected_loss(model, factors, batch, features):
    """[B]: each candidate by itself, one forward pass each."""
    shares = {factor: probabilities(model, factor, batch, features) for factor in factors}
    total = torch.zeros(len(batch.rows))
    for pair in itertools.product(range(P + 1), repeat=len(factors)):
        chosen = dict(zip(factors, pair, strict=True))
        moment = Moment(0, 0, 0, batch.rows, training=False, draws=False)
        scores, choices = settled(model, factors, chosen)(batch, moment)
        if "position" in chosen:
            assert set(choices.split.tolist()) == {chosen["position"]}
        if "length" in chosen:
            assert set(choices.length.tolist()) == {chosen["length"]}
        share = torch.stack([shares[factor][:, number] for factor, number in chosen.items()]).prod(0)
        total = total + share * functional.cross_entropy(scores, batch.labels, reduction="none")
    return total


@pytest.mark.parametrize(("family", "variant", "micro"), CASES)
def test_exact_is_the_expected_loss_by_brute_force(tiny, toy_split, tmp_path, monkeypatch, family, variant, micro):
    """The loss of a step and the gradients of all that is tuned, whatever the micro-batches."""
    backbone, split = tiny(family), toy_split(family)
    features = features_of(backbone, split)
    config = config_with(variant, family, steps=1, batch_size=8, micro_batch_size=micro)
    model = built(config, backbone, features)
    assert model.copies == (P + 1) ** len(FACTORS[variant])
    (found,), losses = trained_gradients(model, loop.Rows(split, features), config, tmp_path / "run", monkeypatch)
    model.prompt.zero_grad()
    batch = collate(split, first_batch(split, config), features)
    loss = expected_loss(model, FACTORS[variant], batch, features).mean()
    loss.backward()
    assert losses == [pytest.approx(loss.item(), rel=1e-5)]
    assert found.keys() == model.trained().keys()
    for name, value in model.trained().items():
        if ".bias" not in name:
            assert value.grad.any(), name
        torch.testing.assert_close(found[name], value.grad, rtol=1e-4, atol=1e-5)


def test_two_policies_of_exact_meet_in_every_pair_once(tiny, toy_split):
    backbone, split = tiny("seq2seq"), toy_split("seq2seq")
    model = built(config_with("adap_ins_all"), backbone, features_of(backbone, split))
    batch = collate(split, [3, 5], features_of(backbone, split)).repeated(25)
    assert batch.rows.tolist() == [3, 5] * 25
    _, choices = model(batch, Moment(0, 0, 0, batch.rows, training=True, draws=True, copies=25))
    for row in range(2):
        pairs = zip(choices.split[row::2].tolist(), choices.length[row::2].tolist(), strict=True)
        assert sorted(pairs) == list(itertools.product(range(5), repeat=2))
    assert choices.log_prob.view(25, 2).exp().sum(0).tolist() == pytest.approx([1, 1])


# The objective by itself, on a choice of four of which each row has its own logits: all rows' gradients at once

LOGITS = torch.tensor([0.5, -1.0, 1.0, 0.0])
VALUES = torch.tensor([1.0, -2.0, 0.5, 3.0])
"""The loss of candidate s is VALUES[s] squared; of a mixture, that of the mean value."""
ROWS = 20_000


def row_gradients(estimator, samples, offset=0.0, step=0):
    """([ROWS, 4] gradients, [N, ROWS] losses, [N, ROWS] log probabilities, [ROWS] values of the objective)."""
    copies = {"straight_through": 1, "reinforce": samples, "exact": 4}[estimator]
    policy = Policy("task", 4, ROWS, 1, seeds.generator(0, "none"), False, False, estimator)
    with torch.no_grad():
        policy.logits.logits.copy_(LOGITS.expand(ROWS, 4))
    rows = torch.arange(ROWS).repeat(copies)
    chosen = policy(None, rows, Moment(0, step, 0, rows, training=True, draws=True, copies=copies), "position")
    values = VALUES[chosen.candidate] if chosen.weights is None else chosen.weights @ VALUES
    losses = (values.square() + offset).view(copies, ROWS)
    log_prob = None if chosen.log_prob is None else chosen.log_prob.view(copies, ROWS)
    found = objective(estimator, losses, log_prob)
    found.sum().backward()
    return policy.logits.logits.grad, losses.detach(), log_prob, found.detach()


def true_gradient():
    """d sum_s p_s f_s / d logit_k = p_k (f_k - sum_s p_s f_s), in plain Python."""
    weights = [math.exp(value) for value in LOGITS.tolist()]
    shares = [weight / sum(weights) for weight in weights]
    losses = [value**2 for value in VALUES.tolist()]
    mean = sum(share * loss for share, loss in zip(shares, losses, strict=True))
    return torch.tensor([share * (loss - mean) for share, loss in zip(shares, losses, strict=True)]), mean


def z_scores(samples, truth):
    """[N, ...] against [...]: standard errors between the mean and the truth."""
    return (samples.mean(0) - truth) / (samples.std(0) / len(samples) ** 0.5)


@pytest.mark.parametrize("samples", [2, 3, 7])
def test_reinforce_is_unbiased_and_straight_through_is_not(samples):
    truth, mean = true_gradient()
    gradients, losses, _, values = row_gradients("reinforce", samples)
    assert z_scores(gradients, truth).abs().max() < 4
    assert torch.equal(values, losses.mean(0))
    assert abs(z_scores(values, mean)) < 4
    exact, _, _, values = row_gradients("exact", samples)
    torch.testing.assert_close(exact, truth.expand(ROWS, 4))
    assert values.tolist() == pytest.approx([mean] * ROWS, rel=1e-5)
    biased, *_ = row_gradients("straight_through", samples)
    assert z_scores(biased, truth).abs().max() > 20


def test_the_other_samples_are_a_baseline():
    """On losses around 100 the plain score function knows next to nothing; leaving one out takes the offset away."""
    truth, _ = true_gradient()
    spreads = {}
    for offset in (0.0, 100.0):
        gradients, losses, log_prob, _ = row_gradients("reinforce", 2, offset)
        candidate = log_prob.detach().exp()[..., None].isclose(LOGITS.softmax(0)).float()
        score_function = (losses[..., None] * (candidate - LOGITS.softmax(0))).mean(0)
        assert z_scores(score_function, truth).abs().max() < 4
        spreads[offset] = [one.var(0).sum().item() for one in (gradients, score_function)]
    assert spreads[100.0][0] == pytest.approx(spreads[0.0][0], rel=1e-3), "whatever the offset"
    assert spreads[100.0][0] < spreads[100.0][1] / 100


def test_the_objective_of_a_row_by_hand():
    """Leave-one-out on three samples: sample i's log probability weighs (l_i - mean of the others) / 3."""
    losses = torch.tensor([[1.0], [4.0], [10.0]], requires_grad=True)
    log_prob = torch.tensor([[-0.5], [-1.0], [-2.0]], requires_grad=True)
    found = objective("reinforce", losses, log_prob)
    assert found.tolist() == [5.0]
    found.sum().backward()
    assert log_prob.grad.flatten().tolist() == pytest.approx([(1 - 7) / 3, (4 - 5.5) / 3, (10 - 2.5) / 3])
    assert losses.grad.flatten().tolist() == pytest.approx([1 / 3] * 3), "what the prompt says learns by their mean"
    losses.grad = log_prob.grad = None
    found = objective("exact", losses, log_prob)
    shares = [math.exp(-0.5), math.exp(-1), math.exp(-2)]
    assert found.item() == pytest.approx(shares[0] + 4 * shares[1] + 10 * shares[2])
    found.sum().backward()
    assert losses.grad.flatten().tolist() == pytest.approx(shares)
    assert objective("straight_through", losses.detach()[:1], None).tolist() == [1.0]


# The same on a real prompt and backbone


@pytest.mark.parametrize("variant", ["adap_pos", "adap_length", "adap_all"])
def test_reinforce_approaches_exact_on_a_real_prompt_and_straight_through_does_not(tiny, toy_split, variant):
    """One text in as many rows as tasks, all with the same logits: a row's gradient is that of its task's."""
    rows, steps = 120, 25
    backbone, split = tiny("seq2seq"), toy_split("seq2seq")
    features = features_of(backbone, split)
    logits = [f"prompt.{factor}.policy.logits.logits" for factor in FACTORS[variant]]
    batch = replace(collate(split, [4] * rows, features), tasks=torch.arange(rows))

    def gradients(estimator, steps):
        model = built(config_with(variant, estimator=estimator), backbone, features, tasks=rows)
        with torch.no_grad():  # long vectors, so that it matters where they stand and how many there are
            model.prompt.representation.get_parameter("vectors" if variant != "adap_all" else "prompts").mul_(4)
        whole, shared = batch.repeated(model.copies), []
        by_row: dict[str, list] = {name: [] for name in logits}
        for step in range(steps):
            moment = Moment(0, step, 0, whole.rows, training=True, draws=True, copies=model.copies)
            scores, choices = model(whole, moment)
            losses = functional.cross_entropy(scores, whole.labels, reduction="none").view(model.copies, -1)
            log_prob = None if choices.log_prob is None else choices.log_prob.view(model.copies, -1)
            model.prompt.zero_grad()
            objective(estimator, losses, log_prob).sum().backward()
            for name in logits:
                by_row[name].append(model.kept()[name].grad.clone())
            shared.append(next(value.grad for name, value in model.trained().items() if "logits" not in name) / rows)
        return {name: torch.cat(found) for name, found in by_row.items()}, torch.stack(shared)

    truth, prompt = gradients("exact", 1)
    found, prompts = gradients("reinforce", steps)
    biased = {"straight_through": 0.0}
    # Straight-through shares a draw among the rows of a task, and every row has a task of its own here.
    wrong, _ = gradients("straight_through", steps)
    for name in logits:
        assert torch.allclose(truth[name], truth[name][:1], atol=1e-6) and truth[name].abs().max() > 1e-4
        assert z_scores(found[name], truth[name][0]).abs().max() < 4
        biased["straight_through"] = max(
            biased["straight_through"], z_scores(wrong[name], truth[name][0]).abs().max().item()
        )
    assert biased["straight_through"] > 8, biased
    z = z_scores(prompts, prompt[0])[prompt[0] != 0]
    assert len(z) >= P * 32 and z.abs().max() < 6 and z.square().mean().sqrt() < 1.5


# The bonus on entropy


@pytest.mark.parametrize("variant", FACTORS)
@pytest.mark.parametrize("estimator", ["exact", "reinforce"])
def test_the_entropy_of_choices_is_rewarded_less_and_less(tiny, toy_split, tmp_path, monkeypatch, variant, estimator):
    """d(-w H)/d logit_k = w p_k (log p_k + H), w falling from 0.8 by a quarter of it at each of four steps."""
    backbone, split = tiny("seq2seq"), toy_split("seq2seq")
    features, found, losses = features_of(backbone, split), {}, {}
    for weight in (0.0, 0.8):
        config = config_with(variant, estimator=estimator, entropy=weight, steps=4, batch_size=8, micro_batch_size=4)
        model = built(config, backbone, features)
        found[weight], losses[weight] = trained_gradients(
            model, loop.Rows(split, features), config, tmp_path / str(weight), monkeypatch
        )
    assert losses[0.0] == losses[0.8], "the bonus is no part of the loss that is logged"
    for step in range(4):
        batch = collate(split, first_batch(split, config, step), features)
        for name in found[0.0][step]:
            mine = found[0.8][step][name] - found[0.0][step][name]
            if ".policy." not in name:
                assert not mine.any(), name
                continue
            factor = name.split(".")[1]
            shares = probabilities(model, factor, batch, features).detach()
            entropy = -(shares * shares.log()).sum(1, keepdim=True)
            of_logits = 0.8 * (1 - step / 4) * shares * (shares.log() + entropy) / 8
            expected = of_logits.sum(0)
            if name.endswith("weight"):
                expected = of_logits.T @ (
                    (batch.features - features.mean(0)) / features.std(0, correction=0) / features.shape[1] ** 0.5
                )
            torch.testing.assert_close(mine.view_as(expected), expected, rtol=1e-3, atol=2e-6)
            assert expected.abs().max() > 1e-4


def test_straight_through_has_no_bonus(tiny, toy_split, tmp_path, monkeypatch):
    backbone, split = tiny("seq2seq"), toy_split("seq2seq")
    rows = loop.Rows(split, features_of(backbone, split))
    found = []
    for weight in (0.0, 5.0):
        config = config_with("adap_ins_all", estimator="straight_through", entropy=weight, steps=2)
        model = built(config, backbone, rows.features)
        found.append(trained_gradients(model, rows, config, tmp_path / str(weight), monkeypatch)[0])
    assert all(torch.equal(a[name], b[name]) for a, b in zip(*found, strict=True) for name in a)


# Choices that are made


@pytest.mark.parametrize("kind", ["task", "instance"])
@pytest.mark.parametrize("estimator", ["straight_through", "reinforce", "exact"])
def test_what_is_drawn_and_what_is_not(kind, estimator):
    """Without noise the argmax; with it, at evaluation and in training (exact apart), as often as the softmax says."""
    count = 4000
    policy = Policy(kind, 4, count, 3, seeds.generator(0, "none"), False, False, estimator)
    with torch.no_grad():
        if kind == "task":
            policy.logits.logits.copy_(LOGITS.expand(count, 4))
        else:
            policy.logits.weight.zero_()
            policy.logits.bias.copy_(LOGITS)
    rows, feature = torch.arange(count), torch.zeros(count, 3)
    for training in (True, False):
        still = policy(feature, rows, Moment(0, 3, 0, rows, training, draws=False), "x")
        assert set(still.candidate.tolist()) == {2} and still[1:] == (None, None, None)
    expected = LOGITS.softmax(0)
    for training in (True, False):
        moment = Moment(0, 3, 0, rows, training, draws=True)
        drawn = policy(feature, rows, moment, "x")
        if estimator == "exact" and training:
            assert set(drawn.candidate.tolist()) == {0}, "the one copy tries the first candidate"
        else:
            found = torch.bincount(drawn.candidate, minlength=4) / count
            assert ((found - expected).abs() < 3 * (expected * (1 - expected) / count).sqrt()).all()
        if estimator != "straight_through":
            torch.testing.assert_close(drawn.log_prob, expected.log()[drawn.candidate])
            assert drawn.entropy.tolist() == pytest.approx([-(expected * expected.log()).sum().item()] * count)


def test_copies_of_a_row_draw_apart_and_rows_of_a_task_too():
    policy = Policy("task", 40, 1, 1, seeds.generator(0, "none"), False, False, "reinforce")
    rows = torch.arange(6).repeat(2)
    drawn = policy(None, torch.zeros_like(rows), Moment(0, 0, 0, rows, True, True, copies=2), "x").candidate
    assert not torch.equal(drawn[:6], drawn[6:]) and len(set(drawn.tolist())) > 6


@pytest.mark.parametrize("variant", ["adap_all", "adap_ins_all"])
def test_evaluation_takes_the_most_probable_choice_whatever_the_estimator(tiny, toy_split, variant):
    backbone, split = tiny("seq2seq"), toy_split("seq2seq")
    features, found = features_of(backbone, split), []
    for estimator in ("straight_through", "reinforce", "exact"):
        config = config_with(variant, estimator=estimator)
        model = built(config, backbone, features)
        scores, choices = score(model, split, features, typed(config), 3)
        batch = collate(split, list(range(24)), features)
        for factor, taken in (("position", choices.split), ("length", choices.length)):
            assert torch.equal(taken, probabilities(model, factor, batch, features).argmax(1))
        found.append(scores)
    assert torch.equal(found[0], found[1]) and torch.equal(found[0], found[2])
    assert variant == "adap_all" or len(set(choices.split.tolist())) > 1


@pytest.mark.parametrize(("definition", "samples", "passes"), [
    ({"position": "task"}, 2, {"straight_through": 1, "reinforce": 2, "exact": 5}),
    ({"position": "task", "length": "instance"}, 3, {"straight_through": 1, "reinforce": 3, "exact": 25}),
    ({"length": "instance", "representation": "instance_pool"}, 2, {"straight_through": 1, "reinforce": 2, "exact": 5}),
    ({"representation": "instance_pool"}, 2, {"straight_through": 1, "reinforce": 1, "exact": 1}),
    ({"position": {"learned_by": "adap_pos"}, "length": "task"}, 2,
     {"straight_through": 1, "reinforce": 2, "exact": 5}),
])  # fmt: skip
def test_forward_passes_of_a_row(tiny, toy_split, definition, samples, passes):
    backbone, split = tiny("seq2seq"), toy_split("seq2seq")
    features = features_of(backbone, split)
    for estimator, expected in passes.items():
        study = small_study(["adap_pos", "x"], {"x": definition}, choice={"estimator": estimator, "samples": samples})
        config = grid.run_config(study, grid.Cell("tiny-t5", "full", "toy", "x", 0))
        model = classifier(typed(config), backbone, [2], [], "cpu")
        assert model.copies == expected
        batch = collate(split, [0, 1, 2], features).repeated(expected)
        _, choices = model(batch, Moment(0, 0, 0, batch.rows, True, True, copies=expected))
        drawn = estimator != "straight_through" and definition != {"representation": "instance_pool"}
        assert (choices.log_prob is not None) == (choices.entropy is not None) == drawn
        if isinstance(definition.get("position"), dict):
            assert len(set(choices.split.tolist())) == 1, "a kept choice is not tried"


# marginal: the likelihood of the label with the choice summed out


def marginal_by_hand(logits, losses):
    """-log sum_s p(s) exp(-loss_s) of each row. logits, losses: [B, S]."""
    return -torch.log((logits.softmax(1) * torch.exp(-losses)).sum(1))


def test_marginal_over_all_candidates_is_the_likelihood_with_its_gradients():
    torch.manual_seed(0)
    rows, candidates = 6, 4
    logits, weights = torch.randn(rows, candidates, requires_grad=True), torch.randn(candidates, requires_grad=True)
    estimator = ESTIMATORS["marginal"]
    moment = Moment(0, 3, 0, torch.arange(rows).repeat(candidates), training=True, draws=True, copies=candidates)
    chosen = estimator.chosen(logits.repeat(candidates, 1), lambda shared: moment.each("x", candidates), moment, 1)
    assert (chosen.candidate.view(candidates, rows).sort(0).values == torch.arange(candidates)[:, None]).all()
    losses = weights.square()[chosen.candidate].view(candidates, rows) * torch.arange(1.0, rows + 1)
    found = objective("marginal", losses, chosen.log_prob.view(candidates, rows))
    wanted = marginal_by_hand(logits, weights.square() * torch.arange(1.0, rows + 1)[:, None])
    torch.testing.assert_close(found, wanted)
    for one, other in zip(torch.autograd.grad(found.sum(), (logits, weights)),
                          torch.autograd.grad(wanted.sum(), (logits, weights)), strict=True):  # fmt: skip
        torch.testing.assert_close(one, other)


def test_marginal_draws_one_candidate_and_the_others_at_random_and_never_one_twice():
    logits = torch.tensor([2.0, 0.0, 0.0, -1.0]).repeat(2 * 4000, 1)
    moment = Moment(0, 0, 0, torch.arange(4000).repeat(2), training=True, draws=True, copies=2)
    chosen = ESTIMATORS["marginal"].chosen(logits, lambda shared: moment.each("x", 4), moment, 1)
    first, second = chosen.candidate.view(2, -1)
    assert (first != second).all()
    expected = logits[0].softmax(0)
    torch.testing.assert_close(torch.bincount(first, minlength=4) / 4000, expected, atol=0.03, rtol=0)
    of_others = sum(expected[i] / 3 * torch.tensor([float(i != j) for j in range(4)]) for i in range(4))
    torch.testing.assert_close(torch.bincount(second, minlength=4) / 4000, of_others, atol=0.03, rtol=0)


@pytest.mark.parametrize("copies", [2, 3, 5, 9])
def test_marginal_meets_no_pair_of_two_choices_twice(copies):
    rows = 50
    moment = Moment(1, 0, 0, torch.arange(rows).repeat(copies), training=True, draws=True, copies=copies)
    pairs = [
        ESTIMATORS["marginal"]
        .chosen(torch.zeros(rows * copies, 3), lambda shared, name=name: moment.each(name, 3), moment, stride)
        .candidate.view(copies, rows)
        for name, stride in (("position", 1), ("length", 3))
    ]
    for row in range(rows):
        assert len({(int(a), int(b)) for a, b in zip(pairs[0][:, row], pairs[1][:, row], strict=True)}) == copies
    assert ESTIMATORS["marginal"].copies(9, copies) == copies and ESTIMATORS["marginal"].copies(2, 5) == 2


def test_to_ask_under_an_even_choice_costs_nothing_in_the_likelihood_and_much_in_the_expected_loss():
    """What marginal is for: of two candidates one pass is right and the other confidently wrong."""
    log_prob, ignorant = torch.log(torch.tensor([[0.5], [0.5]])), torch.full((2, 1), math.log(2))
    asking = torch.tensor([[0.01], [5.0]])
    assert objective("marginal", asking, log_prob) < objective("marginal", ignorant, log_prob) + 0.01
    assert objective("exact", asking, log_prob) > 2 * objective("exact", ignorant, log_prob)


# broken on purpose


def test_backwards_flips_the_gradient_of_the_choice_and_nothing_else():
    feature, rows = torch.randn(5, 8, generator=seeds.generator(0, "x")), torch.arange(5)
    moment = Moment(0, 0, 0, rows, training=True, draws=True)
    found = {}
    for backwards in (False, True):
        policy = Policy("instance", 3, 1, 8, seeds.generator(1, "y"), False, False, "reinforce", backwards=backwards)
        chosen = policy(feature, torch.zeros(5, dtype=torch.long), moment, "position")
        (gradient,) = torch.autograd.grad(chosen.log_prob.sum(), policy.logits.weight)
        found[backwards] = (chosen.candidate, chosen.log_prob, gradient)
    assert torch.equal(found[True][0], found[False][0])
    torch.testing.assert_close(found[True][1], found[False][1])
    torch.testing.assert_close(found[True][2], -found[False][2])
