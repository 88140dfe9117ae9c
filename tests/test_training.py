"""The loop: resuming, stopping, schedules, batches."""

import math
import os
import shutil
import signal

import pytest
import torch
from conftest import FAMILIES, typed
from safetensors.torch import save
from test_battery import config_of, features_of

from dp import files
from dp.classifier.classifier import classifier
from dp.data import batches
from dp.errors import Interrupted, UserError
from dp.prompts.choice import temperature
from dp.prompts.prompt_config import Temperature
from dp.training import loop
from dp.training.loop_config import Optimizer
from dp.training.optimizers import learning_rate
from dp.training.state import State

ADAMW = {"name": "adamw", "lr": 0.05, "weight_decay": 0.01, "schedule": "linear", "warmup_steps": 2, "clip_norm": 1.0}


@pytest.fixture
def run(tiny, toy_split, tmp_path):
    """Start (or resume) a run in tmp_path/<name>; its tuned bytes and the outcome."""

    def start(name, family="seq2seq", variant="adap_ins_pos", identity="same", selections=1, choice=None, **training):
        backbone = tiny(family)
        split = toy_split(family)
        config = config_of(family, variant, **training)
        config["choice"] = config["choice"] and config["choice"] | (choice or {})
        rows = loop.Rows(split, features_of(backbone, split))
        model = classifier(typed(config), backbone, [2], [], "cpu")
        model.fit_features(rows.features)
        made = loop.train(model, rows, [rows] * selections, typed(config), tmp_path / name, identity)
        return save(made["tensors"]), made

    return start


class Killed(BaseException):
    """Stands for kill -9: nothing catches it."""


def die_at(monkeypatch, call):
    """The `call`-th forward pass of the run kills the process."""
    calls = iter(range(10**6))
    original = loop.collate

    def collate(*arguments):
        if next(calls) == call:
            raise Killed
        return original(*arguments)

    monkeypatch.setattr(loop, "collate", collate)
    return lambda: monkeypatch.setattr(loop, "collate", original)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("optimizer", ["adafactor", "adamw"])
@pytest.mark.parametrize("call", [5, 9, 15])
def test_a_killed_run_resumes_to_the_same_bytes(run, monkeypatch, tmp_path, family, optimizer, call):
    changes = {"optimizer": ADAMW} if optimizer == "adamw" else {}
    expected, _ = run("undisturbed", family, **changes)
    undo = die_at(monkeypatch, call)
    with pytest.raises(Killed):
        run("killed", family, **changes)
    undo()
    resumed_at = _state_step(tmp_path / "killed")
    assert resumed_at == call // 2 // 2 * 2, "two micro-batches a step, a checkpoint every second step"
    found, _ = run("killed", family, **changes)
    assert found == expected
    logs = [files.read_jsonl(tmp_path / name / "steps.jsonl") for name in ("undisturbed", "killed")]
    timeless = [[{k: v for k, v in line.items() if k not in ("seconds", "tokens_per_second")} for line in log]
                for log in logs]  # fmt: skip
    assert timeless[0] == timeless[1]
    assert not (tmp_path / "killed" / "state").exists()


def _state_step(folder):
    facts = State(folder, "same")._facts()
    return 0 if facts is None else facts["step"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_leaves_a_state_that_resumes_to_the_same_bytes(run, monkeypatch, tmp_path, number):
    expected, _ = run("undisturbed", checkpoint_every=100)
    original, steps = loop.learning_rate, iter(range(100))

    def interrupt(*arguments):
        if next(steps) == 2:
            os.kill(os.getpid(), number)
        return original(*arguments)

    monkeypatch.setattr(loop, "learning_rate", interrupt)
    with pytest.raises(Interrupted, match="stopped after step 3; the same command resumes"):
        run("stopped", checkpoint_every=100)
    assert _state_step(tmp_path / "stopped") == 3
    monkeypatch.setattr(loop, "learning_rate", original)
    assert run("stopped", checkpoint_every=100)[0] == expected


def test_a_run_killed_while_it_tidies_up_still_ends_with_the_same_bytes(run, monkeypatch):
    expected, _ = run("undisturbed")
    original, calls = shutil.rmtree, iter(range(100))

    def rmtree(*arguments, **options):
        if next(calls) == 1:  # the first call prepares the state, the second removes it
            raise Killed
        original(*arguments, **options)

    monkeypatch.setattr(shutil, "rmtree", rmtree)
    with pytest.raises(Killed):
        run("killed")
    assert run("killed")[0] == expected


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("state.safetensors", lambda content: content[:-9]),
        ("state.safetensors", lambda content: b""),
        ("state.safetensors", lambda content: b"junk"),
        ("state.safetensors", lambda content: save({"a": torch.zeros(1)})),
        ("state.safetensors", lambda content: content[:-9] + bytes([content[-9] ^ 1]) + content[-8:]),
        ("state.safetensors", lambda content: content.replace(b'\\"step\\": ', b'\\"step\\":1', 1)),
        ("steps.jsonl", lambda content: b""),
        ("steps.jsonl", lambda content: content.replace(b"1", b"2", 1)),
    ],
)
def test_a_damaged_state_is_refused_by_its_name(run, monkeypatch, tmp_path, name, damage):
    undo = die_at(monkeypatch, 11)
    with pytest.raises(Killed):
        run("killed")
    undo()
    path = tmp_path / "killed" / "state" / name
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(UserError, match=r"killed/state: the state .* is damaged.*Delete that folder"):
        run("killed")
    shutil.rmtree(path.parent)
    run("killed")


