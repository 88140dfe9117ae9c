"""Task files: golden renderings, class order, and every way in which a task file can be wrong."""

import os
import re
import shutil
import subprocess
import sys

import pytest
import yaml
from conftest import ROOT
from small_project import Project, small_study

from dp.commands import cli
from dp.errors import UserError
from dp.results import metrics
from dp.study import needs
from dp.tasks import model
from dp.tasks.templates import spans
from dp.worlds import made_up

SAMPLE = {
    "boolq": {"passage": "Owls hunt {at} night.", "question": "do owls sleep at night"},
    "cb": {"premise": "Ann thinks the lake froze.", "hypothesis": "the lake froze"},
    "rte": {"premise": "The lake froze in May.", "hypothesis": "It was cold in May."},
    "rte_val_resplit": {"premise": "The lake froze in May.", "hypothesis": "It was cold in May."},
    "wic": {"word": "bank", "sentence1": "A bank of clouds.", "sentence2": "The bank is shut."},
    "multirc": {"paragraph": "Tom fed the goat.", "question": "Who ate?", "answer": "the goat"},
    "toy": {"statement": "the cat has a red ball.", "question": "is the ball blue?"},
    "toy_choice": {"statement": "the cat has a red ball.", "choice1": "a red ball", "choice2": "a blue ball"},
    "copa_val_resplit": {
        "premise": "The lake froze.",
        "question": "cause",
        "choice1": "It was cold.",
        "choice2": "It was noon.",
    },
    "sst2_val_resplit": {"sentence": "a lake of a film . "},
    "mrpc_val_resplit": {"sentence1": "The lake froze in May .", "sentence2": "In May , the lake froze ."},
}
PLANTED = ("planted_first", "planted_last", "planted_second", "planted_other_feature", "planted_cue_end",
           "planted_cue_distance", "planted_cue_feature", "planted_cue_end_feature")  # fmt: skip
