"""Twenty updates of every released variant against tests/released_reference.py: losses, and how far parameters moved.

Both begin at the same values and see the same rows and the same uniform numbers; all else is computed twice.
"""

import contextlib
import math

import pytest
import torch
import yaml
from conftest import ROOT, typed
from released_reference import Reference
from safetensors.torch import load_file

from dp import files, paths
from dp.backbones.families import load
from dp.classifier.classifier import classifier
from dp.commands import common
from dp.commands.cli import main
from dp.data import tokens
from dp.errors import UserError
from dp.prompts.choice import Moment
from dp.study import grid
from dp.study.study import load as load_study
from dp.training import overflow
from dp.training.loop import Rows, train

UPDATES, WARMUP, LENGTH, POOL, ANNEAL = 20, 5, 6, 3, 0.01
WORKING = ["adap_pos", "adap_ins_pos"]
LENGTHS = ["adap_length", "adap_ins_length"]
BROKEN = ["fixed", "adap_ins_vec", "adap_ins_vec_pos", "adap_pos_ins_vec", *LENGTHS]
VARIANTS = [*WORKING, *BROKEN, "finetune"]
ADAMW = {"name": "adamw", "lr": 0.0003, "weight_decay": 0.01, "schedule": "linear", "warmup_steps": 4}
SHAPE = {"d_model": 64, "d_kv": 16, "d_ff": 128, "num_layers": 2, "num_decoder_layers": 1, "num_heads": 4,
         "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False, "dropout_rate": 0.0}  # fmt: skip


def made(root, task, source, folder, width, tokenizer):
    """A project whose tokens, backbone and padded features are made, under the protocol `released`."""
    params = yaml.safe_load((ROOT / "params.yaml").read_text())
    backbone = {"kind": "random", "architecture": "t5", "shape": SHAPE, "tokenizer": tokenizer}
    params["backbones"]["t5"] = {"family": "seq2seq", "source": backbone}
    scale = {
        "description": "a test's",
        "backbones": ["t5"],
        "source": source,
        "tasks": {source: [task]},
        "regimes": [{"kind": "full"}],
        "variants": VARIANTS,
        "seeds": [0],
        "protocol": "released",
        "max_tokens": width,
        "prompt": {"length": LENGTH, "pool": POOL},
        "choice": {"temperature": {"anneal": ANNEAL}},
        "training": {"steps": UPDATES, "batch_size": 32, "micro_batch_size": 8, "evaluate_every": UPDATES,
                     "checkpoint_every": UPDATES, "optimizer": {"lr": 0.3, "warmup_steps": WARMUP}},
        "overrides": {name: {"steps": UPDATES // 4} for name in BROKEN}
        | {"finetune": {"steps": UPDATES // 2, "batch_size": 8, "micro_batch_size": 4, "optimizer": ADAMW}},
        "compute": {"device": "cpu"},
    }  # fmt: skip
    root.joinpath("params.yaml").write_text(
        yaml.safe_dump(params | {"scale": "updates", "source": source, "folder": folder, "allow_dirty": True})
    )
    (root / "workflow/scales").mkdir(parents=True)
    (root / "workflow/scales/updates.yaml").write_text(yaml.safe_dump(scale))
    with pytest.MonkeyPatch.context() as patch, contextlib.chdir(root):
        patch.delenv(common.SETTINGS_VARIABLE, raising=False)
        main(["fetch-task", "--task", task])
        main(["fetch-backbone", "--backbone", "t5"])
        main(["tokenize", "--backbone", "t5", "--task", task])
        main(["features", "--backbone", "t5", "--task", task, "--pooling", "padded_mean"])
    return root


@pytest.fixture(scope="module")
def made_up(tmp_path_factory):
    return made(tmp_path_factory.mktemp("toy"), "toy", "made_up", None, 40, {"kind": "words"})


@pytest.fixture(scope="module")
def commitment_bank(tmp_path_factory, superglue):
    """Rows of CB in the pieces of T5's own tokenizer."""
    real = yaml.safe_load((ROOT / "params.yaml").read_text())["backbones"]["t5-small-random"]["source"]["tokenizer"]
    return made(tmp_path_factory.mktemp("cb"), "cb", "folder", str(superglue), 320, real)


def noise(purpose, update, micro_batch, rows, candidates):
    """Uniform numbers [rows, candidates]."""
    name = f"{purpose}/{update}/{micro_batch}"
    generator = torch.Generator().manual_seed(sum(ord(letter) * 31**n for n, letter in enumerate(name)) % 2**31)
    return torch.rand(rows, candidates, generator=generator, dtype=torch.float64)


class Spy:
    """A classifier that remembers the rows it is trained on, by update and micro-batch."""

    def __init__(self, model):
        self.model, self.rows = model, {}

    def __getattr__(self, name):
        return getattr(self.model, name)

    def backbone_input(self, batch, moment):
        self.rows.setdefault(moment.step, []).append(batch.rows.tolist())
        return self.model.backbone_input(batch, moment)

    def __call__(self, batch, moment):
        return self.model(batch, moment)


def deviations(root, variant, monkeypatch, without=None):
    """(largest relative difference of a loss, of a parameter's way, updates compared), less one switch if named."""
    monkeypatch.chdir(root)
    monkeypatch.delenv(common.SETTINGS_VARIABLE, raising=False)
    monkeypatch.setattr(overflow, "why", lambda *_: None)  # fillers end a run before the numbers do
    monkeypatch.setattr(Moment, "shared", lambda self, purpose, *shape: noise(purpose, self.step, self.number, *shape))
    released = [switch for switch in load_study(root).params.protocols["released"] if switch != without]
    study = load_study(root, {"protocols": {"released": released}})
    (task,) = study.tasks
    config = grid.run_config(study, grid.Cell("t5", "full", task, variant, 0))
    splits, facts = tokens.load(paths.tokens("updates", "t5", task))
    features = load_file(paths.features("updates", "t5", task, "padded_mean") / "features.safetensors")["train"]
    backbone = load(paths.backbone("t5"), "seq2seq")
    spy = Spy(classifier(typed(config), backbone, [facts["classes"]], [], "cpu"))
    spy.fit_features(features)
    start = {name: value.detach().clone() for name, value in spy.trained().items()}
    split, run = splits["train"], root / "run" / f"{variant}-{without}"
    rows = Rows(split, features if grid.needs_features(study, variant) else None)
    log = run / "steps.jsonl"
    try:
        train(
            spy, rows, [Rows(splits["selection"], features[: len(splits["selection"])])], typed(config), run, "identity"
        )
    except UserError as error:  # fillers end in no number
        assert variant in LENGTHS and (run / "failure.json").exists(), error
        log = run / "state" / "steps.jsonl"
    lines = files.read_jsonl(log) if log.exists() else []  # there is none where the first update overflowed
    ours = [line["loss"] for line in lines if "loss" in line]

    theirs = Reference(
        load(paths.backbone("t5"), "seq2seq").model,
        backbone.tokenizer.convert_tokens_to_ids("<extra_id_0>"),
        [(split.ids[n].tolist(), split.rows[n]["label"], split.outputs[n].tolist()) for n in range(len(split))],
        start,
        noise,
        study.scale.max_tokens,
        warmup=WARMUP,
        anneal=ANNEAL,
        parts=2 if variant == "finetune" else 4,
        broken=variant not in WORKING,
        tunes_model=variant == "finetune",
        model_optimizer=ADAMW | {"ends": UPDATES // 2},
    )
    losses = theirs.train([spy.rows[step] for step in range(len(ours))])
    loss = max(abs(one - other) / other for one, other in zip(ours, losses, strict=True)) if ours else 0.0
    found, moved = {name: value.detach() for name, value in spy.trained().items()}, theirs.moved()
    way = max(apart(found[name], moved[name], start[name]) for name in start)
    if len(ours) in spy.rows:  # it broke off
        theirs.train([spy.rows[len(ours)]])
    is_finite = all(value.isfinite().all() for value in theirs.moved().values())
    assert len(ours) == config["training"]["steps"] or theirs.overflowed or not is_finite
    return loss, way, len(ours)


def apart(found, moved, start):
    """The distance of two ends in ways from `start` to the second; two that are no numbers, or did not move, agree."""
    both = [not end.isfinite().all() or torch.equal(end, start) for end in (found, moved)]
    if any(both):
        return 0.0 if all(both) else math.inf
    return ((found - moved).norm() / (moved - start).norm()).item()


def agree(root, variant, monkeypatch):
    loss, way, updates = deviations(root, variant, monkeypatch)
    print(f"{variant}: losses within {loss:.0e}, ways within {way:.0e}, {updates} updates")
    assert loss < 1e-3 and way < 5e-3
    assert updates == UPDATES or variant in LENGTHS


@pytest.mark.parametrize("variant", VARIANTS)
def test_twenty_updates_are_the_released_codes(made_up, variant, monkeypatch):
    agree(made_up, variant, monkeypatch)


@pytest.mark.slow
@pytest.mark.network
@pytest.mark.parametrize("variant", VARIANTS)
def test_twenty_updates_on_commitment_bank_are_the_released_codes(commitment_bank, variant, monkeypatch):
    agree(commitment_bank, variant, monkeypatch)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("switch", "variant"),
    [("straight_through", "adap_pos"), ("raw_feature", "adap_ins_vec"), ("relu_position_logits", "adap_ins_pos"),
     ("tanh_pool_scores", "adap_ins_vec"), ("rotation", "adap_pos"), ("update_every_micro_batch", "fixed"),
     ("clip_once_a_step", "fixed"), ("clip_once_a_step", "adap_pos"), ("warmup_from_zero", "fixed"),
     ("fillers", "adap_length"), ("short_schedule", "finetune")],
)  # fmt: skip
def test_without_a_switch_they_are_not(made_up, switch, variant, monkeypatch):
    loss, way, _ = deviations(made_up, variant, monkeypatch, without=switch)
    print(f"{variant} without {switch}: losses {loss:.0e}, ways {way:.0e}")
    assert way > 0.02
