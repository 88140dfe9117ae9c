"""The canonical rows of one task, from the study's source."""

from pathlib import Path
from typing import Any

from dp import files
from dp.sources import rows as sources
from dp.sources.cache import staging
from dp.tasks.model import Task


def fetch_task(task: Task, source: str, from_folder: str | None, folder: Path) -> dict[str, Any]:
    """The facts of what was written into `folder`.

    Raises UserError where rows cannot be had or are not what the task expects.
    """
    rows, facts = sources.fetch(task, source, from_folder)
    with staging(folder) as aside:
        for split in ("train", "validation"):
            files.write_jsonl(aside / f"{split}.jsonl", rows[split])
    return facts | {
        "labels": task.labels,
        # `sources.fetch` refuses any others
        "rows": {split: expected.rows for split, expected in task.expected.items()},
        "label_counts": {split: expected.label_counts for split, expected in task.expected.items()},
    }
