"""Parameters are closed: every mistake is named with file, key and remedy before any job."""

import shutil

import pytest
import yaml
from conftest import ROOT

from dp import grid, params, study
from dp.errors import UserError


@pytest.fixture
def project(tmp_path):
    """A copy of the parameters to spoil: change(file, function on the parsed YAML)."""
    shutil.copy(ROOT / "params.yaml", tmp_path)
    shutil.copytree(ROOT / "workflow" / "scales", tmp_path / "workflow" / "scales")

    def change(file, edit):
        path = tmp_path / file
        content = yaml.safe_load(path.read_text())
        edit(content)
        path.write_text(yaml.safe_dump(content))
        return tmp_path

    return change


def test_every_scale_is_valid():
    for path in (ROOT / "workflow" / "scales").glob("*.yaml"):
        scale = study.load(ROOT, {"scale": path.stem, "source": None, "folder": "somewhere"})
        assert grid.cells(scale)
        runs = [cell.run for cell in grid.cells(scale)]
        assert len(runs) == len(set(runs))


OPEN = "workflow/scales/open.yaml"


@pytest.mark.parametrize(
    ("file", "edit", "message"),
    [
        ("params.yaml", lambda c: c.update(scal="open"),
         r"params.yaml: unknown key 'scal'; the nearest valid name is 'scale'"),
        ("params.yaml", lambda c: c["variants"]["fixed"].update(positon="task"),
         r"unknown key 'variants.fixed.positon'; the nearest valid name is 'position'"),
        ("params.yaml", lambda c: c["backbones"]["t5-small-lm"]["source"].update(revison="x"),
         r"unknown key 'backbones.t5-small-lm.source.revison'; the nearest valid name is 'revision'"),
        (OPEN, lambda c: c["training"].update(stepz=3), r"open.yaml: unknown key 'training.stepz'; .* 'steps'"),
        (OPEN, lambda c: c["training"].update(steps="many"), r"training.steps = 'many': .*valid integer"),
        (OPEN, lambda c: c["training"].update(steps=0), r"training.steps = 0: .*greater than 0"),
        (OPEN, lambda c: c["training"].update(micro_batch_size=3),
         r"batch_size 8 must be a multiple of micro_batch_size 3"),
        (OPEN, lambda c: c["training"]["optimizer"].update(name="sgd"),
         r"optimizer.name = 'sgd': .*'adafactor' or 'adamw'"),
        (OPEN, lambda c: c["regimes"].append({"kind": "fewshots"}), r"regimes.1.* 'full', 'fewshot'"),
        (OPEN, lambda c: c.pop("seeds"), r"key 'seeds' is missing"),
        (OPEN, lambda c: c["variants"].append("adap_poss"),
         r"variants: 'adap_poss' is not defined .* nearest valid name is 'adap_pos'"),
        (OPEN, lambda c: c["backbones"].append("smollm"), r"backbones: 'smollm' is not defined .*'smollm2-135m'"),
        (OPEN, lambda c: c.update(overrides={"fixed": {"step": 3}}), r"overrides.fixed.unknown key 'step'.*'steps'"),
        (OPEN, lambda c: c["regimes"].append({"kind": "multitask", "alpha": 2}),
         r"regimes.1.alpha = 2: .*less than or equal to 1"),
        (OPEN, lambda c: c["regimes"].append({"kind": "fewshot", "k": [0]}), r"regimes.1.k.0 = 0: .*greater than 0"),
        (OPEN, lambda c: c["prompt"].update(init={"kind": "zeros"}),
         r"prompt.init.kind = 'zeros': .*'label_words' or 'uniform'"),
        (OPEN, lambda c: c.update(baselines={"lora": {"rnk": 4}}), r"unknown key 'baselines.lora.rnk'; .* 'rank'"),
        (OPEN, lambda c: c.update(search={"method": "grid"}), r"key 'search.trials' is missing"),
        (OPEN, lambda c: c["choice"].update(estimator="reinforced"),
         r"choice.estimator = 'reinforced': .*'straight_through', 'reinforce' or 'exact'"),
        (OPEN, lambda c: c["choice"].update(samples=1), r"choice.samples = 1: .*greater than or equal to 2"),
        (OPEN, lambda c: c["choice"].update(entropy=-0.1), r"choice.entropy = -0.1: .*greater than or equal to 0"),
        (OPEN, lambda c: c["regimes"].append({"kind": "full", "tasks": []}), r"regimes.1.tasks.* at least 1 item"),
        ("params.yaml", lambda c: c["backbones"]["planted-t5"]["source"].update(pretraining={"step": 3}),
         r"unknown key 'backbones.planted-t5.source.pretraining.step'; the nearest valid name is 'steps'"),
        ("params.yaml", lambda c: c["backbones"]["planted-t5"]["source"].update(pretraining={"accuracy": 1.5}),
         r"source.pretraining.accuracy = 1.5: .*less than or equal to 1"),
        ("params.yaml", lambda c: c["protocols"].update(mine=["dropuot"]),
         r"protocols.mine.0 = 'dropuot': .*'dropout'"),
        ("params.yaml", lambda c: c["variants"]["fixed"].update(position="middle"),
         r"variants.fixed.position = 'middle': .*'prefix', 'postfix', 'random', 'task' or 'instance'"),
        ("params.yaml", lambda c: c["variants"]["fixed"].update(length=0), r"variants.fixed.length = 0"),
        ("params.yaml", lambda c: c["backbones"]["tiny-bert"].update(head="words"),
         r"tiny-bert.head = 'words': .*'linear'"),
        pytest.param("params.yaml", lambda c: c["variants"]["lora"].update(baseline="lorra"),
                     r"variants.lora.baseline = 'lorra': .*'lora'"),
        pytest.param("params.yaml", lambda c: c["variants"]["lora"].update(haed="linear"),
                     r"unknown key 'variants.lora.haed'; the nearest valid name is 'head'"),
        pytest.param("params.yaml", lambda c: c["variants"]["adap_pos-noise"].update(instances="shufled"),
                     r"variants.adap_pos-noise.instances = 'shufled': .*'own' or 'shuffled'"),
        (OPEN, lambda c: c["prompt"].update(length=3) or c["variants"].append("fixed-5"),
         r"variants.fixed-5.position: split 5 is outside 0..3"),
    ],
)  # fmt: skip
def test_mistakes_are_named(project, file, edit, message):
    with pytest.raises(UserError, match=message) as error:
        study.load(project(file, edit), {"scale": "open"})
    assert "\n" not in str(error.value)


