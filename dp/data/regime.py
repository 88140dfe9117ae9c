"""Regimes (design section 7): which rows a run learns from, as a value with one spelling."""

import re
from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True)
class Regime:
    """`full`, `fewshot-k<k>-s<sample>` or `multitask[-<name>]`.

    k: rows per label. sample: the seed that draws them. Both are None but for few-shot, where they may be left open:
    `fewshot-k8` is any sample of 8, `fewshot` any few-shot. name: tells several unions of tasks apart.
    """

    kind: Literal["full", "fewshot", "multitask"]
    k: int | None = None
    sample: int | None = None
    name: str | None = None

    @classmethod
    def parse(cls, spelling: str) -> "Regime":
        """Raises ValueError for a word that spells none."""
        kind, _, rest = spelling.partition("-")
        shots = re.fullmatch(r"(?:k(\d+)(?:-s(\d+))?)?", rest)
        regime = None
        if kind == "full":
            regime = cls("full")
        elif kind == "multitask":
            regime = cls("multitask", name=rest or None)
        elif kind == "fewshot" and shots:
            k, sample = (int(number) if number else None for number in shots.groups())
            regime = cls("fewshot", k, sample)
        if regime is None or str(regime) != spelling:
            raise ValueError(f"'{spelling}' is no regime: full, fewshot-k<k>-s<sample> or multitask[-<name>]")
        return regime

    def __str__(self) -> str:
        parts = [self.kind, self.name]
        parts += [f"{letter}{number}" for letter, number in (("k", self.k), ("s", self.sample)) if number is not None]
        return "-".join(part for part in parts if part)

    @property
    def is_union(self) -> bool:
        """Whether it trains on the union of its tasks."""
        return self.kind == "multitask"

    @property
    def of_any_sample(self) -> "Regime":
        return replace(self, sample=None)

    @property
    def in_tables(self) -> str:
        """As the column `regime` of results.csv, where k has a column of its own."""
        return str(replace(self, k=None, sample=None))

    def holds(self, other: "Regime") -> bool:
        """Whether another regime is this one, or one of those that it leaves open."""
        opened = ((self.k, other.k), (self.sample, other.sample))
        return (self.kind, self.name) == (other.kind, other.name) and all(own in (None, its) for own, its in opened)
