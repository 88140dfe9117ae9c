"""Whatever stands in a task's YAML: a task that renders rows, or a refusal that names the file."""

import yaml
from conftest import ROOT
from damage import edited, edits, is_repeated, spoiled, spoils, yaml_text, yaml_values
from fuzzing import check_refusal, counts, explore
from hypothesis import strategies as st

from dp.errors import UserError
from dp.tasks import model

FILES = {path.stem: path.read_bytes() for path in sorted((ROOT / "dp/tasks").glob("*.yaml"))}
FIELD = "A text of {braces}, 100 % and \\n."


def ending(folder, name, data, is_repeated=False):
    """How reading a task ends. What is accepted renders a row for each family, and says the same again."""
    path = folder / f"{name}.yaml"
    path.write_bytes(data)
    try:
        task = model.read(path)
    except UserError as error:
        check_refusal(error, str(path))
        return "refused"
    if is_repeated:
        raise AssertionError("a key that stands twice is accepted")
    fields = dict.fromkeys(task.fields, FIELD)
    for family, template in task.templates.items():
        words = model.words(task, family, fields)
        if FIELD not in model.render(task, family, fields) or len(words) != len(task.label_names):
            raise AssertionError("a row is rendered without its text or a label word")
        "".join([*words, template.text]).encode()
    path.write_text(yaml_text(task.model_dump(mode="json")))
    if model.read(path) != task:
        raise AssertionError("what was accepted says something else when it is written and read again")
    return "accepted"


@counts(few=100, share=0.15)
def test_edited_tasks(tmp_path, cases):
    trees = {name: yaml.safe_load(data) for name, data in FILES.items()}
    drawn = st.sampled_from(sorted(FILES)).flatmap(
        lambda name: st.tuples(st.just(name), edits(trees[name], yaml_values))
    )

    def property(case):
        name, changes = case
        tree = edited(trees[name], changes)
        return ending(tmp_path, name, yaml_text(tree).encode(), is_repeated(tree))

    explore(property, drawn, cases)


@counts(few=100, share=0.1)
def test_spoiled_tasks(tmp_path, cases):
    def property(case):
        name, damage = case
        return ending(tmp_path, name, spoiled(FILES[name], damage))

    explore(property, st.tuples(st.sampled_from(sorted(FILES)), spoils()), cases)


NAMES = ["", ".", "..", "../model", "a/b", "/", "x" * 300, "\x00", "\ud83d", "-x", "boolq.yaml", "*"]


@counts(few=30, share=0.01)
def test_names_of_tasks(cases):
    def property(name):
        try:
            return model.load(name).name
        except UserError as error:
            check_refusal(error, "task")
            return "refused"

    explore(property, st.one_of(st.sampled_from(NAMES), st.text(max_size=12)), cases)