def test_a_state_of_another_configuration_is_not_resumed(run, monkeypatch, tmp_path):
    expected, _ = run("undisturbed", identity="new")
    undo = die_at(monkeypatch, 11)
    with pytest.raises(Killed):
        run("changed", identity="old", optimizer=ADAMW)
    undo()
    assert run("changed", identity="new")[0] == expected


def test_a_non_finite_loss_stops_the_run_and_says_where(run, monkeypatch, tmp_path):
    original, calls = loop.functional.cross_entropy, iter(range(100))

    def explode(*arguments, **options):
        loss = original(*arguments, **options)
        return loss * math.nan if next(calls) == 4 else loss

    monkeypatch.setattr(loop.functional, "cross_entropy", explode)
    with pytest.raises(UserError, match="loss is nan at step 2; lower the learning rate"):
        run("exploded")
    assert files.read_json(tmp_path / "exploded" / "failure.json")["status"] == "non-finite loss"
    assert not (tmp_path / "exploded" / "steps.jsonl").exists()
    monkeypatch.setattr(loop.functional, "cross_entropy", original)
    run("exploded")
    assert not (tmp_path / "exploded" / "failure.json").exists()


GOLD = torch.tensor([n % 2 for n in range(24)])


def scores(right, confidence=1.0):
    """Scores [24, 2] of rows that alternate between the classes, of which the first `right` are right."""
    wrong = torch.arange(24) >= right
    return confidence * torch.nn.functional.one_hot(torch.where(wrong, 1 - GOLD, GOLD), 2).float()


@pytest.fixture
def outcome(run, monkeypatch):
    """What comes out of a run whose evaluations are these; several a step where there are several tasks."""
    names = iter(range(10**6))

    def train(*evaluations, selections=1):
        queue = list(evaluations)

        def fake(classifier, split, features, config, step):
            labels = torch.tensor([row["label"] for row in split.rows])
            found = queue.pop(0)
            return torch.where((labels != GOLD)[:, None], found.flip(1), found), None

        monkeypatch.setattr(loop, "score", fake)
        name = f"run{next(names)}"
        return run(name, evaluate_every=2, selections=selections)[1] | {"name": name}

    return train


def test_selection_keeps_the_best_then_the_lowest_loss_then_the_earliest(outcome):
    def selected(*evaluations):
        return outcome(*evaluations)["selected_step"]

    assert selected(scores(12), scores(20), scores(18), scores(20)) == 4
    assert selected(scores(20, 0.5), scores(20), scores(12), scores(20)) == 4
    assert selected(scores(12), scores(12), scores(12), scores(12)) == 2


def test_selection_over_several_tasks_goes_by_their_mean(outcome, tmp_path):
    """Right answers of the two tasks: (24, 0), (14, 14), (20, 6), (12, 15): the best step for either alone loses."""
    rights = [24, 0, 14, 14, 20, 6, 12, 15]
    made = outcome(*(scores(right) for right in rights), selections=2)
    assert made["selected_step"] == 4 and made["selection"]["accuracy"] == pytest.approx(14 / 24)
    assert made["selection"]["rows"] == 48
    log = files.read_jsonl(tmp_path / made["name"] / "steps.jsonl")
    selection = [line["selection"] for line in log if "selection" in line]
    assert [line["by_task"] for line in selection] == [
        pytest.approx([first / 24, second / 24]) for first, second in zip(rights[::2], rights[1::2], strict=True)
    ]
    assert [line["best"] for line in log if "selection" in line] == [True, True, False, False]


