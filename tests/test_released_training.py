"""How protocol `released` trains: clipping, warm-up, shuffling, and a prompt beside fine-tuning."""

import statistics

import pytest
import torch
from conftest import typed
from test_battery import study_with
from test_released import Spy, at, switched

from dp import files
from dp.classifier.classifier import classifier
from dp.data.batches import collate, training_batches
from dp.study import grid
from dp.training.loop import Rows, clip_norm, train
from dp.training.loop_config import Optimizer
from dp.training.optimizers import learning_rate, optimizers
from dp.training.state import State

BUDGET = {"steps": 20, "batch_size": 32, "micro_batch_size": 8, "evaluate_every": 20, "checkpoint_every": 20}
ADAMW = {"name": "adamw", "lr": 3e-5, "weight_decay": 0.01, "schedule": "linear", "warmup_steps": 3}


def released_config(variant):
    """Batch 32 in micro-batches of 8, of 4 for fine-tuning, as the paper's."""
    training = study_with().scale.training.model_dump() | BUDGET
    training["optimizer"] = training["optimizer"] | {"lr": 0.3, "warmup_steps": 5, "clip_norm": 1.0}
    own = {"finetune": {"micro_batch_size": 4, "optimizer": ADAMW}}
    study = study_with(protocol="released", training=training, overrides=own)
    return grid.run_config(study, grid.Cell("tiny-t5", "full", "toy", variant, 0))


@pytest.mark.parametrize(
    ("variant", "expected"),
    [  # of the mean: every fourth update of 8 rows, every update of 32, every eighth of 4
        ("fixed", [None, None, None, 1.0] * 2),
        ("adap_ins_vec_pos", [None, None, None, 1.0] * 2),
        ("adap_pos", [0.25] * 8),
        ("adap_ins_pos", [0.25] * 8),
        ("finetune", [None] * 7 + [1.0]),
    ],
)
def test_clip_once_a_step(variant, expected):
    config = released_config(variant)
    assert "clip_once_a_step" in config["switches"]
    assert [clip_norm(step, typed(config).training, True) for step in range(8)] == expected
    assert [clip_norm(step, typed(config).training, False) for step in range(8)] == [1.0] * 8


def test_the_first_update_of_a_warm_up_from_zero_moves_nothing(tiny, toy_split, tmp_path):
    constant = Optimizer(lr=0.3, warmup_steps=4)
    rates = [learning_rate(step, 8, constant, from_zero=True) for step in range(6)]
    assert rates == pytest.approx([0, 0.075, 0.15, 0.225, 0.3, 0.3])
    split = toy_split("seq2seq")
    for switches, moves in ((["warmup_from_zero"], False), ([], True)):
        config = switched("fixed", *switches, steps=1)
        config["training"]["optimizer"] |= {"warmup_steps": 2}
        model = classifier(typed(config), tiny("seq2seq"), [2], [], "cpu")
        start = model.prompt.representation.vectors.detach().clone()
        train(model, Rows(split, None), [Rows(split, None)], typed(config), tmp_path / str(moves), "identity")
        assert torch.equal(start, model.prompt.representation.vectors) != moves


def test_a_short_schedule_ends_early_and_stays_at_zero(tiny, toy_split, tmp_path):
    """160 updates, of which 20, the nominal steps, have a rate: 3 of warm-up, 17 linear to 0."""
    expected = [3e-5 * (s / 3 if s < 3 else (20 - s) / 17) for s in range(20)] + [0.0] * 140
    assert [learning_rate(s, 20, Optimizer(**ADAMW), True) for s in range(160)] == pytest.approx(expected)
    config, split = released_config("finetune"), toy_split("seq2seq")
    assert config["training"]["steps"] == 160 and config["training"]["batch_size"] == 4
    config["training"] |= {"steps": 48, "updates_per_step": 8, "evaluate_every": 48, "checkpoint_every": 48}
    model = classifier(typed(config), tiny("seq2seq"), [2], [], "cpu")
    rows = Rows(split, None)
    train(model, rows, [rows], typed(config), tmp_path / "run", "identity")
    log = [line for line in files.read_jsonl(tmp_path / "run" / "steps.jsonl") if "loss" in line]
    assert [line["lr"] for line in log] == pytest.approx([0, 1e-5, 2e-5, 3e-5, 2e-5, 1e-5] + [0.0] * 42)


