"""The switches of protocol `released`, one by one, against small computations of what the paper's code does."""

import contextlib
import json
import math
import re
import shutil

import pytest
import torch
import yaml
from conftest import ROOT, typed
from safetensors.torch import load_file
from small_project import params_with, small_study
from test_battery import LENGTH, config_of, features_of, study_with
from torch.nn import functional

from dp import files
from dp.backbones.families import load
from dp.classifier.classifier import classifier
from dp.classifier.scoring import score
from dp.commands import common
from dp.commands.cli import main
from dp.data import tokens
from dp.data.batches import collate, padding_share
from dp.errors import UserError
from dp.numerics import seeds
from dp.prompts import choice
from dp.prompts.choice import Moment, temperature
from dp.prompts.policy import Policy
from dp.prompts.prompt_config import Temperature
from dp.report.tables.protocol import MEANING
from dp.study import grid, protocols, resolve
from dp.study.variants import Control
from dp.training.loop import Rows, train

SWITCHES = list(MEANING)
SWITCHES = [name for name in SWITCHES if name not in protocols.BROKEN]
RELEASED = study_with(protocol="released")
WIDTH = 40


@pytest.fixture
def backbone(tiny):
    return tiny("seq2seq")


@pytest.fixture
def split(toy_split):
    return toy_split("seq2seq")


def switched(variant, *switches, family="seq2seq", **training):
    """A run's configuration under nothing but the switches named."""
    config = config_of(family, variant, **training) | {"switches": list(switches), "max_tokens": WIDTH}
    if "straight_through" in switches and config["choice"]:
        config["choice"]["estimator"] = "straight_through"
    return config


def built(variant, backbone, *switches):
    return classifier(typed(switched(variant, *switches)), backbone, [2], [], "cpu")


def fill(model, seed=7, scale=1.0):
    """Give what a prompt learned some values; a task's logits begin at zero."""
    for name, value in model.prompt.named_parameters():
        if "logits" in name:
            torch.nn.init.normal_(value, std=scale, generator=seeds.generator(seed, name))


def at(step=0, rows=range(8), training=False, draws=None, number=0):
    return Moment(0, step, number, torch.tensor(list(rows)), training, training if draws is None else draws)


def t5_scores(backbone, embeds, mask, outputs):
    """Scores [B, C] of T5's own forward pass on embeddings [B, N, H]."""
    sentinel = backbone.tokenizer.convert_tokens_to_ids("<extra_id_0>")
    decoder = torch.tensor([[0, sentinel]]).expand(len(embeds), -1)
    logits = backbone.model(inputs_embeds=embeds, attention_mask=mask, decoder_input_ids=decoder).logits
    return logits[:, -1].gather(1, outputs)


# Which switches a variant has


def test_released_is_all_switches():
    assert sorted(RELEASED.params.protocols["released"]) == sorted(SWITCHES)
    assert RELEASED.params.protocols["controlled"] == []


# What a driver had not (paper.md sections 1 and 2), by what the name of a variant begins with, the longest first
OF_FINETUNING = {"prompt_beside_finetuning", "short_schedule"}
POSITION_ALONE = {"tanh_pool_scores", "update_every_micro_batch", "uniform_pools"} | OF_FINETUNING
WITH_POSITION = {"tanh_pool_scores"} | OF_FINETUNING
NOT_THEIRS = {
    "finetune": {"uniform_pools"},
    "adap_pos": POSITION_ALONE,
    "adap_ins_pos": POSITION_ALONE,
    "adap_pos_ins_vec": WITH_POSITION,
    "adap_ins_vec_pos": WITH_POSITION,
    "adap_all": WITH_POSITION,
    "adap_ins_all": WITH_POSITION,
} | dict.fromkeys(
    ["adap_length", "adap_ins_length", "adap_vec", "adap_ins_vec", "fixed", "postfix", "random", "residual", "smop",
     "linear-probe", "lora", "majority", "p-tuning-v2", "zero-shot"], {"uniform_pools"} | OF_FINETUNING
)  # fmt: skip


@pytest.mark.parametrize("variant", [name for name in RELEASED.params.variants if name.startswith(tuple(NOT_THEIRS))])
def test_switches_in_force_for_every_variant(variant):
    """Its driver's and its own; under `controlled` its own alone."""
    definition = RELEASED.params.variants[variant]
    target = RELEASED.params.variants[definition.control_of] if isinstance(definition, Control) else definition
    extra = {"gumbel_at_evaluation"} if isinstance(definition, Control) and definition.noise else set()
    family = max((name for name in NOT_THEIRS if variant.startswith(name)), key=len)
    theirs = set(SWITCHES) - NOT_THEIRS[family]
    assert grid.switches(RELEASED, variant) == sorted(theirs | set(target.switches))
    assert grid.switches(study_with(), variant) == sorted(set(target.switches) | extra)


def test_a_variant_may_name_a_switch_that_its_protocol_would_not_give_it():
    definition = {"position": "task", "representation": "single"}
    assert protocols.in_force([], ["dropout"], definition) == ["dropout"]
    own = protocols.in_force(["rotation", "tanh_pool_scores"], ["tanh_pool_scores"], definition)
    assert own == ["rotation", "tanh_pool_scores"]


def test_a_noise_control_adds_gumbel_alone():
    study = study_with(variants=["adap_pos", "adap_pos-noise", "adap_ins_pos", "adap_ins_pos-shuffled"])
    assert grid.switches(study, "adap_pos-noise") == ["gumbel_at_evaluation"]
    assert grid.switches(study, "adap_ins_pos-shuffled") == grid.switches(study, "adap_pos") == []


# straight_through, raw_feature


