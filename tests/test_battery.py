"""One battery for every variant x family (design section 12): a new variant of params.yaml inherits it."""

import copy

import pytest
import torch
from conftest import FAMILIES, ROOT
from safetensors.torch import load_file, save_file
from torch.nn import functional

from dp import grid
from dp.backbones.load import masked_mean
from dp.classifier import classifier
from dp.data.batches import collate
from dp.evaluation.predict import score
from dp.params import Prompted, load
from dp.prompts.choice import Moment
from dp.training.loop import train
from dp.training.state import load_tuned, trainable

STUDY = load(ROOT, {"scale": "smoke"})
LENGTH = STUDY.scale.prompt.length
VARIANTS = [
    name for name, variant in STUDY.params.variants.items()
    if isinstance(variant, Prompted) and not (isinstance(variant.position, int) and variant.position > LENGTH)
]  # fmt: skip
pytestmark = pytest.mark.parametrize("family", FAMILIES)
each_variant = pytest.mark.parametrize("variant", VARIANTS)


def config_of(family, variant, seed=0, **training):
    name = {"seq2seq": "tiny-t5", "causal": "tiny-llama"}[family]
    config = copy.deepcopy(grid.run_config(STUDY, grid.Cell(name, "full", "toy", variant, seed)))
    config["definition"] = STUDY.params.variants[variant].model_dump()
    config["training"] |= training
    return config


def features_of(backbone, split):
    batch = collate(split, list(range(len(split))))
    with torch.no_grad():
        return masked_mean(backbone.hidden(backbone.embed(batch.ids), batch.mask), batch.mask)


@pytest.fixture
def trained(tiny, toy_split, tmp_path):
    """Train a variant for eight steps; (classifier, config, split, features, tensors)."""

    def make(family, variant, seed=0, name="run"):
        backbone = tiny(family)
        split, words = toy_split(family)
        config = config_of(family, variant, seed)
        features = features_of(backbone, split)
        model = classifier(config, backbone, words, "cpu")
        both = {"train": features, "selection": features}
        made = train(model, split, split, both, config, tmp_path / name, "identity")
        return model, config, split, features, made

    return make


@each_variant
def test_shapes_masks_and_split_range(tiny, toy_split, family, variant):
    backbone = tiny(family)
    split, words = toy_split(family)
    model = classifier(config_of(family, variant), backbone, words, "cpu")
    batch = collate(split, [0, 3, 5, 6], features_of(backbone, split))
    embeds = backbone.embed(batch.ids)
    for step in (None, 3):
        moment = Moment(0, step, 0, 1.0, batch.rows)
        composed, chosen = model.prompt(embeds, batch.mask, backbone.tail, batch.features, moment)
        assert composed.embeds.shape == (4, embeds.shape[1] + LENGTH, embeds.shape[2])
        assert composed.mask.sum(1).tolist() == (batch.mask.sum(1) + LENGTH).tolist()
        assert chosen.candidate.shape == (4,)
        assert chosen.candidate.min() >= 0 and chosen.candidate.max() <= LENGTH
        scores, _ = model(batch, moment)
        assert scores.shape == (4, len(words)) and scores.dtype == torch.float32


@each_variant
def test_only_the_tuned_parameters_move(trained, tiny_folders, family, variant):
    model, *_ = trained(family, variant)
    checkpoint = load_file(tiny_folders[family] / "model.safetensors")
    for name, value in model.backbone.model.state_dict().items():
        if name in checkpoint:
            assert torch.equal(value, checkpoint[name]), name
    fresh = classifier(config_of(family, variant), model.backbone, model.words.tolist(), "cpu")
    moved = {n: not torch.equal(p, fresh.tuned.get_parameter(n)) for n, p in trainable(model.tuned).items()}
    assert all(moved.values()), moved


@each_variant
def test_padding_and_batch_change_nothing(trained, family, variant):
    model, config, split, features, _ = trained(family, variant)
    together, chosen = score(model, split, features, config | {"evaluation_batch_size": 24})
    alone, chosen_alone = score(model, split, features, config | {"evaluation_batch_size": 1})
    torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    assert torch.equal(chosen, chosen_alone)


@each_variant
def test_save_and_load_give_equal_scores(trained, tiny, family, variant, tmp_path):
    model, config, split, features, made = trained(family, variant)
    save_file(made["tensors"], tmp_path / "tuned.safetensors")
    loaded = load_file(tmp_path / "tuned.safetensors")
    assert sum(value.numel() for value in loaded.values()) == made["trainable_parameters"]
    for target in (model, classifier(config, tiny(family), model.words.tolist(), "cpu")):
        load_tuned(target.tuned, tmp_path / "tuned.safetensors")
    again, _ = score(target, split, features, config)
    assert torch.equal(score(model, split, features, config)[0], again)


@each_variant
def test_same_seed_same_bytes_and_seed_zero_is_a_seed(trained, family, variant):
    first, again, other = (trained(family, variant, seed, name)[4]["tensors"]
                           for seed, name in ((0, "a"), (0, "b"), (1, "c")))  # fmt: skip
    assert all(torch.equal(first[name], again[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def test_finetuning_moves_the_backbone_and_zero_shot_is_the_bare_model(tiny, toy_split, tmp_path, family):
    split, words = toy_split(family)
    none = {"train": None, "selection": None}
    before = tiny(family).model.state_dict()
    config = config_of(family, "finetune")
    config["definition"] = {"baseline": "finetune"}
    model = classifier(config, tiny(family), words, "cpu")
    made = train(model, split, split, none, config, tmp_path / "run", "identity")
    assert not made["backbone_frozen"]
    assert made["trainable_parameters"] == sum(p.numel() for p in model.backbone.model.parameters())
    assert any(not torch.equal(value, before[name]) for name, value in model.backbone.model.state_dict().items())

    config["definition"] = {"baseline": "zero_shot"}
    backbone = tiny(family)
    scores, chosen = score(classifier(config, backbone, words, "cpu"), split, None, config)
    assert chosen is None
    ids = split.ids[0][None]
    with torch.no_grad():
        if family == "causal":
            expected = backbone.model(input_ids=ids).logits[0, -1, words]
        else:
            decoder = torch.tensor([[0, backbone.tokenizer.convert_tokens_to_ids("<extra_id_0>")]])
            expected = backbone.model(input_ids=ids, decoder_input_ids=decoder).logits[0, -1, words]
    torch.testing.assert_close(scores[0], expected, rtol=1e-5, atol=1e-6)


def test_a_batch_size_of_several_micro_batches_gives_the_same_gradient(tiny, toy_split, family):
    backbone = tiny(family)
    split, words = toy_split(family)

    def gradient(parts):
        model = classifier(config_of(family, "fixed"), backbone, words, "cpu")
        for rows in parts:
            batch = collate(split, rows)
            scores, _ = model(batch, Moment(0, 0, 0, 1.0, batch.rows))
            (functional.cross_entropy(scores, batch.labels, reduction="sum") / 8).backward()
        return model.prompt.representation.vectors.grad

    whole, halves = gradient([list(range(8))]), gradient([[0, 1, 2, 3], [4, 5, 6, 7]])
    torch.testing.assert_close(whole, halves, rtol=1e-4, atol=1e-7)
