"""`dp draft-task`: from somebody's own table to a task and a scale that run."""

import argparse
import re
import shlex
import statistics
from collections.abc import Callable
from pathlib import Path

from dp import files, paths, yaml12
from dp.closed import validated
from dp.errors import UserError, shown
from dp.sources import draft, rows
from dp.sources.overlap import near_copies
from dp.study.params import Scale
from dp.study.study import UNION
from dp.tasks import model as tasks

SCALES = Path("workflow") / "scales"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("table", type=Path, help="rows with a label: .csv, .tsv or .jsonl")
    parser.add_argument("--name", help="of the task (default: the file's)")
    parser.add_argument("--text", action="append", default=[], metavar="COLUMN", help="a column to read; or several")
    parser.add_argument("--label", metavar="COLUMN", help="the column with the label")
    parser.add_argument("--separator", help="what stands between two columns, where it is no comma")
    split = parser.add_mutually_exclusive_group()
    split.add_argument("--validation", type=Path, metavar="FILE", help="rows to report on, in a table of their own")
    split.add_argument("--resplit", type=int, metavar="N", help="report on N rows of the table (default: a quarter)")


def run(arguments: argparse.Namespace) -> None:
    """Write dp/tasks/<name>.yaml and workflow/scales/<name>.yaml, and say what comes next.

    Raises UserError where a file of that name is there, or the table makes no task.
    """
    table = draft.read(arguments.table, arguments.separator)
    validation = draft.read(arguments.validation, arguments.separator) if arguments.validation else None
    stem = re.sub(r"[^a-z0-9_.-]+", "_", arguments.table.stem.lower()).strip("_.-")
    name = arguments.name or stem
    if not Path("params.yaml").is_file():
        raise UserError("There is no params.yaml here. Call this in the project's folder.")
    if not re.fullmatch(r"[a-z0-9][a-z0-9_.-]{0,99}", name) or name == UNION:
        raise UserError(f"'{shown(name)}' is no name for a task: small letters, digits, _ and -. Give one: --name.")
    columns = draft.columns_of(table, arguments.text, arguments.label)
    found = draft.draft(name, table, columns, validation, arguments.resplit, 0)
    task_path, scale_path = tasks.FOLDER / f"{name}.yaml", SCALES / f"{name}.yaml"
    for path in (task_path, scale_path):
        if path.exists():
            raise UserError(f"{path} is there already. Delete it to draft anew, or give the task another name: --name.")
    folder = arguments.table.parent.resolve()
    task_text = draft.as_yaml(found.task, "Drafted: read description, templates and words.")
    scale_text = draft.as_yaml(found.scale, "Drafted: a first budget, no search.")
    task = validated(tasks.Task, yaml12.parse(task_text, str(task_path)), task_path)
    validated(Scale, yaml12.parse(scale_text, str(scale_path)), scale_path)
    splits, *_ = rows.fetch(task, "folder", str(folder))
    backbone = found.scale["backbones"][0]
    count, unit = _counter(paths.backbone(backbone) / "tokenizer.json", backbone)
    lengths = {field: sorted(count(text[field]) for text in found.texts) for field in task.fields}
    files.write_text(scale_path, scale_text)
    files.write_text(task_path, task_text)
    for split, expected in task.expected.items():
        counts = ", ".join(f"{label} {n}" for label, n in zip(task.label_names, expected.label_counts, strict=True))
        print(f"{split}: {expected.rows} rows ({counts})")
    for field, sizes in lengths.items():
        print(f"{field}: {statistics.median(sizes):.0f} {unit} in the middle, {sizes[-1]} at most")
    texts = {split: [" ".join(row["fields"].values()) for row in own] for split, own in splits.items()}
    copies, looked_at = near_copies(texts["train"], texts["validation"])
    if copies:
        print(
            f"Beware: {copies} of {looked_at} reported rows share half of their words or more with one to learn from. "
            "Numbers on them say little of other texts; report on rows of another origin: --validation FILE."
        )
    written = Path(*task_path.parts[-3:])
    print(f"Wrote {written} and {scale_path}. Read both, then:")
    print(f"  git add {written} {scale_path} && git commit -m 'Task {name}'")
    setting = shlex.quote(f"folder={folder}")
    print(f"  python -m dp plan --scale {name} --measure --set {setting}")
    print(f"  snakemake --cores all --config scale={name} {setting}")


def _counter(tokenizer: Path, backbone: str) -> tuple[Callable[[str], int], str]:
    """The length of a text, and its unit: pieces of the backbone's vocabulary where it is here, else words."""
    if not tokenizer.is_file():
        return lambda text: len(text.split()), f"words (in tokens once {backbone} is here)"
    from tokenizers import Tokenizer

    pieces = Tokenizer.from_file(str(tokenizer))
    pieces.no_truncation()
    pieces.no_padding()
    return lambda text: len(pieces.encode(text, add_special_tokens=False)), f"tokens of {backbone}"