@pytest.mark.parametrize(("variant", "passes"), [("adap_pos", 5), ("adap_ins_all", 25), ("fixed", 1)])
def test_straight_through_is_the_estimator_whatever_the_scale_says(backbone, variant, passes):
    """One forward pass of a row, the one-hot of a Gumbel-Softmax sample, and nothing for a score function."""
    exact = {"choice": {"estimator": "exact", "samples": 3, "temperature": {"start": 0.7}}}
    scale = study_with(**exact).scale.model_dump()
    own = RELEASED.params.model_copy(update={"protocols": RELEASED.params.protocols | {"mine": ["straight_through"]}})
    for protocol, estimator, expected in (("controlled", "exact", passes), ("mine", "straight_through", 1)):
        study = type(RELEASED)(params=own, scale_name="smoke", scale=scale | {"protocol": protocol})
        config = grid.run_config(study, grid.Cell("tiny-t5", "full", "toy", variant, 0))
        model = classifier(typed(config), backbone, [2], [], "cpu")
        assert model.copies == expected
        if variant == "fixed":
            assert config["choice"] is None
            continue
        assert config["choice"] == study.scale.choice.model_dump() | {"estimator": estimator}
        policy = model.prompt.position.policy
        chosen = policy(torch.zeros(8, 32), torch.zeros(8, dtype=torch.long), at(training=True), "position")
        assert (chosen.weights is None) == (estimator == "exact") == (chosen.log_prob is not None)


@pytest.mark.parametrize("variant", ["adap_ins_pos", "adap_ins_length", "adap_ins_vec", "adap_ins_all"])
def test_raw_feature_is_read_as_it_is(backbone, split, variant):
    """The same linear layers read h(x), or (h(x) - mean) / (deviation sqrt(H)) of the training rows."""
    features = features_of(backbone, split)
    by_hand = (features - features.mean(0)) / ((features - features.mean(0)).square().mean(0)).sqrt()
    by_hand = by_hand / by_hand.shape[1] ** 0.5
    found = {}
    for switches in ([], ["raw_feature"]):
        model = built(variant, backbone, *switches)
        fill(model)
        model.fit_features(features)
        assert (model.prompt.standard is None) == bool(switches)
        assert len(model.kept()) - len(model.trained()) == (0 if switches else 2)
        config = typed(switched(variant, *switches))
        found[bool(switches)] = [part for part in score(model, split, features, config, 0)[1]
                                 if part is not None]  # fmt: skip
        by_itself = score(model, split, by_hand, config, 0)[1]
        if switches:  # the raw one, given what the other one computes, chooses as the other one does
            found["given"] = [part for part in by_itself if part is not None]
    for standard, given in zip(found[False], found["given"], strict=True):
        torch.testing.assert_close(standard, given, rtol=1e-4, atol=1e-5)
    assert any(not torch.allclose(a.float(), b.float()) for a, b in zip(found[False], found[True], strict=True))


def test_variants_without_an_instance_have_nothing_to_standardise(backbone):
    for variant in ("fixed", "adap_pos", "adap_vec", "adap_all", "smop", "random"):
        assert built(variant, backbone).prompt.standard is None


# relu_position_logits, tanh_pool_scores


def test_relu_position_logits_of_an_instance_policy(backbone):
    """By hand: logits w h + b below 0 become 0, ties go to the first, and no gradient passes a logit below 0."""
    weight = [[0.5, -1.0], [1.0, 1.0], [-2.0, 0.5], [0.25, 0.25], [-1.0, -1.0]]
    bias = [-1.0, 0.0, -0.5, 0.5, -3.0]
    features = [[1.0, 1.0], [-1.0, -2.0], [-4.0, 0.0], [0.1, 3.0]]
    by_hand = [[max(0.0, sum(w * f for w, f in zip(line, row, strict=True)) + b)
                for line, b in zip(weight, bias, strict=True)] for row in features]  # fmt: skip
    for switches, clipped in ((["relu_position_logits"], True), ([], False)):
        policy = built("adap_ins_pos", backbone, "straight_through", *switches).prompt.position.policy
        with torch.no_grad():
            policy.logits.weight.zero_()
            policy.logits.weight[:, :2] = torch.tensor(weight)
            policy.logits.bias.copy_(torch.tensor(bias))
        feature = functional.pad(torch.tensor(features), (0, 30))
        zeros, rows = torch.zeros(4, dtype=torch.long), range(4)
        raw = feature[:, :2] @ torch.tensor(weight).T + torch.tensor(bias)
        expected = torch.tensor(by_hand) if clipped else raw
        still = policy(feature, zeros, at(rows=rows), "position")
        assert still.candidate.tolist() == [row.index(max(row)) for row in expected.tolist()]
        moment = at(rows=rows, training=True)
        chosen = policy(feature, zeros, moment, "position")
        gumbel = -torch.log(-torch.log(moment.each("position", 5))).float()
        soft = (expected + gumbel).softmax(1)
        assert torch.equal(chosen.candidate, soft.argmax(1))
        assert torch.equal(chosen.weights.detach(), functional.one_hot(chosen.candidate, 5).float())
        upstream = torch.tensor([1.0, 4.0, 9.0, 16.0, 25.0])
        (chosen.weights * upstream).sum().backward()
        of_logits = soft * (upstream - (soft * upstream).sum(1, keepdim=True))
        if clipped:
            of_logits = of_logits * (raw > 0)
        torch.testing.assert_close(policy.logits.bias.grad, of_logits.sum(0), rtol=1e-4, atol=1e-5)
    assert any(value == 0 for row in by_hand for value in row) and raw.min() < 0


