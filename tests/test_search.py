"""A search: equal budgets, repeatable settings, and the seeds' runs are those of the chosen setting."""

import itertools
import math
import shutil

import pytest
from scipy.stats import kstest
from small_project import Project, small_study
from synthetic_results import change

from dp import files, paths
from dp.commands import cli
from dp.compute.choose import best
from dp.errors import UserError
from dp.jobs.job import Cell
from dp.study import grid, search
from dp.study.params import Search
from dp.study.search import settings
from dp.training.trials import AXES, applied

SPACE = {"lr_factor": [0.1, 0.3, 1.0, 3.0], "pool": [2, 4, 6], "anneal": [0.1, 10.0]}
RANGES = {"lr_factor": {"low": 0.01, "high": 10.0}, "pool": [2, 4, 6], "anneal": {"low": 1.0, "high": 1000.0}}
VARIANTS = {
    "fixed": {"lr_factor"},
    "lora": {"lr_factor"},
    "residual": {"lr_factor"},
    "smop": {"lr_factor", "pool"},
    "adap_pos": {"lr_factor", "anneal"},
    "adap_ins_length": {"lr_factor", "anneal"},
    "adap_vec": {"lr_factor", "pool"},
    "adap_ins_all": {"lr_factor", "pool", "anneal"},
    "adap_pos-frozen": {"lr_factor"},
    "adap_pos_ins_vec-staged": {"lr_factor", "pool"},
}
STUDY = small_study(list(VARIANTS))


def plan(method="grid", trials=4, seed=0, space=SPACE):
    return Search(method=method, trials=trials, seed=seed, space=space)


def tried(variant, **of_plan):
    return settings(plan(**of_plan), STUDY.params.variants[variant], variant)


@pytest.mark.parametrize("method", ["grid", "random"])
@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_gets_as_many_settings_of_the_axes_that_mean_something_to_it(method, variant):
    found = tried(variant, method=method)
    assert len(found) == 4
    assert all(set(setting) == VARIANTS[variant] for setting in found)
    assert all(setting[axis] in SPACE[axis] for setting in found for axis in setting)


def test_a_grid_is_every_point_once_in_a_seeded_order():
    points = [dict(zip(SPACE, values, strict=True)) for values in itertools.product(*SPACE.values())]
    whole = tried("adap_ins_all", trials=24)
    assert whole != points and sorted(map(str, whole)) == sorted(map(str, points))
    assert tried("adap_ins_all", trials=24) == whole
    assert tried("adap_ins_all", trials=5) == whole[:5], "more trials keep those that were run"
    assert tried("adap_ins_all", trials=24, seed=1) != whole
    with pytest.raises(
        UserError, match=r"'adap_ins_all' has 24 different settings in the grid .* fewer than 25 trials"
    ):
        tried("adap_ins_all", trials=25)


def test_random_settings_are_shared_by_all_variants_axis_by_axis():
    found = {name: tried(name, method="random", trials=12, space=RANGES) for name in VARIANTS}
    for axis in RANGES:
        columns = {tuple(setting[axis] for setting in found[name]) for name, axes in VARIANTS.items() if axis in axes}
        assert len(columns) == 1 and len(set(columns.pop())) > 1
    assert tried("fixed", method="random", trials=5, space=RANGES) == found["fixed"][:5]
    assert tried("fixed", method="random", trials=12, seed=1, space=RANGES) != found["fixed"]


def test_axes_are_drawn_apart_and_ranges_log_uniformly():
    found = tried("adap_ins_all", method="random", trials=600, space=RANGES)
    shares = {}
    for axis, decades in (("lr_factor", 3), ("anneal", 3)):
        low = RANGES[axis]["low"]
        shares[axis] = [math.log10(setting[axis] / low) / decades for setting in found]
        assert min(shares[axis]) >= 0 and max(shares[axis]) <= 1
        assert kstest(shares[axis], "uniform").pvalue > 0.01
    pairs = zip(shares["lr_factor"], shares["anneal"], strict=True)
    assert abs(sum((a - 0.5) * (b - 0.5) for a, b in pairs) / 600 * 12) < 0.12, "correlation"
    counts = [sum(setting["pool"] == size for setting in found) for size in SPACE["pool"]]
    assert all(150 < count < 250 for count in counts)


