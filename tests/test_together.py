"""Runs that share the passes of their backbone: each is what it is in its own, whatever becomes of the others.

Its short and long batches come in the order of those that share, in both.
"""

import json
import os
import shutil
import signal

import built_project
import pytest
import torch
from conftest import FAMILIES, typed
from safetensors import safe_open
from small_project import Project, small_study
from test_battery import PROMPTED, config_of, features_of

from dp import files, paths
from dp.classifier.classifier import classifier
from dp.commands import cli
from dp.commands.making import compute
from dp.errors import Interrupted, UserError
from dp.jobs.inputs import inputs_of
from dp.jobs.job import Cell
from dp.numerics import tensors
from dp.planning.costs import Counter
from dp.study import grid, resolve
from dp.training import advance, fitting, loop, parts
from dp.training.state import State, resumable

SEEDS = [0, 1, 2]
LONG = {"steps": 50, "batch_size": 8, "micro_batch_size": 4, "evaluate_every": 25, "checkpoint_every": 100}


@pytest.fixture
def trainings(tiny, toy_split, tmp_path):
    """The trainings of a variant, begun; and its backbone."""

    def begun(family, variant, **training):
        backbone, split = tiny(family), toy_split(family)
        rows = loop.Rows(split, features_of(backbone, split))
        found = {}
        for seed in SEEDS:
            names = {"together": [f"seed{one}" for one in SEEDS]}
            config = typed(config_of(family, variant, seed, **LONG | training) | names)
            model = classifier(config, backbone, [2], [], "cpu")
            model.fit_features(rows.features)
            folder = tmp_path / f"seed{seed}"
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            state = State(folder, "same")

            def begin(clock, stop, model=model, config=config, state=state, folder=folder):
                return loop.updates(model, rows, [rows], config, folder, state, stop, clock, shown="")

            found[folder] = begin
        return found, backbone

    return begun


def log_of(folder):
    return [line for line in files.read_jsonl(folder / "state" / "steps.jsonl") if "loss" in line]


def ignored(folder, outcome):
    pass


def shared(begun, backbone):
    return advance.together(begun, advance.Passes(backbone), [], ignored)


def by_itself(begin, backbone):
    return advance.alone(begin(advance.Clock(), []), advance.Passes(backbone))


# By default those in which something else is joined; slow: what else a family joins; the rest repeats it.
JOINED = {"seq2seq": ["fixed", "adap_ins_pos", "adap_ins_length", "p-tuning-v2"]}
SLOW = ["residual", "adap_ins_vec_pos", "p-tuning-v2"]


def marks_of(family, variant):
    if variant in JOINED.get(family, ["adap_ins_all"]):
        return ()
    return [pytest.mark.slow] if variant in SLOW else [pytest.mark.slow, pytest.mark.exhaustive]


PAIRS = [
    pytest.param(family, variant, marks=marks_of(family, variant))
    for family in FAMILIES
    for variant in [*PROMPTED, "p-tuning-v2"]
]


