"""Parameters are closed: every mistake is named with file, key and remedy before any job."""

import shutil

import pytest
import yaml
from conftest import ROOT
from small_project import small_study

from dp.closed import Closed, validated
from dp.errors import UserError
from dp.paper.claimed import PaperFacts
from dp.study import grid, params, study
from dp.tasks.model import Task


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
         r"batch_size 16 must be a multiple of micro_batch_size 3"),
        (OPEN, lambda c: c["training"]["optimizer"].update(name="adagradd"),
         r"optimizer.name = 'adagradd': .*'adafactor'"),
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
         r"prompt.init.kind = 'zeros': .*'label_words'"),
        (OPEN, lambda c: c.update(baselines={"lora": {"rnk": 4}}), r"unknown key 'baselines.lora.rnk'; .* 'rank'"),
        (OPEN, lambda c: c.update(search={"method": "grid"}), r"key 'search.trials' is missing"),
        (OPEN, lambda c: c.update(choice={"estimator": "reinforced"}),
         r"choice.estimator = 'reinforced': .*'straight_through', 'reinforce'"),
        (OPEN, lambda c: c.update(choice={"samples": 1}), r"choice.samples = 1: .*greater than or equal to 2"),
        (OPEN, lambda c: c.update(choice={"entropy": -0.1}), r"choice.entropy = -0.1: .*greater than or equal to 0"),
        (OPEN, lambda c: c["regimes"].append({"kind": "full", "tasks": []}), r"regimes.1.tasks.* at least 1 item"),
        ("params.yaml", lambda c: c["backbones"]["planted-t5-0"]["source"].update(pretraining={"step": 3}),
         r"unknown key 'backbones.planted-t5-0.source.pretraining.step'; the nearest valid name is 'steps'"),
        ("params.yaml", lambda c: c["backbones"]["planted-t5-1"]["source"].update(seed=0),
         r"backbones.planted-t5-1: is the same as 'planted-t5-0', and no other seed of 'planted-t5'"),
        ("params.yaml", lambda c: c["backbones"]["planted-t5-2"]["source"].update(pretraining={"steps": 3}),
         r"backbones.planted-t5-2.source: differs from 'planted-t5-0' in more than the seed of 'planted-t5'"),
        ("params.yaml", lambda c: c["backbones"]["planted-t5-0-shipped"].update(seed_of="planted-t5"),
         r"backbones.planted-t5-0-shipped.source: differs from 'planted-t5-0' in more than the seed"),
        ("params.yaml", lambda c: c["backbones"]["planted-t5-0"]["source"].update(pretraining={"accuracy": 1.5}),
         r"source.pretraining.accuracy = 1.5: .*less than or equal to 1"),
        ("params.yaml", lambda c: c["protocols"].update(mine=["dropuot"]),
         r"protocols.mine.0 = 'dropuot': .*'dropout'"),
        ("params.yaml", lambda c: c["variants"]["fixed"].update(position="sideways"),
         r"variants.fixed.position = 'sideways': .*'prefix'"),
        ("params.yaml", lambda c: c["variants"]["fixed"].update(length=0), r"variants.fixed.length = 0"),
        ("params.yaml", lambda c: c["backbones"]["tiny-bert"].update(head="words"),
         r"tiny-bert.head = 'words': .*'linear'"),
        pytest.param("params.yaml", lambda c: c["variants"]["lora"].update(baseline="lorra"),
                     r"variants.lora.baseline = 'lorra': .*'lora'"),
        pytest.param("params.yaml", lambda c: c["variants"]["lora"].update(haed="linear"),
                     r"unknown key 'variants.lora.haed'; the nearest valid name is 'head'"),
        pytest.param("params.yaml", lambda c: c["variants"]["adap_pos-noise"].update(instances="shufled"),
                     r"variants.adap_pos-noise.instances = 'shufled': .*'own' or 'shuffled'"),
        ("params.yaml", lambda c: c["variants"].update(majority="majority"),
         r"variants.majority.* = 'majority': Input should be a valid dictionary"),
        ("params.yaml", lambda c: c["variants"].update(majority=None), r"variants.majority.* = None: .*dictionary"),
        ("params.yaml", lambda c: c["variants"].update(majority=["a"]), r"variants.majority.*valid dictionary"),
        ("params.yaml", lambda c: c.update(backbones=3), r"backbones = 3: .*valid dictionary"),
        (OPEN, lambda c: c["training"].update(steps="8"), r"training.steps = '8': .*valid integer"),
        (OPEN, lambda c: c["training"].update(steps=8.0), r"training.steps = 8.0: .*valid integer"),
        (OPEN, lambda c: c.update(seeds=[True]), r"seeds.0 = True: .*valid integer"),
        (OPEN, lambda c: c["training"]["optimizer"].update(lr=True), r"lr = True: .*valid number"),
        (OPEN, lambda c: c.update(description="x" * 16_000, seeds="y" * 16_000), r"seeds = 'yy.*16,002 characters"),
        (OPEN, lambda c: c.update({"z" * 16_000: 1}), r"unknown key 'zz.*16,000 characters"),
        (OPEN, lambda c: c["backbones"].append("b" * 300), r"backbones.1 = .*at most 100 characters"),
        (OPEN, lambda c: c.update(overrides={"fixed": {"optimizer": {"lr": "0.1"}}}), r"lr = '0.1': .*valid number"),
        (OPEN, lambda c: c["prompt"].update(length=3) or c["variants"].append("fixed-5"),
         r"variants.fixed-5.position: split 5 is outside 0..3"),
    ],
)  # fmt: skip
def test_mistakes_are_named(project, file, edit, message):
    with pytest.raises(UserError, match=message) as error:
        study.load(project(file, edit), {"scale": "open"})
    assert "\n" not in str(error.value) and len(str(error.value)) < 1500


