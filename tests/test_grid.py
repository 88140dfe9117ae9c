"""The grid: which runs there are, what each one reads, and which parameters concern it."""

from collections import Counter

import pytest
from small_project import SCALE, small_study

from dp import paths
from dp.jobs.job import Cell
from dp.study import grid
from dp.study.resolve import jobs

BACKBONES, TASKS, SEEDS = ["tiny-t5", "tiny-encoder"], ["toy", "second", "third"], [3, 5]
REGIMES = [
    {"kind": "full"},
    {"kind": "fewshot", "k": [2, 4], "sample_seeds": [0, 1]},
    {"kind": "multitask", "alpha": 0.5},
]
NAMES = ["full", "fewshot-k2-s0", "fewshot-k2-s1", "fewshot-k4-s0", "fewshot-k4-s1", "multitask"]
UNTRAINED = ["majority", "zero-shot"]
OWN = ["finetune", "lora", "p-tuning-v2", "fixed", "residual", "smop", "adap_pos", "adap_ins_pos"]
STAGED = {"adap_pos_ins_vec-staged": "adap_pos", "adap_ins_pos-frozen": "adap_ins_pos"}
CONTROLS = {"adap_ins_pos-shuffled": "adap_ins_pos", "adap_pos-noise": "adap_pos"}
VARIANTS = [*UNTRAINED, *OWN, *STAGED, *CONTROLS]
SEARCH = {"method": "random", "trials": 3, "seed": 7, "space": {"lr_factor": {"low": 0.1, "high": 10}, "pool": [2, 3]}}
TRAINING, PROMPT, SPACE = SCALE["training"], SCALE["prompt"], SEARCH["space"]


def study(search=SEARCH, **changes):
    given = {"backbones": BACKBONES, "tasks": {"made_up": TASKS}, "regimes": REGIMES, "seeds": SEEDS,
             "without": {"tiny-encoder": ["zero-shot"]}, "search": search}  # fmt: skip
    return small_study(VARIANTS, **given | changes)


STUDY = study()


def cell(path):
    """backbone/regime/task/variant/seed<n> or trial<n> as a Cell; a trial has the search's seed."""
    *parts, last = path.split("/")
    if last.startswith("seed"):
        return Cell(*parts, int(last.removeprefix("seed")))
    return Cell(*parts, SEARCH["seed"], int(last.removeprefix("trial")))


def test_regimes_are_named_in_the_order_of_the_scale():
    assert [name for name, _ in grid.regimes(STUDY)] == NAMES


def test_every_combination_is_evaluated_once():
    found = grid.cells(STUDY)
    runs = [one.run for one in found]
    assert len(set(runs)) == len(runs)
    trained = len(OWN) + len(STAGED) + len(CONTROLS)
    each = {"tiny-t5": trained * len(SEEDS) + 2, "tiny-encoder": trained * len(SEEDS) + 1}
    assert Counter(one.backbone for one in found) == {name: n * len(NAMES) * len(TASKS) for name, n in each.items()}
    assert {one.seed for one in found if one.variant in UNTRAINED} == {0}
    assert {one.seed for one in found if one.variant not in UNTRAINED} == set(SEEDS)
    assert "zero-shot" not in {one.variant for one in found if one.backbone == "tiny-encoder"}
    assert "tiny-t5/fewshot-k4-s1/second/adap_pos-noise/seed5" in runs
    assert not any(one.task == "all" or one.trial is not None for one in found)


@pytest.mark.parametrize(
    ("evaluated", "trained"),
    [
        ("tiny-t5/full/toy/fixed/seed3", "tiny-t5/full/toy/fixed/seed3"),
        ("tiny-t5/fewshot-k2-s1/toy/lora/seed5", "tiny-t5/fewshot-k2-s1/toy/lora/seed5"),
        ("tiny-t5/full/toy/majority/seed0", None),
        ("tiny-t5/multitask/toy/zero-shot/seed0", None),
        ("tiny-t5/full/second/adap_pos-noise/seed5", "tiny-t5/full/second/adap_pos/seed5"),
        ("tiny-t5/multitask/second/fixed/seed3", "tiny-t5/multitask/all/fixed/seed3"),
        ("tiny-encoder/multitask/toy/adap_ins_pos-shuffled/seed5", "tiny-encoder/multitask/all/adap_ins_pos/seed5"),
        ("tiny-t5/full/toy/adap_ins_pos-frozen/seed3", "tiny-t5/full/toy/adap_ins_pos-frozen/seed3"),
    ],
)
def test_what_an_evaluation_shows(evaluated, trained):
    found = grid.training(STUDY, cell(evaluated))
    assert (found.run if found else None) == trained


