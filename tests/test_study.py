"""What a scale may not ask for is refused before any job, with the key and the remedy."""

import re
import shutil

import pytest
from conftest import ROOT
from small_project import small_study

from dp.errors import UserError
from dp.study import grid
from dp.study.study import head_of, load

FEW_AXES = {"method": "grid", "trials": 4, "space": {"lr_factor": [0.3, 1, 3], "pool": [2, 4]}}
LABEL_WORDS = {"length": 4, "init": {"kind": "label_words"}}


def refused(message, variants, defined=None, **changes):
    with pytest.raises(UserError, match=re.escape(message)) as error:
        small_study(variants, defined, **changes)
    assert str(error.value).startswith("small.yaml: ") and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("changes", "key", "name", "right"),
    [
        ({"backbones": ["tiny-t6"]}, "backbones", "tiny-t6", "tiny-t5"),
        ({"variants": ["fixd"]}, "variants", "fixd", "fixed"),
        ({"overrides": {"lra": {}}}, "overrides", "lra", "lora"),
        ({"protocol": "releasd"}, "protocol", "releasd", "released"),
        ({"without": {"tiny-t6": []}}, "without", "tiny-t6", "tiny-t5"),
        ({"without": {"tiny-t5": ["fixd"]}}, "without", "fixd", "fixed"),
    ],
)
def test_names_must_be_defined(changes, key, name, right):
    message = f"{key}: '{name}' is not defined in params.yaml; the nearest valid name is '{right}'"
    refused(message, **{"variants": ["fixed"]} | changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"source": "hub"}, "source: 'hub' has no tasks in this scale; it has ['made_up']"),
        ({"source": "folder", "tasks": {"folder": ["cb"]}},
         "folder: is not set; source 'folder' needs the path of the folder that holds the tasks' files"),
        ({"tasks": {"made_up": ["toy", "all"]}},
         "tasks: 'all' is the name of the union of the tasks; rename that task"),
        ({"regimes": [{"kind": "multitask"}]},
         "regimes.0: multitask needs at least two tasks, and has ['toy']"),
        ({"overrides": {"fixed": {"optimizer": {"rate": 1}}}}, "overrides.fixed.unknown key 'optimizer.rate'"),
    ],
)  # fmt: skip
def test_tasks_and_overrides_must_make_sense(changes, message):
    refused(message, ["fixed"], **changes)


THREE = {"tasks": {"made_up": ["toy", "second", "third"]}}


@pytest.mark.parametrize(
    ("named", "changes", "message"),
    [
        (["secnd"], {}, "params.yaml's tasks: 'secnd' is not in this scale's tasks; the nearest valid name is "
         "'second'"),
        (["toy", "toy"], {}, "params.yaml's tasks: 'toy' stands there twice; take one out"),
        (["toy", "second"], {"regimes": [{"kind": "full"}, {"kind": "multitask"}]},
         "params.yaml's tasks: this scale trains on the union of its tasks, so it takes all; leave it null"),
        (["toy"], {"regimes": [{"kind": "full", "tasks": ["second"]}]},
         "tasks: 'toy' is in no regime, so it would never run; add it to one or take it out"),
    ],
)  # fmt: skip
def test_a_part_of_the_tasks_is_of_the_scale_and_of_no_union(named, changes, message):
    refused(message, ["fixed"], some_tasks=named, **THREE | changes)


def test_an_empty_part_is_refused(tmp_path):
    shutil.copy(ROOT / "params.yaml", tmp_path)
    with pytest.raises(UserError, match="tasks"):
        load(tmp_path, {"tasks": []})


