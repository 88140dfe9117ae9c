"""Rows in pieces: what is cut, what comes behind the text, which outputs score the classes; files round-trip."""

import shutil
from functools import partial

import pytest
import torch
import yaml
from conftest import ROOT

from dp import files
from dp.backbones.families import load_tokenizer
from dp.commands import cli
from dp.data import tokens
from dp.data.choices import Answer, answering, word_id
from dp.data.encoding import Example, encode, gather
from dp.errors import UserError
from dp.tasks import model as tasks
from dp.worlds import made_up

ROW = {
    "id": "7",
    "fields": {
        "statement": "the cat has a red ball and the dog has a blue hat.",
        "question": "is it red?",
        "choice1": "a red ball.",
        "choice2": "a red hat.",
    },
}
TEXT = "the cat has a red ball and the dog has a blue hat . Question : is it red ? Answer :"
KINDS = [("seq2seq", "verbalizer"), ("causal", "verbalizer"), ("encoder", "verbalizer"),
         ("seq2seq", "linear"), ("causal", "linear"), ("encoder", "linear")]  # fmt: skip


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    """A folder with a word-level tokenizer that frames a text as BERT's does."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = {"pad": "[PAD]", "unk": "[UNK]", "cls": "[CLS]", "sep": "[SEP]", "mask": "[MASK]"}
    vocabulary = {word: index for index, word in enumerate((*special.values(), *made_up.WORDS))}
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    frame = [("[CLS]", vocabulary["[CLS]"]), ("[SEP]", vocabulary["[SEP]"])]
    tokenizer.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=frame)
    folder = tmp_path_factory.mktemp("bert")
    names = {f"{name}_token": text for name, text in special.items()}
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, **names).save_pretrained(folder)
    return folder


@pytest.fixture
def tokenizer(tiny_folders, bert):
    return lambda family: load_tokenizer(bert if family == "encoder" else tiny_folders[family])


@pytest.fixture(scope="module")
def task(tmp_path_factory):
    """A task whose template is TEXT in every family, with the given label words."""

    def make(words, classes=2):
        raw = yaml.safe_load((tasks.FOLDER / "toy.yaml").read_text())
        template = {"text": "{statement} Question: {question} Answer:", "words": words}
        raw["fields"] += [f"choice{n + 1}" for n in range(classes)]
        raw["label_names"] = [f"choice{n + 1}" for n in range(classes)]
        for split in raw["expected"].values():
            split["label_counts"] = [split["rows"]] + [0] * (classes - 1)
        raw |= {"name": "pick", "templates": dict.fromkeys(("seq2seq", "causal", "encoder"), template)}
        path = tmp_path_factory.mktemp("task") / "pick.yaml"
        path.write_text(yaml.safe_dump(raw))
        return tasks.read(path)

    return make


@pytest.fixture
def example(tokenizer, task):
    """One row in pieces: (Example with words for ids, whether it was cut)."""

    def make(family, head, words, row=ROW, limit=100):
        chosen, read = task(words), tokenizer(family)
        render = partial(tasks.render, chosen, family)
        answer = answering(read, chosen, family, head)(row)
        made, cut = encode(read, family, head, render, answer, row, "statement", limit)
        words_of = read.convert_ids_to_tokens
        shown = made._replace(ids=" ".join(words_of(made.ids)), answer=words_of(made.answer))
        return (shown if head == "linear" else shown._replace(outputs=words_of(made.outputs))), cut

    return make


FIXED = [" no", " yes"]
CHOICES = [" {choice1}", " {choice2}"]


@pytest.mark.parametrize(
    ("family", "head", "ids", "tail", "answer"),
    [
        ("seq2seq", "verbalizer", f"{TEXT} </s>", 1, ["a", "red"]),
        ("causal", "verbalizer", f"{TEXT} a red", 2, []),
        ("encoder", "verbalizer", f"[CLS] {TEXT} a red [MASK] [SEP]", 4, []),
        ("seq2seq", "linear", f"{TEXT} </s>", 1, []),
        ("causal", "linear", TEXT, 0, []),
        ("encoder", "linear", f"[CLS] {TEXT} [SEP]", 1, []),
    ],
)
def test_shared_pieces_are_read_before_the_choice(example, family, head, ids, tail, answer):
    outputs = [0, 1] if head == "linear" else ["ball", "hat"]
    assert example(family, head, CHOICES) == ((ids, outputs, tail, answer), False)


@pytest.mark.parametrize(
    ("family", "ids", "tail"),
    [("seq2seq", f"{TEXT} </s>", 1), ("causal", TEXT, 0), ("encoder", f"[CLS] {TEXT} [MASK] [SEP]", 2)],
)
def test_choices_that_differ_at_once_share_nothing_as_fixed_label_words_do(example, family, ids, tail):
    row = {"id": "7", "fields": ROW["fields"] | {"choice1": "the hat.", "choice2": "a red hat."}}
    assert example(family, "verbalizer", CHOICES, row)[0] == (ids, ["the", "a"], tail, [])
    assert example(family, "verbalizer", FIXED)[0] == (ids, ["no", "yes"], tail, [])


@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        ("a red", "a red hat.", "row 7: choice ' a red' is in pieces the beginning of ' a red hat.'"),
        ("a red hat.", "a red", "row 7: choice ' a red' is in pieces the beginning of ' a red hat.'"),
        ("a red hat.", "a  red hat.", "row 7: choice ' a red hat.' is in pieces the same as ' a  red hat.'"),
        ("", "a hat.", "row 7: choice ' ' is in pieces the beginning of ' a hat.'"),
        ("a red hat.", "a green-ish hat.", None),
        ("a red hat.", "a purple hat.", "row 7: the first pieces in which the choices .* differ are .*must all be"),
    ],
)
def test_choices_that_no_piece_tells_apart_are_refused(example, first, second, message):
    row = {"id": "7", "fields": ROW["fields"] | {"choice1": first, "choice2": second}}
    if message is None:
        assert example("causal", "verbalizer", CHOICES, row)[0].outputs == ["red", "green"]
    else:
        with pytest.raises(UserError, match=message) as error:
            example("causal", "verbalizer", CHOICES, row)
        assert "Correct the row, or let the template's words" in str(error.value)
    assert example("encoder", "linear", CHOICES, row)[0].outputs == [0, 1], "a linear head reads no label words"


def test_an_ending_tells_a_choice_from_its_continuation(example):
    row = {"id": "7", "fields": ROW["fields"] | {"choice1": "a red", "choice2": "a red hat"}}
    found = example("causal", "verbalizer", [" {choice1}.", " {choice2}."], row)[0]
    assert found == (f"{TEXT} a red", [".", "hat"], 2, [])


def test_three_choices_share_what_all_share_and_must_all_differ_next(tokenizer, task):
    chosen, read = task([" {choice1}", " {choice2}", " {choice3}"], classes=3), tokenizer("causal")

    def answer(*choices):
        row = {"id": "7", "fields": {f"choice{n + 1}": choice for n, choice in enumerate(choices)}}
        made = answering(read, chosen, "causal", "verbalizer")(row)
        return [read.convert_ids_to_tokens(pieces) for pieces in made]

    assert answer("the red hat", "the blue hat", "the green hat") == [["the"], ["red", "blue", "green"]]
    with pytest.raises(UserError, match=r"row 7: the first pieces .* differ are \['red', 'red', 'green'\]"):
        answer("the red hat", "the red ball", "the green hat")


@pytest.mark.parametrize(("family", "head"), KINDS)
@pytest.mark.parametrize("words", [FIXED, CHOICES])
@pytest.mark.parametrize("limit", [14, 16, 19])
def test_only_the_truncated_field_gets_shorter(example, family, head, words, limit):
    whole, cut = example(family, head, words)
    assert not cut
    length = len(whole.ids.split())
    assert example(family, head, words, limit=length) == (whole, False), "max_tokens counts every id"
    short, cut = example(family, head, words, limit=limit)
    assert cut and len(short.ids.split()) == limit
    assert short[1:] == whole[1:], "outputs, tail and answer do not change"
    behind = whole.ids[whole.ids.index("Question") :]
    assert short.ids.endswith(behind), "everything but the statement is whole"
    kept = short.ids[: -len(behind)].split()
    assert kept == whole.ids.split()[: len(kept)]


@pytest.mark.parametrize(
    ("family", "needed"), [("seq2seq", 9), ("causal", 10), ("encoder", 13)]
)  # Question : is it red ? Answer : + </s> | a red | [CLS] a red [MASK] [SEP]
def test_a_row_that_cannot_fit_is_an_error_that_names_it(example, family, needed):
    ids = example(family, "verbalizer", CHOICES, limit=needed)[0].ids.split()
    assert len(ids) == needed and "cat" not in ids
    message = rf"row 7: {needed} tokens even without its statement; raise max_tokens above {needed - 1}"
    with pytest.raises(UserError, match=message):
        example(family, "verbalizer", CHOICES, limit=needed - 1)


@pytest.mark.parametrize(("family", "head"), KINDS)
def test_a_text_without_a_piece_is_refused_by_its_row_and_not_by_the_family(tokenizer, family, head):
    read = tokenizer(family)
    for text in ("", " ", "\n\t", "\u3000"):
        row = {"id": "train-3", "fields": {"text": text}}
        with pytest.raises(
            UserError, match=r"row train-3: its text, .* is empty, .*nothing to classify. Leave the row"
        ):
            encode(read, family, head, lambda fields: fields["text"], Answer([], [0, 1]), row, "text", 9)


@pytest.mark.parametrize("family", ["seq2seq", "causal", "encoder"])
@pytest.mark.parametrize("as_released", [False, True])
def test_a_bare_field_is_never_cut_to_nothing(tokenizer, family, as_released):
    read, special = tokenizer(family), {"seq2seq": 1, "causal": 0, "encoder": 2}[family]
    row = {"id": "train-3", "fields": {"text": "the cat has a ball"}}
    truncate = (lambda fields: [(0, len(fields["text"]))]) if as_released else "text"
    call = partial(encode, read, family, "linear", lambda fields: fields["text"], Answer([], [0, 1]), row, truncate)
    made, cut = call(special + 1)
    assert cut and read.convert_ids_to_tokens([i for i in made.ids if i not in read.all_special_ids]) == ["the"]
    with pytest.raises(UserError, match=rf"row train-3: {special + 1} tokens even without .* raise max_tokens above"):
        call(special)


def test_a_text_of_one_piece_behind_a_first_token_of_its_own(tiny_folders):
    """As Llama's: what stands in front of a text says nothing about how it ends."""
    from tokenizers import processors

    read = load_tokenizer(tiny_folders["causal"])
    first = read.convert_ids_to_tokens(0)
    read.backend_tokenizer.post_processor = processors.TemplateProcessing(
        single=f"{first} $A", special_tokens=[(first, 0)]
    )
    row = {"id": "7", "fields": {"text": "cat"}}
    made, _ = encode(read, "causal", "linear", lambda fields: fields["text"], Answer([], [0, 1]), row, "text", 9)
    assert read.convert_ids_to_tokens(made.ids) == [first, "cat"]