def test_every_training_is_there_once_and_a_union_stands_for_all_its_tasks():
    found = grid.trainings(STUDY)
    assert len({one.run for one in found}) == len(found)
    variants, single = len(OWN) + len(STAGED), len(TASKS) * (len(NAMES) - 1)
    assert len(found) == len(BACKBONES) * variants * len(SEEDS) * (single + 1)
    assert {one.task for one in found if one.regime == "multitask"} == {"all"}
    assert {one.task for one in found if one.regime != "multitask"} == set(TASKS)
    assert {one.variant for one in found} == {*OWN, *STAGED}


def test_a_search_adds_its_trials_to_the_trainings_once_per_variant():
    trained, needed = grid.trainings(STUDY), grid.needed_trainings(STUDY)
    assert len({one.run for one in needed}) == len(needed)
    assert needed[: len(trained)] == trained
    tried = needed[len(trained) :]
    assert {one.variant_path for one in tried} == {one.variant_path for one in trained}
    assert Counter(one.trial for one in tried) == dict.fromkeys(range(3), len(trained) // len(SEEDS))
    assert {one.seed for one in tried} == {7}
    assert [one.run for one in grid.trials(STUDY, cell("tiny-t5/multitask/all/fixed/seed5"))] == [
        f"tiny-t5/multitask/all/fixed/trial{n}" for n in range(3)]  # fmt: skip
    plain = study(search=None)
    assert grid.needed_trainings(plain) == grid.trainings(plain) == trained
    assert grid.trials(plain, trained[0]) == []


@pytest.mark.parametrize(
    ("run", "source"),
    [
        ("tiny-t5/full/toy/adap_pos_ins_vec-staged/seed5", "tiny-t5/full/toy/adap_pos/seed5"),
        ("tiny-t5/multitask/all/adap_ins_pos-frozen/seed3", "tiny-t5/multitask/all/adap_ins_pos/seed3"),
        ("tiny-t5/fewshot-k2-s0/toy/adap_ins_pos-frozen/trial2", "tiny-t5/fewshot-k2-s0/toy/adap_ins_pos/seed3"),
        ("tiny-t5/full/toy/adap_pos/seed5", None),
        ("tiny-t5/full/toy/lora/seed5", None),
    ],
)
def test_a_kept_choice_comes_from_the_same_seed_and_a_trial_takes_it_from_the_first(run, source):
    expected = {} if source is None else {"position": cell(source)}
    assert grid.sources(STUDY, cell(run)) == expected


def test_whatever_a_run_reads_is_made():
    needed = set(grid.needed_trainings(STUDY))
    for one in needed:
        assert set(grid.sources(STUDY, one).values()) <= needed
        assert set(grid.trials(STUDY, one)) <= needed
    assert {grid.training(STUDY, one) for one in grid.cells(STUDY)} - {None} <= needed


def test_the_rows_of_a_run():
    assert grid.tasks_of(STUDY, cell("tiny-t5/multitask/all/fixed/seed3")) == TASKS
    assert grid.tasks_of(STUDY, cell("tiny-t5/multitask/toy/fixed/seed3")) == ["toy"]
    assert grid.tasks_of(STUDY, cell("tiny-t5/full/second/fixed/seed3")) == ["second"]


def test_who_reads_features_and_the_backbone():
    more = ["linear-probe", "adap_vec", "adap_ins_length", "adap_ins_all", "adap_ins_vec", "adap_ins_vec-shuffled",
            "adap_ins_length-shuffled", "adap_length", "random", "adap_pos-frozen"]  # fmt: skip
    whole = small_study([*VARIANTS, *more])
    reads = {name for name in whole.scale.variants if grid.needs_features(whole, name)}
    assert reads == {"linear-probe", "adap_ins_pos", "adap_ins_pos-frozen", "adap_ins_pos-shuffled", "adap_ins_length",
                     "adap_ins_length-shuffled", "adap_ins_all", "adap_ins_vec", "adap_ins_vec-shuffled",
                     "adap_pos_ins_vec-staged"}  # fmt: skip
    assert [name for name in whole.scale.variants if whole.is_majority(name)] == ["majority"]


def test_switches_are_the_protocols_and_the_variants_own():
    released = set(STUDY.params.protocols["released"])
    assert all(grid.switches(STUDY, name) == [] for name in [*UNTRAINED, *OWN, *STAGED, "adap_ins_pos-shuffled"])
    assert grid.switches(STUDY, "adap_pos-noise") == ["gumbel_at_evaluation"]
    theirs = study(protocol="released")
    released -= {"prompt_beside_finetuning", "short_schedule"}
    position_alone = released - {"tanh_pool_scores", "update_every_micro_batch", "uniform_pools"}
    assert set(grid.switches(theirs, "adap_ins_pos")) == position_alone
    assert set(grid.switches(theirs, "adap_ins_pos-shuffled")) == position_alone
    assert set(grid.switches(theirs, "fixed")) == released - {"uniform_pools"}
    assert set(grid.switches(theirs, "adap_pos_ins_vec-staged")) == released - {"tanh_pool_scores"}
    both = small_study(["adap_pos_ins_vec"], protocol="released")
    assert set(grid.switches(both, "adap_pos_ins_vec")) == released - {"tanh_pool_scores"}
    own = small_study(["x", "y"], {"x": {"position": "instance", "switches": ["padded_feature", "tanh_pool_scores"]},
                                   "y": {"control_of": "x", "noise": True}})  # fmt: skip
    assert grid.switches(own, "x") == ["padded_feature", "tanh_pool_scores"]
    assert grid.switches(own, "y") == ["gumbel_at_evaluation", "padded_feature", "tanh_pool_scores"]
    assert {name: grid.pooling(own, name) for name in "xy"} == dict.fromkeys("xy", "padded_mean")
    assert grid.pooling(STUDY, "adap_ins_pos") == "masked_mean"


def test_an_update_for_every_micro_batch_sees_the_same_rows():
    released = study(protocol="released", search=None)
    training = grid.run_config(released, cell("tiny-t5/full/toy/fixed/seed3"))["training"]
    assert (training["batch_size"], training["steps"], training["evaluate_every"]) == (4, 8, 4)
    training = grid.run_config(released, cell("tiny-t5/full/toy/adap_pos/seed3"))["training"]
    assert (training["batch_size"], training["steps"], training["evaluate_every"]) == (8, 4, 2)


def test_a_control_is_configured_as_what_it_controls():
    own, control = (
        grid.run_config(STUDY, cell(f"tiny-t5/full/toy/{name}/seed3"))
        for name in ("adap_ins_pos", "adap_ins_pos-shuffled")
    )
    assert {key for key in own if own[key] != control[key]} == {"variant", "control"}
    assert control["control"] == {"control_of": "adap_ins_pos", "instances": "shuffled", "noise": False}


def test_a_prompt_has_its_own_length_or_the_scales():
    lengths = {name: grid.run_config(STUDY, cell(f"tiny-t5/full/toy/{name}/seed3"))["prompt"]["length"]
               for name in ("fixed", "residual", "smop", "adap_pos-noise")}  # fmt: skip
    assert lengths == {"fixed": 4, "residual": 10, "smop": 5, "adap_pos-noise": 4}


def test_a_trial_has_its_setting_and_other_runs_the_scales_values():
    seed = grid.run_config(STUDY, cell("tiny-t5/full/toy/smop/seed3"))
    assert (seed["training"]["optimizer"]["lr"], seed["prompt"]["pool"], seed["trial"]) == (0.3, 3, None)
    for number in range(3):
        trial = grid.run_config(STUDY, cell(f"tiny-t5/full/toy/smop/trial{number}"))
        assert trial["seed"] == 7 and set(trial["trial"]) == {"lr_factor", "pool"}
        assert trial["training"]["optimizer"]["lr"] == 0.3 * trial["trial"]["lr_factor"] != 0.3
        assert trial["prompt"]["pool"] == trial["trial"]["pool"]


# Which runs a changed parameter makes stale: those that it concerns, and no other.


def configs(study):
    """Run path -> its configuration, of trainings and evaluations alike."""
    runs = {*grid.cells(study), *grid.needed_trainings(study)}
    return {one: grid.run_config(study, one) for one in runs}


BEFORE = configs(STUDY)
POSITIONS = {"adap_pos", "adap_ins_pos", "adap_pos-noise", "adap_ins_pos-shuffled"}
POOLS = {"smop", "adap_pos_ins_vec-staged"}
PROMPTS = {*POSITIONS, *STAGED, "fixed", "residual", "smop"}
TRAINED = {*OWN, *STAGED, *CONTROLS}


def stale(**changes):
    after = configs(study(**changes))
    return {one for one in BEFORE if one in after and BEFORE[one] != after[one]}


@pytest.mark.parametrize(
    ("changes", "variants"),
    [
        ({"baselines": {"lora": {"rank": 4}}}, {"lora"}),
        ({"baselines": {"p_tuning_v2": {"init_std": 0.5}}}, {"p-tuning-v2"}),
        ({"overrides": {"finetune": {"steps": 6}}}, {"finetune"}),
        ({"overrides": {"adap_pos": {"steps": 6}}}, {"adap_pos", "adap_pos-noise"}),
        ({"evaluation_batch_size": 4}, set(VARIANTS)),
        pytest.param({"prompt": PROMPT | {"length": 5}}, PROMPTS - {"residual", "smop"}),
        pytest.param({"prompt": PROMPT | {"init": {"kind": "uniform"}}}, PROMPTS),
        pytest.param({"prompt": PROMPT | {"pool": 4}}, POOLS),
        pytest.param({"prompt": PROMPT | {"bottleneck": 7}}, {"residual"}),
        pytest.param({"choice": {"temperature": {"anneal": 1}}}, POSITIONS),
        pytest.param({"training": TRAINING | {"steps": 6}}, TRAINED),
        pytest.param({"search": SEARCH | {"space": SPACE | {"pool": [4, 5]}}}, POOLS),
    ],
)
def test_a_parameter_concerns_the_runs_that_it_concerns(changes, variants):
    found = {one.variant for one in stale(**changes)}
    assert found == variants, f"needlessly stale: {found - variants}; missed: {variants - found}"


def test_the_mixture_concerns_multitask_alone():
    found = stale(regimes=[*REGIMES[:2], {"kind": "multitask", "alpha": 0.7, "cap": 9}])
    assert {one.regime for one in found} == {"multitask"}
    assert {one for one in BEFORE if one.regime == "multitask" and one.variant in TRAINED} <= found


def test_a_part_of_the_tasks_asks_the_same_of_fewer_jobs():
    """Named in any order; a regime with tasks of its own keeps those of them; no run is made anew for it."""
    parts = {
        "regimes": [{"kind": "full"}, {"kind": "fewshot", "k": [2], "sample_seeds": [0], "tasks": ["toy", "second"]}]
    }
    every, part = study(**parts), study(some_tasks=["third", "second"], **parts)
    whole, fewer = ({folder: job.asked for folder, job in jobs(one).items()} for one in (every, part))
    report = paths.report("small")
    assert (part.tasks, part.part_of_tasks) == (["second", "third"], "2 of 3 tasks, without toy")
    assert every.part_of_tasks is None and "tasks" not in whole[report]
    assert fewer.pop(report)["tasks"] == ["second", "third"]
    assert fewer == {folder: asked for folder, asked in whole.items() if folder != report and "toy" not in folder.parts}
    assert "second" in {cell.task for cell in grid.cells(part) if cell.regime != "full"}
    assert jobs(part.whole).keys() == whole.keys()


def test_another_task_concerns_the_union_and_no_single_task():
    found = stale(tasks={"made_up": [*TASKS, "fourth"]})
    assert found and {one.regime for one in found} == {"multitask"}


def test_a_prefix_length_of_one_task_concerns_that_task():
    found = stale(baselines={"p_tuning_v2": {"lengths": {"second": 7}}})
    alone = {one for one in BEFORE if one.variant == "p-tuning-v2" and one.task == "second"}
    assert {one for one in found if one.regime != "multitask"} == {one for one in alone if one.regime != "multitask"}
    assert all(one.task != "all" for one in found)


def test_a_prefix_length_of_one_task_does_not_concern_the_union():
    assert not [
        one for one in stale(baselines={"p_tuning_v2": {"lengths": {"second": 7}}}) if one.regime == "multitask"
    ]


def test_more_trials_leave_those_that_were_run():
    found = stale(search=SEARCH | {"trials": 5})
    assert not [one for one in found if one.trial is not None]


@pytest.mark.parametrize(("name", "definition", "variants"), [
    ("fixed", {"position": "postfix"}, {"fixed"}),
    ("adap_pos", {"position": "task", "representation": "residual"}, {"adap_pos", "adap_pos-noise"}),
    ("adap_ins_pos", {"position": "task", "length": "instance"},
     {"adap_ins_pos", "adap_ins_pos-shuffled", "adap_ins_pos-frozen"}),
])  # fmt: skip
def test_a_definition_concerns_its_runs_its_controls_and_who_keeps_a_choice_of_another_kind(name, definition, variants):
    changed = small_study(VARIANTS, {name: definition}, backbones=BACKBONES, tasks={"made_up": TASKS}, regimes=REGIMES,
                          seeds=SEEDS, without={"tiny-encoder": ["zero-shot"]}, search=SEARCH)  # fmt: skip
    after = configs(changed)
    assert {one.variant for one in BEFORE if BEFORE[one] != after[one]} == variants