@pytest.mark.parametrize("estimator", ["reinforce", "exact"])
def test_relu_position_logits_are_those_that_a_score_function_reads(backbone, estimator):
    features = torch.randn(8, 32, generator=seeds.generator(0, "features"))
    for switches in ([], ["relu_position_logits"]):
        config = switched("adap_ins_pos", *switches)
        config["choice"]["estimator"] = estimator
        policy = classifier(typed(config), backbone, [2], [], "cpu").prompt.position.policy
        raw = features @ policy.logits.weight.T + policy.logits.bias
        assert raw.min() < 0 < raw.max()
        drawn = policy(features, torch.zeros(8), at(training=True), "position")
        log_probs = (raw.clamp(min=0) if switches else raw).log_softmax(1)
        torch.testing.assert_close(drawn.log_prob, log_probs[range(8), drawn.candidate])


def test_relu_never_stops_the_logits_of_a_task(backbone, split):
    """The paper's code has no ReLU there: on logits that begin at 0 it would pass no gradient, ever."""
    model = built("adap_pos", backbone, "straight_through", "relu_position_logits")
    batch = collate(split, list(range(8)))
    scores, _ = model(batch, at(training=True))
    functional.cross_entropy(scores, batch.labels).backward()
    assert model.prompt.position.policy.logits.logits.grad.abs().min() > 0


def test_a_relu_of_each_choice_of_an_instance(backbone):
    for switches in (
        [],
        ["relu_position_logits"],
        ["relu_length_logits"],
        ["relu_position_logits", "relu_length_logits"],
    ):
        for variant, of_instance in (("adap_ins_all", True), ("adap_all", False)):
            prompt = built(variant, backbone, *switches).prompt
            assert prompt.position.policy.relu == (of_instance and "relu_position_logits" in switches)
            assert prompt.length.policy.relu == (of_instance and "relu_length_logits" in switches)


def test_relu_length_logits_of_an_instance_policy(backbone):
    """By hand: the length is the argmax of max(0, w h + b), ties go to the first; no gradient passes below 0."""
    features = torch.randn(8, 32, generator=seeds.generator(0, "features"))
    policy = built("adap_ins_length", backbone, "straight_through", "relu_length_logits").prompt.length.policy
    with torch.no_grad():
        policy.logits.bias.copy_(torch.tensor([-9.0, -1.0, 0.5, -9.0, -0.5]))
    raw = [[sum(w * f for w, f in zip(line, row, strict=True)) + b
            for line, b in zip(policy.logits.weight.tolist(), policy.logits.bias.tolist(), strict=True)]
           for row in features.tolist()]  # fmt: skip
    by_hand = [[max(0.0, value) for value in row] for row in raw]
    tasks, moment = torch.zeros(8, dtype=torch.long), at(training=True)
    still = policy(features, tasks, at(), "length").candidate.tolist()
    assert still == [row.index(max(row)) for row in by_hand] and any(max(row) == 0 for row in by_hand)
    noise = -torch.log(-torch.log(moment.each("length", 5))).float()
    chosen = policy(features, tasks, moment, "length")
    assert torch.equal(chosen.candidate, (torch.tensor(by_hand) + noise).argmax(1))
    (chosen.weights * torch.arange(5.0)).sum().backward()
    assert policy.logits.bias.grad[[0, 3]].tolist() == [0, 0] and policy.logits.bias.grad[2] != 0


def test_tanh_pool_scores(backbone, split):
    """beta = softmax(tanh(W h + b)), in plain Python."""
    features = features_of(backbone, split)[:4]
    for switches, squash in ((["tanh_pool_scores"], math.tanh), ([], float)):
        pool = built("adap_ins_vec", backbone, *switches).prompt.representation
        with torch.no_grad():
            pool.logits.weight.mul_(10)
            pool.logits.bias.copy_(torch.tensor([0.5, -2.0, 1.0]))
        said = pool(features, torch.zeros(4), None, at(rows=range(4)))
        for row, feature in enumerate(features.tolist()):
            linear = zip(pool.logits.weight.tolist(), pool.logits.bias.tolist(), strict=True)
            scores = [squash(sum(w * f for w, f in zip(line, feature, strict=True)) + b) for line, b in linear]
            total = sum(math.exp(value) for value in scores)
            beta = [math.exp(value) / total for value in scores]
            assert said.weights[row].tolist() == pytest.approx(beta, rel=1e-4)
            vectors = sum(share * prompt for share, prompt in zip(beta, pool.prompts, strict=True))
            torch.testing.assert_close(said.vectors[row], vectors, rtol=1e-4, atol=1e-5)


# gumbel_at_evaluation

LOGITS = torch.tensor([0.0, 1.0, 0.5, -1.0, 2.0])


def drawing_policy(kind):
    """Five candidates; every row has LOGITS, whatever its feature."""
    policy = Policy(kind, 5, 1, 3, seeds.generator(0, "policy"), frozen=False, relu=False)
    with torch.no_grad():
        if kind == "task":
            policy.logits.logits.copy_(LOGITS)
        else:
            policy.logits.weight.zero_()
            policy.logits.bias.copy_(LOGITS)
    return policy


@pytest.mark.parametrize("kind", ["task", "instance"])
@pytest.mark.parametrize("training", [True, False])
def test_draws_have_the_frequencies_of_the_softmax(kind, training):
    """Within 3 standard errors, over 4,000 batches of one row (task) or 4,000 rows (instance), at any temperature."""
    policy, count = drawing_policy(kind), 4000
    if kind == "task":
        moments = [Moment(0, 3, n, torch.tensor([0]), training, True, 0.5 + n % 2) for n in range(count)]
    else:
        moments = [Moment(0, 3, 0, torch.arange(count), training, True, 0.5)]
    drawn = torch.cat(
        [policy(torch.zeros(len(m.rows), 3), torch.zeros_like(m.rows), m, "x").candidate for m in moments]
    )
    expected = [math.exp(value) / sum(map(math.exp, LOGITS.tolist())) for value in LOGITS.tolist()]
    for candidate, share in enumerate(expected):
        found = (drawn == candidate).float().mean().item()
        assert abs(found - share) < 3 * (share * (1 - share) / count) ** 0.5, (candidate, found, share)