@pytest.mark.parametrize(("family", "variant"), PAIRS)
def test_each_is_what_it_is_alone(trainings, monkeypatch, family, variant):
    """Over 50 updates, rates of rounding apart; in a third of the passes."""
    passes = []
    original = advance.read
    monkeypatch.setattr(advance, "read", lambda *given: passes.append(None) or original(*given))
    rate = {"optimizer": {"name": "adafactor", "lr": 0.03, "warmup_steps": 0}}
    begun, backbone = trainings(family, variant, **rate)
    made = shared(begun, backbone)
    logs = {folder: log_of(folder) for folder in begun}
    assert len(passes) == 50 * 2
    begun, backbone = trainings(family, variant, **rate)
    for folder, begin in begun.items():
        alone = by_itself(begin, backbone)
        for one, other in zip(log_of(folder), logs[folder], strict=True):
            assert one["loss"] == pytest.approx(other["loss"], abs=1e-4)
            assert [one[key] for key in ("splits", "lengths", "lr", "tokens")] == [
                other[key] for key in ("splits", "lengths", "lr", "tokens")
            ]
        assert alone["selection"]["loss"] == pytest.approx(made[folder]["selection"]["loss"], abs=1e-3)
        for name, value in alone["tensors"].items():
            assert torch.allclose(value, made[folder]["tensors"][name], atol=1e-3), name
    assert len({str([line["loss"] for line in log]) for log in logs.values()}) == len(SEEDS), "the seeds are alike"
    assert len(passes) == 50 * 2 * (1 + len(SEEDS))


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("variant", ["adap_ins_all", "p-tuning-v2"])
def test_a_pass_in_parts_is_the_pass(trainings, monkeypatch, family, variant):
    """The same draws, and the same losses but for rounding, of one run and of three; no part has more rows."""
    rate = {"steps": 6, "optimizer": {"name": "adafactor", "lr": 0.03, "warmup_steps": 0}}
    begun, backbone = trainings(family, variant, **rate)
    whole = shared(begun, backbone)
    logs = {folder: log_of(folder) for folder in begun}
    rows = []
    for module in (parts, advance):
        original = module.read

        def read(of, reading, original=original):
            rows.append(len(reading.sequence.embeds))
            return original(of, reading)

        monkeypatch.setattr(module, "read", read)
    for together in (True, False):
        begun, backbone = trainings(family, variant, **rate)
        rows.clear()
        if together:
            made = advance.together(begun, advance.Passes(backbone, 4), [], ignored)
        else:
            made = {
                folder: advance.alone(begin(advance.Clock(), []), advance.Passes(backbone, 2))
                for folder, begin in begun.items()
            }
        copies = made[next(iter(made))]["forward_passes_per_row"]
        assert set(rows) == {4 * copies * (3 if together else 1) // (4 if together else 2)}
        for folder in begun:
            for one, other in zip(log_of(folder), logs[folder], strict=True):
                assert one["loss"] == pytest.approx(other["loss"], abs=1e-4)
                assert (one["splits"], one["lengths"]) == (other["splits"], other["lengths"])
            for name, value in whole[folder]["tensors"].items():
                assert torch.allclose(value, made[folder]["tensors"][name], atol=1e-3), name


@pytest.fixture
def small_gpu(monkeypatch):
    """A pass of more than `rows` rows with a graph does not fit into a memory that is only said to be a GPU's."""
    seen = []

    def make(rows):
        for module in (parts, advance):
            original = module.read

            def read(of, reading, original=original):
                seen.append((len(reading.sequence.embeds), reading.sequence.embeds.shape[1]))
                if torch.is_grad_enabled() and len(reading.sequence.embeds) > rows:
                    raise torch.OutOfMemoryError("CUDA out of memory")
                return original(of, reading)

            monkeypatch.setattr(module, "read", read)
        for name in ("empty_cache", "reset_peak_memory_stats"):
            monkeypatch.setattr(torch.cuda, name, lambda: None)
        return seen

    return make


def fitted(tiny, toy_split, variant="adap_ins_pos", runs=2, micro=8, rows=None):
    backbone, split = tiny("seq2seq"), toy_split("seq2seq")
    split = split.take(rows) if rows else split
    features = features_of(backbone, split)
    configs = [typed(config_of("seq2seq", variant, seed, batch_size=8, micro_batch_size=micro)) for seed in range(runs)]
    models = [classifier(config, backbone, [2], [], "cpu") for config in configs]
    for model in models:
        model.fit_features(features)
        model.device = "cuda:0"
    monkey = fitting.collate
    fitting.collate = lambda *given: OnTheHost(monkey(*given))
    try:
        found = fitting.fitting_parts(models, split, features, configs[0])
    finally:
        fitting.collate = monkey
    assert all(value.grad is None for model in models for value in model.trained().values())
    return found, models[0].copies, max(len(ids) for ids in split.ids)


class OnTheHost:
    def __init__(self, batch):
        self.batch = batch

    def to(self, device):
        assert device == "cuda:0"
        return self.batch


@pytest.mark.parametrize(("holds", "expected"), [(1000, 1), (16, 2), (15, 4), (1, 32)])
def test_a_dry_step_finds_what_the_memory_holds(tiny, toy_split, small_gpu, holds, expected):
    """Two runs of 8 rows, each row in two copies: 32 rows, as wide as the longest, in parts of `holds` at most."""
    seen = small_gpu(holds)
    found, copies, longest = fitted(tiny, toy_split)
    assert (found, copies) == (expected, 2)
    assert {width for _, width in seen} == {longest + 4} and seen[0][0] == 32


def test_a_dry_step_has_a_whole_micro_batch_of_few_rows(tiny, toy_split, small_gpu):
    seen = small_gpu(1000)
    assert fitted(tiny, toy_split, rows=[0, 1, 2])[0] == 1
    assert seen[0][0] == 32


def test_a_memory_that_holds_no_row_is_told(tiny, toy_split, small_gpu):
    small_gpu(0)
    with pytest.raises(UserError, match=r"does not hold the pass of one row\. Lower max_tokens"):
        fitted(tiny, toy_split)


def test_what_draws_dropout_is_passed_whole(tiny, toy_split, small_gpu):
    small_gpu(0)
    assert fitted(tiny, toy_split, "lora", runs=1)[0] == 1


def test_one_that_is_no_number_leaves_the_others(trainings, monkeypatch):
    begun, backbone = trainings("seq2seq", "adap_ins_pos")
    alone = {folder: by_itself(begin, backbone) for folder, begin in begun.items()}
    begun, backbone = trainings("seq2seq", "adap_ins_pos")
    original, wrong = loop.expected_losses, list(begun)[1]

    def losses(scores, choices, batch, moment, estimator):
        found = original(scores, choices, batch, moment, estimator)
        return found * torch.nan if moment.seed == 1 and moment.step == 7 else found

    monkeypatch.setattr(loop, "expected_losses", losses)
    made = shared(begun, backbone)
    assert isinstance(made[wrong], UserError) and "the loss is nan at step 7" in str(made[wrong])
    for folder in begun.keys() - {wrong}:
        for name, value in alone[folder]["tensors"].items():
            assert torch.allclose(value, made[folder]["tensors"][name], atol=1e-3), name
        assert len(log_of(folder)) == 50


def test_a_passes_seconds_are_shared_out(trainings, monkeypatch):
    """What all wait for counts once, in equal parts; what one does for itself is its own."""
    now = [0.0]
    monkeypatch.setattr(advance.time, "perf_counter", lambda: now[0])
    original = advance.Passes.answer_all

    def answered(*given):
        now[0] += 3.0
        return original(*given)

    monkeypatch.setattr(advance.Passes, "answer_all", answered)
    begun, backbone = trainings("seq2seq", "fixed", steps=4)
    evaluated = loop.evaluated

    def slow(*given):
        now[0] += 1000.0
        return evaluated(*given)

    monkeypatch.setattr(loop, "evaluated", slow)
    shared(begun, backbone)
    for folder in begun:  # two micro-batches, each read and traced back
        assert [line["seconds"] for line in log_of(folder)] == [4.0] * 4


# Jobs

TRAINING = {"steps": 40, "batch_size": 8, "micro_batch_size": 4, "evaluate_every": 2, "checkpoint_every": 4,
            "optimizer": {"warmup_steps": 0, "lr": 0.05, "schedule": "linear"}}  # fmt: skip
STOPPED = TRAINING | {"stop": {"patience": 5, "after": 6}, "checkpoint_every": 6,
                      "optimizer": {"warmup_steps": 0, "lr": 0.3, "schedule": "linear"}}  # fmt: skip


@pytest.fixture
def project(tmp_path, monkeypatch):
    def make(name="one", variant="adap_ins_pos", **changes):
        root = tmp_path / name
        root.mkdir()
        monkeypatch.chdir(root)
        changes = {"seeds": SEEDS, "together": {"tiny-t5": 3}, "training": TRAINING} | changes
        one = Project(root, [variant], **changes)
        one.prepare()
        return one

    return make


def run_of(seed, variant="adap_ins_pos"):
    return f"tiny-t5/full/toy/{variant}/seed{seed}"


def folders(project):
    return [project.root / paths.train_run("small", run_of(seed)) for seed in SEEDS]


def bytes_of(project):
    return [files.sha256(folder / "tuned.safetensors") for folder in folders(project)]


def made_of(folder):
    return files.read_json(folder / "record.json")["made"]


def test_short_and_long_batches_come_at_once_to_those_that_share(tiny, toy_split, tmp_path):
    backbone, split = tiny("seq2seq"), toy_split("seq2seq")

    def likeness(names):
        found = []
        for seed in SEEDS:
            config = typed(config_of("seq2seq", "fixed", seed, **LONG | {"steps": 24}) | {"together": names})
            model, folder = classifier(config, backbone, [2], [], "cpu"), tmp_path / f"{len(names)}-{seed}"
            folder.mkdir()
            rows = loop.Rows(split, None)
            loop.train(model, rows, [rows], config, folder, "same")
            found.append([line["tokens"] for line in files.read_jsonl(folder / "steps.jsonl") if "loss" in line])
        return torch.corrcoef(torch.tensor(found, dtype=torch.float))[0, 1:]

    assert (likeness(["seed0", "seed1", "seed2"]) > 0.9).all() and (likeness(["alone"]) < 0.5).all()


def test_one_call_makes_all_and_each_has_its_record(project):
    one = project()
    one.train(run_of(1))
    records = [files.read_json(folder / "record.json") for folder in folders(one)]
    for seed, record in zip(SEEDS, records, strict=True):
        assert record["asked"]["seed"] == seed and record["asked"]["together"] == ["seed0", "seed1", "seed2"]
        assert record["made"]["steps"] == 40 and record["made"]["status"] == "complete"
    assert len(set(bytes_of(one))) == 3
    assert not any((folder / "state").exists() for folder in folders(one))
    assert all(made_of(folder)["wall_seconds"] >= made_of(folder)["step_seconds"] for folder in folders(one))
    # As `dp adopt` makes one of them again
    job = resolve.training_job(one.study, Cell("tiny-t5", "full", "toy", "adap_ins_pos", 2))
    again = one.root / "again"
    again.mkdir()
    facts = compute(job, again, one.study, inputs_of(job))
    assert files.sha256(again / "tuned.safetensors") == bytes_of(one)[2] and facts["steps"] == 40
    assert list(one.root.glob("tmp*")) == []


def test_a_stop_leaves_states_that_resume_to_the_same_bytes(project, monkeypatch):
    expected = project("whole")
    expected.train(run_of(0))
    whole = bytes_of(expected)
    one = project("stopped")
    original, calls = loop.learning_rate, iter(range(1000))

    def interrupt(*arguments):  # the second of the three, at update 7
        if next(calls) == 3 * 6 + 1:
            os.kill(os.getpid(), signal.SIGINT)
        return original(*arguments)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "learning_rate", interrupt)
        with pytest.raises(SystemExit, match="130"):
            one.train(run_of(0))
    assert {_step(folder) for folder in folders(one)} == {7}
    one.train(run_of(0))
    assert bytes_of(one) == whole


