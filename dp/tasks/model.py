"""A task is one YAML file: sources, splits, fields, templates, label words, metrics and what must come out."""

from functools import cache
from pathlib import Path, PurePosixPath
from string import Formatter
from typing import Annotated, Literal, get_args

from pydantic import Field, PositiveInt, model_validator

from dp.backbones.names import Family
from dp.closed import Closed, Name, Package, Repo, Sha256, nearest, once, read_yaml, validated
from dp.errors import UserError, shown
from dp.tasks.templates import check_pattern, fields_of, spans

LABEL = "label"
"""The column that holds a row's class, where a source does not call it otherwise."""
RESPLIT = "re-split"
"""The mark of numbers on splits that are not the official ones."""
FOLDER = Path(__file__).parent
Kind = Literal["folder", "package", "hub", "made_up"]
Split = Literal["train", "validation"]
FieldName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$")]
Label = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]


class Template(Closed):
    """The text of an input, which ends where the label word is read, and one label word per class.

    Label words that hold fields differ from row to row: they are the choices of that row.
    """

    text: str
    words: list[str] = Field(description="label words in class order; each is one piece, or holds fields")

    @property
    def has_choices(self) -> bool:
        return any(field is not None for word in self.words for _, field, _, _ in Formatter().parse(word))


class Expected(Closed):
    rows: PositiveInt
    label_counts: list[Annotated[int, Field(ge=0)]] = Field(description="rows of each class, in class order")


class Resplit(Closed):
    """One file cut into train and validation: a documented, seeded, stratified rule (dp/sources/resplit.py)."""

    validation: PositiveInt = Field(description="rows of the validation split; the rest is train")
    seed: int = Field(0, ge=0)


class Reading(Closed):
    """How the rows of a source file become canonical rows."""

    format: Literal["jsonl", "csv", "tsv", "multirc", "parquet", "arrow", "requests"]
    columns: dict[str, str] = Field({}, description="field, or label -> column, where the two names differ")
    classes: list[bool | int | str] = Field(description="the file's label value of each class, in class order")
    pattern: str | None = Field(None, description="format requests: the text of a row, each {field} once")
    separator: Annotated[str, Field(pattern=r"^[^\"\r\n]$")] | None = Field(
        None, description="format csv: what stands between two columns, where it is no comma"
    )
    resplit: Resplit | None = Field(None, description="cuts the one file `all` into train and validation")

    @property
    def is_text(self) -> bool:
        """Whether all that the file holds, labels too, is text."""
        return self.format in ("csv", "tsv")


class SourceFile(Closed):
    path: str
    sha256: Sha256


class FolderFile(Closed):
    path: str
    sha256: Sha256 | None = Field(None, description="what its bytes must be; without it, what they were is recorded")


class FolderRows(Reading):
    files: dict[str, FolderFile] = Field(description="split -> file below the folder")


class PackageRows(Reading):
    package: Package
    files: dict[str, SourceFile] = Field(description="split -> member of the wheel")


class HubRows(Reading):
    repo: Repo
    revision: str = "main"
    files: dict[str, str] = Field(description="split -> file of the repository; digests are in hub.lock.yaml")


class MadeUpRows(Closed):
    """Rows made by dp/worlds/made_up.py."""

    kind: Literal["yes_no", "choice"]
    seed: int = Field(0, ge=0)


class Question(Closed):
    """A feature of a word of the planted world (dp/worlds/planted.py)."""

    word: Literal[1, 2, -1, -2] = Field(description="counted from the first word, or from the last where negative")
    feature: Annotated[int, Field(ge=0, le=3)]


class PlantedRows(Closed):
    """Rows of dp/worlds/planted.py: they ask one question, or, of several, the one that a cue in the text names."""

    kind: Literal["planted"]
    questions: list[Question] = Field(min_length=1, max_length=4)
    seed: int = Field(0, ge=0)


class Sources(Closed):
    folder: FolderRows | None = None
    package: PackageRows | None = None
    hub: HubRows | None = None
    made_up: Annotated[MadeUpRows | PlantedRows, Field(discriminator="kind")] | None = None


class Task(Closed):
    name: Name
    version: PositiveInt = Field(description="raised whenever rows, templates or label words change")
    description: str
    fields: list[FieldName] = Field(min_length=1, description="text fields of a canonical row")
    truncate: str = Field(description="the one field that may be truncated")
    truncate_as_released: list[FieldName] = Field(
        [], description="fields that the released code cuts, the first first; none: the one above (docs/methods.md)"
    )
    label_names: list[str] = Field(min_length=2, description="class order")
    templates: dict[Family, Template] = Field(min_length=1, description="of the families that the task is meant for")
    metrics: list[Name] = Field(min_length=1, description="of `dp/results/metrics.py`")
    labels: list[Label] = Field([], description="marks that every number of this task carries, such as re-split")
    expected: dict[Split, Expected]
    sources: Sources

    @property
    def source_kinds(self) -> list[Kind]:
        return [kind for kind in get_args(Kind) if getattr(self.sources, kind) is not None]

    @model_validator(mode="after")
    def is_consistent(self) -> "Task":
        classes = len(self.label_names)
        for key in ("fields", "truncate_as_released", "label_names", "metrics", "labels"):
            once(key, getattr(self, key))
        for name in self.label_names:
            if not name.isprintable():  # a mark of direction lets what stands behind it, numbers too, look reversed
                raise ValueError(f"label_names: {name!a} holds what cannot be printed; take it out")
        if LABEL in self.fields:
            raise ValueError(f"fields: '{LABEL}' is the name of a row's class; give the field another, and its column")
        if self.truncate not in self.fields:
            raise ValueError(f"truncate: '{self.truncate}' is not among the fields {self.fields}")
        for split in get_args(Split):
            if split not in self.expected:
                raise ValueError(f"expected: '{split}' is missing")
        for family, template in self.templates.items():
            for field in (self.truncate, *self.truncate_as_released):
                _check_template(f"templates.{family}", template, self.fields, field, classes)
        for split, expected in self.expected.items():
            if len(expected.label_counts) != classes or sum(expected.label_counts) != expected.rows:
                raise ValueError(f"expected.{split}.label_counts: must be {classes} counts that add up to rows")
        for kind in self.source_kinds:
            source = getattr(self.sources, kind)
            if isinstance(source, FolderRows | PackageRows | HubRows):
                _check_reading(f"sources.{kind}", source, dict(source.files), self.fields, classes)
                if source.resplit and RESPLIT not in self.labels:
                    raise ValueError(f"labels: must hold '{RESPLIT}', since sources.{kind} cuts one file in two")
        if not self.source_kinds:
            raise ValueError("sources: names no source")
        return self


