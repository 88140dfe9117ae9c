"""Choices broken on purpose, and a control with as much compute: what each changes, and what is refused."""

import pytest
import torch
from conftest import ROOT
from safetensors.torch import load_file
from small_project import Project, small_study

from dp import files, paths
from dp.compute.train import TrainingConfig, rows_of_run
from dp.errors import UserError
from dp.jobs.job import Cell
from dp.study.grid import run_config
from dp.study.resolve import training_job
from dp.study.study import load

FULL = "tiny-t5/full/toy"
VARIANTS = ["fixed", "fixed-3x", "adap_ins_pos", "adap_ins_pos-wrong_feature", "adap_ins_pos-unlearned",
            "adap_ins_pos-backwards"]  # fmt: skip


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A project with every training of VARIANTS."""
    root = tmp_path_factory.mktemp("broken")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        project = Project(root, VARIANTS, choice={"entropy": 0.0})
        project.prepare()
        project.made = {}
        for name in VARIANTS:
            folder = project.train(f"{FULL}/{name}/seed0")
            project.made[name] = (
                files.read_json(folder / "record.json")["made"],
                load_file(folder / "tuned.safetensors"),
            )
        yield project


def logits(built, variant):
    return {key: value for key, value in built.made[variant][1].items() if ".policy." in key}


def test_an_unlearned_choice_stays_as_it_began_and_takes_one_pass(built):
    own, learned = built.made["adap_ins_pos-unlearned"], built.made["adap_ins_pos"]
    assert own[0]["forward_passes_per_row"] == 1 and learned[0]["forward_passes_per_row"] == 2
    bound = 1 / 32**0.5
    for key, value in logits(built, "adap_ins_pos-unlearned").items():
        assert value.abs().max() <= bound and value.abs().max() > 0.5 * bound, key
    assert own[0]["trainable_parameters"] == built.made["fixed"][0]["trainable_parameters"]
    chosen = {line["split"] for line in built.evaluate(f"{FULL}/adap_ins_pos-unlearned/seed0")}
    assert len(chosen) > 1, "by instance"


def test_backwards_moves_the_first_update_of_the_choice_the_other_way(built):
    """Both begin alike and draw alike, and four steps are few."""
    right, wrong = (logits(built, name)["prompt.position.policy.logits.bias"]
                    for name in ("adap_ins_pos", "adap_ins_pos-backwards"))  # fmt: skip
    assert torch.nn.functional.cosine_similarity(right, wrong, dim=0) < -0.2


def test_a_wrong_feature_is_another_rows_in_training_selection_and_evaluation(built):
    job = training_job(built.study, Cell("tiny-t5", "full", "toy", "adap_ins_pos-wrong_feature", 0))
    plain = training_job(built.study, Cell("tiny-t5", "full", "toy", "adap_ins_pos", 0))
    sides = []
    for one in (plain, job):
        rows, (selection,), _, _ = rows_of_run(
            one.all("tokens"), one.all("features"), TrainingConfig.model_validate(one.asked)
        )
        sides.append((rows.features, selection.features))
    for own, other in zip(*sides, strict=True):
        assert not (own == other).all(1).any()
        assert torch.equal(own.sort(0).values, other.sort(0).values)
    table = load_file(paths.features("small", "tiny-t5", "toy", "masked_mean") / "features.safetensors")["validation"]
    tensors = built.made["adap_ins_pos-wrong_feature"][1]
    name = "prompt.position.policy.logits"
    read = (table - tensors["prompt.standard.mean"]) / tensors["prompt.standard.scale"]
    own = (read @ tensors[f"{name}.weight"].T + tensors[f"{name}.bias"]).argmax(1)
    chosen = torch.tensor([line["split"] for line in built.evaluate(f"{FULL}/adap_ins_pos-wrong_feature/seed0")])
    assert torch.equal(chosen.sort().values, own.sort().values), "each choice as often"


def test_a_threefold_budget_is_three_times_the_updates_and_as_many_looks(built):
    asked = {name: run_config(built.study, Cell("tiny-t5", "full", "toy", name, 0))["training"]
             for name in ("fixed", "fixed-3x")}  # fmt: skip
    for key, value in asked["fixed"].items():
        times = 3 if key in ("steps", "start_steps", "evaluate_every", "checkpoint_every") else 1
        assert asked["fixed-3x"][key] == (value * times if times > 1 else value), key
    assert (built.made["fixed"][0]["steps"], built.made["fixed-3x"][0]["steps"]) == (4, 12)


@pytest.mark.parametrize(
    ("definition", "message"),
    [
        ({"position": "prefix", "switches": ["backwards"]}, "backwards breaks a choice, and this variant makes none"),
        ({"representation": "instance_pool", "switches": ["frozen_choice"]}, "frozen_choice breaks a choice"),
        ({"position": "task", "switches": ["shuffled_feature"]}, "shuffled_feature breaks a choice"),
        ({"baseline": "majority", "budget": 2}, "budget: nothing is trained"),
    ],
)
def test_what_breaks_or_costs_nothing_is_refused(definition, message):
    with pytest.raises(UserError, match=rf"variants\.odd\.(switches: )?{message}"):
        small_study(["odd"], {"odd": definition})


def test_no_protocol_breaks_choices():
    raw = {"released": ["backwards"]}
    study = load(ROOT, {"scale": "smoke"})
    params = study.params.model_copy(update={"protocols": study.params.protocols | raw})
    scale = study.scale.model_copy(update={"protocol": "released"})
    with pytest.raises(ValueError, match=r"protocols\.released: backwards breaks choices on purpose"):
        study.model_copy(update={"params": params, "scale": scale}).agrees()
