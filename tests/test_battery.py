"""One battery for every variant x family (design section 12): a new variant of params.yaml inherits it."""

import copy

import pytest
import torch
from conftest import FAMILIES, ROOT, TINY, typed
from safetensors.torch import load_file, save_file
from torch.nn import functional

from dp.classifier.classifier import classifier
from dp.classifier.scoring import score
from dp.data.batches import collate
from dp.numerics import seeds
from dp.numerics.sequence import Sequence, masked_mean
from dp.prompts.choice import Moment
from dp.study import grid
from dp.study.study import Study, load
from dp.study.variants import Control, Prompted
from dp.training.loop import Rows, train
from dp.training.state import load_tuned

SMOKE = load(ROOT, {"scale": "smoke"})
LENGTH = 4
VARIANTS = [
    name for name, variant in SMOKE.params.variants.items()
    if grid.is_trained(SMOKE, name) and not isinstance(variant, Control) and not variant.switches
    and not (isinstance(variant, Prompted) and isinstance(variant.position, int) and variant.position > LENGTH)
]  # fmt: skip
PROMPTED = [name for name in VARIANTS if isinstance(SMOKE.params.variants[name], Prompted)]
pytestmark = pytest.mark.parametrize("family", FAMILIES)
each_variant = pytest.mark.parametrize("variant", VARIANTS)


def study_with(**changes) -> Study:
    """The smoke scale over all tiny backbones, short prompts, with changes to the scale."""
    small = {"length": LENGTH, "pool": 3, "bottleneck": 6}
    scale = SMOKE.scale.model_dump() | {"backbones": list(TINY), "variants": VARIANTS, "prompt": small}
    scale["baselines"] = {"p_tuning_v2": {"length": 3, "init_std": 0.1}, "lora": {"rank": 2}}
    params = SMOKE.params.model_copy(update={"backbones": SMOKE.params.backbones | TINY})
    return Study(params=params, scale_name="smoke", scale=scale | changes)


STUDY = study_with()


def config_of(family, variant, seed=0, study=STUDY, **training):
    config = copy.deepcopy(grid.run_config(study, grid.Cell(family, "full", "toy", variant, seed)))
    config["training"] |= training
    return config


def features_of(backbone, split):
    batch = collate(split, list(range(len(split))))
    with torch.no_grad():
        states = backbone.hidden(Sequence(backbone.embed(batch.ids), batch.mask, batch.mask))
    return masked_mean(states, batch.mask)


@pytest.fixture
def trained(tiny, toy_split, tmp_path):
    """Train a variant for eight steps; (classifier, config, split, features, what came out)."""

    def make(family, variant, seed=0, name="run"):
        backbone, split = tiny(family), toy_split(family)
        config = config_of(family, variant, seed)
        rows = Rows(split, features_of(backbone, split))
        model = classifier(typed(config), backbone, [2], [], "cpu")
        model.fit_features(rows.features)
        for name, value in model.kept().items():
            if not value.requires_grad and "standard" not in name:  # a choice that another run would have learned
                torch.nn.init.normal_(value, generator=seeds.generator(1, name))
        made = train(model, rows, [rows], typed(config), tmp_path / name, "identity")
        return model, config, split, rows.features, made

    return make


@pytest.mark.parametrize("variant", PROMPTED)
def test_shapes_masks_and_ranges(tiny, toy_split, family, variant):
    backbone, split = tiny(family), toy_split(family)
    config = config_of(family, variant)
    model = classifier(typed(config), backbone, [2], [], "cpu")
    length = config["prompt"]["length"]
    batch = collate(split, [0, 3, 5, 6], features_of(backbone, split))
    embeds = backbone.embed(batch.ids)
    for training in (False, True):
        moment = Moment(0, 3, 0, batch.rows, training, draws=training)
        arguments = (embeds, batch.mask, batch.tails, batch.features, batch.tasks, moment)
        sequence, choices = model.prompt(*arguments)
        assert sequence.embeds.shape == (4, embeds.shape[1] + length, embeds.shape[2])
        assert sequence.present.sum(1).tolist() == (batch.mask.sum(1) + length).tolist()
        assert sequence.text.sum(1).tolist() == batch.mask.sum(1).tolist()
        used = length if choices.length is None else choices.length
        assert sequence.visible.sum(1).tolist() == (batch.mask.sum(1) + used).tolist()
        assert choices.split.shape == (4,)
        assert choices.split.min() >= 0 and choices.split.max() <= length
        if choices.pool is not None:
            assert choices.pool.shape == (4, config["prompt"]["pool"])
        scores, _ = model(batch, moment)
        assert scores.shape == (4, 2) and scores.dtype == torch.float32


