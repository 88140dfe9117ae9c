"""Where every artifact lies (design section 10). Paths are relative to the project's root."""

import re
from pathlib import Path

RESULTS = Path("results")
DOWNLOAD = RESULTS / "download"
TOKENIZE = RESULTS / "tokenize"
TRAIN = RESULTS / "train"
EVALUATE = RESULTS / "evaluate"
REPORT = RESULTS / "report"
PHASES = (DOWNLOAD, TOKENIZE, TRAIN, EVALUATE, REPORT)
LOGS = RESULTS / "logs"


def task_rows(task: str, source: str) -> Path:
    """Canonical rows of a task: train.jsonl, validation.jsonl, record.json."""
    return DOWNLOAD / "tasks" / task / source


def backbone(name: str) -> Path:
    """config.json, model.safetensors, tokenizer files, record.json."""
    return DOWNLOAD / "backbones" / name


def tokens(scale: str, backbone: str, task: str) -> Path:
    """tokens.safetensors, rows.json, record.json."""
    return TOKENIZE / scale / backbone / task / "tokens"


def features(scale: str, backbone: str, task: str, pooling: str) -> Path:
    """features.safetensors, record.json. `pooling` is masked_mean or padded_mean."""
    return TOKENIZE / scale / backbone / task / "features" / pooling


def train_run(scale: str, run: str) -> Path:
    """tuned.safetensors, config.json, steps.jsonl, record.json.

    `run` is backbone/regime/task/variant/seed<n>, or .../trial<n> of a search.
    """
    return TRAIN / scale / run


def choice(scale: str, variant: str) -> Path:
    """choice.json, record.json of a search. `variant` is backbone/regime/task/variant."""
    return TRAIN / scale / variant / "choice"


def evaluation(scale: str, run: str) -> Path:
    """predictions.jsonl, metrics.json, record.json."""
    return EVALUATE / scale / run


def report(scale: str) -> Path:
    return REPORT / scale


def state(folder: Path) -> Path:
    """What became of the job that makes a folder: there while it runs and after it failed, gone once it is made."""
    return LOGS / folder.relative_to(RESULTS).with_name(f"{folder.name}.state.json")


def natural(name: Path | str) -> list[str | int]:
    """A key that sorts seed2 before seed10."""
    return [int(part) if place % 2 else part for place, part in enumerate(re.split(r"(\d+)", str(name)))]
