"""Whether two runs of one job made the same: to the byte, or within a tolerance."""

from pathlib import Path
from typing import Any

from dp import files
from dp.jobs.stale import brief

TIMED = frozenset(("seconds", "step_seconds", "tokens_per_second", "examples_per_second"))
"""Keys that say how long something took: other each time."""


def different_file(old: Path, new: Path, tolerance: float = 0.0) -> str | None:
    """The first difference between two files that a job wrote; None where there is none.

    tolerance: of every number, relative where it is over 1, and in a tensor to its largest; at 0 all bytes count but
    those of times.
    """
    if files.sha256(old) == files.sha256(new):
        return None
    match old.suffix:
        case ".safetensors":
            return _different_tensors(old, new, tolerance)
        case ".json":
            return different(files.read_json(old), files.read_json(new), tolerance) or _bytes(tolerance)
        case ".jsonl":
            lines = list(files.read_jsonl(old)), list(files.read_jsonl(new))
            timed = any(TIMED & line.keys() for line in lines[0])
            return different(*lines, tolerance) or (None if timed else _bytes(tolerance))
    return "its bytes differ"


def different(old: Any, new: Any, tolerance: float = 0.0, where: str = "") -> str | None:
    """The first difference between two JSON values, but for times; None where there is none."""
    if isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys((*old, *new)):
            if key in TIMED:
                continue
            at = f"{where}.{key}" if where else str(key)
            if key not in old or key not in new:
                return f"{at} is {'new' if key in new else 'gone'}"
            if why := different(old[key], new[key], tolerance, at):
                return why
        return None
    if isinstance(old, list) and isinstance(new, list):
        for number, pair in enumerate(zip(old, new, strict=False)):
            if why := different(*pair, tolerance, f"{where}[{number}]"):
                return why
        return None if len(old) == len(new) else f"{where} has {len(new)} entries, had {len(old)}".strip()
    if isinstance(old, float) and isinstance(new, float) and abs(old - new) <= tolerance * max(1.0, abs(old)):
        return None
    return None if type(old) is type(new) and old == new else f"{where} was {brief(old)}, is {brief(new)}"


def _different_tensors(old_path: Path, new_path: Path, tolerance: float) -> str | None:
    from safetensors.torch import load_file  # imports torch

    old, new = load_file(old_path), load_file(new_path)
    if old.keys() != new.keys():
        return f"the tensors {sorted(old.keys() ^ new.keys())} are in one of the two alone"
    for name in sorted(old):
        before, after = old[name], new[name]
        if (before.shape, before.dtype) != (after.shape, after.dtype):
            return f"{name} was {before.dtype}{list(before.shape)}, is {after.dtype}{list(after.shape)}"
        largest = before.double().abs().max() if before.numel() else 0.0
        near = (after.double() - before.double()).abs() <= tolerance * largest
        if len(places := (~near).nonzero()):  # what is no number is near nothing
            at = tuple(places[0].tolist())
            return f"{name}{list(at)} was {before[at].item():.9g}, is {after[at].item():.9g}"
    return _bytes(tolerance)


def _bytes(tolerance: float) -> str | None:
    """What differs beside the values."""
    return None if tolerance else "its values are the same, its bytes are not"
