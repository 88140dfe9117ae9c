"""A trial budget: the same number of settings tried for every variant, chosen by the selection split alone."""

import itertools
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, PositiveInt, Tag, model_validator

from dp.closed import Closed
from dp.errors import UserError
from dp.numerics import seeds
from dp.study.variants import Baseline, Prompted


class Range(Closed):
    """Drawn log-uniformly between the two ends."""

    low: Annotated[float, Field(gt=0)]
    high: Annotated[float, Field(gt=0)]

    @model_validator(mode="after")
    def is_ordered(self) -> "Range":
        if self.low >= self.high:
            raise ValueError(f"low {self.low:g} must be below high {self.high:g}")
        return self


Values = Annotated[
    Annotated[list[Annotated[float, Field(gt=0)]], Field(min_length=1), Tag("list")] | Annotated[Range, Tag("Range")],
    Discriminator(lambda given: "list" if isinstance(given, list) else "Range"),
]


class Space(Closed):
    """Values of each axis; a variant to which an axis means nothing leaves it out."""

    lr_factor: Values = Field([1.0])
    pool: Annotated[list[PositiveInt], Field(min_length=1)] | None = None
    anneal: Values | None = None


class Search(Closed):
    """`trials` settings per trained variant, each run once with training seed `seed`; the best goes to every seed."""

    method: Literal["grid", "random"]
    trials: Annotated[int, Field(ge=2)]
    seed: Annotated[int, Field(ge=0)] = 0
    space: Space

    @model_validator(mode="after")
    def has_points(self) -> "Search":
        for axis, values in self.space:
            if self.method == "grid" and isinstance(values, Range):
                raise ValueError(f"space.{axis}: a grid is of listed values, not of a range; list some, or use random")
        return self


def settings(search: Search, definition: Prompted | Baseline, variant: str) -> list[dict[str, Any]]:
    """The `trials` settings (axis -> value) of a variant.

    grid: points of the product of the variant's axes, in a seeded order. random: every axis drawn by itself, the same
    draw for every variant. Raises UserError where a grid holds fewer points than trials.
    """
    axes = {axis: values for axis, values in search.space if values is not None and applies(axis, definition)}
    count, seed = search.trials, search.seed
    if search.method == "random":
        return [{axis: _drawn(values, seed, axis, trial) for axis, values in axes.items()} for trial in range(count)]
    points = [dict(zip(axes, point, strict=True)) for point in itertools.product(*axes.values())]
    if len(points) < count:
        raise UserError(
            f"search: variant '{variant}' has {len(points)} different settings in the grid {axes}, fewer than "
            f"{count} trials; every variant gets the same number, so lower search.trials or add values to an axis."
        )
    order = sorted(range(len(points)), key=lambda i: seeds.derive(seed, "search grid", i))
    return [points[i] for i in order[:count]]


def applies(axis: str, definition: Prompted | Baseline) -> bool:
    """Whether an axis means anything to a variant."""
    if axis == "pool":
        return definition.has_pool
    if axis == "anneal":
        return not {"position", "length"}.isdisjoint(definition.choices)
    return True


def _drawn(values: list[Any] | Range, seed: int, axis: str, trial: int) -> Any:
    share = seeds.derive(seed, "search", axis, trial) / 2**63
    if isinstance(values, Range):
        return float(f"{values.low * (values.high / values.low) ** share:.6g}")
    return values[int(share * len(values))]