def _step(folder):
    with safe_open(folder / "state" / "state.safetensors", "pt") as file:
        return json.loads(file.metadata()["state"])["step"]


@pytest.mark.parametrize("killed_at", [11, 17, 25])
def test_one_that_stops_early_frees_its_place_and_a_kill_changes_nothing(project, monkeypatch, killed_at):
    sizes = []
    original = advance.joined
    monkeypatch.setattr(advance, "joined", lambda readings: sizes.append(len(readings)) or original(readings))
    expected = project("whole", training=STOPPED)
    expected.train(run_of(0))
    steps = [made_of(folder)["steps"] for folder in folders(expected)]
    assert len(set(steps)) > 1, "a case that shows nothing"
    assert [sizes.count(size) for size in (3, 2, 1)] == [
        2 * (many - few) for few, many in zip([0, *sorted(steps)], sorted(steps), strict=False)
    ]
    one = project("killed", training=STOPPED)
    rate = loop.learning_rate

    def killed(step, *arguments):
        if step == killed_at:
            raise KeyboardInterrupt
        return rate(step, *arguments)

    with monkeypatch.context() as patch:
        patch.setattr(loop, "learning_rate", killed)
        with pytest.raises(KeyboardInterrupt):
            one.train(run_of(0))
    sizes.clear()
    one.train(run_of(0))
    assert bytes_of(one) == bytes_of(expected)
    assert [made_of(folder)["steps"] for folder in folders(one)] == steps
    ended = sorted(steps)
    means = [3, (3 * ended[0] + 2 * (ended[1] - ended[0])) / ended[1]]
    means.append((means[1] * ended[1] + ended[2] - ended[1]) / ended[2])
    found = sorted((made_of(folder)["steps"], made_of(folder)["runs_of_a_pass"]) for folder in folders(expected))
    assert found == [(steps, pytest.approx(mean, abs=1e-3)) for steps, mean in zip(ended, means, strict=True)]
    assert len(sizes) < 2 * max(steps), "it began anew"