@pytest.mark.parametrize(
    ("regime", "message"),
    [
        ({"kind": "full", "tasks": ["toi"]},
         "regimes.1.tasks: 'toi' is not in this scale's tasks; the nearest valid name is 'toy'"),
        ({"kind": "full", "variants": ["fixd"]},
         "regimes.1.variants: 'fixd' is not in this scale's variants; the nearest valid name is 'fixed'"),
        ({"kind": "full", "variants": ["residual"]}, "regimes.1.variants: 'residual' is not in this scale's variants"),
        ({"kind": "multitask", "tasks": ["toy"]}, "regimes.1: multitask needs at least two tasks, and has ['toy']"),
        ({"kind": "full", "variants": ["fixed", "adap_pos-noise"]},
         "regimes.1.variants: 'adap_pos-noise' needs runs of 'adap_pos'; add it there"),
        ({"kind": "multitask", "variants": ["adap_pos-frozen"]},
         "regimes.1.variants: 'adap_pos-frozen' needs runs of 'adap_pos'; add it there"),
        ({"kind": "multitask", "name": "one/two"}, "regimes.1.name = 'one/two'"),
        ({"kind": "multitask", "title": "one"}, "unknown key 'regimes.1.title'"),
    ],
)  # fmt: skip
def test_a_part_of_the_grid_lies_within_the_scale_and_holds_what_its_variants_need(regime, message):
    """Also where another regime has the needed runs: they would not be of this one."""
    variants = ["fixed", "adap_pos", "adap_pos-noise", "adap_pos-frozen"]
    few = {"kind": "fewshot", "k": [2]}
    tasks = {"made_up": ["toy", "second"]}
    refused(message, variants, regimes=[few, regime], tasks=tasks)
    small_study(variants, regimes=[few, {"kind": "full", "variants": ["adap_pos-noise", "adap_pos"]}], tasks=tasks)


def by(other, **more):
    return {"position": {"learned_by": other}, **more}


@pytest.mark.parametrize(
    ("variants", "defined", "message"),
    [
        (["adap_length", "x"], {"x": by("adap_length")},
         "variants.x.position.learned_by: 'adap_length' does not learn a position"),
        (["adap_pos", "x"], {"x": {"length": {"learned_by": "adap_pos"}}},
         "variants.x.length.learned_by: 'adap_pos' does not learn a length"),
        (["lora", "x"], {"x": by("lora")}, "variants.x.position.learned_by: 'lora' does not learn a position"),
        (["x"], {"x": by("x")}, "variants.x.position.learned_by: 'x' does not learn a position"),
        (["adap_pos", "adap_pos-frozen", "x"], {"x": by("adap_pos-frozen")},
         "variants.x.position.learned_by: 'adap_pos-frozen' does not learn a position"),
        (["adap_pos", "x"], {"x": by("adap_pos", length=3)},
         "variants.x.position.learned_by: 'adap_pos' has another prompt length than 3"),
        (["y", "x"], {"x": by("y"), "y": {"position": "task", "length": 3}},
         "variants.x.position.learned_by: 'y' has another prompt length than 4"),
        (["a", "b"], {"a": by("b", length="task"), "b": {"position": "task", "length": {"learned_by": "a"}}},
         "variants.a.position.learned_by: 'b' needs 'a' itself; break the circle"),
        (["fixed", "x"], {"x": by("adap_pos")},
         "variants.x on backbone 'tiny-t5': position needs runs of 'adap_pos', which this scale does not have; add it"),
        (["fixed", "x"], {"x": by("nowhere")},
         "position needs runs of 'nowhere', which this scale does not have; add it"),
    ],
)  # fmt: skip
def test_a_kept_choice_must_be_one_that_the_other_variant_learns(variants, defined, message):
    refused(message, variants, defined)


def test_a_kept_choice_needs_its_source_on_every_backbone():
    both = {"backbones": ["tiny-t5", "tiny-llama"]}
    message = "variants.adap_pos-frozen on backbone 'tiny-llama': position needs runs of 'adap_pos'"
    refused(message, ["adap_pos", "adap_pos-frozen"], without={"tiny-llama": ["adap_pos"]}, **both)
    small_study(["adap_pos", "adap_pos-frozen"], without={"tiny-llama": ["adap_pos", "adap_pos-frozen"]}, **both)


def test_choices_may_be_kept_in_a_chain():
    chain = {"a": {"position": "task"}, "b": by("a", length="task"), "c": by("a", length={"learned_by": "b"})}
    study = small_study(["a", "b", "c"], chain)
    found = grid.sources(study, grid.Cell("tiny-t5", "full", "toy", "c", 0))
    assert {factor: cell.variant for factor, cell in found.items()} == {"position": "a", "length": "b"}