@pytest.mark.parametrize("learned_by", [["straight_through"], []])
@pytest.mark.parametrize("variant", ["adap_pos", "adap_ins_pos", "adap_length", "adap_ins_length"])
def test_gumbel_at_evaluation_by_batch_or_by_row(backbone, split, variant, learned_by):
    """As in training. task: under straight_through one draw per batch. Otherwise and by instance: one per row, however
    rows are batched. Same step, same draw."""
    model = built(variant, backbone, *learned_by)
    fill(model)
    features = features_of(backbone, split)

    def chosen(step, size, *switches):
        config = switched(variant, *switches) | {"evaluation_batch_size": size}
        scores, choices = score(model, split, features, typed(config), step)
        return scores, choices.split if "pos" in variant else choices.length

    quiet_scores, quiet = chosen(4, 8)
    scores, drawn = chosen(4, 8, "gumbel_at_evaluation")
    again_scores, again = chosen(4, 8, "gumbel_at_evaluation")
    assert torch.equal(drawn, again) and torch.equal(scores, again_scores)
    others = [chosen(step, 8, "gumbel_at_evaluation")[1] for step in range(5, 9)]
    assert all(not torch.equal(drawn, other) for other in others)
    assert not torch.equal(drawn, quiet) and not torch.equal(scores, quiet_scores)
    order = sorted(range(24), key=lambda row: len(split.ids[row]))
    by_batch = [{int(values[row]) for row in order[start : start + 8]} for values in (drawn, *others)
                for start in (0, 8, 16)]  # fmt: skip
    alone = chosen(4, 1, "gumbel_at_evaluation")[1]
    if "ins" in variant or not learned_by:
        assert torch.equal(alone, drawn) and any(len(values) > 1 for values in by_batch)
    else:
        assert all(len(values) == 1 for values in by_batch) and len(set.union(*by_batch)) > 1
        assert not torch.equal(alone, drawn)
    assert "ins" in variant or len(set(quiet.tolist())) == 1


@pytest.mark.parametrize("size", [4, 7, 56])
def test_draw_by_four_is_a_draw_for_every_four_rows_in_the_datas_order(backbone, toy_split, size):
    """56 rows have 14 draws, as CB in batches of 4, whatever their own batches are: the same scores, too."""
    split = toy_split("seq2seq", count=56)
    model = built("adap_pos", backbone, "straight_through")
    fill(model)

    def scored(size, *switches):
        config = switched("adap_pos", "gumbel_at_evaluation", *switches) | {"evaluation_batch_size": size}
        return score(model, split, None, typed(config), step=4)

    scores, choices = scored(size, "draw_by_four")
    fours = [choices.split[start : start + 4].tolist() for start in range(0, 56, 4)]
    assert len(fours) == 14 and all(len(set(four)) == 1 for four in fours) and len({four[0] for four in fours}) > 2
    again, same = scored(56, "draw_by_four")
    assert torch.equal(choices.split, same.split)
    torch.testing.assert_close(scores, again, rtol=1e-5, atol=1e-5)
    by_batch = scored(size)[1].split
    assert not torch.equal(by_batch, choices.split) and (size != 56 or len(set(by_batch.tolist())) == 1)
    for four in (0, 9):  # the scores are those of the rows' own forward pass under their draw
        rows = list(range(4 * four, 4 * four + 4))
        config = switched("fixed")
        config["definition"] = config["definition"] | {"position": fours[four][0]}
        fixed = classifier(typed(config), backbone, [2], [], "cpu")
        expected, _ = fixed(collate(split, rows), at(rows=rows))
        torch.testing.assert_close(scores[rows], expected, rtol=1e-4, atol=1e-5)


def test_draws_by_four_have_the_frequencies_of_the_softmax():
    policy, rows = drawing_policy("task"), torch.arange(16000)
    moment = Moment(0, 3, 0, rows, training=False, draws=True, sharing=4)
    drawn = policy(None, torch.zeros_like(rows), moment, "x").candidate[::4]
    for candidate, share in enumerate(LOGITS.softmax(0).tolist()):
        found = (drawn == candidate).float().mean().item()
        assert abs(found - share) < 3 * (share * (1 - share) / 4000) ** 0.5
    training = Moment(0, 3, 0, rows[:40], training=True, draws=True, sharing=4)
    assert len(set(policy(None, torch.zeros_like(rows[:40]), training, "x").candidate.tolist())) == 1


def test_draw_by_four_leaves_an_instances_draws(backbone, split):
    model, features = built("adap_ins_pos", backbone, "straight_through"), features_of(backbone, split)
    configs = [switched("adap_ins_pos", "gumbel_at_evaluation", *switches) for switches in ([], ["draw_by_four"])]
    drawn = [score(model, split, features, typed(config), 4)[1].split for config in configs]
    assert torch.equal(*drawn) and len(set(drawn[0].tolist())) > 1


# random_logits, uniform_pools


def test_random_logits(backbone):
    """A task's U(-0.5, 0.5), an instance's bias U(+-1/sqrt(32)), in place of 0; nothing else begins otherwise."""
    for variant, bound in (("adap_all", 0.5), ("adap_ins_all", 32**-0.5)):
        plain, random = (dict(built(variant, backbone, *switches).prompt.named_parameters())
                         for switches in ([], ["random_logits"]))  # fmt: skip
        begun = {name for name in plain if not torch.equal(plain[name], random[name])}
        last = "logits" if variant == "adap_all" else "bias"
        assert begun == {name for name in plain if name.endswith(f"logits.{last}")} and len(begun) == 3
        for name in begun:
            assert not plain[name].any() and random[name].abs().max() < bound and random[name].unique().numel() > 2
    many = choice.TaskLogits(1, 40000, seeds.generator(0, "many")).logits
    assert many.abs().max() < 0.5 and abs(many.mean()) < 0.01 and many.std().item() == pytest.approx(12**-0.5, rel=0.02)
    layer = choice.InstanceLogits(64, 40000, seeds.generator(0, "many"), random_bias=True).bias
    assert layer.abs().max() < 0.125 and layer.std().item() == pytest.approx(0.25 * 12**-0.5, rel=0.02)


