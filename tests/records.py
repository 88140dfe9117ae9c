"""Records as jobs of this version write them, with as little in them as they may hold."""

from typing import Any

from dp.jobs.record import sealed

SETTING = {"python": "3", "packages": {}, "device": "cpu", "threads": 1, "processor_count": 8, "commit": "c" * 40,
           "dirty": False}  # fmt: skip
COUNTS = {"train": 0, "selection": 0, "validation": 0}
MADE: dict[str, dict[str, Any]] = {
    "tokenize": {"rows": COUNTS, "available": COUNTS, "truncated": COUNTS},
    "train": {"steps": 1, "steps_before": 0, "selected_step": 1, "trainable_parameters": 1, "step_seconds": 1.0,
              "trials": 1, "setting": None},
    "evaluate": {"labels": []},
}  # fmt: skip


def record(command: str, asked: dict[str, Any] | None = None, setting: dict[str, Any] | None = None, **made: Any):
    every = {"outputs": {}, "started": "2026-01-02T03:04:05+00:00", "wall_seconds": 1.0}
    used = {"inputs": {}, "code": {"digest": "d", "modules": {}}}
    return sealed(
        {"command": command, "asked": asked or {}, "used": used, "with": SETTING | (setting or {}),
         "made": every | MADE.get(command, {}) | made}
    )  # fmt: skip