@each_variant
def test_only_the_tuned_parameters_move(trained, tiny, tiny_folders, family, variant):
    model, config, _, features, _ = trained(family, variant)
    before = classifier(typed(config), tiny(family), [2], [], "cpu")
    checkpoint = load_file(tiny_folders[family] / "model.safetensors")
    compared = 0
    for name, value in model.backbone.model.state_dict().items():
        plain = name.replace(".base_layer", "")
        stored = checkpoint.get(plain, checkpoint.get(f"bert.{plain}"))
        if stored is not None and variant != "finetune":
            assert torch.equal(value, stored), name
            compared += 1
    assert variant == "finetune" or compared >= 20
    own = {name: value for name, value in model.trained().items() if not name.startswith("backbone.")}
    moved = {name: not torch.equal(value, before.kept()[name]) for name, value in own.items()}
    assert all(moved.values()), moved
    statistics = {
        "prompt.standard.mean": features.mean(0),
        "prompt.standard.scale": features.std(0, correction=0) * features.shape[1] ** 0.5,
    }
    assert not statistics.keys() & model.trained().keys()
    for name in model.kept().keys() - model.trained().keys():
        if name in statistics:
            torch.testing.assert_close(model.kept()[name], statistics[name])
            continue
        unmoved = torch.nn.init.normal_(torch.empty_like(model.kept()[name]), generator=seeds.generator(1, name))
        assert torch.equal(model.kept()[name], unmoved), name


@each_variant
def test_padding_and_batch_change_nothing(trained, family, variant):
    model, config, split, features, _ = trained(family, variant)
    together, choices = score(model, split, features, typed(config | {"evaluation_batch_size": 24}), 8)
    alone, alone_choices = score(model, split, features, typed(config | {"evaluation_batch_size": 1}), 8)
    padded, _ = score(model, split, features, typed(config | {"switches": ["padded_inputs"], "max_tokens": 40}), 8)
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(together, padded, rtol=1e-4, atol=1e-5)
    for one, other in zip(choices or (), alone_choices or (), strict=True):
        assert (one is None) == (other is None)
        if one is not None:
            torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-5)


@each_variant
def test_save_and_load_give_equal_scores(trained, tiny, family, variant, tmp_path):
    model, config, split, features, made = trained(family, variant)
    save_file(made["tensors"], tmp_path / "tuned.safetensors")
    loaded = load_file(tmp_path / "tuned.safetensors")
    assert sum(loaded[name].numel() for name in model.trained()) == made["trainable_parameters"]
    other = classifier(typed(config), tiny(family), [2], [], "cpu")
    for target in (model, other):
        load_tuned(target.kept(), tmp_path / "tuned.safetensors")
    again, _ = score(other, split, features, typed(config), 8)
    assert torch.equal(score(model, split, features, typed(config), 8)[0], again)


@each_variant
def test_same_seed_same_bytes_and_seed_zero_is_a_seed(trained, family, variant):
    first, again, other = (trained(family, variant, seed, name)[4]["tensors"]
                           for seed, name in ((0, "a"), (0, "b"), (1, "c")))  # fmt: skip
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_finetuning_moves_the_backbone_and_zero_shot_is_the_bare_model(trained, tiny, toy_split, family):
    before = tiny(family).model.state_dict()
    model, _, _, _, made = trained(family, "finetune")
    assert not made["backbone_frozen"]
    own = sum(p.numel() for p in model.backbone.model.parameters())
    assert made["trainable_parameters"] == own + (sum(p.numel() for p in model.head.parameters()) if model.head else 0)
    assert any(not torch.equal(value, before[name]) for name, value in model.backbone.model.state_dict().items())
    if family == "encoder":
        return
    backbone, split = tiny(family), toy_split(family)
    config = config_of(family, "fixed") | {"definition": {"baseline": "zero_shot"}, "prompt": None}
    scores, choices = score(classifier(typed(config), backbone, [2], [], "cpu"), split, None, typed(config), 0)
    assert choices is None
    ids, words = split.ids[0][None], split.outputs[0]
    with torch.no_grad():
        if family == "causal":
            expected = backbone.model(input_ids=ids).logits[0, -1, words]
        elif family == "masked":
            expected = backbone.model(input_ids=ids).logits[0, -2, words]
        else:
            decoder = torch.tensor([[0, backbone.tokenizer.convert_tokens_to_ids("<extra_id_0>")]])
            expected = backbone.model(input_ids=ids, decoder_input_ids=decoder).logits[0, -1, words]
    torch.testing.assert_close(scores[0], expected, rtol=1e-5, atol=1e-6)


def test_a_batch_size_of_several_micro_batches_gives_the_same_gradient(tiny, toy_split, family):
    backbone, split = tiny(family), toy_split(family)

    def gradient(parts):
        model = classifier(typed(config_of(family, "fixed")), backbone, [2], [], "cpu")
        for rows in parts:
            batch = collate(split, rows)
            scores, _ = model(batch, Moment(0, 0, 0, batch.rows, training=True, draws=True))
            (functional.cross_entropy(scores, batch.labels, reduction="sum") / 8).backward()
        return model.prompt.representation.vectors.grad

    whole, halves = gradient([list(range(8))]), gradient([[0, 1, 2, 3], [4, 5, 6, 7]])
    torch.testing.assert_close(whole, halves, rtol=1e-4, atol=1e-7)