@pytest.mark.parametrize("variant", ["fixed", "adap_pos", "adap_ins_vec", "adap_ins_vec_pos", "adap_pos_ins_vec"])
def test_uniform_pools_where_the_position_is_learned_too(backbone, variant):
    """The others begin at the first rows of the vocabulary table, those of a pool one behind the other."""
    config = grid.run_config(RELEASED, grid.Cell("tiny-t5", "full", "toy", variant, 0))
    representation = classifier(typed(config), backbone, [2], [], "cpu").prompt.representation
    vectors = (representation.prompts if "vec" in variant else representation.vectors).flatten(0, -2).detach()
    table = backbone.model.get_input_embeddings().weight
    if variant in ("adap_ins_vec_pos", "adap_pos_ins_vec"):
        assert vectors.abs().max() < 0.5 and vectors.std().item() == pytest.approx(12**-0.5, rel=0.1)
        assert config["prompt"]["init"] | {"kind": "uniform", "bound": 0.5} == config["prompt"]["init"]
    else:
        assert torch.equal(vectors, table[: len(vectors)])
    alone = params_with({"mine": {"representation": "instance_pool", "switches": ["uniform_pools"]}})["variants"]
    study = small_study(["mine"], {"mine": alone["mine"]})
    assert grid.run_config(study, grid.Cell("tiny-t5", "full", "toy", "mine", 0))["prompt"]["init"]["kind"] == "uniform"


def test_an_override_says_how_one_variants_prompt_begins(backbone):
    uniform = {"adap_ins_vec": {"prompt": {"init": {"kind": "uniform", "bound": 0.1}}}}
    study = small_study(["fixed", "adap_ins_vec"], overrides=uniform)
    inits = {name: grid.run_config(study, grid.Cell("tiny-t5", "full", "toy", name, 0))["prompt"]["init"]
             for name in ("fixed", "adap_ins_vec")}  # fmt: skip
    assert inits["fixed"]["kind"] == "vocabulary"
    assert (inits["adap_ins_vec"]["kind"], inits["adap_ins_vec"]["bound"]) == ("uniform", 0.1)
    plain = small_study(["fixed", "adap_ins_vec"])
    cells = [grid.Cell("tiny-t5", "full", "toy", "adap_ins_vec", 0)] * 2
    changed, before = (grid.run_config(one, cell) for one, cell in zip((study, plain), cells, strict=True))
    assert changed | {"prompt": before["prompt"]} == before


@pytest.mark.parametrize(
    ("variant", "override", "protocol", "message"),
    [
        ("fixed", {"prompt": {"length": 3}}, "controlled", "overrides.fixed.prompt.unknown key 'length'"),
        ("fixed", {"prompt": {"init": {"kind": "zeros"}}}, "controlled", "overrides.fixed.prompt.init.kind = 'zeros'"),
        ("fixed", {"prompt": 3}, "controlled", "overrides.fixed.prompt"),
        ("lora", {"prompt": {"init": {"kind": "uniform"}}}, "controlled", "'lora' has no prompt of its own"),
        ("finetune", {"prompt": {"init": {"kind": "uniform"}}}, "controlled", "'finetune' has no prompt of its own"),
        ("adap_ins_vec_pos", {"prompt": {"init": {"kind": "vocabulary"}}}, "released", "uniform_pools decides it"),
    ],
)
def test_an_override_of_a_prompt_that_decides_nothing_is_refused(variant, override, protocol, message):
    with pytest.raises(UserError, match=re.escape(message)):
        small_study([variant], overrides={variant: override}, protocol=protocol)
    small_study(["finetune"], overrides={"finetune": {"prompt": {"init": {"kind": "uniform"}}}}, protocol="released")


# rotation, fillers, padded_inputs


