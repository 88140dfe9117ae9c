"""How many rows of each split are used."""

from typing import Annotated

from pydantic import Field, PositiveInt

from dp.closed import Settings


class RowLimits(Settings):
    """How many rows of each split are used; null is all of them. Fewer than all are labelled subset."""

    train: PositiveInt | None = None
    selection_fraction: Annotated[float, Field(gt=0, lt=1)] = 0.1
    "carved from train, stratified"
    selection: PositiveInt | None = None
    "at most this many of the carved rows"
    report: PositiveInt | None = None
    seed: Annotated[int, Field(ge=0)] = 0