def test_a_label_word_of_two_pieces_or_none_is_refused(tokenizer, task):
    read = tokenizer("causal")
    assert word_id(read, "yes") == read.convert_tokens_to_ids("yes")
    with pytest.raises(UserError, match="'yes no' is not one piece"):
        word_id(read, "yes no")
    with pytest.raises(UserError, match="' perhaps' is not one piece"):
        answering(read, task([" no", " perhaps"]), "causal", "verbalizer")
    assert answering(read, task([" no", " perhaps"]), "causal", "linear")(ROW) == ([], [0, 1])


@pytest.mark.parametrize("words", [["yes", " yes"], ["no", "no "]])
def test_label_words_that_become_one_piece_are_refused(tokenizer, task, words):
    with pytest.raises(UserError, match=f"label words '{words[0]}' and '{words[1]}' are the same piece"):
        answering(tokenizer("causal"), task(words), "causal", "verbalizer")
    assert answering(tokenizer("causal"), task(words), "causal", "linear")(ROW) == ([], [0, 1])


def test_a_tokenizer_that_does_not_fit_the_family_is_refused(tokenizer, task):
    chosen = task(FIXED)
    render = partial(tasks.render, chosen, "causal")

    def ended(family, as_family, head="linear"):
        read = tokenizer(family)
        return encode(
            read, as_family, head, render, answering(read, chosen, as_family, head)(ROW), ROW, "statement", 99
        )

    with pytest.raises(UserError, match=r"row 7: the tokenizer ends it with \['Answer', ':'\].*needs 1 special"):
        ended("causal", "seq2seq")
    with pytest.raises(UserError, match=r"row 7: the tokenizer ends it with \[':', '</s>'\].*needs 0 special"):
        ended("seq2seq", "causal")
    with pytest.raises(UserError, match="no mask token, which label words need; set the backbone's head: linear"):
        ended("seq2seq", "encoder", "verbalizer")


