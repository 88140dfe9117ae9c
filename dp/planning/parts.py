"""Parts of a scale: a table of the paper, a backbone, a regime."""

from dp.closed import one_of
from dp.errors import UserError
from dp.jobs.job import Cell
from dp.paper import claimed as claims
from dp.study import grid
from dp.study.study import Study


def tables() -> dict[str, set[tuple[str, str, str]]]:
    """Table of the paper -> (backbone, variant, task) of each of its cells, which are all of full data."""
    found: dict[str, set[tuple[str, str, str]]] = {}
    for one in claims.load().claims.values():
        if one.kind == "cell":
            found.setdefault(one.table, set()).add((one.backbone, one.variant, one.task))
    return found


def select(
    study: Study, table: str | None = None, backbone: str | None = None, regime: str | None = None
) -> list[Cell]:
    """The evaluated cells of a part. regime: its name, or its kind.

    Raises UserError for a name that is none, with the nearest, and for a part that holds nothing.
    """
    cells, scale = grid.cells(study), f"scale '{study.scale_name}'"
    if backbone is not None:
        one_of("--backbone", backbone, study.scale.backbones, f"{scale} has no such backbone")
        cells = [cell for cell in cells if cell.backbone == backbone]
    if regime is not None:
        kinds = {name: part.kind for part in study.scale.regimes for name in part.names}
        one_of("--regime", regime, dict.fromkeys([*kinds.values(), *kinds]), f"{scale} has no such regime")
        cells = [cell for cell in cells if regime in (cell.regime, kinds[cell.regime])]
    if table is not None:
        known = tables()
        one_of("--table", table, known, "the paper has no such table")
        cells = [cell for cell in cells
                 if cell.regime == "full" and (cell.backbone, cell.variant, cell.task) in known[table]]  # fmt: skip
    if not cells:
        asked = ", ".join(f"{key} {value}" for key, value in
                          (("table", table), ("backbone", backbone), ("regime", regime)) if value)  # fmt: skip
        raise UserError(f"{scale} runs nothing of {asked}; ask for another part or scale.")
    return cells
