"""Splits that are too small, rows without text or without room: refused when they are tokenized, by name and number."""

import json
import re

import pytest
import yaml
from conftest import ROOT
from small_project import Project

from dp import files, paths
from dp.commands import cli
from dp.data import enough
from dp.errors import UserError
from dp.tasks import model

NAMES = ["red", "green", "blue"]


def rows(*counts, per_cluster=1, start=0):
    labels = [label for label, count in enumerate(counts) for _ in range(count)]
    return [{"label": label, "cluster": str((start + n) // per_cluster)} for n, label in enumerate(labels)]


def splits(train, selection=(1, 1), validation=(1, 1)):
    return {"train": rows(*train), "selection": rows(*selection), "validation": rows(*validation)}


ENOUGH = splits((2, 2), (1, 1), (1, 1))


@pytest.mark.parametrize(
    ("found", "official", "message"),
    [
        (splits(()), rows(1), r"train has 0 rows, .* has 1\).*lower rows.selection_fraction"),
        (splits((3,)), rows(4), r"train has 3 rows, all of the class 'red', .*nothing to tell apart.*Raise rows.train"),
        (splits((3, 3), ()), rows(3, 3), r"selection has 0 rows.*Raise rows.selection or rows.selection_fraction"),
        (splits((3, 3), (0, 2)), rows(3, 5), r"selection has 2 rows, all of the class 'green'"),
        (splits((3, 3), (1, 1), (0, 0, 4)), rows(4, 4), r"validation has 4 rows, all of the class 'blue'.*rows.report"),
        (splits((3, 3), (1, 1, 1)), rows(4, 4, 1), r"train has no row of the class 'blue', of 1 in the official split"),
        (splits((30, 30), ()), rows(40, 40, per_cluster=20), r"Rows of one paragraph stay .*over 0\.250"),
    ],
)  # fmt: skip
def test_a_split_that_decides_nothing_is_refused(found, official, message):
    with pytest.raises(UserError, match=message):
        enough.check(found, official, NAMES, [], selects=True)


def test_few_shot_of_more_rows_than_any_class_has_is_refused():
    enough.check(splits((2, 7)), rows(3, 8), NAMES, [2, 7], selects=True)
    with pytest.raises(UserError, match=r"few-shot k = 8 .* 7 at most.*another name. Lower k"):
        enough.check(splits((2, 7)), rows(3, 8), NAMES, [2, 8], selects=True)


def test_what_nothing_is_selected_by_may_be_one_class_but_not_empty():
    """paper-released keeps one row of CB for a selection that its protocol never looks at."""
    one = splits((3, 3), (1,))
    enough.check(one, rows(4, 3), NAMES, [], selects=False)
    with pytest.raises(UserError, match="selection has 1 rows, all of the class 'red'"):
        enough.check(one, rows(4, 3), NAMES, [], selects=True)
    with pytest.raises(UserError, match="selection has 0 rows"):
        enough.check(splits((3, 3), ()), rows(4, 3), NAMES, [], selects=False)


def test_every_scale_of_the_project_has_enough_of_the_tasks_that_are_at_hand():
    """By the counts of the task files; a selection of whole paragraphs comes out some rows off."""
    from dp.study.study import load

    for path in sorted((ROOT / "workflow/scales").glob("*.yaml")):
        study = load(ROOT, {"scale": path.stem, "folder": "a folder"})
        most = {}
        for name in study.tasks:
            expected = model.load(name).expected
            assert min(len([n for n in one.label_counts if n]) for one in expected.values()) > 1
            most[name] = max(expected["train"].label_counts)
        for part in study.scale.regimes:
            for k in getattr(part, "k", []):
                assert k <= min(most[name] for name in study.tasks_in(part)) * 0.9


# As a user meets it


@pytest.fixture
def written(tmp_path, monkeypatch):
    """Tokenize rows of our own as the toy task's, under a template of our own."""
    monkeypatch.chdir(tmp_path)
    project = Project(tmp_path, ["fixed"])
    here = {"source": "folder", "tasks": {"folder": ["toy"]}}

    def tokenize(train, validation=(("yes", 0), ("no", 1)), text="{statement} {question}", **scale):
        raw = yaml.safe_load((ROOT / "dp/tasks/toy.yaml").read_text())
        raw["templates"] = {family: one | {"text": text} for family, one in raw["templates"].items()}
        raw["sources"] = {"folder": {"format": "jsonl", "classes": [0, 1], "files": {}}}
        for split, given in (("train", train), ("validation", validation)):
            lines = [{"statement": s, "question": "is it red?", "label": label} for s, label in given]
            path = tmp_path / "data" / f"{split}.jsonl"
            files.write_jsonl(path, lines)
            labels = [label for _, label in given]
            raw["expected"][split] = {"rows": len(given), "label_counts": [labels.count(0), labels.count(1)]}
            raw["sources"]["folder"]["files"][split] = {"path": path.name, "sha256": files.sha256(path)}
        (tmp_path / "tasks").mkdir(exist_ok=True)
        (tmp_path / "tasks/toy.yaml").write_text(yaml.safe_dump(raw))
        monkeypatch.setattr(model, "FOLDER", tmp_path / "tasks")
        model.load.cache_clear()
        path = tmp_path / "workflow/scales/small.yaml"
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | here | scale))
        for command in (["fetch-backbone", "--backbone", "tiny-t5"], ["fetch-task", "--task", "toy"],
                        ["tokenize", "--backbone", "tiny-t5", "--task", "toy"]):  # fmt: skip
            cli.main([*command, "--set", f"folder={json.dumps(str(tmp_path / 'data'))}"])
        return files.read_json(project.root / paths.tokens("small", "tiny-t5", "toy") / "record.json")["made"]

    yield tokenize
    model.load.cache_clear()


PLENTY = [("the ball", 0), ("the box", 1)] * 10


def refused(capsys, call):
    """The one paragraph that the command prints."""
    with pytest.raises(SystemExit) as stopped:
        call()
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert stopped.value.code == 2
    return said


def test_enough_is_enough(written):
    made = written(PLENTY)
    assert made["rows"] == {"train": 18, "selection": 2, "validation": 2}


@pytest.mark.parametrize(
    ("train", "scale", "message"),
    [
        ([("the ball", 0)], {}, r"task 'toy', scale 'small': train has 0 rows"),
        ([("the ball", 0), ("the box", 1)], {}, "train has 1 rows, all of the class"),
        (PLENTY, {"rows": {"selection": 1}}, "selection has 1 rows, all of the class"),
        (PLENTY, {"rows": {"report": 1}}, "validation has 1 rows, all of the class"),
        (PLENTY, {"rows": {"train": 1}}, "train has 1 rows, all of the class"),
        (PLENTY, {"regimes": [{"kind": "fewshot", "k": [4, 32]}]}, "few-shot k = 32 asks for more rows"),
        (PLENTY, {"max_tokens": 4}, r"train: 18 of 18 rows do not fit into max_tokens; at worst row train-\d+: "
                                    r"5 tokens even without its statement; raise max_tokens above 4, to 5"),
    ],
)  # fmt: skip
def test_too_few_rows_or_too_little_room_is_one_paragraph(written, capsys, train, scale, message):
    assert re.search(message, refused(capsys, lambda: written(train, **scale)))


@pytest.mark.parametrize("empty", ["", " ", "\n\t", "\u3000"])
def test_a_row_without_text_is_refused_by_its_name(written, capsys, empty):
    said = refused(capsys, lambda: written([*PLENTY, (empty, 0)], text="{statement}"))
    assert re.search(r"templates\.seq2seq: row train-20: its text, '.*', is empty, .*give the template words", said)
    made = written([*PLENTY, (empty, 0)])
    assert sum(made["rows"].values()) == 23, "beside another field an empty one is a text like any other"