def test_a_setting_is_relative_to_the_variants_own_rate_and_replaces_the_rest():
    study = small_study(["smop", "finetune"], overrides={"finetune": {"optimizer": {"lr": 0.002}}})
    setting = {"lr_factor": 3.0, "pool": 6, "anneal": 0.1}
    for variant, rate in (("smop", 0.3), ("finetune", 0.002)):
        config = grid.run_config(study, Cell("tiny-t5", "full", "toy", variant, 0))
        config = config | {"prompt": study.scale.prompt.model_dump(), "choice": study.scale.choice.model_dump()}
        before = files.digest(config)
        changed = applied(config, setting)
        assert changed["training"]["optimizer"].pop("lr") == pytest.approx(3 * rate)
        assert changed["prompt"].pop("pool") == 6 and changed["choice"]["temperature"].pop("anneal") == 0.1
        assert files.digest(config) == before, "the configuration given is left alone"
        del config["training"]["optimizer"]["lr"], config["prompt"]["pool"], config["choice"]["temperature"]["anneal"]
        assert changed == config


@pytest.mark.parametrize(
    ("trials", "expected"),
    [
        ([(0.5, 1.0), (0.7, 2.0), (0.6, 0.1)], 1),
        ([(0.7, 2.0), (0.5, 0.1), (0.7, 1.0)], 2),
        ([(0.5, 1.0), (0.7, 1.0), (0.7, 1.0)], 1),
    ],
)
def test_the_best_is_the_most_accurate_then_the_lowest_loss_then_the_earliest(trials, expected):
    assert best([{"accuracy": accuracy, "loss": loss} for accuracy, loss in trials]) == expected


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"trials": 1}, r"search.trials = 1: .*greater than or equal to 2"),
        pytest.param({"space": {"lr_factor": {"low": 3, "high": 1}}}, r"lr_factor = .*low 3 must be below high 1"),
        ({"space": {"lr_factor": []}}, r"search.space.lr_factor.* at least 1 item"),
        ({"method": "grid", "space": {"anneal": {"low": 1, "high": 3}}}, r"space.anneal: a grid is of listed values"),
        ({"space": {"lr": [1]}}, r"unknown key 'search.space.lr'; the nearest valid name is 'lr_factor'"),
    ],
)  # fmt: skip
def test_mistakes_in_a_search_are_named(changes, message):
    with pytest.raises(UserError, match=message):
        small_study(["fixed"], search={"method": "random", "trials": 2, "space": {"lr_factor": [1, 2]}} | changes)


# The commands: trials, a choice, and runs of the chosen setting.