def test_they_resume_behind_the_last_update_that_all_have_a_state_of(tmp_path):
    """One that has ended is taken as it ended, unless the others have yet to get there."""
    weight = torch.nn.Parameter(torch.zeros(2))

    def state(name, *steps, ended=None):
        one = State(tmp_path / name, "same", True)
        one.forget()
        one.folder.mkdir(parents=True)
        for step in steps:
            one.log({"step": step})
            one.save(step, {"prompt.x": weight}, [], None)
        if ended is not None:
            one.end({"steps": ended, "tensors": {"prompt.x": torch.ones(2)}}, ended)
        return tmp_path / name, one

    def found(*states):
        return {folder.name: facts["steps"] for folder, facts in resumable(dict(states)).items()}

    def left():
        return {folder.name: State(folder, "same")._facts()["step"] for folder in sorted(tmp_path.iterdir())
                if (folder / "state" / "state.safetensors").exists()}  # fmt: skip

    assert found(state("a", 4, 8), state("b", 4, 8)) == {} and left() == {"a": 8, "b": 8}
    assert found(state("a", 4, 8), state("b", 4)) == {} and left() == {"a": 4, "b": 4}, "killed between two saves"
    assert found(state("a", 4, 8), state("b", 4, ended=6)) == {"b": 6} and left()["a"] == 8
    assert found(state("a", 4), state("b", 4, ended=6)) == {} and left() == {"a": 4, "b": 4}
    assert found(state("a", 4, 8), state("b", 4, ended=8)) == {"b": 8}
    assert found(state("a", 4, 8), state("b", 4, ended=9)) == {} and left() == {"a": 4, "b": 4}, "it shared the ninth"
    assert found(state("a", 4, ended=8), state("b", 4, ended=6)) == {"a": 8, "b": 6}
    a, b = state("a", 4, 8), state("b", 4, 8)
    b[1].file.unlink()  # killed between two renames
    assert found(a, b) == {} and left() == {"a": 4, "b": 4}
    assert found(state("a", 4, 8), state("b", 12)) == {} and left() == {}, "no update in common: anew"
    assert found(state("a", 4), state("b")) == {} and left() == {}


