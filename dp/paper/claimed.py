"""The paper's claims as data: cells.csv, anchors.csv and paper.yaml, and the claims that follow from the cells."""

import csv
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal, InvalidOperation
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt, model_validator

from dp.closed import Closed, Name, nearest, read_yaml, validated
from dp.errors import UserError

FOLDER = Path(__file__).parent
FILES = ("cells.csv", "anchors.csv", "paper.yaml")
TABLES = ("A_position", "B_length", "C_prompt")
AVERAGE = "average"
CELL_COLUMNS = ("claim", "table", "backbone", "variant", "task", "value", "n", "attainable")
ANCHOR_COLUMNS = ("claim", "source", "backbone", "method", "variant", "task", "value", "protocol", "prompt_length",
                  "max_tokens", "batch_size", "comparable", "reason")  # fmt: skip

IDENTITY = r"^[A-Za-z0-9_]+$"
ClaimId = Annotated[str, Field(pattern=IDENTITY)]


class Setup(Closed):
    """What a number was made with; None: unknown, or nothing to compare. `steps` and `batch_size` are nominal."""

    prompt_length: PositiveInt | None = None
    max_tokens: PositiveInt | None = None
    steps: PositiveInt | None = None
    batch_size: PositiveInt | None = None


UNKNOWN = Setup()


class Protocol(Closed):
    name: Name
    seed: Annotated[int, Field(ge=0)]
    runs: PositiveInt
    evaluations: PositiveInt
    kept: str
    setup: Setup


class PaperTask(Closed):
    n: PositiveInt = Field(description="official validation rows")
    majority: PositiveInt = Field(description="rows of the largest class")

    @model_validator(mode="after")
    def is_a_part(self) -> "PaperTask":
        if self.majority > self.n:
            raise ValueError(f"majority: {self.majority} rows of {self.n}")
        return self

    @property
    def rate(self) -> float:
        """The share of the largest class, 0..1."""
        return self.majority / self.n


class BestGain(Closed):
    claim: ClaimId
    says: str
    value: Annotated[Decimal, Field(strict=False)]


class Close(Closed):
    claim: ClaimId
    says: str
    variant: Name
    against: Name


class Better(Closed):
    claim: ClaimId
    says: str
    regime: Literal["fewshot", "multitask"]
    variants: list[Name] = Field(min_length=1)
    against: Name


class Text(Closed):
    best_gain: BestGain
    close: Close
    better: list[Better]


class PaperFacts(Closed):
    """paper.yaml."""

    title: str
    source: str
    code: str
    protocol: Protocol
    tasks: dict[Name, PaperTask] = Field(min_length=1)
    unsaid: list[str]
    text: Text


@dataclass(frozen=True)
class Claim:
    """One claim: a number in percent, or None where only a direction is claimed.

    `task` is `average` for the mean over the paper's tasks. `against`: the variant that is subtracted. `protocol`: the
    one that our runs must have, None for either. `setup`: what else they must share. `why_not`: why no run of ours can
    be compared with it. `cells`: the paper's cells that it rests on. `best_of`: the claims whose largest value it is.
    """

    id: str
    kind: Literal["cell", "average", "gain", "text", "anchor"]
    table: str
    backbone: str
    variant: str
    task: str
    value: Decimal | None
    source: str
    says: str = ""
    regime: Literal["full", "fewshot", "multitask"] = "full"
    against: str | None = None
    n: int | None = None
    attainable: bool | None = None
    protocol: str | None = None
    setup: Setup = UNKNOWN
    why_not: str | None = None
    cells: tuple["Claim", ...] = ()
    best_of: tuple["Claim", ...] = ()

    @property
    def tolerance(self) -> float | None:
        """Percentage points: for a number on n rows max(2, 0.5 + one row), for a mean over tasks 2 (docs/claims.md)."""
        if self.value is None:
            return None
        return max(2.0, 0.5 + 100 / self.n) if self.n else 2.0

    @property
    def variants(self) -> tuple[str, ...]:
        return (self.variant, self.against) if self.against else (self.variant,)