@pytest.mark.parametrize("j", range(LENGTH + 1))
def test_rotation_is_the_papers_sequence(backbone, split, j):
    """[p_j+1 .. p_l ; x ; p_1 .. p_j ; </s> ; padding] from plain lists, and T5's own scores of it."""
    config = switched("fixed", "rotation")
    config["definition"] = config["definition"] | {"position": LENGTH - j}
    model = classifier(typed(config), backbone, [2], [], "cpu")
    batch = collate(split, [0, 3, 5, 6])
    table = backbone.model.get_input_embeddings().weight.tolist()
    p = model.prompt.representation.vectors.tolist()
    lines = []
    for ids in batch.ids.tolist():
        end = ids.index(1)  # </s>
        text, padding = ids[:end], ids[end + 1 :]
        lines.append([*p[j:], *[table[i] for i in text], *p[:j], table[1], *[table[i] for i in padding]])
    expected = torch.tensor(lines)
    sequence, choices = model.prompt(
        backbone.embed(batch.ids), batch.mask, batch.tails, None, batch.tasks, at(rows=range(4))
    )
    assert torch.equal(sequence.embeds, expected) and choices.split.tolist() == [LENGTH - j] * 4
    mask = torch.tensor([[1] * (len(row) + LENGTH) + [0] * (batch.ids.shape[1] - len(row)) for row in
                         (split.ids[i] for i in (0, 3, 5, 6))])  # fmt: skip
    assert torch.equal(sequence.visible, mask)
    scores, _ = model(batch, at(rows=range(4)))
    torch.testing.assert_close(scores, t5_scores(backbone, expected, mask, batch.outputs), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("variant", ["adap_length", "adap_ins_length"])
@pytest.mark.parametrize("training", [True, False])
def test_fillers_stay_visible_and_t5_survives_them(backbone, split, variant, training):
    model = built(variant, backbone, "fillers")
    fill(model, seed=1)
    batch = collate(split, list(range(8)), features_of(backbone, split))
    embeds = backbone.embed(batch.ids)
    moment = at(step=2, training=training)
    sequence, choices = model.prompt(embeds, batch.mask, batch.tails, batch.features, batch.tasks, moment)
    vectors = model.prompt.representation.vectors.tolist()
    assert choices.length.min() < LENGTH and (variant == "adap_length" or len(set(choices.length.tolist())) > 1)
    front = [vectors[:n] + [[-1e20] * 32] * (LENGTH - n) for n in choices.length.tolist()]
    expected = torch.cat([torch.tensor(front), embeds], dim=1)
    assert torch.equal(sequence.embeds, expected)
    mask = torch.cat([torch.ones(8, LENGTH, dtype=torch.long), batch.mask], dim=1)
    assert sequence.gate is None and torch.equal(sequence.visible, mask)
    scores, _ = model(batch, moment)
    torch.testing.assert_close(scores, t5_scores(backbone, expected, mask, batch.outputs), rtol=1e-5, atol=1e-5)
    masked, _ = built(variant, backbone)(batch, moment)
    assert not torch.allclose(scores, masked, atol=1e-3), "a filler is not the same as a dropped vector"
    loss = functional.cross_entropy(scores, batch.labels)
    loss.backward()
    assert loss.isfinite() and model.prompt.representation.vectors.grad.isfinite().all()


class Spy:
    """A classifier that remembers the batches it is given."""

    def __init__(self, model):
        self.model, self.seen = model, []

    def __getattr__(self, name):
        return getattr(self.model, name)

    def backbone_input(self, batch, moment):
        self.seen.append((batch, moment))
        return self.model.backbone_input(batch, moment)

    def __call__(self, batch, moment):
        self.seen.append((batch, moment))
        return self.model(batch, moment)


@pytest.mark.parametrize("variant", ["fixed", "adap_ins_all"])
def test_padded_inputs_in_training_and_evaluation_score_the_same(backbone, split, variant, tmp_path):
    features = features_of(backbone, split)
    rows, losses, shapes, updates = Rows(split, features), [], [], []
    for switches in ([], ["padded_inputs"]):
        spy = Spy(built(variant, backbone, *switches))
        train(spy, rows, [rows], typed(switched(variant, *switches)), tmp_path / str(switches), "identity")
        log = files.read_jsonl(tmp_path / str(switches) / "steps.jsonl")
        losses.append([line["loss"] for line in log if "loss" in line])
        shapes.append([batch.ids.shape[1] for batch, _ in spy.seen])
        updates.append(sum(moment.training for _, moment in spy.seen))
        if switches:
            for batch, _ in spy.seen:
                lengths = [len(split.ids[row]) for row in batch.rows.tolist()]
                assert batch.mask.sum(1).tolist() == lengths
                assert all(not batch.ids[i, n:].any() for i, n in enumerate(lengths))
    assert set(shapes[1]) == {WIDTH} and max(shapes[0]) < WIDTH and updates[0] == updates[1] < len(shapes[1])
    assert losses[0][:2] == pytest.approx(losses[1][:2], rel=1e-4)
    model = built(variant, backbone)
    fill(model)
    (plain, _), (padded, _) = (score(model, split, features, typed(switched(variant, *switches)), 8)
                               for switches in ([], ["padded_inputs"]))  # fmt: skip
    assert not torch.equal(plain, padded), "the switch must reach the backbone"
    torch.testing.assert_close(plain, padded, rtol=1e-5, atol=1e-5)


# dropout, update_every_micro_batch, the temperature


@pytest.mark.parametrize("family", ["seq2seq", "masked"])
def test_dropout_is_on_in_training_alone_and_drawn_by_the_moment(tiny, toy_split, family):
    backbone, split = tiny(family), toy_split(family)
    rates = {module.p for module in backbone.model.modules() if isinstance(module, torch.nn.Dropout)}
    assert 0.1 in rates
    batch = collate(split, list(range(8)))
    model, plain = (classifier(typed(switched("fixed", *switches, family=family)), backbone, [2], [], "cpu")
                    for switches in (["dropout"], []))  # fmt: skip

    def scores(found, *where, **when):
        return found(batch, at(*where, **when))[0]

    quiet = scores(plain)
    first = scores(model, training=True)
    torch.manual_seed(99)  # neither what was drawn before nor the global seed decides
    torch.rand(5)
    assert torch.equal(first, scores(model, training=True))
    assert not torch.equal(first, scores(model, 1, training=True))
    assert not torch.equal(first, scores(model, training=True, number=1))
    assert not torch.allclose(first, quiet, atol=1e-4)
    assert torch.equal(scores(model), quiet), "off at evaluation, even right after a training pass"
    assert torch.equal(scores(plain, training=True), quiet), "off in training without the switch"
    many = torch.stack([scores(model, step, training=True) for step in range(200)])
    assert (many.std(0) > 0).all(), "every row is dropped from"


PARTS = 4


def released_config(variant):
    """Batch 32 in micro-batches of 8, as the paper's."""
    budget = {"steps": 20, "batch_size": 32, "micro_batch_size": 8, "evaluate_every": 5, "checkpoint_every": 10}
    study = study_with(protocol="released", training=RELEASED.scale.training.model_dump() | budget)
    return grid.run_config(study, grid.Cell("tiny-t5", "full", "toy", variant, 0))


@pytest.mark.parametrize(
    ("variant", "broken"),
    [("fixed", True), ("adap_ins_vec", True), ("adap_ins_vec_pos", True), ("adap_pos_ins_vec", True),
     ("adap_pos", False), ("adap_ins_pos", False)],
)  # fmt: skip
def test_update_every_micro_batch_by_variant(variant, broken):
    """Four times the updates on a quarter of the rows, evaluated after as many rows; the warm-up counts updates."""
    training = released_config(variant)["training"]
    found = [training[key] for key in ("batch_size", "micro_batch_size", "steps", "evaluate_every", "checkpoint_every")]
    assert found == ([8, 8, 80, 20, 40] if broken else [32, 8, 20, 5, 10])
    assert training["optimizer"]["warmup_steps"] == 2


def test_update_every_micro_batch_moves_the_prompt_at_each(backbone, split, tmp_path):
    """80 updates of 8 rows; the first two equal plain gradient steps by hand on those rows, clipped and warmed up."""
    config = released_config("fixed")
    config["switches"] = ["update_every_micro_batch"]
    config["training"]["optimizer"] |= {"name": "adamw", "lr": 0.05, "weight_decay": 0.0}
    spy = Spy(classifier(typed(config), backbone, [2], [], "cpu"))
    spy.values = []
    start = spy.model.prompt.representation.vectors.detach().clone()
    rows = Rows(split, None)
    made = train(spy, rows, [rows], typed(config), tmp_path / "run", "identity")
    passes = [batch for batch, moment in spy.seen if moment.training]
    steps = [line for line in files.read_jsonl(tmp_path / "run" / "steps.jsonl") if "loss" in line]
    assert len(passes) == len(steps) == made["steps"] == 80 and all(len(batch.rows) == 8 for batch in passes)

    other = classifier(typed(config), backbone, [2], [], "cpu")
    vectors = other.prompt.representation.vectors
    assert torch.equal(vectors, start)
    optimizer = torch.optim.AdamW([vectors], weight_decay=0.0)
    for number, batch in enumerate(passes[:5]):
        optimizer.param_groups[0]["lr"] = 0.05 * min(1, (number + 1) / 2)
        loss = functional.cross_entropy(other(batch, at(training=True))[0], batch.labels)
        assert loss.item() == pytest.approx(steps[number]["loss"], rel=1e-4)
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_([vectors], 1.0)
        optimizer.step()


@pytest.mark.parametrize("anneal", [1.0, 10.0])
def test_the_temperature_is_the_compounding_recurrence(anneal):
    tau, floor = 1.0, None
    schedule = Temperature(start=1.0, floor=0.5, rate=3e-5, anneal=anneal)
    assert temperature(0, schedule) == 1.0
    for step in range(1, 1001):
        tau = max(tau * math.exp(-3e-5 * step / anneal), 0.5)
        assert temperature(step, schedule) == pytest.approx(tau, rel=1e-9)
        floor = step if tau == 0.5 and floor is None else floor
    assert floor == pytest.approx(215 * math.sqrt(anneal), rel=0.01)
    assert [round(temperature(step, schedule), 4) for step in (100, 200)] == {
        1.0: [0.8594, 0.5472], 10.0: [0.985, 0.9415]}[anneal]  # fmt: skip


@pytest.mark.parametrize("variant", ["adap_pos", "adap_ins_vec_pos"])
def test_the_temperature_goes_by_nominal_steps(backbone, split, tmp_path, variant):
    """Where every micro-batch is an update, four of them share a temperature, as in the paper's code."""
    config = released_config(variant)
    config["switches"] = []
    config["choice"]["temperature"] |= {"rate": 0.01, "anneal": 1.0, "floor": 0.5}
    rows = Rows(split, features_of(backbone, split))
    train(
        classifier(typed(config), backbone, [2], [], "cpu"), rows, [rows], typed(config), tmp_path / "run", "identity"
    )
    steps = [line for line in files.read_jsonl(tmp_path / "run" / "steps.jsonl") if "loss" in line]
    parts = 1 if variant == "adap_pos" else PARTS
    tau, expected = 1.0, []
    for step in range(1, 21):
        expected += [tau] * parts
        tau = max(tau * math.exp(-0.01 * step), 0.5)
    assert [line["temperature"] for line in steps] == pytest.approx(expected)


# padded_feature and select_on_reported, through the commands

SCALE = """
description: The tests' of the protocol `released`.
backbones: [tiny-t5]
source: made_up
tasks: {made_up: [toy]}
regimes: [{kind: full}]
variants: [fixed, adap_pos, adap_ins_pos, adap_ins_vec_pos]
seeds: [0]
max_tokens: 32
prompt: {length: 4, pool: 3}
training: {steps: 8, batch_size: 16, micro_batch_size: 8, evaluate_every: 1, checkpoint_every: 8,
           optimizer: {warmup_steps: 2}}
evaluation_batch_size: 8
compute: {device: cpu}
"""
SET = ("--set", "scale=tests", "--set", "allow_dirty=true")


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project whose inputs are made: tokens, backbone, features of both kinds."""
    root = tmp_path_factory.mktemp("project")
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    params["protocols"] |= {
        "selects": ["select_on_reported"],
        "selects_drawn": ["select_on_reported", "gumbel_at_evaluation"],
    }
    (root / "params.yaml").write_text(yaml.safe_dump(params))
    shutil.copytree(ROOT / "workflow" / "scales", root / "workflow" / "scales")
    with pytest.MonkeyPatch.context() as patch, contextlib.chdir(root):
        patch.delenv(common.SETTINGS_VARIABLE, raising=False)
        protocol(root, "controlled")
        main(["fetch-task", "--task", "toy", *SET])
        main(["fetch-backbone", "--backbone", "tiny-t5", *SET])
        for command in (["tokenize"], ["features"], ["features", "--pooling", "padded_mean"]):
            main([*command, "--backbone", "tiny-t5", "--task", "toy", *SET])
    return root


@pytest.fixture
def inside(project, monkeypatch):
    monkeypatch.chdir(project)
    monkeypatch.delenv(common.SETTINGS_VARIABLE, raising=False)
    return project


def protocol(root, name):
    (root / "workflow/scales/tests.yaml").write_text(f"{SCALE}protocol: {name}\n")


def test_padded_feature_is_the_mean_over_max_tokens_positions(inside):
    """T5's own encoder, one row at a time, on ids padded to 32 with 0; every position counts the same."""
    folder = inside / "results/tokenize/tests/tiny-t5/toy"
    splits, _ = tokens.load(folder / "tokens")
    padded, masked = (load_file(folder / "features" / kind / "features.safetensors")
                      for kind in ("padded_mean", "masked_mean"))  # fmt: skip
    encoder = load(inside / "results/download/backbones/tiny-t5", "seq2seq").model.encoder
    for name in ("train", "selection", "validation"):
        for row, ids in enumerate(splits[name].ids[:12]):
            filled = ids.tolist() + [0] * (32 - len(ids))
            mask = [1] * len(ids) + [0] * (32 - len(ids))
            with torch.no_grad():
                states = encoder(torch.tensor([filled]), attention_mask=torch.tensor([mask])).last_hidden_state[0]
            mean, of_text = states.sum(0) / 32, states[: len(ids)].sum(0) / len(ids)
            torch.testing.assert_close(padded[name][row], mean, rtol=1e-4, atol=1e-5)
            torch.testing.assert_close(masked[name][row], of_text, rtol=1e-4, atol=1e-5)
            assert (mean - of_text).abs().max() > 1e-2
        assert len(padded[name]) == len(splits[name])


def test_the_switch_chooses_the_feature():
    study = RELEASED
    assert grid.pooling(study, "adap_ins_pos") == "padded_mean"
    assert grid.pooling(study_with(), "adap_ins_pos") == "masked_mean"
    cell = grid.Cell("tiny-t5", "full", "toy", "adap_ins_pos", 0)
    assert resolve.evaluation_job(study, cell).all("features")["toy"].name == "padded_mean"
    assert grid.features_config(study, "tiny-t5", "toy", "padded_mean")["width"] == study.scale.max_tokens


@pytest.mark.parametrize("name", ["selects", "selects_drawn", "released"])
@pytest.mark.parametrize("variant", ["adap_pos", "adap_ins_pos", "adap_ins_vec_pos"])
def test_the_reported_number_is_the_best_of_all_evaluations_on_the_reported_split(inside, name, variant):
    """Also where choices are drawn at evaluation: the draw of the best evaluation is the reported one."""
    protocol(inside, name)
    run = f"tiny-t5/full/toy/{variant}/seed0"
    main(["train", "--run", run, *SET])
    main(["evaluate", "--run", run, *SET])
    log = files.read_jsonl(inside / "results/train/tests" / run / "steps.jsonl")
    evaluations = [line["selection"] for line in log if "selection" in line]
    updates = sum("loss" in line for line in log)
    assert len(evaluations) == 8 and updates == (16 if (name, variant) == ("released", "adap_ins_vec_pos") else 8)
    best = min(evaluations, key=lambda found: (-found["accuracy"], found["loss"]))
    rows = files.read_jsonl(inside / "results/evaluate/tests" / run / "predictions.jsonl")
    splits, _ = tokens.load(inside / "results/tokenize/tests/tiny-t5/toy/tokens")
    assert [row["id"] for row in rows] == [row["id"] for row in splits["validation"].rows]
    right = sum(row["prediction"] == row["gold"] for row in rows) / len(rows)
    assert right == pytest.approx(best["accuracy"]) == max(found["accuracy"] for found in evaluations)
    loss = functional.cross_entropy(
        torch.tensor([row["scores"] for row in rows]), torch.tensor([r["gold"] for r in rows])
    )
    assert loss.item() == pytest.approx(best["loss"], rel=1e-4), "the very scores of that evaluation"
    assert len({found["loss"] for found in evaluations}) == 8, "evaluations must differ for this to show anything"
    metrics = json.loads((inside / "results/evaluate/tests" / run / "metrics.json").read_text())
    assert metrics["metrics"]["accuracy"]["value"] == pytest.approx(right)
    if name != "selects":
        assert len({row["split"] for row in rows}) > 1, "drawn splits vary"


def test_under_controlled_the_reported_rows_take_no_part_in_the_selection(inside):
    protocol(inside, "controlled")
    run = "tiny-t5/full/toy/adap_ins_pos/seed0"
    main(["train", "--run", run, *SET])
    record = files.read_json(inside / "results/train/tests" / run / "record.json")["made"]
    splits, _ = tokens.load(inside / "results/tokenize/tests/tiny-t5/toy/tokens")
    assert record["selection"]["rows"] == len(splits["selection"]) != len(splits["validation"])


def test_a_kept_split_counts_as_learned_and_padding_counts_the_padded_width():
    released, in_force = list(MEANING), protocols.in_force
    kept = {"position": {"learned_by": "adap_pos"}, "length": "fixed", "representation": "single"}
    assert in_force(released, [], kept) == in_force(released, [], kept | {"position": "task"})
    staged = kept | {"representation": "instance_pool"}
    assert "tanh_pool_scores" not in in_force(released, [], staged)
    assert padding_share([[0, 1]], [2, 6], lambda _: 10) == pytest.approx(12 / 20)
