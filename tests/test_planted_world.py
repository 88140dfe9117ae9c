"""The planted world: rows and pre-training texts read back by decoders of their own, and the backbone made on them."""

import json
import re
from collections import Counter

import pytest
import torch
from conftest import ROOT

from dp import files
from dp.backbones.definition import BackboneEntry, Pretraining
from dp.backbones.families import load
from dp.backbones.seq2seq import Seq2Seq
from dp.errors import UserError
from dp.jobs import record
from dp.numerics import seeds
from dp.sources import rows as fetch
from dp.sources import weights as backbones
from dp.study.study import load_catalogue
from dp.tasks import model as tasks
from dp.tasks.model import Question
from dp.worlds import planted, pretraining, random_weights
from dp.worlds.learnable import learned
from dp.worlds.texts import instructed

QUESTIONS = {
    "planted_first": [(1, 0)],
    "planted_last": [(-1, 0)],
    "planted_second": [(2, 0)],
    "planted_other_feature": [(1, 1)],
    "planted_cue_end": [(1, 0), (-1, 0)],
    "planted_cue_distance": [(1, 0), (2, 0)],
    "planted_cue_feature": [(1, 0), (1, 1)],
    "planted_cue_end_feature": [(1, 0), (1, 1), (-1, 0), (-1, 1)],
}
CUED = [name for name, questions in QUESTIONS.items() if len(questions) > 1]
SHAPE = {"d_model": 16, "d_kv": 8, "d_ff": 32, "num_layers": 1, "num_decoder_layers": 1, "num_heads": 2,
         "dropout_rate": 0.0}  # fmt: skip


@pytest.fixture(scope="module")
def rows():
    """Task -> split -> rows, as fetch-task has them."""
    return {name: fetch.fetch(tasks.load(name), "made_up", None)[0] for name in QUESTIONS}


@pytest.fixture(scope="module")
def tokenizer():
    return random_weights.words_tokenizer(Seq2Seq, planted.VOCABULARY)


def numbers_of(row):
    """The words of a text as numbers."""
    words = row["fields"]["words"].split(" ")
    assert all(re.fullmatch(r"w\d\d", word) for word in words)
    return [int(word[1:]) for word in words]


def asked(row):
    """(word, feature) that a row says it asks for."""
    word, feature = re.fullmatch(r"word (-?\d), feature (\d)", row["fields"]["question"]).groups()
    return int(word), int(feature)


def bit(number, feature):
    return f"{number:06b}"[::-1][feature] == "1"


def answer(words, word, feature):
    return bit(words[word - 1] if word > 0 else words[word], feature)


def test_every_planted_task_is_read_here():
    assert set(QUESTIONS) == {name for name in tasks.names() if name.startswith("planted_")}
    assert len({tasks.load(name).sources.made_up.seed for name in QUESTIONS}) == len(QUESTIONS)


@pytest.mark.parametrize("name", QUESTIONS)
def test_labels_are_the_answers_and_all_are_equally_many(rows, name):
    for split, count in (("train", 2000), ("validation", 400)):
        found = rows[name][split]
        assert len(found) == count == len({row["id"] for row in found})
        for row in found:
            assert row["label"] == answer(numbers_of(row), *asked(row))
        share = Counter((asked(row), row["label"]) for row in found)
        assert share == {(question, label): count // (2 * len(QUESTIONS[name]))
                         for question in QUESTIONS[name] for label in (0, 1)}  # fmt: skip
        order = [(asked(row), row["label"]) for row in found[:40]]
        assert len({str(order[n : n + 8]) for n in range(0, 40, 8)}) == 5, "shuffled"
        lengths = Counter(len(numbers_of(row)) for row in found)
        assert set(lengths) == set(range(7, 11)) and max(lengths.values()) < 2 * min(lengths.values())