@dataclass(frozen=True)
class Paper:
    facts: PaperFacts
    claims: dict[str, Claim]

    @property
    def tasks(self) -> list[str]:
        return list(self.facts.tasks)

    def tasks_of(self, claim: Claim) -> list[str]:
        return self.tasks if claim.task == AVERAGE else [claim.task]

    def claim(self, name: str) -> Claim:
        """Raises UserError where there is no such claim."""
        if name not in self.claims:
            raise UserError(f"'{name}' is no claim of the paper{nearest(name, self.claims)} (`python -m dp claims`).")
        return self.claims[name]

    def of_table(self, name: str) -> list[Claim]:
        """By its name, or by the letter alone. Raises UserError where there is no such table."""
        known = {short: table for table in TABLES for short in (table, table[0])}
        if name not in known:
            raise UserError(f"'{name}' is no table of the paper; its tables are {', '.join(TABLES)}.")
        return [claim for claim in self.claims.values() if claim.table == known[name]]


@cache
def load(folder: Path = FOLDER) -> Paper:
    """Every claim, in the order of the files: the cells with their averages, gains, claims in words, anchors.

    Raises UserError naming file, line and column.
    """
    path = folder / "paper.yaml"
    facts = validated(PaperFacts, read_yaml(path), path)
    printed = _claims(folder / "cells.csv", CELL_COLUMNS, lambda row: _cell(row, facts))
    cells = {(one.table, one.backbone, one.variant, one.task): one for one in printed if one.kind == "cell"}
    found = [_with_cells(one, cells, facts) if one.kind == "average" else one for one in printed]
    gains = _gains(found, facts)
    anchors = _claims(folder / "anchors.csv", ANCHOR_COLUMNS, lambda row: _anchor(row, facts))
    everything = [*found, *gains, *_text(found, gains, facts), *anchors]
    for name, count in Counter(claim.id for claim in everything).items():
        if count > 1:
            raise UserError(f"{folder}: two claims are called '{name}'; rename one.")
    return Paper(facts, {claim.id: claim for claim in everything})


@dataclass(frozen=True)
class _Row:
    """One line of a CSV file, whose mistakes are named by file, line and column."""

    path: Path
    line: int
    values: dict[str, Any]

    def error(self, column: str, what: str) -> UserError:
        return UserError(f"{self.path}, line {self.line}, column {column}: '{self.values[column]}' {what}.")

    def one_of(self, column: str, known: Any) -> str:
        value = self.values[column]
        if value not in known:
            raise self.error(column, f"is none of {', '.join(filter(None, known))}{nearest(value, known)}")
        return str(value)

    def like(self, pattern: str, column: str, otherwise: str) -> str:
        value = str(self.values[column])
        if not re.fullmatch(pattern, value):
            raise self.error(column, otherwise)
        return value

    def name(self, column: str) -> str:
        return self.like(r"[\w.-]+", column, "is no name of letters, digits, '_', '.' and '-'")

    def identity(self) -> str:
        return self.like(IDENTITY, "claim", "is no name of letters, digits and '_' alone")

    def percent(self, column: str) -> Decimal:
        try:
            value = Decimal(self.values[column])
        except InvalidOperation:
            value = Decimal(-1)
        if not 0 <= value <= 100:
            raise self.error(column, "is no percentage, 0 to 100")
        return value

    def count(self, column: str) -> int | None:
        value = self.like(r"(0*[1-9]\d*)?", column, "is no count")
        return int(value) if value else None


def _claims(path: Path, columns: tuple[str, ...], claim_of: Callable[[_Row], Claim]) -> list[Claim]:
    found: dict[str, Claim] = {}
    if not path.is_file():
        raise UserError(f"{path} does not exist; it comes with the project, so restore it (`git checkout`).")
    with path.open(encoding="utf-8", newline="") as file:
        reader = csv.DictReader(file, restval="")
        if tuple(reader.fieldnames or ()) != columns:
            raise UserError(f"{path}, line 1: the columns must be {','.join(columns)}.")
        for values in reader:
            if None in values:
                raise UserError(f"{path}, line {reader.line_num}: more than {len(columns)} values.")
            row = _Row(path, reader.line_num, values)
            claim = claim_of(row)
            if claim.id in found:
                raise row.error("claim", "stands there twice")
            found[claim.id] = claim
    return list(found.values())