def rows_of(*labels):
    return [{"id": str(n), "label": label, "group": str(n), "cluster": str(n)} for n, label in enumerate(labels)]


def split_of(lengths, classes, answers=None):
    """Rows of these lengths; outputs, tails and ids are all different numbers."""
    examples = [
        ([100 * n + position for position in range(1, length + 1)], [n + 10 * c for c in range(classes)], n % 3, answer)
        for n, (length, answer) in enumerate(zip(lengths, answers or [[]] * len(lengths), strict=True))
    ]
    return gather([Example(*made) for made in examples], rows_of(*[n % classes for n in range(len(lengths))]))


def as_lists(split):
    return {key: [value.tolist() if isinstance(value, torch.Tensor) else value for value in getattr(split, key)]
            for key in ("ids", "outputs", "tails", "answers", "rows", "tasks")}  # fmt: skip


def test_tokens_round_trip(tmp_path):
    whole = split_of([3, 1, 4, 2], 3, [[], [5, 6], [], [7]])
    splits = {name: whole.take(list(range(3, n, -1))) for n, name in enumerate(tokens.SPLITS)}
    tokens.save(tmp_path, splits, {"classes": 3})
    loaded, facts = tokens.load(tmp_path)
    assert facts == {"classes": 3}
    for name, expected in splits.items():
        assert as_lists(loaded[name]) == as_lists(expected)
        assert all(row.dtype == torch.long for row in (*loaded[name].ids, *loaded[name].answers, loaded[name].outputs))