@pytest.mark.parametrize(
    ("variants", "control", "message"),
    [
        (["adap_ins_pos"], {"control_of": "adap_ins_pos"},
         "variants.x: says neither instances: shuffled nor noise: true, so it controls nothing"),
        (["adap_pos"], {"control_of": "adap_pos", "instances": "shuffled"},
         "variants.x: 'adap_pos' chooses nothing per instance, so nothing to shuffle"),
        (["lora"], {"control_of": "lora", "instances": "shuffled"},
         "variants.x: 'lora' chooses nothing per instance, so nothing to shuffle"),
        (["random"], {"control_of": "random", "noise": True},
         "variants.x: 'random' draws no choice in training, so it has no noise"),
        (["adap_ins_vec"], {"control_of": "adap_ins_vec", "noise": True},
         "variants.x: 'adap_ins_vec' draws no choice in training, so it has no noise"),
        (["adap_pos", "adap_pos-frozen"], {"control_of": "adap_pos-frozen", "noise": True},
         "variants.x: 'adap_pos-frozen' draws no choice in training, so it has no noise"),
        (["adap_ins_pos", "adap_ins_pos-shuffled"], {"control_of": "adap_ins_pos-shuffled", "noise": True},
         "variants.x: 'adap_ins_pos-shuffled' draws no choice in training, so it has no noise"),
        (["fixed"], {"control_of": "adap_ins_pos", "noise": True},
         "on backbone 'tiny-t5': control_of needs runs of 'adap_ins_pos', which this scale does not have; add it"),
    ],
)  # fmt: skip
def test_a_control_must_control_something(variants, control, message):
    refused(message, [*variants, "x"], {"x": control})


def test_a_control_needs_its_variant_on_every_backbone():
    both = {"backbones": ["tiny-t5", "tiny-llama"]}
    message = "variants.adap_pos-noise on backbone 'tiny-llama': control_of needs runs of 'adap_pos'"
    refused(message, ["adap_pos", "adap_pos-noise"], without={"tiny-llama": ["adap_pos"]}, **both)


@pytest.mark.parametrize(
    ("variant", "defined", "changes", "message"),
    [
        ("zero-shot", {}, {}, "a linear head is untrained, so there is nothing to evaluate at zero shot"),
        ("x", {"x": {"head": "verbalizer"}}, {}, "head verbalizer needs a backbone whose own head is the verbalizer"),
        ("x", {"x": {"baseline": "lora", "head": "verbalizer"}}, {},
         "head verbalizer needs a backbone whose own head is the verbalizer"),
        ("fixed", {}, {"prompt": LABEL_WORDS}, "prompt.init label_words needs a verbalizer, and its head is linear"),
    ],
)  # fmt: skip
def test_what_a_linear_head_cannot_do_is_refused_and_can_be_left_out(variant, defined, changes, message):
    changes = changes | {"backbones": ["tiny-t5", "tiny-encoder"]}
    where = f"variants.{variant} on backbone 'tiny-encoder': {message}; put it under without.tiny-encoder"
    refused(where, ["majority", variant], defined, **changes)
    study = small_study(["majority", variant], defined, without={"tiny-encoder": [variant]}, **changes)
    assert {(cell.backbone, cell.variant) for cell in grid.cells(study)} == {
        ("tiny-t5", "majority"), ("tiny-t5", variant), ("tiny-encoder", "majority")}  # fmt: skip


def test_the_head_of_a_run_is_the_variants_own_or_the_backbones():
    both = {"backbones": ["tiny-t5", "tiny-encoder"]}
    study = small_study(
        ["fixed", "linear-probe", "p-tuning-v2-linear", "adap_ins_pos", "adap_ins_pos-shuffled"],
        {"adap_ins_pos": {"position": "instance", "head": "linear"}}, **both)  # fmt: skip
    heads = {name: [head_of(study, backbone, name) for backbone in both["backbones"]] for name in study.scale.variants}
    assert heads == {
        "fixed": ["verbalizer", "linear"],
        "linear-probe": ["linear", "linear"],
        "p-tuning-v2-linear": ["linear", "linear"],
        "adap_ins_pos": ["linear", "linear"],
        "adap_ins_pos-shuffled": ["linear", "linear"],
    }


@pytest.mark.parametrize("position", [5, 9])
def test_a_split_lies_within_the_prompt(position):
    refused(f"variants.x.position: split {position} is outside 0..4", ["x"], {"x": {"position": position}})
    small_study(["x"], {"x": {"position": position, "length": position}})