def test_plain_shuffling_has_no_buckets(tiny, toy_split, tmp_path):
    """Every epoch is a permutation, batches are cut from them in order, and a longer run begins as a shorter one."""
    lengths = [5 + (37 * n) % 400 for n in range(250)]
    plain = training_batches(lengths, 8, 125, seed=0, plain=True)
    stream = [row for batch in plain for row in batch]
    epochs = [stream[start : start + 250] for start in range(0, 1000, 250)]
    assert all(sorted(epoch) == list(range(250)) for epoch in epochs) and len(set(map(tuple, epochs))) == 4
    assert training_batches(lengths, 8, 40, seed=0, plain=True) == plain[:40]
    assert training_batches(lengths, 32, 30, seed=0, plain=True) == [stream[i : i + 32] for i in range(0, 960, 32)]
    assert training_batches(lengths, 8, 125, seed=1, plain=True) != plain

    def spread(batches):
        return statistics.fmean(statistics.stdev(lengths[row] for row in batch) for batch in batches)

    assert spread(plain) > 0.9 * statistics.stdev(lengths) > 10 * spread(training_batches(lengths, 8, 125, seed=0))
    split = toy_split("seq2seq")
    config = switched("fixed", "plain_shuffling", steps=6, batch_size=8, micro_batch_size=4)
    spy = Spy(classifier(typed(config), tiny("seq2seq"), [2], [], "cpu"))
    train(spy, Rows(split, None), [Rows(split, None)], typed(config), tmp_path / "run", "identity")
    seen = [row for batch, moment in spy.seen if moment.training for row in batch.rows.tolist()]
    own = training_batches([len(ids) for ids in split.ids], 8, 6, config["seed"], plain=True)
    assert seen == [row for batch in own for row in batch]


def test_a_prompt_beside_fine_tuning(tiny):
    """The prompt by Adafactor at the scale's rate, all of the model but its embeddings by AdamW at its own."""
    config, backbone = released_config("finetune"), tiny("seq2seq")
    model = classifier(typed(config), backbone, [2], [], "cpu")
    trained = model.trained()
    vectors = trained["prompt.representation.vectors"]
    assert torch.equal(vectors, backbone.model.get_input_embeddings().weight[:4])
    of_model = {f"backbone.{name}" for name, _ in backbone.model.named_parameters() if "shared" not in name}
    assert trained.keys() == of_model | {"prompt.representation.vectors"}
    first, last = optimizers(trained, typed(config).training)
    assert isinstance(first.optimizer, torch.optim.AdamW) and type(last.optimizer).__name__ == "Adafactor"
    assert last.optimizer.param_groups[0]["params"] == [vectors] and last.settings.lr == 0.3
    assert sum(len(group["params"]) for group in first.optimizer.param_groups) == len(of_model)
    assert (first.settings.lr, last.settings.schedule) == (3e-5, "constant")
    plain = grid.run_config(study_with(), grid.Cell("tiny-t5", "full", "toy", "finetune", 0))
    assert plain["prompt"] is None and "prompt_optimizer" not in plain["training"]


def test_two_optimizers_resume_where_they_stopped(tiny, toy_split, tmp_path):
    """The next update after a resumption is bit for bit that of the run that never stopped."""
    config, split = released_config("finetune"), toy_split("seq2seq")
    ends = []
    for stops in (False, True):
        model = classifier(typed(config), tiny("seq2seq"), [2], [], "cpu")
        moving = [part.optimizer for part in optimizers(model.trained(), typed(config).training)]
        for step in range(4):
            if stops and step == 2:
                (tmp_path / "state").mkdir()
                (tmp_path / "state" / "steps.jsonl").touch()
                State(tmp_path, "one").save(2, model.trained(), moving, None)
                model = classifier(typed(config), tiny("seq2seq"), [2], [], "cpu")
                moving = [part.optimizer for part in optimizers(model.trained(), typed(config).training)]
                assert State(tmp_path, "one").resume(model.trained(), moving) == (2, None)
            batch = collate(split, list(range(4 * step, 4 * step + 4)), width=config["max_tokens"])
            scores, _ = model(batch, at(step, rows=range(4), training=True))
            torch.nn.functional.cross_entropy(scores, batch.labels).backward()
            for optimizer in moving:
                optimizer.step()
                optimizer.zero_grad()
        ends.append({name: value.detach().clone() for name, value in model.trained().items()})
    assert all(torch.equal(ends[0][name], ends[1][name]) for name in ends[0])
