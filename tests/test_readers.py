"""Readers of source files: paths that a library would take for a pattern, and whatever a line or a table can hold."""

import gzip
import hashlib
import io
import json
import os
import struct
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest
import yaml

from dp.errors import UserError
from dp.sources import folder as folders
from dp.sources import formats, read
from dp.sources import rows as fetch
from dp.tasks import model
from dp.tasks import templates as text

# What a shell, a glob, a URL or a template would not take as it stands, and beside it what a glob finds in its place.
ODD = {
    "data[2]": "data2", "data*": "data1", "data?": "data1", "{a,b}": "a", "x {wildcards.task}": "x y", "50% #1": "50",
    "it's \"his\"": "its", "two\nlines": "two", "Ünïcödé 数据": "data", "--help": "help", "a;b&c|$HOME": "a",
    "**": "data", "[!a]": "b", "back\\slash": "backslash", "trailing ": "trailing",
}  # fmt: skip
ROW = {"premise": "Ann knew it rained.", "hypothesis": "it rained", "label": "entailment", "idx": 0}


def written(table, kind):
    sink = io.BytesIO()
    if kind == "parquet":
        pyarrow.parquet.write_table(table, sink)
    else:
        with pyarrow.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    return sink.getvalue()


def table_of(rows, kind):
    return written(pyarrow.Table.from_pylist(rows), kind)


def content_of(rows, kind):
    if kind in ("parquet", "arrow"):
        return table_of(rows, kind)
    return "".join(json.dumps(row) + "\n" for row in rows).encode()


def cb(content, kind="jsonl", rows=1, **reading):
    """CB's task over one row of entailment in each split, read from `content`."""
    raw = model.load("cb").model_dump()
    source = {"format": kind, "classes": ["entailment", "contradiction", "neutral"]} | reading
    digest = hashlib.sha256(content).hexdigest()
    source["files"] = {split: {"path": f"{split}.{kind}", "sha256": digest} for split in ("train", "validation")}
    raw["sources"] = {"folder": source}
    raw["expected"] = {split: {"rows": rows, "label_counts": [rows, 0, 0]} for split in ("train", "validation")}
    return model.Task.model_validate(raw)


def put(folder, content, kind="jsonl"):
    folder.mkdir(parents=True, exist_ok=True)
    for split in ("train", "validation"):
        (folder / f"{split}.{kind}").write_bytes(content)


def rows_of(tmp_path, content, kind="jsonl", **given):
    put(tmp_path / "data", content, kind)
    return fetch.fetch(cb(content, kind, **given), "folder", str(tmp_path / "data"))[0]["train"]


# Paths


@pytest.mark.parametrize("name", ODD)
@pytest.mark.parametrize("kind", ["jsonl", "parquet", "arrow"])
def test_rows_come_from_the_folder_that_is_named_and_from_no_other(tmp_path, monkeypatch, name, kind):
    """A decoy of as many rows lies where a glob would find it; the path stands in a project of that name too."""
    monkeypatch.setenv("TMPDIR", str(tmp_path / name))
    monkeypatch.setenv("DP_CACHE", str(tmp_path / name / "cache"))
    content = content_of([ROW], kind)
    put(tmp_path / ODD[name] / "rows", content_of([ROW | {"premise": "another folder's"}], kind), kind)
    put(tmp_path / name / "rows", content, kind)
    monkeypatch.chdir(tmp_path / name)
    for folder in (str(tmp_path / name / "rows"), "rows"):
        rows, facts = fetch.fetch(cb(content, kind), "folder", folder)
        assert rows["train"][0]["fields"]["premise"] == ROW["premise"]
        assert facts["files"][f"train.{kind}"] == hashlib.sha256(content).hexdigest()


def test_the_bytes_that_were_verified_are_those_that_are_read(tmp_path, monkeypatch):
    content = content_of([ROW], "jsonl")
    put(tmp_path, content)
    verified = folders.obtain

    def replaced(*arguments):
        paths = verified(*arguments)
        put(tmp_path, content_of([ROW | {"premise": "came later"}], "jsonl"))
        return paths

    monkeypatch.setattr(folders, "obtain", replaced)
    with pytest.raises(UserError, match=r"train\.jsonl: changed while it was read"):
        fetch.fetch(cb(content), "folder", str(tmp_path))


@pytest.mark.parametrize("folder", ["~nobody-of-that-name/data", "x" * 300, "a" * 5000])
def test_a_folder_that_no_path_can_name(folder):
    with pytest.raises(UserError, match="cannot be read") as error:
        fetch.fetch(cb(b"{}"), "folder", folder)
    assert len(str(error.value)) < 600


