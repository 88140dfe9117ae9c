"""One task rendered and tokenized for one backbone, and its three splits fixed."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from dp import files
from dp.backbones.families import load_tokenizer
from dp.closed import Configuration
from dp.data import splits, tokens
from dp.data.choices import answering
from dp.data.encoding import DoesNotFit, encode, gather
from dp.data.limits import RowLimits
from dp.errors import UserError
from dp.tasks.model import Family, Task, released_spans, render

T = TypeVar("T")
Rows = list[dict[str, Any]]


class Checks(NamedTuple):
    """What a scale demands of the splits: each raises UserError. They change nothing."""

    rows: Callable[[dict[str, Rows], Rows], None]  # chosen rows by split, and the official train split
    longest: Callable[[int], None]  # tokens of the longest input


class TokensConfig(Configuration):
    family: Family
    head: str
    rows: RowLimits
    max_tokens: int
    truncate_as_released: bool = False


def tokenize(
    config: TokensConfig, task: Task, rows: Path, backbone: Path, folder: Path, checks: Checks | None = None
) -> dict[str, Any]:
    """Write tokens.safetensors and rows.json, and return their facts.

    Raises UserError where a row cannot be encoded, and what `checks` raise.
    """
    family, head, limits = config.family, config.head, config.rows
    tokenizer = load_tokenizer(backbone)
    official, reported = files.read_jsonl(rows / "train.jsonl"), files.read_jsonl(rows / "validation.jsonl")
    train, selection = splits.carve(official, limits.selection_fraction, limits.seed)
    everything = list(range(len(reported)))
    chosen = {
        "train": _take(official, train, limits.train, limits.seed, "train rows"),
        "selection": _take(official, selection, limits.selection, limits.seed, "selection rows"),
        "validation": _take(reported, everything, limits.report, limits.seed, "report rows"),
    }
    if checks:
        checks.rows(chosen, official)
    truncate = partial(released_spans, task, family) if config.truncate_as_released else task.truncate
    encoded, truncated = {}, {}
    try:
        answer_of = answering(tokenizer, task, family, head)

        def encoding(row: dict[str, Any]) -> tuple[Any, bool]:
            text_of, longest = partial(render, task, family), config.max_tokens
            return encode(tokenizer, family, head, text_of, answer_of(row), row, truncate, longest)

        for name, split in chosen.items():
            pairs = _fitting(name, split, encoding)
            truncated[name] = sum(cut for _, cut in pairs)
            kept = [{key: row[key] for key in ("id", "label", "group", "cluster")} for row in split]
            encoded[name] = gather([example for example, _ in pairs], kept)
    except UserError as error:
        raise UserError(f"dp/tasks/{task.name}.yaml, templates.{family}: {error}") from None
    if checks:
        checks.longest(max(len(ids) for split in encoded.values() for ids in split.ids))
    available = {"train": len(train), "selection": len(selection), "validation": len(reported)}
    labels = list(task.labels)
    if any(len(split) < available[name] for name, split in chosen.items() if name != "selection"):
        labels.append("subset")
    facts = {"task": task.name, "classes": len(task.label_names), "label_names": task.label_names,
             "metrics": task.metrics, "labels": sorted(labels)}  # fmt: skip
    tokens.save(folder, encoded, facts)
    return {
        "rows": {name: len(split) for name, split in chosen.items()},
        "available": available,
        "truncated": truncated,
        "label_counts": {name: splits.label_counts(split, len(task.label_names)) for name, split in chosen.items()},
        "tokens": {name: int(sum(len(ids) for ids in split.ids)) for name, split in encoded.items()},
        "selection_split": f"{limits.selection_fraction:g} of train, carved with seed {limits.seed}",
        "labels": facts["labels"],
    }


def _fitting(split: str, rows: list[dict[str, Any]], encoded: Callable[[dict[str, Any]], T]) -> list[T]:
    """Every row encoded. Raises UserError that says how many do not fit, and what the longest of them needs."""
    found, misfits = [], []
    for row in rows:
        try:
            found.append(encoded(row))
        except DoesNotFit as misfit:
            misfits.append(misfit)
    if misfits:
        longest = max(misfits, key=lambda misfit: misfit.needed)
        raise UserError(f"{split}: {len(misfits)} of {len(rows)} rows do not fit into max_tokens; at worst {longest}")
    return found


def _take(
    rows: list[dict[str, Any]], numbers: list[int], count: int | None, seed: int, purpose: str
) -> list[dict[str, Any]]:
    pool = [rows[i] for i in numbers]
    return [pool[i] for i in splits.draw(pool, count, seed, purpose)]