@pytest.mark.parametrize("name", QUESTIONS)
def test_cues_name_the_question_and_stand_at_three_inner_places(rows, name):
    """Words from 48 on are cues: 48 to 51 for the first question, 52 to 55 for the second, and so on."""
    seen = Counter()
    for row in rows[name]["train"] + rows[name]["validation"]:
        words = numbers_of(row)
        cues = [place for place, word in enumerate(words) if word >= 48]
        if name not in CUED:
            assert not cues
            continue
        assert len(cues) == 3 and min(cues) >= 2 and max(cues) < len(words) - 2
        assert {(words[place] - 48) // 4 for place in cues} == {QUESTIONS[name].index(asked(row))}
        seen.update(words[place] for place in cues)
    assert set(seen) == (set(range(48, 48 + 4 * len(QUESTIONS[name]))) if name in CUED else set())


@pytest.mark.parametrize("name", QUESTIONS)
def test_nothing_else_tells_the_label(rows, name):
    """Every feature of every word that is not asked for, and of cues, is had by half of each class (5 sigma)."""
    for question in QUESTIONS[name]:
        mine = [row for row in rows[name]["train"] if asked(row) == question]
        sigma = 2 * (0.25 / (len(mine) / 2)) ** 0.5
        for place in (0, 1, 2, 3, -4, -3, -2, -1):
            for feature in range(4):
                if (place + 1 if place >= 0 else place, feature) == question:
                    continue
                having = [sum(bit(numbers_of(row)[place], feature) for row in mine if row["label"] == label)
                          for label in (0, 1)]  # fmt: skip
                assert abs(having[0] - having[1]) / (len(mine) / 2) < 5 * sigma, (question, place, feature)


def test_rows_repeat_and_splits_and_seeds_differ(rows):
    for name in ("planted_first", "planted_cue_end_feature"):
        again = fetch.fetch(tasks.load(name), "made_up", None)[0]
        assert again == rows[name]
        texts = {split: [row["fields"]["words"] for row in rows[name][split]] for split in ("train", "validation")}
        assert len(set(texts["train"])) == 2000 and not set(texts["train"]) & set(texts["validation"])
    questions = [Question(word=1, feature=0)]
    whole = planted.rows(questions, "train", 20, 0)
    assert whole == planted.rows(questions, "train", 20, 0) != planted.rows(questions, "train", 20, 1)


def test_no_template_shows_the_question(rows):
    for name in QUESTIONS:
        row, task = rows[name]["validation"][7], tasks.load(name)
        for family in ("seq2seq", "causal", "encoder"):
            assert tasks.render(task, family, row["fields"]) == row["fields"]["words"]


def test_the_tokenizer_has_a_piece_for_every_word(tokenizer):
    words = ["no", "yes", *(f"w{n:02d}" for n in range(64)), *(f"ask{n}" for n in range(4))]
    assert list(planted.VOCABULARY) == words and len(tokenizer) == 4 + len(words)
    ids = tokenizer(" ".join(words)).input_ids
    assert ids[-1] == tokenizer.eos_token_id == 1 and tokenizer.pad_token_id == 0
    assert len(set(ids)) == len(ids) == len(words) + 1 and tokenizer.unk_token_id not in ids
    assert tokenizer.convert_ids_to_tokens(ids) == [*words, "</s>"]
    for word, number in zip(words, ids, strict=False):
        assert tokenizer(word).input_ids == [number, 1] and tokenizer.decode([number]) == word
    row = planted.rows([Question(word=1, feature=0)], "train", 1, 0)[0]
    assert tokenizer.decode(tokenizer(row["fields"]["words"]).input_ids[:-1]) == row["fields"]["words"]


# Texts of the pre-training


def decoded(tokenizer, ids):
    """(instruction's end, how many, feature, words) of a padded text."""
    end = ids.index(1)
    assert 0 not in ids[:end] and not any(ids[end + 1 :])
    pieces = tokenizer.convert_ids_to_tokens(ids[:end])
    places = [n for n, piece in enumerate(pieces) if piece.startswith("ask")]
    words = [int(piece[1:]) for piece in pieces if piece.startswith("w")]
    assert len(places) + len(words) == len(pieces) and len({pieces[n] for n in places}) == 1
    in_front = places == list(range(len(places)))
    assert in_front or places == list(range(len(words), len(pieces)))
    return "front" if in_front else "back", len(places), int(pieces[places[0]][3:]), words


@pytest.mark.parametrize("reach", [1, 2])
def test_an_instruction_asks_by_its_end_its_count_and_its_token(tokenizer, reach):
    texts = instructed(tokenizer, 4000, reach, seeds.generator(3, "texts"))
    assert texts.ids.shape == (4000, 10 + 2 + 1)
    seen, lengths = Counter(), Counter()
    for ids, label in zip(texts.ids.tolist(), texts.labels.tolist(), strict=True):
        end, count, feature, words = decoded(tokenizer, ids)
        distance = 3 - count  # twice: the nearest word
        word = distance if end == "front" else -distance
        assert label == answer(words, word, feature)
        seen[word, feature, label] += 1
        lengths[len(words)] += 1
    words = [word for n in range(1, reach + 1) for word in (n, -n)]
    assert set(seen) == {(word, feature, label) for word in words for feature in range(4) for label in (0, 1)}
    share = 1 / len(seen)
    assert all(abs(n / 4000 - share) < 5 * (share * (1 - share) / 4000) ** 0.5 for n in seen.values())
    assert set(lengths) == set(range(7, 11))
    again = instructed(tokenizer, 4000, reach, seeds.generator(3, "texts"))
    assert torch.equal(again.ids, texts.ids) and torch.equal(again.labels, texts.labels)
    short = instructed(tokenizer, 400, reach, seeds.generator(3, "texts"), range(2, 4))
    assert {len(decoded(tokenizer, ids)[3]) for ids in short.ids.tolist()} == {2, 3}
    other = instructed(tokenizer, 4000, reach, seeds.generator(4, "texts"))
    assert not torch.equal(other.ids, texts.ids)


# The backbone


def definition(seed=0, **plan):
    plan = {"steps": 3, "batch_size": 8, "warmup_steps": 1, "threads": 1, "accuracy": 0.01, "learnable": 0.0} | plan
    source = {"kind": "planted", "seed": seed, "shape": SHAPE, "pretraining": plan}
    return BackboneEntry(family="seq2seq", source=source)


def digests(folder):
    return {path.name: files.sha256(path) for path in sorted(folder.iterdir())}


def test_pretraining_gives_the_same_bytes_and_another_seed_others(tmp_path):
    facts = {}
    for name, seed in (("a", 0), ("b", 0), ("c", 1)):
        torch.manual_seed(len(facts))  # neither the global generator nor what was drawn from it decides
        facts[name] = backbones.fetch(definition(seed), tmp_path / name)
    a, b, c = (digests(tmp_path / name) for name in "abc")
    assert a == b and set(a) == set(backbones.FILES) and facts["a"] == facts["b"]
    assert a["model.safetensors"] != c["model.safetensors"] and a["tokenizer.json"] == c["tokenizer.json"]
    assert facts["a"]["source"] == "planted" and (facts["a"]["seed"], facts["c"]["seed"]) == (0, 1)
    log = facts["a"]["pretraining"]
    assert [line["step"] for line in log["log"]] == [3] and 0.3 < log["log"][0]["loss"] < 3
    assert log["held_out_texts"] == 4000 and 0.3 < log["held_out_accuracy"] < 0.7
    assert a["model.safetensors"] != digest_without_a_step(tmp_path)


def digest_without_a_step(folder):
    source = definition().source
    tokenizer = random_weights.words_tokenizer(Seq2Seq, planted.VOCABULARY)
    random_weights.model(Seq2Seq, source, tokenizer).save_pretrained(folder / "bare")
    return files.sha256(folder / "bare" / "model.safetensors")


def test_the_accuracy_is_that_of_the_written_model_on_texts_of_its_own(tmp_path):
    facts = backbones.fetch(definition(steps=20, lr=0.02), tmp_path / "x")["pretraining"]
    backbone = load(tmp_path / "x", "seq2seq")
    texts = instructed(backbone.tokenizer, 4000, 2, seeds.generator(0, "held-out texts"))
    decoder = torch.tensor([[0, backbone.tokenizer.convert_tokens_to_ids("<extra_id_0>")]]).expand(4000, -1)
    with torch.no_grad():
        logits = backbone.model(
            input_ids=texts.ids, attention_mask=(texts.ids != 0).long(), decoder_input_ids=decoder
        ).logits[:, -1]
    yes, no = (logits[:, backbone.tokenizer.convert_tokens_to_ids(word)] for word in ("yes", "no"))
    assert facts["held_out_accuracy"] == pytest.approx(
        ((yes > no) == (texts.labels == 1)).float().mean().item(), abs=1e-3
    )


def test_a_backbone_that_answers_too_little_is_refused(tmp_path):
    message = (
        r"answers \d\d\.\d\d% of held-out texts after 3 steps, and source.pretraining.accuracy asks for 98.00%. Raise"
    )
    with pytest.raises(UserError, match=message):
        backbones.fetch(definition(accuracy=Pretraining().accuracy), tmp_path / "x")
    assert not (tmp_path / "x").exists()


def test_short_texts_first_and_the_nearest_word_then_all_and_blurred_at_the_end(tmp_path, monkeypatch):
    asked, blurs, rates = [], [], []
    blurred, step = pretraining.blurred, torch.optim.AdamW.step

    def asking(tokenizer, count, reach, generator, lengths=planted.LENGTHS):
        asked.append((reach, lengths.start, lengths.stop))
        return instructed(tokenizer, count, reach, generator, lengths)

    def blurring(*given):
        blurs.append(len(asked))
        return blurred(*given)

    def stepping(optimizer, *rest):
        rates.append(optimizer.param_groups[0]["lr"])
        return step(optimizer, *rest)

    monkeypatch.setattr(pretraining, "instructed", asking)
    monkeypatch.setattr(pretraining, "blurred", blurring)
    monkeypatch.setattr(pretraining, "learned", lambda *given: {"share": 1.0, "accuracies": []})
    monkeypatch.setattr(torch.optim.AdamW, "step", stepping)
    plan = {"steps": 8, "nearest": 0.25, "growing": 0.5, "blurred": 0.375, "warmup_steps": 4, "lr": 0.01}
    backbones.fetch(definition(**plan), tmp_path / "x")
    full = (2, 7, 11)
    assert asked == [(1, 2, 5), (1, 3, 6), (2, 4, 8), (2, 6, 10), *[full] * 4, full], "the last are the held-out texts"
    assert blurs == [6, 7, 8]
    assert rates == pytest.approx([0.0025, 0.005, 0.0075, 0.00625, 0.005, 0.00375, 0.0025, 0.00125])


def test_what_is_blurred_is_instructions_alone_between_their_own_embedding_and_another(tokenizer, tmp_path):
    backbones.fetch(definition(), tmp_path / "x")
    backbone = load(tmp_path / "x", "seq2seq")
    world = pretraining.World(backbone, torch.tensor([0]), torch.tensor(
        tokenizer.convert_tokens_to_ids(list(planted.INSTRUCTIONS))))  # fmt: skip
    texts = instructed(tokenizer, 300, 2, seeds.generator(0, "texts"))
    embeds, table = backbone.embed(texts.ids).detach(), backbone.model.get_input_embeddings().weight.detach()
    plan = Pretraining(own=0.25, noise=0.0)
    found = pretraining.blurred(world, embeds, texts.ids, plan, seeds.generator(1, "blur")).detach()
    at = torch.isin(texts.ids, world.instructions)
    assert torch.equal(found[~at], embeds[~at]) and at.sum() > 300
    shares = []
    for own, mixed in zip(embeds[at], found[at], strict=True):
        # Of which other token, and how much of the own: mixed = a own + (1 - a) other
        away = own - table
        share = ((own - mixed) * away).sum(1) / away.square().sum(1).clamp_min(1e-9)
        errors = (own - share[:, None] * away - mixed).norm(dim=1)
        assert errors.min() < 1e-4
        shares.append(1 - share[errors.argmin()].item())
    assert min(shares) >= 0.25 - 1e-4 and max(shares) > 0.95 and abs(sum(shares) / len(shares) - 0.63) < 0.06
    noisy = pretraining.blurred(world, embeds, texts.ids, Pretraining(own=1.0, noise=2.0), seeds.generator(1, "blur"))
    spread = [(row[mask] - clean[mask]).std().item() / embeds.std().item()
              for row, clean, mask in zip(noisy.detach(), embeds, at, strict=True)]  # fmt: skip
    assert min(spread) < 0.2 and 1.7 < max(spread) < 2.6 and abs(sum(spread) / len(spread) - 1.0) < 0.12


def test_prompts_do_not_learn_on_random_weights_and_the_gate_says_so(tmp_path):
    with pytest.raises(UserError, match=r"Of 16 soft prompts 0% learn to ask .*learnable asks for 80%. Raise"):
        backbones.fetch(definition(learnable=Pretraining().learnable), tmp_path / "x")
    assert not (tmp_path / "x").exists()


SHIPPED = ROOT / "workflow" / "worlds"


def test_prompts_learn_on_the_shipped_backbones_and_their_own_weights_stay(monkeypatch):
    """What their records say of them, computed again here."""
    backbone = load(SHIPPED / "planted-t5-1", "seq2seq")
    before = {name: value.clone() for name, value in backbone.model.state_dict().items()}
    words = torch.tensor(backbone.tokenizer.convert_tokens_to_ids(["no", "yes"]))
    found = learned(backbone, words, 1)
    said = files.read_json(SHIPPED / "planted-t5-1" / "record.json")["made"]["pretraining"]["prompts"]
    assert abs(found["share"] - said["share"]) <= 2 / 16 and len(found["accuracies"]) == 16
    assert all(torch.equal(before[name], value) for name, value in backbone.model.state_dict().items())


@pytest.mark.parametrize("seed", range(5))
def test_a_shipped_backbone_is_what_its_parameters_make(seed):
    """Its digests are those that params.yaml pins and its record wrote; the parameters are those of its namesake."""
    params, folder = load_catalogue(ROOT).params, SHIPPED / f"planted-t5-{seed}"
    made = record.read(folder)
    pinned = params.backbones[f"planted-t5-{seed}-shipped"].source.sha256
    assert pinned == {name: files.sha256(folder / name) for name in backbones.FILES}
    assert {name: made["made"]["outputs"][name] for name in backbones.FILES} == pinned
    own = params.backbones[f"planted-t5-{seed}"]
    assert made["asked"] == json.loads(json.dumps(own.model_dump(exclude={"seed_of"})))
    assert own.source.seed == seed and made["with"]["dirty"] is False