# Text


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (json.dumps(ROW | {"premise": "half \ud83d"}).encode(), r"'premise' holds U\+D83D at character 6"),
        (json.dumps(ROW | {"premise": "\udc4d"}).encode(), r"'premise' holds U\+DC4D at character 1"),
        (json.dumps(ROW | {"hypothesis": "it\0rained"}).encode(), r"'hypothesis' holds U\+0000 at character 3"),
        (json.dumps(ROW).encode().replace(b"Ann", b"Ann\xff"), r"is not UTF-8 \(invalid start byte, byte 16\)"),
        (json.dumps(ROW).encode().replace(b"Ann", "Jos\u00e9".encode("latin-1")), "is not UTF-8"),
        (b'{"premise": "\xed\xa0\xbd", "hypothesis": "x", "label": "entailment"}', "is not UTF-8"),
        (json.dumps(ROW).encode("utf-16"), "is not UTF-8"),
        (b"\xef\xbb\xbf" + json.dumps(ROW).encode(), "begins with a byte order mark"),
        (json.dumps(ROW | {"premise": " \t", "hypothesis": ""}).encode(), "nothing stands in .*'hypothesis'"),
        (b'{"premise": "a", "premise": "b", "label": "entailment"}', "'premise' stands there twice"),
        (b"[" * 100_000, "is nested too deeply|malformed JSON"),
        (b'{"label": ' + b"9" * 5000 + b"}", "malformed JSON"),
        (json.dumps(ROW | {"label": "x" * 16_000}).encode(), "label 'xxx.* is unknown"),
        (json.dumps(ROW | {"premise": ["x" * 16_000] * 100}).encode(), "'premise' must be text"),
        (json.dumps({"x" * 16_000: 1}).encode(), "'premise' is missing; there is"),
        (json.dumps(ROW | {"idx": {"paragraph": 1, "question": {}}}).encode(), "idx must hold the numbers"),
        (b"null", "holds None where 'premise' should be"),
    ],
)  # fmt: skip
def test_a_line_that_is_no_row_is_named(tmp_path, line, message):
    """The bad line is the second of three; the message is one paragraph that names it."""
    good = json.dumps(ROW).encode() + b"\n"
    with pytest.raises(UserError, match=rf"train\.jsonl, line 2: .*({message})") as error:
        rows_of(tmp_path, good + line + b"\n" + good, rows=3)
    assert len(str(error.value)) < 600 + len(str(tmp_path))


def test_text_of_any_other_kind_is_kept_to_the_letter(tmp_path):
    odd = "\u200b\ufeff \U0001f44d e\u0301 \u202e \x7f\x1f\n\r\u2028"
    for kind in ("jsonl", "parquet", "arrow"):
        assert rows_of(tmp_path, content_of([ROW | {"premise": odd}], kind), kind)[0]["fields"]["premise"] == odd


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_a_table_that_holds_no_text_names_its_row(tmp_path, kind):
    rows = [ROW, ROW | {"premise": "a\0b"}]
    with pytest.raises(UserError, match=rf"train\.{kind}, row 1: 'premise' holds U\+0000"):
        rows_of(tmp_path, table_of(rows, kind), kind, rows=2)
    values = pyarrow.array([b"good", b"\xff\xfe"]).view(pyarrow.utf8())
    broken, sink = (
        pyarrow.table({"premise": values, "hypothesis": ["x"] * 2, "label": ["entailment"] * 2}),
        io.BytesIO(),
    )
    if kind == "parquet":
        pyarrow.parquet.write_table(broken, sink)
    else:
        with pyarrow.ipc.new_stream(sink, broken.schema) as writer:
            writer.write_table(broken)
    with pytest.raises(UserError, match=rf"train\.{kind} cannot be read as a table .*UTF8 sequence at string index 1"):
        rows_of(tmp_path, sink.getvalue(), kind, rows=2)


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_a_date_that_no_calendar_has_names_its_row(tmp_path, kind):
    dates = pyarrow.array([0, 2**31 - 1], pyarrow.int32()).view(pyarrow.date32())
    table = pyarrow.Table.from_pylist([ROW, ROW]).append_column("when", dates)
    with pytest.raises(UserError, match=rf"train\.{kind}, row 1: cannot be read"):
        rows_of(tmp_path, written(table, kind), kind, rows=2)