SAMPLE |= {name: {"words": "w07 w12 w47", "question": "word 1, feature 0"} for name in PLANTED}
RTE = " sentence1: The lake froze in May. sentence2: It was cold in May."
RTE_CAUSAL = "The lake froze in May.\nQuestion: Does it follow that It was cold in May. Yes or no?\nAnswer:"
GOLDEN = {
    ("boolq", "seq2seq"): " hypothesis: do owls sleep at night. premise: Owls hunt {at} night.",
    ("boolq", "causal"): "Owls hunt {at} night.\nQuestion: do owls sleep at night?\nAnswer:",
    ("boolq", "encoder"): "do owls sleep at night? Owls hunt {at} night.",
    ("cb", "seq2seq"): " hypothesis: the lake froze. premise: Ann thinks the lake froze.",
    (
        "cb",
        "causal",
    ): "Ann thinks the lake froze.\nQuestion: Is it true that the lake froze? Yes, no or maybe?\nAnswer:",
    ("cb", "encoder"): "the lake froze. Ann thinks the lake froze.",
    ("rte", "seq2seq"): RTE,
    ("rte", "causal"): RTE_CAUSAL,
    ("rte", "encoder"): "It was cold in May. The lake froze in May.",
    ("rte_val_resplit", "seq2seq"): RTE,
    ("rte_val_resplit", "causal"): RTE_CAUSAL,
    ("rte_val_resplit", "encoder"): "It was cold in May. The lake froze in May.",
    ("wic", "seq2seq"): " sentence1: A bank of clouds. sentence2: The bank is shut. word: bank",
    ("wic", "causal"): (
        'A bank of clouds.\nThe bank is shut.\nQuestion: Does the word "bank" mean the same in both sentences?\nAnswer:'
    ),
    ("wic", "encoder"): "bank: A bank of clouds. The bank is shut.",
    ("multirc", "seq2seq"): " question: Who ate? answer: the goat. paragraph: Tom fed the goat.",
    ("multirc", "causal"): (
        "Tom fed the goat.\nQuestion: Who ate?\nProposed answer: the goat\nIs the proposed answer right?\nAnswer:"
    ),
    ("multirc", "encoder"): "Who ate? the goat Tom fed the goat.",
    ("toy", "seq2seq"): " statement: the cat has a red ball. question: is the ball blue?",
    ("toy", "causal"): "the cat has a red ball.\nQuestion: is the ball blue?\nAnswer:",
    ("toy", "encoder"): "is the ball blue? the cat has a red ball.",
    ("toy_choice", "seq2seq"): " statement: the cat has a red ball. question: a red ball and a blue ball",
    ("toy_choice", "causal"): "the cat has a red ball.\nQuestion: a red ball and a blue ball?\nAnswer:",
    ("toy_choice", "encoder"): "a red ball and a blue ball? the cat has a red ball.",
    ("copa_val_resplit", "seq2seq"): (
        " premise: The lake froze. which was the cause? first: It was cold. second: It was noon."
    ),
    ("copa_val_resplit", "causal"): (
        "The lake froze.\nEither: It was cold.\nOr: It was noon.\nQuestion: Which of the two was the cause?\nAnswer:"
    ),
    ("copa_val_resplit", "encoder"): "The lake froze. Either: It was cold. Or: It was noon. The cause:",
    ("sst2_val_resplit", "seq2seq"): " sentence: a lake of a film .  sentiment:",
    ("sst2_val_resplit", "causal"): "Review: a lake of a film . \nSentiment:",
    ("sst2_val_resplit", "encoder"): "a lake of a film . ",
    ("mrpc_val_resplit", "seq2seq"): " sentence1: The lake froze in May . sentence2: In May , the lake froze .",
    ("mrpc_val_resplit", "causal"): (
        "The lake froze in May .\nIn May , the lake froze .\n"
        "Question: Do both sentences say the same? Yes or no?\nAnswer:"
    ),
    ("mrpc_val_resplit", "encoder"): "The lake froze in May . In May , the lake froze .",
}
GOLDEN |= {(name, family): "w07 w12 w47" for name in PLANTED for family in ("seq2seq", "causal", "encoder")}
WORDS = {  # paper.md section 2, class order
    "boolq": ["no", "yes"],
    "cb": ["yes", "no", "maybe"],
    "rte": ["yes", "no"],
    "rte_val_resplit": ["yes", "no"],
    "wic": ["no", "yes"],
    "multirc": ["no", "yes"],
    "toy": ["no", "yes"],
    "toy_choice": ["a red ball", "a blue ball"],
    "copa_val_resplit": ["It was cold.", "It was noon."],
    "sst2_val_resplit": ["negative", "positive"],
    "mrpc_val_resplit": ["no", "yes"],
}

WORDS |= {name: ["no", "yes"] for name in PLANTED}


# The project's own tasks, to the letter


@pytest.mark.parametrize("name", SAMPLE)
def test_every_template_renders_to_its_golden_example(name):
    task = model.load(name)
    for family in task.templates:
        assert model.render(task, family, SAMPLE[name]) == GOLDEN[name, family]


@pytest.mark.parametrize("name", SAMPLE)
def test_label_words_stand_in_class_order(name):
    task = model.load(name)
    words = {family: model.words(task, family, SAMPLE[name]) for family in task.templates}
    assert words["seq2seq"] == WORDS[name]
    assert words["causal"] == words["encoder"] == [f" {word}" for word in WORDS[name]]
    choices = {task.templates[family].has_choices for family in task.templates}
    assert choices == {name in ("copa_val_resplit", "toy_choice")}