def test_temperature_is_the_compounding_schedule_of_the_paper():
    tau, schedule = 1.0, Temperature(start=1.0, floor=0.5, rate=3e-5, anneal=10.0)
    for step in range(1, 1001):
        tau = max(tau * math.exp(-3e-5 * step / 10), 0.5)
        assert temperature(step, schedule) == pytest.approx(tau, rel=1e-9)
    floor = next(s for s in range(2000) if temperature(s, schedule) == 0.5)
    assert floor == pytest.approx(215 * math.sqrt(10), rel=0.01)


def test_learning_rates():
    constant = Optimizer(lr=0.3, warmup_steps=4)
    assert [round(learning_rate(s, 8, constant), 3) for s in range(6)] == [0.075, 0.15, 0.225, 0.3, 0.3, 0.3]
    linear = Optimizer(lr=0.3, warmup_steps=4, schedule="linear")
    assert [round(learning_rate(s, 8, linear), 3) for s in range(8)] == [
        0.075, 0.15, 0.225, 0.3, 0.3, 0.225, 0.15, 0.075]  # fmt: skip
    assert learning_rate(0, 8, Optimizer(lr=0.3, warmup_steps=0)) == 0.3


def test_batches_are_full_bucketed_and_cover_every_row_equally():
    lengths = [5 + (n * 37) % 200 for n in range(130)]
    planned = batches.training_batches(lengths, 8, 65, seed=0)
    assert all(len(batch) == 8 for batch in planned)
    counts = [sum(batch.count(row) for batch in planned) for row in range(130)]
    assert set(counts) <= {3, 4, 5} and sum(counts) == 65 * 8
    assert planned[:20] == batches.training_batches(lengths, 8, 20, seed=0)
    assert planned != batches.training_batches(lengths, 8, 65, seed=1)
    unsorted = [list(range(n, n + 8)) for n in range(0, 120, 8)]
    assert batches.padding_share(planned, lengths) < batches.padding_share(unsorted, lengths) / 4
    assert batches.padding_share([[0, 1]], [3, 4]) == pytest.approx(1 / 8)


def test_micro_batches_add_up_to_the_batch(run, tmp_path):
    whole, halves = (
        run(f"micro{size}", variant="fixed", micro_batch_size=size)[1]["tensors"]["prompt.representation.vectors"]
        for size in (8, 4)
    )
    torch.testing.assert_close(whole, halves, rtol=1e-3, atol=1e-4)
    first, second = ([line["loss"] for line in files.read_jsonl(tmp_path / name / "steps.jsonl") if "loss" in line]
                     for name in ("micro8", "micro4"))  # fmt: skip
    assert first == pytest.approx(second, rel=1e-4)


def test_every_step_and_micro_batch_draws_anew(run, tmp_path):
    run("random", variant="random")
    steps = [line["splits"] for line in files.read_jsonl(tmp_path / "random" / "steps.jsonl") if "splits" in line]
    assert len({tuple(splits) for splits in steps}) > 4
    assert any(count % 2 for splits in steps for count in splits), "two equal micro-batches would draw even counts"


PASSES = [("straight_through", 1), ("reinforce", 3), ("exact", 25)]
"""Candidates that each row of adap_ins_all is tried with, where reinforce has three samples."""


@pytest.mark.parametrize(("estimator", "passes"), PASSES)
def test_step_log_counts_lengths_and_averages_the_pool(run, tmp_path, estimator, passes):
    _, made = run("joint", variant="adap_ins_all", choice={"estimator": estimator, "samples": 3})
    assert made["forward_passes_per_row"] == passes
    steps = [line for line in files.read_jsonl(tmp_path / "joint" / "steps.jsonl") if "loss" in line]
    for key in ("splits", "lengths"):
        assert all(sum(line[key]) == 8 * passes and len(line[key]) == 5 for line in steps)
        assert (estimator == "exact") == all(set(line[key]) == {8 * 5} for line in steps), "every candidate, each alike"
    differ = any(line["splits"] != line["lengths"] for line in steps)
    assert differ == (estimator != "exact"), "the two draws must not be one"
    assert all(len(line["pool"]) == 3 and sum(line["pool"]) == pytest.approx(1, abs=1e-3) for line in steps)


def test_step_log_counts_tokens_and_splits(run, tmp_path):
    run("logged", choice={"estimator": "straight_through"})
    steps = [line for line in files.read_jsonl(tmp_path / "logged" / "steps.jsonl") if "loss" in line]
    assert [line["step"] for line in steps] == list(range(1, 9))
    assert all(sum(line["splits"]) == 8 and len(line["splits"]) == 5 for line in steps)
    assert all(line["lengths"] is None and line["pool"] is None for line in steps)
    assert steps[0]["temperature"] == 1.0 and steps[-1]["temperature"] < 1.0