def test_a_table_whose_texts_overlap(tmp_path):
    """Offsets that go back: read on, they lead to texts of a negative length, or beyond the file."""
    content = table_of([ROW | {"premise": "ab"}, ROW | {"premise": "cd"}], "arrow")
    offsets = struct.pack("<3i", 0, 2, 4)
    assert content.count(offsets) == 1
    with pytest.raises(UserError, match=r"train\.arrow cannot be read as a table .*offset"):
        rows_of(tmp_path, content.replace(offsets, struct.pack("<3i", 0, 9, 4)), "arrow", rows=2)


@pytest.mark.parametrize("kind", ["parquet", "arrow"])
def test_a_table_cut_short_or_of_another_kind(tmp_path, kind):
    whole = table_of([ROW] * 50, kind)
    for content in (
        b"",
        b"{}\n",
        whole[: len(whole) // 2],
        whole[:10],
        table_of([ROW], {"arrow": "parquet"}.get(kind, "arrow")),
        whole.replace(b"premise", b"prem\x80se"),
        table_of([ROW | {"a\0b": 1}], kind),
    ):
        with pytest.raises(UserError, match=rf"train\.{kind} cannot be read as a table"):
            rows_of(tmp_path, content, kind)


def test_rows_of_a_table_are_those_of_the_lines(tmp_path):
    rows = [ROW | {"premise": f"premise {n}"} for n in range(2500)]
    expected = rows_of(tmp_path, content_of(rows, "jsonl"), rows=2500)
    assert len(expected) == 2500
    for kind in ("parquet", "arrow"):
        assert rows_of(tmp_path, table_of(rows, kind), kind, rows=2500) == expected


# Labels under another name


def test_a_label_column_of_another_name(tmp_path):
    row = {key: value for key, value in ROW.items() if key != "label"} | {"gold": "entailment"}
    for kind in ("jsonl", "parquet", "arrow"):
        content = content_of([row], kind)
        with pytest.raises(UserError, match=r"'label' is missing; there is .*'gold'.*columns: {label: .*cb\.yaml"):
            rows_of(tmp_path, content, kind)
        assert rows_of(tmp_path, content, kind, columns={"label": "gold"})[0]["label"] == 0


@pytest.mark.parametrize(
    ("kind", "columns", "message"),
    [
        ("jsonl", {"lable": "gold"}, "columns: 'lable' is neither a field nor 'label'; the nearest .* 'label'"),
        ("jsonl", {"label": "premise"}, "columns: 'premise' would be read twice"),
        ("jsonl", {"premise": "hypothesis"}, "columns: 'hypothesis' would be read twice"),
        ("multirc", {"label": "gold"}, "columns: format multirc has names of its own"),
    ],
)  # fmt: skip
def test_wrong_columns_are_refused_before_anything_is_read(kind, columns, message):
    with pytest.raises(ValueError, match=message):
        cb(b"", kind, columns=columns)


def test_a_field_cannot_be_called_as_the_label_is():
    raw = model.load("cb").model_dump()
    raw["fields"].append("label")
    with pytest.raises(ValueError, match="fields: 'label' is the name of a row's class"):
        model.Task.model_validate(raw)


# The other formats


def multirc(**changes):
    answer = {"text": "the goat", "label": 1, "idx": 0}
    question = {"question": "Who ate?", "answers": [answer], "idx": 0}
    raw = {"passage": {"text": "Tom fed the goat.", "questions": [question]}, "idx": 0}
    for owner in (raw, raw["passage"], question, answer):
        owner |= {key: value for key, value in changes.items() if key in owner}
    return raw


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"answers": None}, "'answers' must be a list, not None"),
        ({"questions": {}}, "'questions' must be a list, not {}"),
        ({"questions": [3]}, "holds 3 where 'answers' should be"),
        ({"answers": ["x"]}, "holds 'x' where 'idx' should be"),
        ({"passage": "text"}, "holds 'text' where 'questions' should be"),
        ({"idx": None}, "idx must hold the numbers"),
        ({"text": 3}, "'paragraph' must be text, not 3"),
        ({"label": None}, "label None is unknown"),
    ],
)
def test_what_multirc_can_hold(changes, message):
    task = model.load("multirc")
    content = (json.dumps(multirc()) + "\n" + json.dumps(multirc(**changes)) + "\n").encode()
    with pytest.raises(UserError, match=rf"m\.jsonl, line 2: {message}"):
        read.canonical(task, task.sources.folder, {"train": read.File(Path("m.jsonl"), content)})


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ({"idx": 0, "doc": {"query": {}}, "label": 0}, "'query' must be text, not {}"),
        ({"idx": 0, "doc": None, "label": 0}, "holds None where 'query' should be"),
        ({"doc": {"query": ""}}, "'idx' is missing"),
        ({"idx": 0, "doc": {"query": ""}, "label": 0}, "the last block of the query is not of the form"),
        ({"idx": 0, "doc": {"query": "p\nQuestion: q\nQuestion: r?\nAnswer:"}, "label": 0}, "in more than one way"),
        ({"idx": 0, "doc": {"query": "x\ny" * 100_000}, "label": 0}, "is not of the form"),
    ],
)
def test_what_requests_can_hold(line, message):
    task = model.load("boolq")
    content = gzip.compress((json.dumps(line) + "\n").encode())
    with pytest.raises(UserError, match=rf"r\.jsonl\.gz, line 1: .*{message}"):
        read.canonical(task, task.sources.package, {"train": read.File(Path("r.jsonl.gz"), content)})


