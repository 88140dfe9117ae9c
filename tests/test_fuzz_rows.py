"""Whatever stands in a source file: the rows that were asked for, or a refusal that names the file."""

import gzip
import io

import pyarrow as pa
import pyarrow.parquet
from damage import edited, edits, json_bytes, spoiled, spoils, values
from fuzzing import check_refusal, counts, explore
from hypothesis import strategies as st

from dp import files
from dp.errors import UserError
from dp.sources.rows import fetch
from dp.tasks.model import Task, load

BOOLQ = [{"passage": f"Passage {n}.", "question": f"is it {n}", "idx": n, "label": n % 2 == 0} for n in range(4)]
ANSWERS = [{"idx": i, "text": f"answer {i}", "label": i} for i in range(2)]
QUESTIONS = [{"idx": 0, "question": "Which?", "answers": ANSWERS}]
MULTIRC = [{"idx": n, "passage": {"text": f"Paragraph {n}.", "questions": QUESTIONS}} for n in range(2)]
REQUESTS = [
    {"idx": i, "label": n % 2, "doc": {"query": f"An example.\n\nPassage {n}.\nQuestion: is it {n}?\nAnswer:"}}
    for n in range(4)
    for i in range(2)
]
TABLE = [{"passage": row["passage"], "question": row["question"], "label": int(row["label"])} for row in BOOLQ]
# Format -> task, source, suffix, parsed lines or rows
FORMATS = {
    "jsonl": ("boolq", "folder", ".jsonl", BOOLQ),
    "multirc": ("multirc", "folder", ".jsonl", MULTIRC),
    "requests": ("boolq", "package", ".jsonl.gz", REQUESTS),
    "parquet": ("boolq", "hub", ".parquet", TABLE),
    "arrow": ("boolq", "hub", ".arrow", TABLE),
}


def file_of(format, rows):
    """The bytes of a file of rows. Raises pyarrow's errors for what no table can hold."""
    if format in ("parquet", "arrow"):
        table, to = pa.Table.from_pylist(rows), io.BytesIO()
        if format == "parquet":
            pyarrow.parquet.write_table(table, to)
        else:
            with pa.ipc.new_stream(to, table.schema) as writer:
                writer.write_table(table)
        return to.getvalue()
    lines = b"".join(json_bytes(row) + b"\n" for row in rows)
    return gzip.compress(lines, mtime=0) if format == "requests" else lines


def task_of(format, folder, suffix, name, source):
    """The task as if a folder of the user's held these files."""
    task = load(name)
    reading = getattr(task.sources, source).model_dump(include={"classes", "columns", "pattern"})
    names = {"train": f"rows{suffix}", "validation": f"good{suffix}"}
    found = {split: {"path": one, "sha256": files.sha256(folder / one)} for split, one in names.items()}
    expected = {split: {"rows": 4, "label_counts": [2, 2]} for split in names}
    changes = {"expected": expected, "sources": {"folder": {"format": format, "files": found, **reading}}}
    return Task.model_validate(task.model_dump() | changes)


def ending(folder, format, data):
    """How fetching ends. Accepted rows are texts that can be written, and come back as they were."""
    name, source, suffix, rows = FORMATS[format]
    (folder / f"rows{suffix}").write_bytes(data)
    (folder / f"good{suffix}").write_bytes(file_of(format, rows))
    try:
        found, _ = fetch(task_of(format, folder, suffix, name, source), "folder", str(folder))
    except UserError as error:
        check_refusal(error, f"rows{suffix}")
        return f"{format} refused"
    files.write_jsonl(folder / "written.jsonl", found["train"])
    if files.read_jsonl(folder / "written.jsonl") != found["train"]:
        raise AssertionError("rows are others once they were written")
    return f"{format} accepted"


@counts(few=100, share=0.2)
def test_edited_rows(tmp_path, cases):
    drawn = st.sampled_from(sorted(FORMATS)).flatmap(
        lambda format: st.tuples(st.just(format), edits(FORMATS[format][-1], values))
    )

    def property(case):
        format, changes = case
        try:
            data = file_of(format, edited(FORMATS[format][-1], changes))
        except (pa.ArrowException, UnicodeEncodeError, OverflowError, TypeError, AttributeError):
            return "no table can hold it"
        return ending(tmp_path, format, data)

    explore(property, drawn, cases)


@counts(few=80, share=0.11)
def test_spoiled_rows(tmp_path, cases):
    def property(case):
        format, inside, damage = case
        data = file_of(format, FORMATS[format][-1])
        if inside and format == "requests":
            return ending(tmp_path, format, gzip.compress(spoiled(gzip.decompress(data), damage)))
        return ending(tmp_path, format, spoiled(data, damage))

    explore(property, st.tuples(st.sampled_from(sorted(FORMATS)), st.booleans(), spoils()), cases)