@pytest.mark.parametrize(
    ("metric", "message"),
    [
        ("f1a", "dp/tasks/f1a.yaml: metrics: f1a is for 2 classes, and there are 3; take it out"),
        ("macro-f1", "dp/tasks/macro-f1.yaml: metrics: 'macro-f1' is unknown; the nearest valid name is 'macro_f1'"),
    ],
)
def test_a_metric_that_does_not_fit_is_refused_before_a_fetch(tmp_path, monkeypatch, capsys, metric, message):
    odd = yaml.safe_load((model.FOLDER / "cb.yaml").read_text()) | {"name": metric, "metrics": [metric]}
    (tmp_path / f"{metric}.yaml").write_text(yaml.safe_dump(odd))
    monkeypatch.setattr(model, "FOLDER", tmp_path)
    with pytest.raises(SystemExit):
        cli.main(["fetch-task", "--task", metric, "--set", "source=hub"])
    assert message in capsys.readouterr().err


def test_metrics_and_labels():
    named = {name: model.load(name).metrics for name in SAMPLE}
    assert named.pop("multirc") == ["accuracy", "f1a", "exact_match"]
    assert named.pop("cb") == named.pop("mrpc_val_resplit") == ["accuracy", "macro_f1"]
    assert all(names == ["accuracy"] for names in named.values())
    labels = {name: model.load(name).labels for name in SAMPLE}
    assert {name for name in SAMPLE if "re-split" in labels[name]} == {name for name in SAMPLE if "_resplit" in name}
    assert {name for name in SAMPLE if "planted-world" in labels[name]} == set(PLANTED)


# Any task that has a file, one that a user added too


@pytest.mark.parametrize("name", model.names())
def test_every_template_shows_the_fields_as_they_are(name):
    """Whatever stands in a field, braces too, stands in the text, where truncation looks for it."""
    task = model.load(name)
    fields = {field: f"<{field}> {{0}} {{{field}}} %s \\n" for field in task.fields}
    for family in task.templates:
        text, words = model.render(task, family, fields), model.words(task, family, fields)
        assert fields[task.truncate] in text
        assert len(set(words)) == len(words) == len(task.label_names)
        for field, (start, end) in spans(task.templates[family].text, fields).items():
            assert text[start:end].startswith(fields[field])


@pytest.mark.parametrize("name", model.names())
def test_the_words_of_every_task_follow_its_text(name):
    """A word is scored behind the text: where that does not end in a space, the word of a causal model begins with one.

    An encoder's stands alone at [MASK], as a word within a sentence does. A seq2seq decoder's begins its own text.
    """
    task = model.load(name)
    for family, template in task.templates.items():
        spaced = family == "seq2seq" or (family != "encoder" and template.text[-1].isspace())
        for word in template.words:
            assert spaced or word.startswith(" "), f"{family}: {word!r} begins with no space"


@pytest.mark.parametrize("name", model.names())
def test_every_task_is_counted_as_its_metrics_need(name):
    task = model.load(name)
    for split, expected in task.expected.items():
        assert min(expected.label_counts) > 0, f"{split} has no row of a class"
    metrics.check(task.metrics, len(task.label_names), name)


def only_for(family):
    """The toy task, but meant for one family."""
    raw = yaml.safe_load((model.FOLDER / "toy.yaml").read_text())
    return model.Task.model_validate(raw | {"templates": {family: raw["templates"][family]}})


def test_a_task_is_meant_for_the_families_that_it_has_templates_for(monkeypatch):
    monkeypatch.setattr("dp.study.needs.load", lambda name: only_for("seq2seq"))
    needs.check_tasks(small_study(["fixed"], backbones=["tiny-t5"]))
    study = small_study(["fixed"], backbones=["tiny-t5", "tiny-llama"])
    message = (r"dp/tasks/toy\.yaml: templates has none for the family 'causal', only for seq2seq\. "
               r"Add templates\.causal, or take the task or its backbones out of the scale\.")  # fmt: skip
    with pytest.raises(UserError, match=message):
        needs.check_tasks(study)
    for use in (lambda task: model.render(task, "causal", {}), lambda task: model.words(task, "causal", {})):
        with pytest.raises(UserError, match=message):
            use(only_for("seq2seq"))


