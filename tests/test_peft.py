"""fixed(P) is prompt tuning: logits and prompt gradient equal peft's on the same weights."""

import pytest
import torch
from conftest import FAMILIES
from peft import PromptTuningConfig, TaskType, get_peft_model
from torch.nn import functional

from dp.classifier import classifier
from dp.prompts.choice import Moment
from dp.training.batches import collate

LENGTH = 4


@pytest.mark.parametrize("family", FAMILIES)
def test_fixed_prefix_equals_peft_prompt_tuning(tiny, toy_split, family):
    split, words = toy_split(family)
    backbone = tiny(family)
    ours, theirs = compare(backbone, tiny(family).model, split, words, family)
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
