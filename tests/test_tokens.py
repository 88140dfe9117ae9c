"""Encoding: only the named field is cut, label words are one piece, files round-trip."""

from functools import partial
from itertools import pairwise

import pytest
import torch
from conftest import FAMILIES

from dp.backbones.load import load_tokenizer
from dp.data import tokens
from dp.errors import UserError
from dp.tasks import model as tasks

ROW = {
    "id": "7",
    "fields": {"statement": "the cat has a red ball and the dog has a blue hat.", "question": "is it red?"},
}


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("limit", [14, 16, 19])
def test_only_the_truncated_field_gets_shorter(tiny_folders, family, limit):
    tokenizer = load_tokenizer(tiny_folders[family])
    render = partial(tasks.render, tasks.load("toy"), family)
    whole, cut = tokens.encode(tokenizer, render, ROW, "statement", 100)
    assert not cut
    ids, cut = tokens.encode(tokenizer, render, ROW, "statement", limit)
    assert cut and len(ids) == limit < len(whole)
    words = tokenizer.convert_ids_to_tokens(ids)
    question = tokenizer.convert_ids_to_tokens(tokenizer("is it red?", add_special_tokens=False)["input_ids"])
    assert " ".join(question) in " ".join(words), "the question is whole"
    kept = len(whole) - limit
    statement = tokenizer(ROW["fields"]["statement"], add_special_tokens=False)["input_ids"]
    assert set(pairwise(ids)) >= set(pairwise(statement[:-kept]))
    assert ids[-1] == whole[-1]


def test_a_row_that_cannot_fit_is_an_error_that_names_it(tiny_folders):
    tokenizer = load_tokenizer(tiny_folders["seq2seq"])
    render = partial(tasks.render, tasks.load("toy"), "seq2seq")
    with pytest.raises(UserError, match=r"row 7: \d+ tokens even without its statement; raise max_tokens above 5"):
        tokens.encode(tokenizer, render, ROW, "statement", 5)


def test_a_label_word_of_two_pieces_or_none_is_refused(tiny_folders):
    tokenizer = load_tokenizer(tiny_folders["causal"])
    assert tokens.word_id(tokenizer, "yes") == tokenizer.convert_tokens_to_ids("yes")
    with pytest.raises(UserError, match="'yes no' is not one piece"):
        tokens.word_id(tokenizer, "yes no")
    with pytest.raises(UserError, match="'perhaps' is not one piece"):
        tokens.word_id(tokenizer, "perhaps")


def test_tokens_round_trip(tmp_path, toy_split):
    split, words = toy_split("seq2seq")
    splits = {name: split.take(list(range(n + 1))) for n, name in enumerate(tokens.SPLITS)}
    tokens.save(tmp_path, splits, {"words": words})
    loaded, facts = tokens.load(tmp_path)
    assert facts == {"words": words}
    for name, expected in splits.items():
        assert loaded[name].rows == expected.rows
        assert all(torch.equal(a, b) for a, b in zip(loaded[name].ids, expected.ids, strict=True))
