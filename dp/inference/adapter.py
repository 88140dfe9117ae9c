"""What was tuned, as an adapter of the library peft: for a fixed prompt, a causal model's prefix, and LoRA."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from dp import files, paths
from dp.backbones.families import FAMILIES, OFFLINE
from dp.backbones.names import Family
from dp.classifier.classifier_config import Lora
from dp.data.tokens import Split
from dp.errors import UserError
from dp.inference import card
from dp.inference.predictor import Predictor, root_of
from dp.prompts.choice import Moment
from dp.prompts.prompt_config import LayerPrefix
from dp.tasks.model import template

CHECKED = 32
"""Rows of the reported split on which the adapter's scores are held against the run's."""
CLOSE = 1e-4
"""Largest difference of two scores, over the largest score, that rounding explains."""
TASK_TYPES: dict[Family, str] = {"seq2seq": "SEQ_2_SEQ_LM", "causal": "CAUSAL_LM", "encoder": "FEATURE_EXTRACTION"}


class Check(NamedTuple):
    """rows: how many were scored by both. difference: the largest of a score, over the largest score."""

    rows: int
    difference: float


def export(run: Path, out: Path, task: str | None = None) -> Check:
    """Write a training's adapter and its model card into a new folder.

    Raises UserError for a variant that peft cannot hold, for a folder that holds something already, and, with nothing
    written, where peft's scores of the run's own reported rows are others than ours.
    """
    if out.exists() and (not out.is_dir() or any(out.iterdir())):
        raise UserError(f"--out: {out} is there already. Name a folder that is not, or remove it.")
    if below := next((parent for parent in out.parents if parent.exists() and not parent.is_dir()), None):
        raise UserError(f"--out: {below} is no folder. Name another.")
    tuned = Predictor.load(run, task, "cpu", "float32")
    _refuse(tuned)
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.", suffix=".part") as beside:
        folder = Path(beside) / out.name
        adapted = _adapted(tuned)
        adapted.save_pretrained(folder, safe_serialization=True)
        _name_base(folder, tuned)
        check = _check(tuned, folder)
        if not check.difference < CLOSE:
            raise UserError(f"peft's scores differ from the run's by {check.difference:.1e} of the largest score on "
                            f"{check.rows} rows, so nothing was written. This is a fault of this project.")  # fmt: skip
        files.write_text(folder / "README.md", card.text(tuned, *check))
        for path in folder.iterdir():
            path.chmod((folder / "README.md").stat().st_mode)
        if out.exists():
            out.rmdir()
        folder.rename(out)
    return check


def _refuse(tuned: Predictor) -> None:
    """Raises UserError where peft has nothing that would do the same."""
    config, definition = tuned.config, tuned.config.definition
    prompt = tuned.model.prompt
    why = None
    if config.head != "verbalizer":
        why = "reads its classes from a linear head on the backbone's mean state, which no adapter of peft has"
    elif template(tuned.task, config.family).has_choices:
        why = "has label words that differ from row to row, which no card can state"
    elif "padded_inputs" in config.switches or "truncate_as_released" in config.switches:
        why = "reads inputs that are padded or cut as the released code does, which peft does not"
    elif prompt is None and not isinstance(config.baseline, LayerPrefix | Lora):
        why = f"is {definition.baseline or 'no prompt'}, which is no adapter"
    elif isinstance(config.baseline, LayerPrefix) and config.family != "causal":
        why = "has a prefix in every layer, which peft puts elsewhere in this family: in an encoder-decoder's decoder"
    elif prompt is not None and (prompt.length or prompt.position.policy or definition.position != "prefix"):
        why = "places its vectors by a choice, or not all in front of the text; peft's prompts stand in front"
    elif prompt is not None and definition.representation in ("instance_pool", "mixture"):
        why = "has vectors that differ from row to row, and peft's are the same for all"
    if why:
        raise UserError(f"{config.variant} {why}, so it cannot be expressed there. `python -m dp predict` applies it.")


def _adapted(tuned: Predictor) -> Any:
    """peft's model of the same backbone with what was tuned."""
    from peft import LoraConfig, PrefixTuningConfig, PromptTuningConfig, get_peft_model

    config = tuned.config
    kept: dict[str, Tensor] = dict(tuned.model.kept())
    common: dict[str, Any] = {"task_type": TASK_TYPES[config.family]}
    match config.baseline:
        case Lora(rank=rank, alpha=alpha, dropout=dropout):
            targets = list(FAMILIES[config.family].projections)
            scaled: dict[str, Any] = {"r": rank, "lora_alpha": alpha, "lora_dropout": dropout}
            adapted: Any = get_peft_model(_base(tuned), LoraConfig(**common, **scaled, target_modules=targets))
            own = dict(adapted.named_parameters())
            pairs = {f"base_model.model.{name.removeprefix('backbone.')}": value for name, value in kept.items()}
        case LayerPrefix(length=length):
            adapted = get_peft_model(_base(tuned), PrefixTuningConfig(**common, num_virtual_tokens=length))
            own = {"": adapted.prompt_encoder["default"].embedding.weight}
            pairs = {"": kept["prefix.vectors"].permute(3, 0, 1, 2, 4).flatten(1)}  # [P, 2 layers heads dim]
        case _:
            vectors = _vectors(tuned)
            settings = PromptTuningConfig(**common, num_virtual_tokens=len(vectors), num_transformer_submodules=1)
            adapted = get_peft_model(_base(tuned), settings)
            own, pairs = {"": adapted.prompt_encoder["default"].embedding.weight}, {"": vectors}
    with torch.no_grad():
        for name, value in pairs.items():
            own[name].copy_(value)
    return adapted


