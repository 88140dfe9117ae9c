"""The canonical rows of one task, from the study's source."""

from pathlib import Path
from typing import Any

from dp import files
from dp.data.counts import label_counts
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
        "rows": {split: len(found) for split, found in rows.items()},
        "label_counts": {split: label_counts(found, len(task.label_names)) for split, found in rows.items()},
    }