def test_one_failure_is_told_and_the_others_are_recorded(project, monkeypatch, capsys):
    one = project()
    original = loop.expected_losses

    def losses(scores, choices, batch, moment, estimator):
        found = original(scores, choices, batch, moment, estimator)
        return found * torch.nan if moment.seed == 1 else found

    monkeypatch.setattr(loop, "expected_losses", losses)
    with pytest.raises(SystemExit):
        one.train(run_of(0))
    assert "seed1: the loss is nan at step 0" in capsys.readouterr().err
    there = [(folder / "record.json").exists() for folder in folders(one)]
    assert there == [True, False, True]
    kept = [files.sha256(folder / "tuned.safetensors") for folder in (folders(one)[0], folders(one)[2])]
    monkeypatch.setattr(loop, "expected_losses", None)  # called again, as Snakemake does: nothing is trained
    for folder in folders(one):
        (folder / "record.json").unlink(missing_ok=True)
        (folder / "tuned.safetensors").unlink(missing_ok=True)
    with pytest.raises(SystemExit):
        one.train(run_of(0))
    assert "seed1: the loss is nan at step 0" in capsys.readouterr().err
    assert kept == [files.sha256(folder / "tuned.safetensors") for folder in (folders(one)[0], folders(one)[2])]
    assert files.read_json(one.root / paths.state(paths.train_run("small", run_of(1))))["state"] == "failed"