@torch.no_grad()
def _vectors(tuned: Predictor) -> Tensor:
    """[P, H]: the prompt of the run's task, computed where it has a network or a pool."""
    assert tuned.model.prompt is not None
    task = torch.tensor([tuned.number])
    moment = Moment(tuned.config.seed, 0, 0, torch.zeros(1, dtype=torch.long), training=False, draws=False)
    mean = torch.zeros(1, tuned.model.backbone.hidden_size)
    vectors: Tensor = tuned.model.prompt.representation(None, task, mean, moment).vectors
    return vectors[0]


def _base(tuned: Predictor) -> Any:
    """The backbone as transformers reads it."""
    folder = root_of(tuned.folder) / paths.backbone(tuned.config.backbone)
    return FAMILIES[tuned.config.family].pretrained(folder, tuned.config.backbone_head, **OFFLINE).eval()


def _name_base(folder: Path, tuned: Predictor) -> None:
    """The backbone's name in the adapter's configuration: its repository and commit, or where the project has it."""
    path, base = folder / "adapter_config.json", card.base_of(tuned)
    named = {"base_model_name_or_path": base.name, "revision": base.commit}
    files.write_json(path, files.read_json(path) | named)


def _check(tuned: Predictor, folder: Path) -> Check:
    from peft import PeftModel

    model = PeftModel.from_pretrained(_base(tuned), folder, **OFFLINE).eval()
    reported = root_of(tuned.folder) / paths.task_rows(tuned.task.name, tuned.source) / "validation.jsonl"
    if not reported.is_file():
        get = f"python -m dp fetch-task --task {tuned.task.name}"
        raise UserError(f"{reported}: is not here, and peft's scores are held against the run's on its rows. {get}")
    rows = [row["fields"] for row in files.read_jsonl(reported)[:CHECKED]]
    split, _ = tuned.encoded(rows)
    ours, _ = tuned.scores(split, 1)
    theirs = torch.stack([_scores(tuned, model, split, row) for row in range(len(rows))])
    return Check(len(rows), ((ours - theirs).abs().max() / ours.abs().max()).item())


@torch.no_grad()
def _scores(tuned: Predictor, model: Any, split: Split, row: int) -> Tensor:
    """[C], by peft."""
    ids, outputs = split.ids[row][None], split.outputs[row]
    given: dict[str, Tensor] = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    place: Callable[[Tensor], Tensor] = lambda logits: logits[0, -1]  # noqa: E731
    if tuned.config.family == "seq2seq":
        start = tuned.model.backbone.decoder_ids  # type: ignore[attr-defined]
        given["decoder_input_ids"] = torch.cat([start, split.answers[row][None]], dim=1)
    if tuned.config.family == "encoder":
        place = lambda logits: logits[0, -2]  # noqa: E731  # [MASK], in front of what ends a text
    return place(model(**given).logits)[outputs]