@pytest.mark.parametrize("command", [("plan",), ("tokenize", "--backbone", "tiny-llama", "--task", "toy")])
def test_commands_refuse_a_scale_whose_task_is_not_meant_for_its_backbones(tmp_path, monkeypatch, capsys, command):
    Project(tmp_path, ["fixed"], backbones=["tiny-llama"])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("dp.study.needs.load", lambda name: only_for("encoder"))
    with pytest.raises(SystemExit):
        cli.main(list(command))
    assert "dp/tasks/toy.yaml: templates has none for the family 'causal'" in capsys.readouterr().err
    assert not (tmp_path / "results" / "tokenize").exists()


@pytest.mark.slow
def test_a_task_added_as_documented_passes_and_is_tested(tmp_path):
    """docs/extend.md's own file, with its label under another name, and a re-split one; no test is edited."""
    for name in ("dp", "tests", "workflow"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("params.yaml", "pyproject.toml", "Snakefile", "environment.yml", "dvc.yaml", "docs"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    documented = re.search(r"```yaml\n(name: weather\n.*?)```", (ROOT / "docs/extend.md").read_text(), re.DOTALL)[1]
    (tmp_path / "dp/tasks/weather.yaml").write_text(documented)
    resplit = yaml.safe_load((model.FOLDER / "copa_val_resplit.yaml").read_text()) | {"name": "my_resplit"}
    (tmp_path / "dp/tasks/my_resplit.yaml").write_text(yaml.safe_dump(resplit))
    tests = [f"tests/test_{name}.py" for name in ("tasks", "grid", "enough", "planted_world")]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-m", "not slow", "-rA", "-p", "no:cacheprovider", *tests],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr
    for name in ("weather", "my_resplit"):
        assert len(re.findall(rf"PASSED .*\[{name}\]", done.stdout)) == 3


def test_unknown_task_names_the_nearest():
    with pytest.raises(UserError, match=r"no task 'bolq'.*'boolq'"):
        model.load("bolq")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.update(truncat="passage"), "unknown key 'truncat'; the nearest valid name is 'truncate'"),
        (lambda t: t.pop("version"), "key 'version' is missing"),
        (lambda t: t.update(truncate="text"), "truncate: 'text' is not among the fields"),
        (lambda t: t.update(templates={}), "templates = {}: Dictionary should have at least 1 item"),
        (lambda t: t["templates"].update(causl=t["templates"].pop("causal")), "templates.causl"),
        (lambda t: t["templates"]["causal"].update(text="{passage} {qestion}"), "{qestion} is not a field.*'question'"),
        (lambda t: t["templates"]["causal"].update(text="{question!r} {passage}"), "is not a field"),
        (lambda t: t["templates"]["causal"].update(text="{question} {passage"), "templates.causal.text"),
        (lambda t: t["templates"]["causal"].update(text="{question}"), "must hold the field that may be truncated"),
        (lambda t: t["templates"]["causal"].update(words=[" no"]), "must be 2 different words"),
        (lambda t: t["templates"]["causal"].update(words=[" no", " no"]), "must be 2 different words"),
        (lambda t: t["templates"]["causal"].update(words=["{qestion}", " no"]), "causal.words: {qestion}.*'question'"),
        (lambda t: t["templates"]["causal"].update(words=["{question", " no"]), "templates.causal.words: "),
        (lambda t: t["templates"]["causal"].update(words=["{question:>9}", " no"]), "words: {question} is not a field"),
        (lambda t: t["expected"]["train"].update(rows=9428), "must be 2 counts that add up to rows"),
        (lambda t: t["expected"].pop("validation"), "expected: 'validation' is missing"),
        (lambda t: t["metrics"].append("accuracy"), "metrics: 'accuracy' stands there twice"),
        (lambda t: t["label_names"].__setitem__(1, t["label_names"][0]), "label_names: '.*' stands there twice"),
        (
            lambda t: t["label_names"].__setitem__(0, "\u202eyes"),
            r"'\\u202eyes' holds what cannot be printed",
        ),
        (lambda t: t["fields"].append("passage"), "fields: 'passage' stands there twice"),
        (
            lambda t: t["sources"]["folder"]["files"].update(validation=t["sources"]["folder"]["files"]["train"]),
            "sources.folder.files: two splits are the same file, so what is trained on would be reported on",
        ),
        (lambda t: t["sources"]["folder"]["files"].pop("train"), "sources.folder.files: must name"),
        (lambda t: t["sources"]["folder"].update(classes=[False]), "sources.folder.classes: must be 2"),
        (lambda t: t["sources"]["folder"].update(columns={"text": "passage"}), "'text' is neither a field nor 'label'"),
        (lambda t: t["sources"]["package"].pop("pattern"), "pattern: goes with format requests"),
        (lambda t: t["sources"]["hub"]["files"].update(train="../x.parquet"), "must be a path below the source"),
        (
            lambda t: t["sources"]["folder"].update(
                files={"all": t["sources"]["folder"]["files"]["train"]}, resplit={"validation": 9}
            ),
            "labels: must hold 're-split'",
        ),
        (lambda t: t.update(name="other"), "must be the name of the file, 'boolq'"),
    ],
)
def test_a_wrong_task_file_is_refused(tmp_path, change, message):
    raw = yaml.safe_load((model.FOLDER / "boolq.yaml").read_text())
    change(raw)
    path = tmp_path / "boolq.yaml"
    path.write_text(yaml.safe_dump(raw))
    with pytest.raises(UserError, match=message) as error:
        model.read(path)
    assert str(path) in str(error.value)