def test_settings_of_the_call_are_checked_too():
    with pytest.raises(UserError, match=r"has no file .*opne.yaml; the scales are \["):
        study.load(ROOT, {"scale": "opne"})
    with pytest.raises(UserError, match="folder: is not set; source 'folder' needs the path"):
        study.load(ROOT, {"scale": "open", "source": "folder"})
    with pytest.raises(UserError, match="source: 'hub' has no tasks in this scale"):
        study.load(ROOT, {"scale": "open", "source": "hub"})


def test_an_override_changes_its_variant_alone():
    smoke = study.load(ROOT, {"scale": "smoke"})
    assert study.training_of(smoke.scale, "finetune").optimizer.name == "adamw"
    assert study.training_of(smoke.scale, "fixed") == smoke.scale.training
    merged = study.training_of(smoke.scale, "finetune")
    assert merged.steps == smoke.scale.training.steps == 8
    assert merged.optimizer.warmup_steps == smoke.scale.training.optimizer.warmup_steps == 2, "keys within a key too"


def test_the_committed_schema_is_the_model():
    """After a change of dp/params.py: python -m dp schema"""
    assert (ROOT / "workflow" / "params.schema.json").read_text() == params.schema()


def test_baselines_that_draw_nothing_run_once():
    paper = study.load(ROOT, {"scale": "paper"})
    seeds = {v: [c.seed for c in grid.cells(paper) if c.variant == v and c.task == "cb" and c.regime == "full"
                 and c.backbone == "t5-small-lm"] for v in ("majority", "zero-shot", "fixed")}  # fmt: skip
    assert seeds == {"majority": [0], "zero-shot": [0], "fixed": [0, 1, 2, 3, 4]}
