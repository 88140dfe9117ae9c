"""Tables as spreadsheets write them: pandas writes what is read here, and reads the same."""

import csv
import hashlib
import io

import pandas
import pytest

from dp.errors import UserError
from dp.sources import rows as fetch
from dp.tasks import model

ODD = ["plain", "a, comma", 'she said "no"', "two\nlines", "tab\there", "semi;colon", " spaces ", "Zürich 数据",
       "1.0", "NA", "x" * 200_000, "=b"]  # fmt: skip


def task(content, kind="csv", classes=("bad", "good"), **reading):
    """Two classes in turn over one text field, from two files of the same rows."""
    source = {"format": kind, "classes": list(classes), "columns": {"forecast": "text", "label": "gold"}} | reading
    digest = hashlib.sha256(content).hexdigest()
    source["files"] = {split: {"path": f"{split}.{kind}", "sha256": digest} for split in ("train", "validation")}
    counts = {"rows": len(ODD), "label_counts": [len(ODD) // 2] * 2}
    return model.Task.model_validate({
        "name": "weather", "version": 1, "description": "Is it good news?", "fields": ["forecast"],
        "truncate": "forecast", "label_names": ["bad", "good"], "metrics": ["accuracy"],
        "templates": {"causal": {"text": "{forecast}", "words": [" no", " yes"]}},
        "expected": {"train": counts, "validation": counts}, "sources": {"folder": source},
    })  # fmt: skip


def rows_of(folder, content, kind="csv", **given):
    for split in ("train", "validation"):
        (folder / f"{split}.{kind}").write_bytes(content)
    return fetch.fetch(task(content, kind, **given), "folder", str(folder))[0]["train"]


def written(separator=",", classes=("bad", "good"), **options):
    frame = pandas.DataFrame({"gold": list(classes) * (len(ODD) // 2), "text": ODD, "other": ""})
    return frame.to_csv(index=False, sep=separator, **options)


@pytest.mark.parametrize(
    ("content", "given"),
    [
        (written().encode(), {}),
        (written().encode("utf-8-sig"), {}),
        (written(lineterminator="\r\n", quoting=csv.QUOTE_ALL).encode(), {}),
        (written(";").encode(), {"separator": ";"}),
        (written("\t").encode(), {"kind": "tsv"}),
        ((written() + "\n\n").encode(), {}),
        (written(classes=(0, 1)).encode(), {"classes": (0, 1)}),
        (written(classes=(0, 1)).encode(), {"classes": ("0", "1")}),
        (written(classes=(False, True)).encode(), {"classes": (False, True)}),
    ],
)
def test_a_table_gives_the_rows_that_it_was_written_from(tmp_path, content, given):
    rows = rows_of(tmp_path, content, **given)
    assert [row["fields"]["forecast"] for row in rows] == ODD
    assert [row["label"] for row in rows] == [0, 1] * (len(ODD) // 2)
    separator = {"tsv": "\t"}.get(given.get("kind"), given.get("separator", ","))
    peer = pandas.read_csv(io.BytesIO(content), sep=separator, dtype=str, keep_default_na=False)
    assert list(peer["text"]) == ODD


@pytest.mark.parametrize(
    ("content", "given", "message"),
    [
        (b"gold,text\nbad,\n", {}, r"line 2: nothing stands in \['text'\], which is needed"),
        (b"gold,text\n,some\n", {}, r"line 2: nothing stands in \['gold'\]"),
        (b"gold,text\nbad,one\ngood,two,three\n", {}, "line 3: ends a row of 3 fields under a header of 2"),
        (b"gold;text\nbad;one\n", {}, r"'text' is missing; there is \['gold;text'\]"),
        (b'gold,text\nbad,"open\ngood,two\n', {}, "line 3: unexpected end of data"),
        (b'gold,text\nbad,"a" b\n', {}, "line 2: ',' expected after"),
        (b"gold,gold\nbad,one\n", {}, "line 1: .* must be a name for each column"),
        (b"gold,text\nBad,one\n", {}, "line 2: label 'Bad' is unknown"),
        (b"gold,text\n1.0,one\n", {"classes": (0, 1)}, "label '1.0' is unknown"),
        ("gold,text\nbad,Zürich\n".encode("latin-1"), {}, "is not UTF-8"),
        (b"gold,text\nbad,a\0b\n", {}, "holds U\\+0000|line contains NUL"),
    ],
)
def test_what_is_no_table_is_named_with_its_line(tmp_path, content, given, message):
    with pytest.raises(UserError, match=message) as error:
        rows_of(tmp_path, content, **given)
    assert "train.csv" in str(error.value) or "expected" in str(error.value)


def test_a_separator_goes_with_csv_alone():
    with pytest.raises(ValueError, match="separator: goes with format csv alone"):
        task(b"", "tsv", separator=";")
    with pytest.raises(ValueError, match="separator"):
        task(b"", separator=";;")