def test_every_searched_variant_needs_as_many_settings_as_trials():
    grid = "3 different settings in the grid {'lr_factor': [0.3, 1.0, 3.0]}, fewer than 4 trials"
    remedy = "every variant gets the same number, so lower search.trials or add values to an axis"
    message = f"search: variant 'fixed' has {grid}; {remedy}"
    refused(message, ["adap_ins_vec", "fixed"], search=FEW_AXES)
    small_study(["adap_ins_vec", "fixed"], search=FEW_AXES | {"trials": 3})
    small_study(["majority", "zero-shot", "adap_ins_vec"], search=FEW_AXES)
    small_study(["adap_ins_vec", "fixed"], search=FEW_AXES | {"method": "random"})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"backbones": ["tiny-t5", "tiny-t5"]}, "backbones: 'tiny-t5' stands there twice"),
        ({"tasks": {"made_up": ["toy", "toy"]}}, "tasks.made_up: 'toy' stands there twice"),
        ({"variants": ["fixed", "fixed"]}, "variants: 'fixed' stands there twice"),
        ({"seeds": [0, 1, 0]}, "seeds: '0' stands there twice"),
        ({"regimes": [{"kind": "full"}, {"kind": "full"}]}, "regimes: 'full' has fixed on toy twice; take one out"),
        ({"regimes": [{"kind": "fewshot", "k": [2, 4]}, {"kind": "fewshot", "k": [4]}]},
         "regimes: 'fewshot-k4-s0' has fixed on toy twice; take one out"),
        ({"regimes": [{"kind": "multitask", "alpha": 0.5}, {"kind": "multitask", "alpha": 1}],
          "tasks": {"made_up": ["toy", "second"]}}, "regimes: 'multitask' has fixed on toy twice; take one out"),
        ({"regimes": [{"kind": "full", "tasks": ["toy", "toy"]}]}, "regimes: 'full' has fixed on toy twice"),
        ({"regimes": [{"kind": "full", "variants": ["fixed", "fixed"]}]}, "regimes: 'full' has fixed on toy twice"),
        ({"regimes": [{"kind": "full", "tasks": ["toy"]}, {"kind": "full", "variants": ["fixed"]}]},
         "regimes: 'full' has fixed on toy twice"),
        ({"regimes": [{"kind": "fewshot", "k": [4, 4]}]}, "regimes: 'fewshot-k4-s0' has fixed on toy twice"),
        ({"regimes": [{"kind": "multitask", "variants": ["fixed"]}, {"kind": "multitask", "variants": ["residual"]}],
          "variants": ["fixed", "residual"], "tasks": {"made_up": ["toy", "second"]}},
         "regimes: 'multitask' stands there twice; give each union a `name` of its own"),
        ({"regimes": [{"kind": "multitask", "name": "x", "tasks": ["toy", "second"]},
                      {"kind": "multitask", "name": "x", "tasks": ["third", "fourth"]}],
          "tasks": {"made_up": ["toy", "second", "third", "fourth"]}},
         "regimes: 'multitask-x' stands there twice; give each union a `name` of its own"),
    ],
)  # fmt: skip
def test_nothing_stands_twice(changes, message):
    """Two cells of one path would be run once and counted twice."""
    refused(message, **{"variants": ["fixed"]} | changes)


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        ({"baseline": "zero_shot", "head": "linear"}, "a linear head is untrained"),
        ({"baseline": "majority", "head": "linear"}, "head: means nothing to baseline majority; leave it out"),
        ({"baseline": "linear_probe", "head": "verbalizer"},
         "head: means nothing to baseline linear_probe; leave it out"),
    ],
)  # fmt: skip
def test_a_head_that_a_baseline_cannot_have_is_refused(definition, message):
    refused(message, ["fixed", "x"], {"x": definition})


@pytest.mark.parametrize("instances", ["shuffled", "own"])
def test_a_control_of_an_unknown_variant_says_that_it_is_unknown(instances):
    control = {"control_of": "adap_ins_poss", "instances": instances, "noise": True}
    refused("control_of needs runs of 'adap_ins_poss'", ["adap_ins_pos", "x"], {"x": control})


def test_a_prefix_length_is_of_a_task_of_the_scale():
    lengths = {"p_tuning_v2": {"lengths": {"toyy": 3}}}
    refused("baselines.p_tuning_v2.lengths: 'toyy' is no task of this scale", ["p-tuning-v2"], baselines=lengths)
