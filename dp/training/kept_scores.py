"""What a fine-tuned run leaves in place of its model (`keep_models: false`): its scores of the reported rows.

They are the scores that an evaluation would compute from the model, so every table stays the same; nothing else can be
predicted with such a run.
"""

from pathlib import Path

from safetensors.torch import load_file
from torch import Tensor

from dp.errors import UserError


def name_of(task: str) -> str:
    return f"scores.{task}"


def kept_scores(trained: Path, task: str, rows: int) -> Tensor:
    """[R, C] of the reported rows of a task, from the folder of its training.

    Raises UserError where they are of another number of rows.
    """
    scores: Tensor = load_file(trained / "tuned.safetensors")[name_of(task)]
    if len(scores) != rows:
        raise UserError(f"{trained}: holds scores of {len(scores)} reported rows, and there are {rows}; train it anew.")
    return scores
