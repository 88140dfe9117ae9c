"""One run of the grid: its resolved configuration, and the folders that it reads."""

from pathlib import Path
from typing import Any, NamedTuple

from dp import paths
from dp.study import grid
from dp.study.grid import Cell
from dp.study.study import Study


class Run(NamedTuple):
    """What a training or an evaluation is made from."""

    config: dict[str, Any]
    tokens: dict[str, Path]  # by task
    features: dict[str, Path]  # by task; empty where the variant reads none
    backbone: Path


def run_of(study: Study, cell: Cell) -> Run:
    """What a training or an evaluation reads."""
    scale, tasks = study.scale_name, grid.tasks_of(study, cell)
    pooling = grid.pooling(study, cell.variant)
    needed = tasks if grid.needs_features(study, cell.variant) else []
    return Run(
        config=grid.run_config(study, cell),
        tokens={task: paths.tokens(scale, cell.backbone, task) for task in tasks},
        features={task: paths.features(scale, cell.backbone, task, pooling) for task in needed},
        backbone=paths.backbone(cell.backbone),
    )