TRIED = {"method": "random", "trials": 3, "seed": 1, "space": {"lr_factor": {"low": 0.01, "high": 3}, "pool": [2, 5]}}
PATH = "tiny-t5/full/toy/adap_ins_vec"


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A project with every trial of adap_ins_vec and its choice."""
    root = tmp_path_factory.mktemp("searched")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        project = Project(root, ["fixed", "adap_ins_vec"], search=TRIED, seeds=[0, 1])
        project.prepare()
        for number in range(3):
            project.train(f"{PATH}/trial{number}")
        cli.main(["choose", "--variant", PATH])
    return project


@pytest.fixture
def project(searched, tmp_path, monkeypatch):
    """A copy of it to go on with."""
    shutil.copytree(searched.root, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    copy = Project.__new__(Project)
    copy.root, copy.study = tmp_path, searched.study
    return copy


def read(project, folder, name="record.json"):
    return files.read_json(project.root / folder / name)


def test_the_choice_lists_every_trial_and_follows_from_their_step_logs(project):
    choice = read(project, paths.choice("small", PATH), "choice.json")
    found = []
    for number in range(3):
        folder = paths.train_run("small", f"{PATH}/trial{number}")
        log = [line["selection"] for line in files.read_jsonl(folder / "steps.jsonl") if "selection" in line]
        top = max(log, key=lambda line: (line["accuracy"], -line["loss"]))
        config, record = read(project, folder, "config.json"), read(project, folder)
        assert config["training"]["optimizer"]["lr"] == 0.3 * record["made"]["setting"]["lr_factor"]
        assert config["prompt"]["pool"] == record["made"]["setting"]["pool"]
        assert config["seed"] == TRIED["seed"]
        found.append({"setting": record["made"]["setting"], "accuracy": top["accuracy"], "loss": top["loss"]})
    assert choice["trials"] == found
    assert len({str(trial["setting"]) for trial in found}) == 3
    assert choice["chosen"] != 0, "the first is not the best here"
    chosen = min(range(3), key=lambda n: (-found[n]["accuracy"], found[n]["loss"], n))
    assert choice["chosen"] == chosen and choice["setting"] == found[chosen]["setting"]
    record = read(project, paths.choice("small", PATH))
    read_by_choice = {path for path in record["used"]["inputs"] if path.endswith("tuned.safetensors")}
    assert read_by_choice == {f"results/train/small/{PATH}/trial{n}/tuned.safetensors" for n in range(3)}


def test_every_seed_is_trained_and_evaluated_with_the_chosen_setting(project):
    choice = read(project, paths.choice("small", PATH), "choice.json")
    bytes_of = {}
    for seed in (0, 1):
        run = f"{PATH}/seed{seed}"
        folder = project.train(run)
        config, record = files.read_json(folder / "config.json"), files.read_json(folder / "record.json")
        assert config["training"]["optimizer"]["lr"] == 0.3 * choice["setting"]["lr_factor"]
        assert config["prompt"]["pool"] == choice["setting"]["pool"] and config["seed"] == seed
        assert (record["made"]["trials"], record["made"]["setting"]) == (3, choice["setting"])
        assert record["asked"]["training"]["optimizer"]["lr"] == 0.3, "what was asked is the scale's"
        assert f"results/train/small/{PATH}/choice/choice.json" in record["used"]["inputs"]
        bytes_of[seed] = files.sha256(folder / "tuned.safetensors")
        predictions = project.evaluate(run)
        assert all(len(row["pool"]) == choice["setting"]["pool"] for row in predictions)
        used = read(project, paths.evaluation("small", run))["used"]["inputs"]
        assert used[f"results/train/small/{run}/tuned.safetensors"] == bytes_of[seed]
    trial = paths.train_run("small", f"{PATH}/trial{choice['chosen']}") / "tuned.safetensors"
    assert bytes_of[1] == files.sha256(trial), "the chosen trial had this very seed"
    assert bytes_of[1] != bytes_of[0]


def test_another_choice_trains_another_run(project):
    file = paths.choice("small", PATH) / "choice.json"
    for other in range(3):
        change(
            file, lambda choice, other=other: choice | {"chosen": other, "setting": choice["trials"][other]["setting"]}
        )
        folder = project.train(f"{PATH}/seed{TRIED['seed']}")
        trial = paths.train_run("small", f"{PATH}/trial{other}")
        assert files.sha256(folder / "tuned.safetensors") == files.sha256(trial / "tuned.safetensors")


def test_a_run_waits_for_the_choice_and_a_trial_does_not(project, capsys):
    with pytest.raises(SystemExit):
        project.train("tiny-t5/full/toy/fixed/seed0")
    assert f"{paths.choice('small', 'tiny-t5/full/toy/fixed')} has no record.json" in capsys.readouterr().err
    project.train("tiny-t5/full/toy/fixed/trial0")
    with pytest.raises(SystemExit):
        project.train("tiny-t5/full/toy/fixed/trial3")
    assert "scale 'small' has no such run; the nearest is" in capsys.readouterr().err


def test_a_choice_needs_a_search_a_known_variant_and_every_trial(project, capsys):
    for variant, message in (
        (PATH.replace("vec", "vex"), "--variant tiny-t5/full/toy/adap_ins_vex: scale 'small' trains no such variant"),
        ("tiny-t5/full/toy/fixed", "fixed/trial0 has no record.json; `snakemake --cores all` makes it"),
    ):
        with pytest.raises(SystemExit):
            cli.main(["choose", "--variant", variant])
        assert message in capsys.readouterr().err
    shutil.copytree(search_less(project), project.root, dirs_exist_ok=True)
    with pytest.raises(SystemExit):
        cli.main(["choose", "--variant", PATH])
    assert "scale 'small' has no search, so there is nothing to choose" in capsys.readouterr().err


def search_less(project):
    folder = project.root / "search-less"
    Project(folder, ["fixed", "adap_ins_vec"])
    return folder


def test_every_axis_is_a_key_of_a_configuration():
    whole = {"training": STUDY.scale.training.model_dump(), "prompt": STUDY.scale.prompt.model_dump(),
             "choice": STUDY.scale.choice.model_dump()}  # fmt: skip
    for axis, path in AXES.items():
        here = whole
        for key in path:
            here = here[key]
        assert isinstance(here, int | float), axis
    assert set(AXES) == set(search.Space.model_fields)
