"""A run's resumable state: one safetensors file, replaced atomically, and the step log up to it."""

import hashlib
import json
import math
import os
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file
from torch import Tensor, nn

from dp import files
from dp.errors import UserError
from dp.numerics import tensors as tensor_files
from dp.numerics.finite import check_finite


class Best(NamedTuple):
    """The best evaluation on the selection rows so far."""

    step: int
    accuracy: float
    loss: float
    tensors: dict[str, Tensor]


class State:
    """`<run>/state/`: state.safetensors and steps.jsonl, removed when the run is complete.

    `identity` is the digest of configuration, inputs and code; a state of another identity is never resumed.
    """

    def __init__(self, run: Path, identity: str, spare: bool = False) -> None:
        """spare: keep the state before the last one too."""
        self.folder, self.identity, self.spare = run / "state", identity, spare
        self.file, self.log_file = self.folder / "state.safetensors", self.folder / "steps.jsonl"
        self.spare_file, self.end_file = self.folder / "before.safetensors", self.folder / "ended.safetensors"

    def save(
        self, step: int, trained: dict[str, nn.Parameter], optimizers: list[torch.optim.Optimizer], best: Best | None
    ) -> None:
        """`step` updates are done."""
        numbers: dict[str, Any] = {}
        tensors = {f"tuned.{name}": value.detach().cpu().contiguous() for name, value in trained.items()}
        for first, optimizer in _numbered(optimizers):
            for index, slots in optimizer.state_dict()["state"].items():
                for key, value in slots.items():
                    if isinstance(value, Tensor):
                        tensors[f"optimizer.{first + index}.{key}"] = value.detach().cpu().contiguous()
                    else:
                        numbers[f"{first + index}.{key}"] = value
        facts: dict[str, Any] = {"identity": self.identity, "step": step, "optimizer": numbers, "best": None}
        if best:
            tensors |= {f"best.{name}": value for name, value in best.tensors.items()}
            facts["best"] = {key: value for key, value in best._asdict().items() if key != "tensors"}
        with self.log_file.open("ab") as log:
            os.fsync(log.fileno())
            facts["log_bytes"] = log.tell()
        text = json.dumps(facts)
        digest = self._digest(text, facts["log_bytes"], sorted(tensors.items()))
        if self.spare and self.file.exists():
            self.file.replace(self.spare_file)
        tensor_files.save(tensors, self.file, {"state": text, "sha256": digest})

    def _digest(self, facts: str, log_bytes: int, tensors: Iterable[tuple[str, Tensor]]) -> str:
        """sha256 of all that a run resumes from: the facts, that much of the log, and the tensors."""
        with self.log_file.open("rb") as log:
            found = hashlib.sha256(facts.encode() + b"\n" + log.read(log_bytes))
        return hashlib.sha256((found.hexdigest() + tensor_files.digest(tensors)).encode()).hexdigest()

    def resume(
        self, trained: dict[str, nn.Parameter], optimizers: list[torch.optim.Optimizer]
    ) -> tuple[int, Best | None]:
        """(updates done, best so far); (0, None) where there is nothing of this identity to resume."""
        facts = self._facts()
        if facts is None:
            shutil.rmtree(self.folder, ignore_errors=True)
            self.folder.mkdir(parents=True)
            return 0, None
        slots: dict[int, dict[str, Any]] = {}
        for name, value in facts["optimizer"].items():
            index, key = name.split(".", 1)
            slots.setdefault(int(index), {})[key] = value
        best = None if facts["best"] is None else Best(**facts["best"], tensors={})
        with safe_open(self.file, "pt") as tensors, torch.no_grad():
            for full_name in tensors.keys():  # noqa: SIM118 (a safetensors file is no mapping)
                kind, name = full_name.split(".", 1)
                value = tensors.get_tensor(full_name)
                if kind == "tuned":
                    trained[name].copy_(value)
                elif kind == "best" and best:
                    best.tensors[name] = value
                else:
                    index, key = name.split(".", 1)
                    slots.setdefault(int(index), {})[key] = value
        for first, optimizer in _numbered(optimizers):
            groups = optimizer.state_dict()["param_groups"]
            own = {
                index: slots[first + index] for group in groups for index in group["params"] if first + index in slots
            }
            optimizer.load_state_dict({"state": own, "param_groups": groups})
        with self.log_file.open("ab") as log:
            log.truncate(facts["log_bytes"])
        return facts["step"], best

    def _facts(self, path: Path | None = None) -> dict[str, Any] | None:
        """Those of a state of this identity. Raises UserError where it is not, to the bit, what `save` wrote."""
        path = path or self.file
        if not path.exists():
            return None
        try:
            with safe_open(path, "pt") as file:
                written = file.metadata()
                facts: dict[str, Any] = json.loads(written["state"])
                if facts["identity"] != self.identity:
                    return None
                tensors = ((name, file.get_tensor(name)) for name in sorted(file.keys()))
                if written["sha256"] == self._digest(written["state"], facts["log_bytes"], tensors):
                    return facts
        except (SafetensorError, OSError, ValueError, LookupError, TypeError):
            pass
        raise self._damaged()

    def _damaged(self) -> UserError:
        return UserError(
            f"{self.folder}: the state of a training that was stopped is damaged, so that nothing resumes from it. "
            "Delete that folder, and the training begins anew."
        )

    def log(self, line: dict[str, Any]) -> None:
        with files.named(self.log_file), self.log_file.open("a", encoding="utf-8") as log:
            log.write(files.json_line(line))

    def finish(self, log: Path) -> None:
        """Put the step log in its place, thinned where it is long, and forget the state, in an order that a kill cannot
        turn into half a state.
        """
        self.put_log(log)
        self.file.unlink(missing_ok=True)
        shutil.rmtree(self.folder)

    def put_log(self, log: Path) -> None:
        files.write_jsonl(log, thinned(files.read_jsonl(self.log_file)))

    def end(self, facts: Mapping[str, Any], passes: int) -> None:
        """Keep the facts of a training that is done, its tensors under "tensors" if it has any, until those that it
        shares passes with are. passes: the last update that it had a part in.
        """
        told = {key: value for key, value in facts.items() if key != "tensors"}
        tensors, text = facts.get("tensors", {}), json.dumps({"facts": told, "passes": passes})
        digest = _digest_of_end(text, tensors)
        tensor_files.save(tensors, self.end_file, {"identity": self.identity, "state": text, "sha256": digest})

    def ended(self) -> tuple[dict[str, Any], int] | None:
        """As they were given to `end`; None where a training of this identity has not ended. Raises as `_facts`."""
        if not self.end_file.exists():
            return None
        try:
            with safe_open(self.end_file, "pt") as file:
                written = file.metadata()
                if written["identity"] != self.identity:
                    return None
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                if written["sha256"] == _digest_of_end(written["state"], tensors):
                    told = json.loads(written["state"])
                    return told["facts"] | {"tensors": tensors}, told["passes"]
        except (SafetensorError, OSError, ValueError, LookupError, TypeError):
            pass
        raise self._damaged()

    def logged(self) -> int:
        """Updates that the log tells of."""
        if not self.log_file.exists():  # it failed at the first
            return 0
        return max((line["step"] for line in files.read_jsonl(self.log_file) if "loss" in line), default=0)

    def steps(self) -> set[int]:
        """Updates that lie behind the states that are here; 0, of a beginning, where there is none."""
        found = [self._facts(path) for path in (self.file, self.spare_file)]
        return {facts["step"] for facts in found if facts} or {0}

    def go_back(self, step: int) -> None:
        """Let the training resume behind one of `steps`."""
        facts = self._facts()
        if step and (facts is None or facts["step"] != step):
            self.spare_file.replace(self.file)

    def forget(self) -> None:
        """Let the training begin anew."""
        shutil.rmtree(self.folder, ignore_errors=True)

    def move_to(self, run: Path) -> None:
        """Let another run of the same identity resume from here; it does already where nothing is left here."""
        if self.folder.exists():
            shutil.rmtree(run / "state", ignore_errors=True)
            self.folder.rename(run / "state")


