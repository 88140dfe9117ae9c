"""fixed(P) is prompt tuning: logits and prompt gradient equal peft's on the same weights."""

import pytest
import torch
from conftest import FAMILIES, ROOT
from peft import PromptTuningConfig, TaskType, get_peft_model
from torch.nn import functional

from dp import paths
from dp.backbones import random_weights
from dp.backbones.load import load, load_tokenizer
from dp.classifier import classifier
from dp.cli import main
from dp.data import tokens
from dp.data.batches import collate
from dp.prompts.choice import Moment

LENGTH = 4

TEXTS = [
    "A cat sleeps on the warm roof.\nQuestion: Does it follow that an animal sleeps? Yes or no?\nAnswer:",
    "Two boats left the harbour before dawn, and one came back.\nQuestion: Did both return?\nAnswer:",
    "Rain.\nQuestion: Is it dry?\nAnswer:",
]
REAL = {"smollm2-135m": ("causal", [" yes", " no"]), "t5-small-random": ("seq2seq", ["yes", "no"])}


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.parametrize("name", REAL)
def test_fixed_prefix_equals_peft_on_full_size_backbones(name, tmp_path, monkeypatch):
    """SmolLM2's real weights, and T5 v1.1 Small's shape with its real tokenizer; P = 20."""
    family, words = REAL[name]
    for file in ("params.yaml", "workflow"):
        (tmp_path / file).symlink_to(ROOT / file)
    monkeypatch.chdir(tmp_path)
    main(["fetch-backbone", "--backbone", name])
    backbone, other = (load(paths.backbone(name), family) for _ in range(2))
    rows = [{"id": str(n), "label": n % 2} for n in range(len(TEXTS))]
    split = tokens.Split([torch.tensor(backbone.tokenizer(text)["input_ids"]) for text in TEXTS], rows)
    ids = [tokens.word_id(backbone.tokenizer, word) for word in words]
    ours, theirs = compare(backbone, other.model, split, ids, family, rows=range(len(TEXTS)), length=20)
    for key in ours:
        difference = ((ours[key] - theirs[key]).abs().max() / theirs[key].abs().max()).item()
        print(f"{name} {key}: max difference / max magnitude {difference:.2e}")
        assert difference < 1e-4


@pytest.mark.parametrize("family", FAMILIES)
def test_fixed_prefix_equals_peft_prompt_tuning(tiny, toy_split, family):
    split, words = toy_split(family)
    backbone = tiny(family)
    ours, theirs = compare(backbone, tiny(family).model, split, words, family)
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-4, atol=1e-6)


def test_the_original_t5_scales_its_output_and_peft_agrees(study, tiny_folders, toy_split, tmp_path):
    """T5 v1.1 and the LM-adapted ones do not; a head read without the scale would score sqrt(H) times too high."""
    source = study.params.backbones["tiny-t5"].source
    shape = {key: value for key, value in source.shape.items() if key != "tie_word_embeddings"}
    split, words = toy_split("seq2seq")
    tokenizer = load_tokenizer(tiny_folders["seq2seq"])
    model = random_weights.model(source.model_copy(update={"shape": shape}), tokenizer)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    backbone = load(tmp_path, "seq2seq")
    assert backbone.scale == pytest.approx(32**-0.5)
    ours, theirs = compare(backbone, load(tmp_path, "seq2seq").model, split, words, "seq2seq")
    for name in ours:
        torch.testing.assert_close(ours[name], theirs[name], rtol=1e-4, atol=1e-6)


def compare(backbone, model, split, words, family, rows=(0, 3, 5, 6), length=LENGTH):
    """Scores and prompt gradient of one batch, ours and peft's, from the same initial vectors."""
    batch = collate(split, list(rows))
    config = {
        "definition": {"position": "prefix"},
        "prompt": {"length": length, "init": {"kind": "vocabulary", "bound": 0.5}},
        "seed": 0,
    }
    mine = classifier(config, backbone, words, "cpu")
    scores, _ = mine(batch, Moment(0, 0, 0, 1.0, batch.rows))
    functional.cross_entropy(scores, batch.labels).backward()
    vectors = mine.prompt.representation.vectors
    ours = {"scores": scores.detach(), "gradient": vectors.grad}

    task_type = TaskType.SEQ_2_SEQ_LM if family == "seq2seq" else TaskType.CAUSAL_LM
    peft_config = PromptTuningConfig(task_type=task_type, num_virtual_tokens=length, num_transformer_submodules=1)
    tuned = get_peft_model(model.eval(), peft_config).eval()
    embedding = tuned.prompt_encoder["default"].embedding.weight
    with torch.no_grad():
        embedding.copy_(vectors)
    if family == "seq2seq":
        start = model.config.decoder_start_token_id
        sentinel = backbone.tokenizer.convert_tokens_to_ids("<extra_id_0>")
        decoder = torch.tensor([[start, sentinel]]).expand(len(rows), -1)
        logits = tuned(input_ids=batch.ids, attention_mask=batch.mask, decoder_input_ids=decoder).logits[:, -1]
    else:
        logits = tuned(input_ids=batch.ids, attention_mask=batch.mask).logits
        logits = logits[torch.arange(len(rows)), batch.mask.sum(1) + length - 1]
    functional.cross_entropy(logits[:, words], batch.labels).backward()
    return ours, {"scores": logits[:, words].detach(), "gradient": embedding.grad}