def test_damaged_gzip():
    task = model.load("boolq")
    whole = gzip.compress(os.urandom(5000))
    flipped = bytearray(whole)
    flipped[len(whole) // 2] ^= 255
    trailing = whole[:-8] + bytes(8)
    for content in (b"", b"plain text\n", whole[:100], whole[: len(whole) - 3], bytes(flipped), trailing):
        file = read.File(Path("r.jsonl.gz"), content)
        with pytest.raises(UserError, match=r"r\.jsonl\.gz(: is damaged|, line|: train has 0 rows)"):
            read.canonical(task, task.sources.package, {"train": file, "validation": file})


# Patterns


@pytest.mark.parametrize(
    ("pattern", "rendered", "fields"),
    [
        ("{a} and {b}", "x and y", {"a": "x", "b": "y"}),
        ("{a} and {b}", "x and y and z", None),
        ("{a} and {b}", " and ", {"a": "", "b": ""}),
        ("({b}) {a}.", "(x) y.", {"b": "x", "a": "y"}),
        ("({b}) {a}.", "(x) y", None),
        ("{{{a}}} {b}", "{x} y", {"a": "x", "b": "y"}),
        ("aa{a}aa {b}", "aa x", None),
        ("{a}+{b}", "(.*)*+x", {"a": "(.*)*", "b": "x"}),
    ],
)
def test_a_text_is_taken_apart_in_one_way_or_not_at_all(pattern, rendered, fields):
    assert text.parse(pattern, rendered) == fields
    if fields:
        assert pattern.format_map(fields) == rendered


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("{passage}", "must hold each of the fields"),
        ("{passage} {passage} {question}", "must hold each of the fields"),
        ("{passage}{question}", "must have something between two fields"),
        ("(?P<passage>(a+)+) (?P<question>.*)", "must hold each of the fields"),
        ("{passage} {question", "pattern: "),
        ("{passage!r} {question}", "is not a field"),
    ],
)
def test_a_wrong_pattern_is_refused_before_anything_is_read(tmp_path, pattern, message):
    raw = yaml.safe_load((model.FOLDER / "boolq.yaml").read_text())
    raw["sources"]["package"]["pattern"] = pattern
    path = tmp_path / "boolq.yaml"
    path.write_text(yaml.safe_dump(raw))
    with pytest.raises(UserError, match=f"sources.package.pattern: .*{message}|sources.package.pattern: "):
        model.read(path)


@pytest.mark.parametrize("package", ["--log==x", "-r==1", "x==-1", "x>=1", "x==1 y==2", "../x==1"])
def test_a_package_is_a_name_and_a_version(package):
    raw = model.load("boolq").model_dump()
    raw["sources"]["package"]["package"] = package
    with pytest.raises(ValueError, match=r"package\n.*should match pattern"):
        model.Task.model_validate(raw)


@pytest.mark.parametrize("repo", ["../x", "a/b/c", "-x", "a b", "a/../b", "https://host/x", ""])
def test_a_repository_is_an_owner_and_a_name(repo):
    raw = model.load("boolq").model_dump()
    raw["sources"]["hub"]["repo"] = repo
    with pytest.raises(ValueError, match=r"repo\n.*should match pattern"):
        model.Task.model_validate(raw)


def test_every_format_has_a_reader():
    assert set(formats.FORMATS) == set(model.Reading.model_fields["format"].annotation.__args__)