def together_of(study, variant, **where):
    cell = Cell("tiny-t5", "full", "toy", variant, where.pop("seed", 0), **where)
    return [one.run.rpartition("/")[2] for one in grid.together(study, cell)]


def test_which_share():
    """By the grid alone: what has gradients in the backbone, its dropout, or several starts, is trained alone."""
    variants = ["fixed", "adap_ins_pos", "p-tuning-v2", "lora", "finetune", "linear-probe"]
    several = {"seeds": [3, 1, 4, 0, 5], "together": {"tiny-t5": 2}}
    study = small_study(variants, **several)
    for variant in ("fixed", "adap_ins_pos", "p-tuning-v2"):
        assert together_of(study, variant, seed=3) == together_of(study, variant, seed=1) == ["seed3", "seed1"]
        assert together_of(study, variant, seed=5) == ["seed5"]
    for variant in ("lora", "finetune", "linear-probe"):
        assert together_of(study, variant, seed=3) == ["seed3"]
        assert "together" not in grid.training_config(study, Cell("tiny-t5", "full", "toy", variant, 3))
    assert "together" not in grid.training_config(study, Cell("tiny-t5", "full", "toy", "fixed", 5))
    cell = Cell("tiny-t5", "full", "toy", "fixed", 3)
    assert resolve.training_job(study, cell).asked["together"] == ["seed3", "seed1"]
    assert "together" not in resolve.evaluation_job(study, cell).asked
    released = small_study(["fixed"], protocol="released", **several)
    assert together_of(released, "fixed", seed=3) == ["seed3"]
    started = small_study(["fixed"], training={"starts": 2, "start_steps": 2, "steps": 4}, **several)
    assert together_of(started, "fixed", seed=3) == ["seed3"]
    search = {"method": "grid", "trials": 3, "space": {"lr_factor": [0.3, 1, 3]}}
    searched = small_study(["fixed"], search=search, **several)
    assert together_of(searched, "fixed", trial=1) == ["trial0", "trial1"]
    assert together_of(searched, "fixed", trial=2) == ["trial2"]
    assert together_of(searched, "fixed", seed=3) == ["seed3", "seed1"]


def test_a_scale_says_nothing_of_it_by_default():
    cell = Cell("tiny-t5", "full", "toy", "fixed", 0)
    assert "together" not in grid.training_config(small_study(["fixed"], seeds=SEEDS), cell)


def test_the_plan_shares_out_what_a_layer_costs_however_few_its_rows():
    def work(together):
        study = small_study(["fixed"], seeds=SEEDS, together={"tiny-t5": together})
        return Counter(study)._training(Cell("tiny-t5", "full", "toy", "fixed", 0)).work

    one, three = work(1), work(3)
    assert three.flops == one.flops and three.layers < one.layers


def test_a_searchs_trials_share_passes_too(project):
    search = {"method": "grid", "trials": 3, "space": {"lr_factor": [0.3, 1, 3]}}
    one = project(search=search, variant="fixed")
    cli.main(["train", "--run", "tiny-t5/full/toy/fixed/trial2"])
    found = [made_of(one.root / paths.train_run("small", f"tiny-t5/full/toy/fixed/trial{n}")) for n in range(3)]
    assert sorted(one["setting"]["lr_factor"] for one in found) == [0.3, 1, 3]
    cli.main(["choose", "--variant", "tiny-t5/full/toy/fixed"])
    one.train(run_of(0, "fixed"))
    record = files.read_json(one.root / paths.train_run("small", run_of(2, "fixed")) / "record.json")
    assert record["made"]["setting"] in [{"lr_factor": factor} for factor in (0.3, 1, 3)]