def test_toy_is_decidable_from_its_words_and_in_the_vocabulary():
    task = model.load("toy")
    rows = {split: made_up.rows("yes_no", split, want.rows, 0) for split, want in task.expected.items()}
    for row in rows["train"] + rows["validation"]:
        colour = re.search(rf"\b({'|'.join(made_up.COLOURS)})\b", row["fields"]["statement"])[0]
        assert row["label"] == (colour in row["fields"]["question"].replace("?", "").split())
        for family, template in task.templates.items():
            text = model.render(task, family, row["fields"]) + " ".join(template.words)
            assert set(re.findall(r"\w+|[^\w\s]+", text)) <= set(made_up.WORDS)
    statements = [{row["fields"]["statement"] for row in rows[split]} for split in ("train", "validation")]
    assert [len(found) for found in statements] == [96, 40] and not statements[0] & statements[1]
    assert rows["train"] == made_up.rows("yes_no", "train", 96, 0) != made_up.rows("yes_no", "train", 96, 1)
    assert len(set(made_up.WORDS)) == len(made_up.WORDS)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"kind": "plantd"}, r"made_up.*'yes_no', 'choice'.*'planted'"),
        ({"questions": []}, r"questions.* at least 1 item"),
        ({"questions": [{"word": 3, "feature": 0}]}, r"questions.0.word = 3"),
        ({"questions": [{"word": 0, "feature": 0}]}, r"questions.0.word = 0"),
        ({"questions": [{"word": 1, "feature": 4}]}, r"questions.0.feature = 4: .*less than or equal to 3"),
        ({"questions": [{"word": 1, "feature": n % 4} for n in range(5)]}, r"questions.* at most 4 items"),
    ],
)
def test_a_wrong_planted_source_is_refused(tmp_path, change, message):
    raw = yaml.safe_load((model.FOLDER / "planted_first.yaml").read_text())
    raw["sources"]["made_up"] |= change
    path = tmp_path / "planted_first.yaml"
    path.write_text(yaml.safe_dump(raw))
    with pytest.raises(UserError, match=message):
        model.read(path)


def test_made_up_choices_name_what_is_there_in_the_labelled_place():
    rows = made_up.rows("choice", "train", 96, 0)
    assert len({row["fields"]["statement"] for row in rows}) == 96
    assert sum(row["label"] for row in rows) == 48
    for row in rows:
        there = [row["fields"][name] in row["fields"]["statement"] for name in ("choice1", "choice2")]
        assert there == [row["label"] == 0, row["label"] == 1]