INFINITE = float("inf")


@pytest.mark.parametrize("value", [INFINITE, -INFINITE, float("nan")])
@pytest.mark.parametrize(
    ("key", "changes"),
    [
        ("lr", lambda v: {"training": {"optimizer": {"lr": v}}}),
        ("overrides.fixed.optimizer.lr", lambda v: {"overrides": {"fixed": {"optimizer": {"lr": v}}}}),
        ("noise", lambda v: {"pretraining": {"noise": v}}),
        ("shape", lambda v: {"shape": {"dropout_rate": v}}),
        ("space.lr_factor", lambda v: {"search": {"method": "grid", "trials": 2, "space": {"lr_factor": [v, 1.0]}}}),
        ("space.anneal", lambda v: {"search": {"method": "random", "trials": 2,
                                               "space": {"anneal": {"low": 1.0, "high": v}}}}),
    ],
)  # fmt: skip
def test_numbers_are_finite(key, changes, value):
    """Of any origin, for a file is refused before (test_yaml12.py): Snakemake reads `--config x=inf` as a number."""
    given = changes(value)
    with pytest.raises(UserError, match=key):
        if "shape" in given or "pretraining" in given:
            source = {"kind": "planted", "shape": {}} | given
            validated(params.BackboneEntry, {"family": "seq2seq", "source": source}, ROOT)
        else:
            small_study(["fixed"], **given)


def test_every_number_of_every_model_is_finite_and_strict():
    todo, seen = [params.Params, params.Scale, study.Study, Task, PaperFacts], set()
    while todo:
        model = todo.pop()
        if model not in seen:
            seen.add(model)
            assert model.model_config["strict"] and model.model_config["allow_inf_nan"] is False, model
            text = [str(field.annotation) + str(field.metadata) for field in model.model_fields.values()]
            todo += [one for one in Closed.__subclasses__() if any(one.__name__ in words for words in text)]
    assert len(seen) > 20


def test_a_second_block_does_not_replace_the_first(project, tmp_path):
    """A second `training:` once made a batch of 8 one of 32, without a word."""
    root = project("params.yaml", lambda content: None)
    path = root / OPEN
    path.write_text(path.read_text() + "training: {batch_size: 32}\n")
    with pytest.raises(UserError, match=r"open.yaml, line \d+: training: stands there twice, first in line \d+"):
        study.load(root, {"scale": "open"})


def test_a_small_number_in_a_shape_is_a_number(project):
    root = project("params.yaml", lambda content: None)
    path = root / "params.yaml"
    path.write_text(path.read_text().replace("dropout_rate: 0.0", "dropout_rate: 1e-1"))
    assert study.load(root, {"scale": "open"}).params.backbones["planted-t5-0"].source.shape["dropout_rate"] == 0.1


def test_settings_of_the_call_are_checked_too():
    with pytest.raises(UserError, match=r"has no file .*opne.yaml; the scales are \["):
        study.load(ROOT, {"scale": "opne"})
    with pytest.raises(UserError, match="folder: is not set; source 'folder' needs the path"):
        study.load(ROOT, {"scale": "open", "source": "folder", "folder": None})
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
    """After a change of dp/study/params.py: python -m dp schema"""
    assert (ROOT / "workflow" / "params.schema.json").read_text() == params.schema()


def test_baselines_that_draw_nothing_run_once():
    paper = study.load(ROOT, {"scale": "paper"})
    seeds = {v: [c.seed for c in grid.cells(paper) if c.variant == v and c.task == "cb" and c.regime == "full"
                 and c.backbone == "t5-small-lm"] for v in ("majority", "zero-shot", "fixed")}  # fmt: skip
    assert seeds == {"majority": [0], "zero-shot": [0], "fixed": [0, 1, 2, 3, 4]}