@pytest.mark.slow
def test_snakemake_makes_them_in_one_job(tmp_path):
    """And what trains alone beside them; a second call finds nothing to do, another grouping makes all anew."""
    root = built_project.make(tmp_path / "project", "majority, lora, fixed, adap_pos, adap_pos-frozen", "0, 1, 2")
    scale = root / "workflow/scales/e2e.yaml"
    alone = scale.read_text()
    scale.write_text(alone + "together: {tiny-t5: 2}\n")
    built_project.commit(root, "together")
    made = [job for job in built_project.jobs(root) if job.startswith("results/train")]
    variants = ("fixed", "adap_pos", "adap_pos-frozen")
    runs = [(name, n) for name in variants for n in (0, 2)] + [("lora", n) for n in range(3)]
    assert sorted(made) == sorted(
        f"results/train/e2e/tiny-t5/full/toy/{name}/seed{n}/tuned.safetensors" for name, n in runs
    )
    assert built_project.jobs(root, dry=True) == []
    for name in variants:
        for n in range(3):
            asked = files.read_json(root / f"results/train/e2e/tiny-t5/full/toy/{name}/seed{n}/record.json")["asked"]
            assert asked.get("together") == (["seed0", "seed1"] if n < 2 else None)
    scale.write_text(alone)
    built_project.commit(root, "alone")
    made = [job for job in built_project.jobs(root, dry=True) if job.startswith("results/train")]
    assert len(made) == 2 * len(variants), "seed2 and lora are as they were"


def test_a_stop_is_told_to_all_at_the_same_update():
    """A signal that comes while one of them is between its update and the next is heard by none before the next."""
    stop, heard = [], []

    def training(clock, told, first):
        for step in range(3):
            if first and step == 1:
                stop.append("signal")
            yield advance.Backward(torch.ones((), requires_grad=True) * 1)
            heard.append((first, step, bool(told)))
            if told:
                raise Interrupted("stopped")

    begun = {
        name: (lambda clock, told, first=first: training(clock, told, first)) for name, first in (("a", 0), ("b", 1))
    }
    made = advance.together(begun, advance.Passes(None), stop, ignored)
    assert all(isinstance(one, Interrupted) for one in made.values())
    assert {step for _, step, told in heard if told} == {1}


def test_an_ended_one_is_read_as_it_was_written(tmp_path):
    state = State(tmp_path, "same")
    state.folder.mkdir()
    facts = {"steps": 3, "tensors": {"prompt.x": torch.randn(4)}, "selection": {"accuracy": 0.1 + 0.2}}
    state.end(facts, 4)
    found, passes = state.ended()
    assert torch.equal(found.pop("tensors")["prompt.x"], facts["tensors"]["prompt.x"]) and passes == 4
    assert found == {key: value for key, value in facts.items() if key != "tensors"}
    assert State(tmp_path, "another").ended() is None
    whole = state.end_file.read_bytes()
    for damaged in (whole[:-1] + bytes([whole[-1] ^ 1]), whole[:40], whole.replace(b"0.3000", b"0.4000")):
        assert damaged != whole
        state.end_file.write_bytes(damaged)
        with pytest.raises(UserError, match=r"the state .* is damaged, so that nothing resumes from it\. Delete that"):
            state.ended()
    tensors.save({"x": torch.ones(1)}, state.end_file)
    with pytest.raises(UserError, match="damaged"):
        state.ended()


def test_the_plan_counts_the_jobs_that_snakemake_runs():
    """Of five seeds two, two and one are made in a job; trials of a search likewise; LoRA each by itself."""
    search = {"method": "grid", "trials": 3, "space": {"lr_factor": [0.3, 1, 3]}}
    for more, runs, jobs in (({}, 10, 5 + 3), ({"search": search}, 16, 5 + 3 + 3 + 2)):
        alone, shared = (
            Counter(study).cost(grid.cells(study))["tiny-t5"]
            for study in (small_study(["fixed", "lora"], seeds=[3, 1, 4, 0, 5], together=together, **more)
                          for together in ({}, {"tiny-t5": 2}))
        )  # fmt: skip
        assert alone.trainings == shared.trainings == runs
        assert alone.jobs - shared.jobs == alone.device_jobs - shared.device_jobs == runs - jobs
        assert alone.work.flops == shared.work.flops and alone.work.loaded > shared.work.loaded