def _cell(row: _Row, facts: PaperFacts) -> Claim:
    task = row.one_of("task", [*facts.tasks, AVERAGE])
    n, known = row.count("n"), facts.tasks[task].n if task != AVERAGE else None
    if n != known:
        raise row.error("n", f"is not the size of {task} in paper.yaml, {known or 'empty for an average'}")
    attainable = row.one_of("attainable", ("0", "1") if n else ("",))
    claim = Claim(
        id=row.identity(),
        kind="cell" if n else "average",
        table=row.one_of("table", TABLES),
        backbone=row.name("backbone"),
        variant=row.name("variant"),
        task=task,
        value=row.percent("value"),
        source=facts.source,
        n=n,
        attainable=attainable == "1" if attainable else None,
        protocol=facts.protocol.name,
        setup=facts.protocol.setup,
    )
    return replace(claim, cells=(claim,)) if n else claim


def _anchor(row: _Row, facts: PaperFacts) -> Claim:
    comparable = row.one_of("comparable", ("yes", "no")) == "yes"
    task = row.name("task")
    if comparable:
        row.one_of("task", facts.tasks)
        row.name("variant")
    if not row.values["reason"]:
        raise row.error("reason", "is empty; say why it can be compared, or why not")
    return Claim(
        id=row.identity(),
        kind="anchor",
        table="",
        backbone=row.name("backbone"),
        variant=row.values["variant"],
        task=task,
        value=row.percent("value"),
        source=row.values["source"],
        says=f"{row.values['method']}: {row.values['reason']}" if comparable else row.values["method"],
        n=facts.tasks[task].n if comparable else None,
        protocol=row.one_of("protocol", ("", facts.protocol.name)) or None,
        setup=Setup(**{key: row.count(key) for key in ("prompt_length", "max_tokens", "batch_size")}),
        why_not=None if comparable else row.values["reason"],
    )


def _with_cells(average: Claim, cells: dict[tuple[str, str, str, str], Claim], facts: PaperFacts) -> Claim:
    where = (average.table, average.backbone, average.variant)
    missing = [task for task in facts.tasks if (*where, task) not in cells]
    if missing:
        raise UserError(f"cells.csv: '{average.id}' is a mean over tasks, and {', '.join(missing)} has no cell.")
    return replace(average, cells=tuple(cells[*where, task] for task in facts.tasks))


def _gains(found: list[Claim], facts: PaperFacts) -> list[Claim]:
    """For each average of a dynamic variant, what it gains over `fixed` on the same backbone."""
    averages = [one for one in found if one.kind == "average"]
    fixed = {one.backbone: one for one in reversed(averages) if one.variant == "fixed"}  # of the first table
    return [
        _difference(f"gain_{one.id.removesuffix('_average')}", "gain", one, fixed[one.backbone], facts)
        for one in averages
        if one.variant not in ("fixed", facts.text.close.against)
    ]


def _difference(name: str, kind: Literal["gain", "text"], one: Claim, other: Claim, facts: PaperFacts) -> Claim:
    """The mean over the cells of one average minus that of another, to two decimals, as the paper prints."""
    value = (_mean(one) - _mean(other)).quantize(Decimal("0.01"))
    return Claim(name, kind, one.table, one.backbone, one.variant, AVERAGE, value, facts.source,
                 against=other.variant, cells=(*one.cells, *other.cells))  # fmt: skip


def _mean(average: Claim) -> Decimal:
    return sum((cell.value for cell in average.cells if cell.value is not None), Decimal(0)) / len(average.cells)


def _text(found: list[Claim], gains: list[Claim], facts: PaperFacts) -> list[Claim]:
    best, close = facts.text.best_gain, facts.text.close
    claims = [
        Claim(best.claim, "text", "", "", "", AVERAGE, best.value, "arXiv:2303.02909v1", best.says,
              best_of=tuple(gains))
    ]  # fmt: skip
    averages = {(one.backbone, one.variant): one for one in found if one.kind == "average"}
    for (backbone, variant), one in averages.items():
        if variant == close.variant and (backbone, close.against) in averages:
            name = f"{close.claim}_{_part(backbone)}"
            difference = _difference(name, "text", one, averages[backbone, close.against], facts)
            claims.append(replace(difference, says=close.says))
    backbones = list(dict.fromkeys(one.backbone for one in found))
    for better in facts.text.better:
        claims += [
            Claim(f"{better.claim}_{_part(backbone)}_{variant}", "text", "", backbone, variant, AVERAGE, None,
                  facts.source, better.says, better.regime, better.against)
            for backbone in backbones
            for variant in better.variants
        ]  # fmt: skip
    return claims


def _part(name: str) -> str:
    return "".join(char if char.isalnum() else "_" for char in name)
