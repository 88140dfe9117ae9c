"""fixed is prompt tuning: scores and prompt gradient equal peft's on the same weights, for every family."""

import pytest
import torch
from conftest import FAMILIES, ROOT, TINY, typed
from peft import PromptTuningConfig, TaskType, get_peft_model
from test_battery import LENGTH, config_of
from torch.nn import functional

from dp import paths
from dp.backbones.families import load, load_tokenizer
from dp.backbones.seq2seq import Seq2Seq
from dp.classifier.classifier import classifier
from dp.commands.cli import main
from dp.data.batches import collate
from dp.data.tokens import Split
from dp.prompts.choice import Moment
from dp.worlds import random_weights

TEXTS = [
    "A cat sleeps on the warm roof.\nQuestion: Does it follow that an animal sleeps? Yes or no?\nAnswer:",
    "Two boats left the harbour before dawn, and one came back.\nQuestion: Did both return?\nAnswer:",
    "Rain.\nQuestion: Is it dry?\nAnswer:",
]
REAL = {"smollm2-135m": ("causal", [" yes", " no"]), "t5-small-random": ("seq2seq", ["yes", "no"])}
TASK_TYPES = {"seq2seq": TaskType.SEQ_2_SEQ_LM, "encoder": TaskType.FEATURE_EXTRACTION,
              "masked": TaskType.FEATURE_EXTRACTION}  # fmt: skip


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
    encoded = [backbone.tokenizer(word, add_special_tokens=False)["input_ids"] for word in words]
    assert [len(pieces) for pieces in encoded] == [1, 1]
    count = len(TEXTS)
    split = Split(
        ids=[torch.tensor(backbone.tokenizer(text)["input_ids"]) for text in TEXTS],
        outputs=torch.tensor([[pieces[0] for pieces in encoded]] * count),
        tails=torch.full((count,), int(family == "seq2seq")),
        answers=[torch.tensor([], dtype=torch.long)] * count,
        rows=[{"id": str(n), "label": n % 2} for n in range(count)],
        tasks=torch.zeros(count, dtype=torch.long),
    )
    ours, theirs = compare(backbone, other.model, split, family, rows=range(count), length=20)
    agree(name, ours, theirs)


@pytest.mark.parametrize("family", FAMILIES)
def test_fixed_prefix_equals_peft_prompt_tuning(tiny, toy_split, family):
    ours, theirs = compare(tiny(family), tiny(family).model, toy_split(family), family)
    agree(family, ours, theirs)


def test_the_original_t5_scales_its_output_and_peft_agrees(tiny_folders, toy_split, tmp_path):
    """T5 v1.1 and the LM-adapted ones do not; a head read without the scale would score sqrt(H) times too high."""
    source = TINY["seq2seq"].source
    shape = {key: value for key, value in source.shape.items() if key != "tie_word_embeddings"}
    tokenizer = load_tokenizer(tiny_folders["seq2seq"])
    model = random_weights.model(Seq2Seq, source.model_copy(update={"shape": shape}), tokenizer)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    backbone = load(tmp_path, "seq2seq")
    assert backbone.scale == pytest.approx(32**-0.5)
    ours, theirs = compare(backbone, load(tmp_path, "seq2seq").model, toy_split("seq2seq"), "seq2seq")
    agree("original T5", ours, theirs)


def agree(name, ours, theirs):
    for key in ours:
        difference = ((ours[key] - theirs[key]).abs().max() / theirs[key].abs().max()).item()
        print(f"{name} {key}: max difference / max magnitude {difference:.2e}")
        assert difference < 1e-4


def compare(backbone, model, split, family, rows=(0, 3, 5, 6), length=LENGTH):
    """Scores and prompt gradient of one batch, ours and peft's, from the same initial vectors."""
    batch = collate(split, list(rows))
    config = config_of(family, "fixed")
    config["prompt"]["length"] = length
    mine = classifier(typed(config), backbone, [2], [], "cpu")
    scores, _ = mine(batch, Moment(0, 0, 0, batch.rows, training=True, draws=True))
    functional.cross_entropy(scores, batch.labels).backward()
    vectors = mine.prompt.representation.vectors
    ours = {"scores": scores.detach(), "gradient": vectors.grad}

    task_type = TASK_TYPES.get(family, TaskType.CAUSAL_LM)
    peft_config = PromptTuningConfig(task_type=task_type, num_virtual_tokens=length, num_transformer_submodules=1)
    tuned = get_peft_model(model.eval(), peft_config).eval()
    embedding = tuned.prompt_encoder["default"].embedding.weight
    with torch.no_grad():
        embedding.copy_(vectors)
    given = {"input_ids": batch.ids, "attention_mask": batch.mask}
    each, lengths = torch.arange(len(batch.rows)), batch.mask.sum(1)
    if family == "encoder":
        states = tuned(**given).last_hidden_state
        means = torch.stack([states[i, length : length + n].mean(0) for i, n in enumerate(lengths.tolist())])
        scored = means @ mine.head.weight.detach().T + mine.head.bias.detach()
    else:
        if family == "seq2seq":
            start = model.config.decoder_start_token_id
            sentinel = backbone.tokenizer.convert_tokens_to_ids("<extra_id_0>")
            decoder = torch.tensor([[start, sentinel]]).expand(len(each), -1)
            logits = tuned(**given, decoder_input_ids=decoder).logits[:, -1]
        else:  # at the last piece, or at the [MASK] in front of it
            logits = tuned(**given).logits[each, lengths + length - (2 if family == "masked" else 1)]
        scored = logits.gather(1, batch.outputs)
    functional.cross_entropy(scored, batch.labels).backward()
    return ours, {"scores": scored.detach(), "gradient": embedding.grad}