def _digest_of_end(text: str, tensors: Mapping[str, Tensor]) -> str:
    return hashlib.sha256((text + tensor_files.digest(sorted(tensors.items()))).encode()).hexdigest()


def resumable(states: Mapping[Path, State]) -> dict[Path, dict[str, Any]]:
    """Of trainings that share passes: the facts of those that have ended; the others resume behind one update.

    That is the last which all of them have a state of, each keeping two. Where there is none, all begin anew: what they
    share decides how their sums are rounded.
    """
    ended = {folder: found for folder, state in states.items() if (found := state.ended())}
    steps = {folder: state.steps() for folder, state in states.items()}
    going = [steps[folder] for folder in states if folder not in ended]
    for reached in sorted(set.union(*going) if going else {math.inf}, reverse=True):
        done = {folder: facts for folder, (facts, passes) in ended.items() if passes <= reached}
        left = [folder for folder in states if folder not in done]
        if all(reached in steps[folder] for folder in left):
            for folder in left:
                states[folder].go_back(int(reached))
            return done
    for state in states.values():
        state.forget()
    return {}


MOST_STEPS = 2000
"""Lines about updates that a finished log keeps, and at most twice as many less one."""


def thinned(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of a log: every look at the selection rows, the last update, and of the others each n-th, n as large as leaves
    MOST_STEPS of them. Curves and shares of what was chosen keep their form; sums of time and tokens are in the record,
    taken before.
    """
    updates = [line["step"] for line in lines if "loss" in line]
    every = max(1, len(updates) // MOST_STEPS)
    return [line for line in lines if "loss" not in line or line["step"] % every == 0 or line["step"] == updates[-1]]


def _numbered(optimizers: list[torch.optim.Optimizer]) -> list[tuple[int, torch.optim.Optimizer]]:
    """Each optimizer with the number of its first parameter: all parameters are counted through."""
    sizes = [sum(len(group["params"]) for group in optimizer.param_groups) for optimizer in optimizers]
    return [(sum(sizes[:number]), optimizer) for number, optimizer in enumerate(optimizers)]


def tensors_of(parameters: dict[str, nn.Parameter]) -> dict[str, Tensor]:
    """Copies on the CPU, as a file takes them."""
    return {name: value.detach().cpu().clone().contiguous() for name, value in parameters.items()}


def load_tuned(kept: dict[str, nn.Parameter], file: Path) -> None:
    """Copy `tuned.safetensors` into a classifier's `kept()`. Raises ValueError unless the names agree, UserError unless
    all numbers are finite."""
    tensors = load_file(file)
    check_finite(tensors, str(file), "Delete its folder and train again, with a lower learning rate.")
    if tensors.keys() != kept.keys():
        raise ValueError(f"{file} holds {sorted(tensors)}, the variant keeps {sorted(kept)}")
    restore(kept, tensors)


@torch.no_grad()
def restore(parameters: Mapping[str, Tensor], tensors: Mapping[str, Tensor]) -> None:
    """Copy tensors into the parameters of their names; the others stay as they are."""
    for name, value in tensors.items():
        parameters[name].copy_(value)


def load_choice(kept: dict[str, nn.Parameter], factor: str, file: Path) -> None:
    """Copy one factor's policy (`position`, `length`) from another run's `tuned.safetensors`."""
    names = [name for name in kept if name.startswith(f"prompt.{factor}.policy.")]
    tensors = load_file(file)
    with torch.no_grad():
        for name in names:
            kept[name].copy_(tensors[name])