def names() -> list[str]:
    """The tasks that have a file."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


@cache
def load(name: str) -> Task:
    """The task of `dp/tasks/<name>.yaml`. Raises UserError for an unknown task or a file that is not a valid task."""
    return read(file_of(name))


def source_kind(name: str, wanted: Kind) -> Kind:
    """Where a task's rows come from: the source wanted, or the task's only one, whatever is wanted.

    A task without a file is refused where it is read (`load`).
    """
    kinds = load(name).source_kinds if (FOLDER / f"{name}.yaml").is_file() else []
    return kinds[0] if len(kinds) == 1 else wanted


def file_of(name: str) -> Path:
    """`dp/tasks/<name>.yaml`. Raises UserError for an unknown task."""
    if name not in names():
        raise UserError(f"There is no task '{shown(name)}' (no file of it in dp/tasks){nearest(name, names())}.")
    return FOLDER / f"{name}.yaml"


def read(path: Path) -> Task:
    """A task from any YAML file whose stem is the task's name."""
    task = validated(Task, read_yaml(path), path)
    if task.name != path.stem:
        raise UserError(f"{path}: name = '{task.name}': must be the name of the file, '{path.stem}'.")
    return task


def template(task: Task, family: Family) -> Template:
    """Raises UserError where the task is not meant for the family."""
    if family not in task.templates:
        raise UserError(
            f"dp/tasks/{task.name}.yaml: templates has none for the family '{family}', only for "
            f"{', '.join(task.templates)}. Add templates.{family}, or take the task or its backbones out of the scale."
        )
    return task.templates[family]


def render(task: Task, family: Family, fields: dict[str, str]) -> str:
    """The input text of one row, up to where the label word is read."""
    return template(task, family).text.format_map(fields)


def fields_read(task: Task, family: Family) -> list[str]:
    """The fields that a row's text, or its label words, hold; the others of the task say more about a row."""
    scored = template(task, family)
    named = {name for text in (scored.text, *scored.words) for name in fields_of("", text, task.fields)}
    return [field for field in task.fields if field in named]


def released_spans(task: Task, family: Family, fields: dict[str, str]) -> list[tuple[int, int]]:
    """Where in the rendered text stands what the released code may cut, in the order in which it does."""
    found = spans(template(task, family).text, fields)
    return [found[field] for field in task.truncate_as_released or [task.truncate]]


def words(task: Task, family: Family, fields: dict[str, str]) -> list[str]:
    """The label word of each class for one row."""
    return [word.format_map(fields) for word in template(task, family).words]


def _check_template(key: str, template: Template, fields: list[str], truncate: str, classes: int) -> None:
    named = fields_of(f"{key}.text", template.text, fields)
    if named.count(truncate) != 1:
        raise ValueError(f"{key}.text: must hold the field that may be truncated, {{{truncate}}}, once")
    if len(template.words) != classes or len(set(template.words)) != classes:
        raise ValueError(f"{key}.words: {template.words} must be {classes} different words, one per class")
    for word in template.words:
        fields_of(f"{key}.words", word, fields)


def _check_reading(key: str, source: Reading, files: dict[str, object], fields: list[str], classes: int) -> None:
    wanted = {"all"} if source.resplit else set(get_args(Split))
    if set(files) != wanted:
        raise ValueError(f"{key}.files: must name {sorted(wanted)}, not {sorted(files)}")
    places = [getattr(file, "path", file) for file in files.values()]
    if len(set(places)) < len(places):
        raise ValueError(f"{key}.files: two splits are the same file, so what is trained on would be reported on")
    if len(source.classes) != classes:
        raise ValueError(f"{key}.classes: must be {classes} label values, one per class")
    if (source.format == "requests") != (source.pattern is not None):
        raise ValueError(f"{key}.pattern: goes with format requests, and only with it")
    if source.separator is not None and source.format != "csv":
        raise ValueError(f"{key}.separator: goes with format csv alone; leave it out")
    if source.pattern is not None:
        check_pattern(f"{key}.pattern", source.pattern, fields)
    if source.columns and source.format in ("multirc", "requests"):
        raise ValueError(f"{key}.columns: format {source.format} has names of its own; leave it out")
    for field in source.columns:
        if field not in (*fields, LABEL):
            hint = nearest(field, [*fields, LABEL])
            raise ValueError(f"{key}.columns: '{field}' is neither a field nor '{LABEL}'{hint}")
    read = [source.columns.get(name, name) for name in (*fields, LABEL)]
    for column in read:
        if read.count(column) > 1:
            raise ValueError(f"{key}.columns: '{column}' would be read twice; each field and '{LABEL}' has its own")
    for file in files.values():
        path = file.path if isinstance(file, SourceFile) else str(file)
        if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
            raise ValueError(f"{key}.files: '{path}' must be a path below the source")
