"""NaN and infinity end in an error that names where they arose, and are never saved."""

import math

import pytest
import torch
from conftest import typed
from safetensors.torch import load_file, save_file
from small_project import Project
from test_battery import config_of, features_of
from test_sources import random_llama

from dp import files, paths
from dp.backbones.definition import BackboneEntry
from dp.classifier.classifier import classifier
from dp.classifier.scoring import score
from dp.commands import cli
from dp.compute import features
from dp.errors import UserError
from dp.sources import weights as fetch
from dp.training import loop
from dp.training.state import State, load_tuned

WRONG = pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])


@WRONG
def test_weights_are_finite_or_refused_by_name(tmp_path, wrong):
    random_llama(tmp_path / "made")
    tensors = load_file(tmp_path / "made" / "model.safetensors")
    tensors["model.layers.0.mlp.up_proj.weight"][3, 5] = wrong
    save_file(tensors, tmp_path / "made" / "model.safetensors", metadata={"format": "pt"})
    source = {"kind": "folder", "path": str(tmp_path / "made")}
    with pytest.raises(UserError, match=r"layers\.0\.mlp\.up_proj\.weight holds 1 of 512 numbers .* get them again"):
        fetch.fetch(BackboneEntry.model_validate({"family": "causal", "source": source}), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_features_are_finite_or_refused_by_row(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    project = Project(tmp_path, ["adap_ins_pos"])
    project.prepare()
    folder = paths.features("small", "tiny-t5", "toy", "masked_mean")
    before = (folder / "features.safetensors").read_bytes()
    original = features.masked_mean

    def overflowing(states, mask):
        found = original(states, mask)
        found[0, 2] = math.inf
        return found

    monkeypatch.setattr(features, "masked_mean", overflowing)
    with pytest.raises(SystemExit):
        cli.main(["features", "--backbone", "tiny-t5", "--task", "toy"])
    said = capsys.readouterr().err
    assert "Features of task 'toy' under backbone 'tiny-t5'" in said and "rows of train, train-" in said
    assert "overflow in float32" in said
    assert (folder / "features.safetensors").read_bytes() == before


@pytest.fixture
def made(tiny, toy_split):
    """(classifier, split, its features, configuration) of an untrained run."""

    def make(variant="adap_ins_pos", **training):
        backbone, split = tiny("seq2seq"), toy_split("seq2seq")
        config = config_of("seq2seq", variant, **training)
        found = features_of(backbone, split)
        model = classifier(typed(config), backbone, [2], [], "cpu")
        model.fit_features(found)
        return model, split, found, config

    return make


def test_scores_are_finite_or_their_cause_is_named(made, monkeypatch):
    model, split, found, config = made()
    assert score(model, split, found, typed(config), 0)[0].isfinite().all()
    bad = found.index_fill(0, torch.tensor([2]), math.nan)  # an argmax of NaN would choose something
    with pytest.raises(UserError, match="Instance features: the table holds 32 of 768 numbers"):
        score(model, split, bad, typed(config), 0)
    monkeypatch.setattr(model.backbone, "word_scores", lambda state, outputs: outputs + math.inf)
    with pytest.raises(
        UserError,
        match=rf"24 of 24 rows, {split.rows[0]['id']} first, .*states overflow in float32; set compute\.dtype",
    ):
        score(model, split, found, typed(config), 0)
    with torch.no_grad():
        model.kept()["prompt.representation.vectors"][0, 0] = math.nan
    with pytest.raises(UserError, match=r"the tuned tensor prompt\.representation\.vectors is not finite"):
        score(model, split, found, typed(config), 0)


def test_a_class_that_a_row_lacks_needs_no_score(made):
    model, split, found, config = made()
    split.outputs[:, 1] = -1
    assert (score(model, split, found, typed(config), 0)[0][:, 1] == -math.inf).all()


def train(made, folder, **changes):
    model, split, found, config = made(**changes)
    rows = loop.Rows(split, found)
    return loop.train(model, rows, [rows], typed(config), folder, "identity")


def optimizer(**changes):
    return {"name": "adamw", "lr": 0.1, "weight_decay": 0.0, "schedule": "constant", "warmup_steps": 0,
            "clip_norm": 1.0} | changes  # fmt: skip


@pytest.mark.parametrize("name", ["adamw", "adafactor"])
def test_the_last_update_is_looked_at_too(made, tmp_path, monkeypatch, name):
    monkeypatch.setattr(loop, "learning_rate", lambda *_: math.inf)
    with pytest.raises(UserError, match=r"prompt\.\S+ is NaN or infinite at step 0; lower the learning rate \(inf\)"):
        train(made, tmp_path / "run", steps=1, optimizer=optimizer(name=name))
    assert files.read_json(tmp_path / "run" / "failure.json")["status"] == "non-finite parameter"
    assert not (tmp_path / "run" / "steps.jsonl").exists()


@pytest.mark.parametrize(
    ("step", "remedy"), [(0, r"overflow in float32.*prompt\.init"), (2, "lower the learning rate")]
)
def test_a_gradient_that_is_not_finite(made, tmp_path, monkeypatch, step, remedy):
    original, calls = torch.nn.utils.get_total_norm, iter(range(100))

    def norm(gradients):
        gradients = list(gradients)
        if next(calls) == step:
            gradients[0][0] = math.inf
        return original(gradients)

    monkeypatch.setattr(torch.nn.utils, "get_total_norm", norm)
    with pytest.raises(UserError, match=f"gradients' norm is inf at step {step}; .*{remedy}"):
        train(made, tmp_path / "run", optimizer=optimizer())
    assert files.read_json(tmp_path / "run" / "failure.json")["status"] == "non-finite gradient"


def test_a_loss_before_the_first_update_is_not_the_learning_rates_fault(made, tmp_path, monkeypatch):
    original = loop.functional.cross_entropy
    monkeypatch.setattr(loop.functional, "cross_entropy", lambda *a, **k: original(*a, **k) + math.inf)
    with pytest.raises(
        UserError, match=r"loss is (nan|inf) at step 0; nothing is tuned yet, .* choose float32, or a smaller"
    ):
        train(made, tmp_path / "run")


def test_features_that_are_not_finite_are_not_trained_on(made, tmp_path):
    model, split, found, config = made()
    rows = loop.Rows(split, found.index_fill(0, torch.tensor([3]), math.nan))
    with pytest.raises(UserError, match="Instance features: the table holds 32 of 768 numbers"):
        loop.train(model, rows, [rows], typed(config), tmp_path / "run", "identity")


@WRONG
def test_no_json_file_holds_them(tmp_path, wrong):
    path = tmp_path / "made.json"
    files.write_json(path, {"fine": 1.0})
    for write in (lambda: files.write_json(path, {"a": [wrong]}), lambda: files.write_jsonl(path, [{"a": wrong}])):
        with pytest.raises(UserError, match=r"made\.json: is not written, for a number in it is NaN or infinite"):
            write()
    assert files.read_json(path) == {"fine": 1.0}
    state = State(tmp_path / "run", "identity")
    state.folder.mkdir(parents=True)
    with pytest.raises(ValueError, match="not JSON compliant"):
        state.log({"loss": wrong})


def test_a_tuned_file_is_finite_or_refused(made, tmp_path):
    """Policies that are NaN would still choose something."""
    model, *_ = made()
    tensors = {name: value.detach().clone() for name, value in model.kept().items()}
    save_file(tensors, tmp_path / "tuned.safetensors")
    load_tuned(model.kept(), tmp_path / "tuned.safetensors")
    name = next(name for name in tensors if "policy" in name)
    tensors[name].flatten()[0] = math.nan
    save_file(tensors, tmp_path / "tuned.safetensors")
    with pytest.raises(UserError, match=rf"tuned\.safetensors: {name} holds 1 of .* train again"):
        load_tuned(model.kept(), tmp_path / "tuned.safetensors")
