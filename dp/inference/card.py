"""The model card of an adapter: what a stranger must know to score a text with it as this project does."""

from typing import NamedTuple

from dp import files, paths
from dp.backbones.families import FAMILIES
from dp.backbones.names import Family
from dp.inference.predictor import Predictor, root_of
from dp.tasks.model import template

READING: dict[Family, str] = {
    "causal": "the logits of the last position, behind the text's last piece",
    "seq2seq": "the logits of the decoder's second position: it reads its start token and `<extra_id_0>`, as in T5's "
    "pre-training",
    "encoder": "the logits at `[MASK]`, which stands behind the text, in front of the token that ends it",
}
SCORE: dict[Family, str] = {
    "causal": """\
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, -1]""",
    "seq2seq": """\
    ids = tokenizer(text, return_tensors="pt")["input_ids"]
    start = torch.tensor([[model.config.decoder_start_token_id, tokenizer.convert_tokens_to_ids("<extra_id_0>")]])
    logits = model(input_ids=ids, attention_mask=torch.ones_like(ids), decoder_input_ids=start).logits[0, -1]""",
    "encoder": """\
    ids = tokenizer(text)["input_ids"]
    ids = torch.tensor([[*ids[:-1], tokenizer.mask_token_id, ids[-1]]])
    logits = model(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0, -2]""",
}


class Base(NamedTuple):
    """name: the backbone's repository, if it came from one, or where the project has it. commit: of the repository."""

    name: str
    commit: str | None


def base_of(tuned: Predictor) -> Base:
    folder = paths.backbone(tuned.config.backbone)
    made = files.read_json(root_of(tuned.folder) / folder / "record.json")["made"]
    return Base(made.get("repo", folder.as_posix()), made.get("commit"))


def text(tuned: Predictor, rows: int, difference: float) -> str:
    """The card. rows, difference: of the check against the run."""
    config, task, family = tuned.config, tuned.task, tuned.config.family
    said = files.read_json(tuned.folder / "record.json")
    scored, base, auto = template(task, family), base_of(tuned), FAMILIES[family].auto.__name__
    words = dict(zip(task.label_names, scored.words, strict=True))
    fields = ", ".join(tuned.fields)
    run = tuned.folder.relative_to(root_of(tuned.folder)).as_posix()
    at = f"{base.name!r}, revision={base.commit!r}" if base.commit else repr(base.name)
    dtype = config.compute.dtype
    computed = "" if dtype == "float32" else f" The run computed in {dtype}; these scores are of float32."
    return f"""---
library_name: peft
base_model: {base.name}
---

# {config.variant} on {task.name}, {config.backbone}

{task.description} An adapter for the frozen backbone `{config.backbone}`, read by peft as any other.
Tuned by the run `{run}`
at commit `{said["with"]["commit"]}`;
the seal of its record is `{said["seal"]}`.

**The text.** A row has the fields {fields}, put into this template, spaces and all:

    {scored.text!r}

Of a text of more than {config.max_tokens} tokens, `{task.truncate}` is shortened.

**The answer** is read from {READING[family]}. The score of a label is the logit of its word, which is one piece:

    {words!r}

```python
import torch
from peft import PeftModel
from transformers import {auto}, AutoTokenizer

ADAPTER = "."
tokenizer = AutoTokenizer.from_pretrained({at})
model = PeftModel.from_pretrained({auto}.from_pretrained({at}), ADAPTER).eval()
words = {{label: tokenizer(word, add_special_tokens=False)["input_ids"][0] for label, word in {words!r}.items()}}


@torch.no_grad()
def scores(**fields):
    text = {scored.text!r}.format(**fields)
{SCORE[family]}
    return {{label: logits[word].item() for label, word in words.items()}}
```

On {rows} reported rows these scores and the run's own differ by at most {difference:.0e} of the largest.{computed}
"""
