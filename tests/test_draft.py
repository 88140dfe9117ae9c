"""From a table to a task: what is drafted is read back by what fetches rows, and counts as the file says."""

import json
from collections import Counter

import pytest
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from tokenizers.pre_tokenizers import Whitespace

from dp import paths, yaml12
from dp.closed import validated
from dp.commands.cli import main
from dp.errors import UserError
from dp.sources import draft, rows
from dp.sources.overlap import near_copies
from dp.study.params import Scale
from dp.tasks import model as tasks
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
        key: yaml12.parse(draft.as_yaml(value, "a comment"), key)
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


def test_near_copies_are_counted():
    train = ["The soup was cold.", "We shall come again"]
    reported = ["the soup was COLD, really", "soup was here and there too", "We shall", "another thing"]
    # 4 of 5 words, 2 of 8, 2 of 4, none
    assert near_copies(train, reported) == (2, 4)
    assert near_copies(["a b"] * 3000, ["a b"] * 2500 + ["c d"] * 2500) == (500, 1000)


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


@pytest.mark.parametrize(
    "labels",
    [
        ["01", "08", "12"],
        ["1e3", "1"],
        ["0o7", "true", "null"],
        ["yes", "no"],
        ["~", "1.0"],
        ["2026-11-26", "=b", "- a"],
    ],
)
def test_labels_that_yaml_takes_for_something_else_stay_texts(tmp_path, labels):
    table = [{"text": f"it is day {n}: x", "label": labels[n % len(labels)]} for n in range(60)]
    task, found = checked(drafted(put(tmp_path / "t.csv", table)), tmp_path)
    assert task.sources.folder.classes == sorted(labels)
    kept = Counter(task.label_names[row["label"]] for split in found.values() for row in split)
    assert kept == Counter(row["label"] for row in table)


def test_columns_of_almost_one_name_are_all_read(tmp_path):
    table = [{"text2": f"a b {n}", "Text2": f"c d {n}", "label": n % 2} for n in range(40)]
    task, found = checked(drafted(put(tmp_path / "t.jsonl", table)), tmp_path)
    assert len(task.fields) == 2
    assert {tuple(row["fields"].values()) for split in found.values() for row in split} == {
        (row["text2"], row["Text2"]) for row in table
    }


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({5: {"label": ""}}, "t.jsonl, line 6: 'label' is ''"),
        ({5: {"label": None}}, "line 6: 'label' is None"),
        ({5: {"label": ["a"]}}, r"line 6: 'label' is \['a'\]"),
        ({5: {"label": "1"}}, "holds texts and numbers"),
        ({n: {"label": 2} for n in range(1)}, "no row of '2' would be in"),
    ],
)
def test_labels_that_are_none_are_named_by_line(tmp_path, change, message):
    table = [{"text": f"a b {n}", "label": n % 2} | change.get(n, {}) for n in range(40)]
    path = put(tmp_path / "t.jsonl", table)
    with pytest.raises(UserError, match=message):
        drafted(path)


def test_tables_that_are_not_alike(tmp_path):
    one, other = put(tmp_path / "a.csv", TABLE), put(tmp_path / "b.csv", TABLE, ";")
    with pytest.raises(UserError, match="one format, and one separator"):
        drafted(one, label="Verdict", validation=other)
    with pytest.raises(UserError, match=r"--separator: a \.tsv file has its own"):
        draft.read(put(tmp_path / "t.tsv", TABLE, "\t"), ";")
    with pytest.raises(UserError, match="--separator: ';;' must be one character"):
        draft.read(one, ";;")
    tabs = put(tmp_path / "tabs.csv", TABLE, "\t")
    task, found = checked(drafted(tabs, label="Verdict", separator="\\t"), tmp_path)
    assert task.sources.folder.separator == "\t" and len(found["train"]) == 30
    lost = put(tmp_path / "t.jsonl", TABLE)
    lost.write_text(lost.read_text() + '{"Id": 1}\n')
    with pytest.raises(UserError, match=r"t\.jsonl, line 41: has no The text, Verdict, note"):
        draft.read(lost, None)


@pytest.fixture
def command(tmp_path, monkeypatch, capsys):
    """`dp draft-task` in a project whose tasks and scales are empty folders."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "params.yaml").write_text("")
    (tmp_path / "tasks").mkdir()
    monkeypatch.setattr(tasks, "FOLDER", tmp_path / "tasks")

    def call(*arguments):
        try:
            main(["draft-task", *map(str, arguments)])
        except SystemExit as stop:
            assert stop.code == 2
        return capsys.readouterr()

    return call


def test_nothing_is_written_that_the_fetch_would_refuse(tmp_path, command):
    folder = tmp_path / "my tables"
    folder.mkdir()
    path = put(folder / "mine.csv", [row | {"The text": ""} if n == 3 else row for n, row in enumerate(TABLE)])
    assert "nothing stands in ['The text']" in command(path, "--label", "Verdict").err
    assert not list((tmp_path / "tasks").iterdir()) and not (tmp_path / "workflow").exists()
    said = command(put(path, TABLE), "--label", "Verdict").out
    assert f"'folder={folder}'" in said and "the_text: 8 words" in said
    assert (tmp_path / "tasks/mine.yaml").is_file() and (tmp_path / "workflow/scales/mine.yaml").is_file()
    assert "is there already. Delete it" in command(path, "--label", "Verdict").err
    assert "Beware: 10 of 10 reported rows" in said  # they are all of one pattern
    for name in ("all", "../mine", "Ü"):
        assert "is no name for a task" in command(path, "--label", "Verdict", "--name", name).err
    (tmp_path / "params.yaml").unlink()
    assert "no params.yaml here" in command(path, "--label", "Verdict", "--name", "other").err


def test_lengths_are_the_backbones_tokens_where_it_is_here(tmp_path, command):
    """Whatever its tokenizer cuts or fills up."""
    words = Tokenizer(WordLevel({"[PAD]": 0, "[UNK]": 1}, unk_token="[UNK]"))
    words.pre_tokenizer = Whitespace()
    words.enable_padding(length=30)
    words.enable_truncation(30)
    folder = paths.backbone("minilm-l6")
    folder.mkdir(parents=True)
    words.save(str(folder / "tokenizer.json"))
    table = [{"text": "word " * (5 if n < 39 else 50), "label": n % 2} for n in range(40)]
    said = command(put(tmp_path / "mine.csv", table)).out
    assert "text: 5 tokens of minilm-l6 in the middle, 50 at most" in said


def test_what_is_no_table(tmp_path):
    for name, content, message in [("t.xlsx", "", "ends in none of"), ("t.csv", "a,b\n", "holds no rows"),
                                   ("t.jsonl", "[1]\n", "is no row")]:  # fmt: skip
        (tmp_path / name).write_text(content)
        with pytest.raises(UserError, match=message):
            draft.read(tmp_path / name, None)
    with pytest.raises(UserError, match="cannot be read"):
        draft.read(tmp_path / "absent.csv", None)
