"""From a table to a task: what is drafted is read back by what fetches rows, and counts as the file says."""

import json
from collections import Counter

import pytest
import yaml

from dp.closed import validated
from dp.errors import UserError
from dp.sources import draft, rows
from dp.study.params import Scale
from dp.tasks.model import Task

TABLE = [{"Id": n, "The text": f"on day {n}, they say, it is {'bright' if n % 3 else 'cold'}", "note": "x",
          "Verdict": ["bad", "good", "good"][n % 3]} for n in range(40)]  # fmt: skip


def put(path, table, separator=","):
    lines = [separator.join(table[0])]
    lines += [separator.join(f'"{value}"' for value in row.values()) for row in table]
    text = "\n".join(lines) if path.suffix != ".jsonl" else "\n".join(map(json.dumps, table))
    path.write_text(text + "\n")
    return path


def drafted(path, *texts, label=None, validation=None, held=None, separator=None):
    table = draft.read(path, separator)
    other = draft.read(validation, separator) if validation else None
    return draft.draft("mine", table, draft.columns_of(table, list(texts), label), other, held, 0)


def checked(found, folder):
    """As its files would be read: the task's rows, by split."""
    written = {
        key: yaml.safe_load(draft.as_yaml(value, "a comment"))
        for key, value in found._asdict().items()
        if key != "texts"
    }
    validated(Scale, written["scale"], folder / "mine.yaml")
    task = validated(Task, written["task"], folder / "mine.yaml")
    return task, rows.fetch(task, "folder", str(folder))[0]


@pytest.mark.parametrize(("name", "separator"), [("t.csv", ","), ("t.csv", ";"), ("t.tsv", "\t"), ("t.jsonl", ",")])
def test_a_table_becomes_a_task_whose_rows_are_its_own(tmp_path, name, separator):
    put(tmp_path / name, TABLE, separator)
    task, found = checked(drafted(tmp_path / name, label="Verdict"), tmp_path)
    assert task.fields == ["the_text"] and task.label_names == ["bad", "good"]
    assert [len(found["train"]), len(found["validation"])] == [30, 10]
    texts = Counter(row["fields"]["the_text"] for split in found.values() for row in split)
    assert texts == Counter(row["The text"] for row in TABLE)
    for split in found.values():
        for row in split:
            number = int(row["fields"]["the_text"].split()[2].rstrip(","))
            assert task.label_names[row["label"]] == TABLE[number]["Verdict"]


def test_a_second_table_is_reported_on(tmp_path):
    train, other = put(tmp_path / "a.csv", TABLE[:30]), put(tmp_path / "b.csv", TABLE[30:])
    task, found = checked(drafted(train, label="Verdict", validation=other), tmp_path)
    assert "re-split" not in task.labels and len(found["validation"]) == 10
    with pytest.raises(UserError, match="must lie in one folder"):
        (tmp_path / "c").mkdir()
        drafted(train, label="Verdict", validation=put(tmp_path / "c" / "b.csv", TABLE[30:]))


def test_columns_are_found_or_asked_for(tmp_path):
    path = put(tmp_path / "t.csv", [row | {"label": row["Verdict"]} for row in TABLE])
    assert draft.columns_of(draft.read(path, None), [], None) == (["The text"], "label")
    path = put(tmp_path / "t.csv", [row | {"Other": row["Verdict"]} for row in TABLE])
    with pytest.raises(UserError, match="the label could be any of Verdict, Other"):
        draft.columns_of(draft.read(path, None), [], None)
    for texts, label, message in [
        (["Text"], None, "has no column Text; it has Id, The text"),
        ([], "Id", "'Id' has 40 values"),
        ([], "note", "'note' has 1 values"),
    ]:
        with pytest.raises(UserError, match=message):
            draft.columns_of(draft.read(path, None), texts, label)
    short = put(tmp_path / "s.csv", [{"word": f"w{n}", "label": n % 2} for n in range(40)])
    with pytest.raises(UserError, match="no column holds sentences"):
        draft.columns_of(draft.read(short, None), [], None)
    assert draft.columns_of(draft.read(short, None), ["word"], None) == (["word"], "label")


def test_labels_and_names_of_any_kind(tmp_path):
    rows_in = [
        {"label": n % 3, "Überschrift 1": f"head {n} of all", "2": f"body {n} of it all, longer"} for n in range(30)
    ]
    task, found = checked(drafted(put(tmp_path / "t.jsonl", rows_in)), tmp_path)
    assert task.sources.folder.classes == [0, 1, 2] and task.label_names == ["0", "1", "2"]
    assert task.templates["causal"].words == [" a", " b", " c"]
    assert list(task.fields) == ["berschrift_1", "text2"] and task.truncate == "text2"
    assert len(found["validation"]) == 8
    with pytest.raises(UserError, match="--resplit: must be from 3 to 27"):
        drafted(tmp_path / "t.jsonl", held=29)


def test_what_is_no_table(tmp_path):
    for name, content, message in [("t.xlsx", "", "ends in none of"), ("t.csv", "a,b\n", "holds no rows"),
                                   ("t.jsonl", "[1]\n", "holds no rows")]:  # fmt: skip
        (tmp_path / name).write_text(content)
        with pytest.raises(UserError, match=message):
            draft.read(tmp_path / name, None)
    with pytest.raises(UserError, match="cannot be read"):
        draft.read(tmp_path / "absent.csv", None)