def test_take_keeps_the_parts_of_a_row_together():
    taken = as_lists(split_of([3, 1, 4, 2], 2, [[], [5, 6], [], [7]]).take([3, 1, 3]))
    assert taken["ids"] == [[301, 302], [101], [301, 302]]
    assert taken["outputs"] == [[3, 13], [1, 11], [3, 13]]
    assert (taken["tails"], taken["answers"]) == ([0, 1, 0], [[7], [5, 6], [7]])
    assert [row["id"] for row in taken["rows"]] == ["3", "1", "3"]
    assert len(split_of([3, 1], 2).take([])) == 0


def test_a_union_numbers_its_tasks_and_pads_their_outputs():
    two, three = split_of([3, 1], 2, [[], [5]]), split_of([2, 2, 1], 3)
    joined = as_lists(tokens.union([two, three, two.take([1])]))
    assert joined["tasks"] == [0, 0, 1, 1, 1, 2]
    assert joined["outputs"] == [[0, 10, -1], [1, 11, -1], [0, 10, 20], [1, 11, 21], [2, 12, 22], [1, 11, -1]]
    parts = [as_lists(part) for part in (two, three, two.take([1]))]
    for key in ("ids", "tails", "answers", "rows"):
        assert joined[key] == [value for part in parts for value in part[key]]
    assert as_lists(tokens.union([three])) == as_lists(three)


def test_the_command_writes_tokens_without_label_words_in_the_facts(tmp_path, monkeypatch):
    shutil.copy(ROOT / "params.yaml", tmp_path)
    shutil.copytree(ROOT / "workflow", tmp_path / "workflow")
    monkeypatch.chdir(tmp_path)
    scale = ["--set", "scale=smoke"]
    cli.main(["fetch-backbone", "--backbone", "tiny-t5", *scale])
    cli.main(["fetch-task", "--task", "toy", *scale])
    cli.main(["tokenize", "--backbone", "tiny-t5", "--task", "toy", *scale])
    (folder,) = {path.parent for path in (tmp_path / "results").rglob("tokens.safetensors")}
    splits, facts = tokens.load(folder)
    assert facts == {"task": "toy", "classes": 2, "label_names": ["different", "same"], "metrics": ["accuracy"],
                     "labels": ["made-up"]}  # fmt: skip
    (backbone,) = (path.parent for path in (tmp_path / "results").rglob("tokenizer.json"))
    words = load_tokenizer(backbone).convert_tokens_to_ids(["no", "yes"])
    made = files.read_json(folder / "record.json")["made"]
    for name, count in {"train": 86, "selection": 10, "validation": 40}.items():
        split = splits[name]
        assert len(split) == len(split.ids) == made["rows"][name] == count
        assert split.outputs.tolist() == [words] * count
        assert split.tails.tolist() == [1] * count and not any(len(answer) for answer in split.answers)
