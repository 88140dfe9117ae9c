"""Snakemake and DVC agree: every file has one stage, and a stage reads what it declares (design section 2)."""

import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

from dp.report.figures import all_figures
from dp.results import table
from dp.study import grid
from dp.study.contents import report_files
from dp.study.study import load
from dp.study.variants import Control

DVC = yaml.safe_load((ROOT / "dvc.yaml").read_text())
STAGES = DVC["stages"]
PHASES = ["download", "tokenize", "train", "evaluate", "report"]
CODE = {"dp", "workflow", "Snakefile", "environment.yml", "params.yaml"}
READS = {
    "download": set(),
    "tokenize": {"download"},
    "train": {"download", "tokenize"},
    "evaluate": {"download", "tokenize", "train"},
    "report": {"download", "tokenize", "train", "evaluate"},
}
PHASE_OF = {
    "fetch_task": "download",
    "fetch_backbone": "download",
    "tokenize_task": "tokenize",
    "features": "tokenize",
    "train_run": "train",
    "choose": "train",
    "evaluate_run": "evaluate",
    "report_scale": "report",
}
# Planning may not touch the network: a process with this on its path cannot open a connection.
NO_NETWORK = """
import socket
def refuse(*arguments, **options):
    raise OSError("this test allows no network")
socket.socket.connect = socket.create_connection = socket.getaddrinfo = refuse
"""


def outs(stage):
    """Path -> its options in dvc.yaml."""
    return {path: options for out in STAGES[stage]["outs"] for path, options in out.items()}


def within(path, folders):
    return [folder for folder in folders if Path(path).is_relative_to(folder)]


@dataclass(frozen=True)
class Job:
    rule: str
    inputs: list[str]
    outputs: list[str]


@pytest.fixture(scope="module")
def plan(tmp_path_factory):
    """The jobs that Snakemake plans in an empty project made only of what DVC declares as code; no network."""
    root = tmp_path_factory.mktemp("plan")
    for name in sorted(CODE):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, root / name)
    thin = yaml.safe_load((root / "workflow/scales/paper.yaml").read_text())
    thin |= {"seeds": [0], "regimes": [{"kind": "full"}, {"kind": "fewshot", "k": [2]}]}
    (root / "workflow/scales/paper-thin.yaml").write_text(yaml.safe_dump(thin))
    searched = yaml.safe_load((root / "workflow/scales/smoke.yaml").read_text())
    searched["search"] = {"method": "random", "trials": 3, "space": {"lr_factor": [0.3, 1], "anneal": [1]}}
    searched["choice"]["estimator"] = "straight_through"
    (root / "workflow/scales/searched.yaml").write_text(yaml.safe_dump(searched))
    parts = yaml.safe_load((root / "workflow/scales/smoke.yaml").read_text())
    parts["regimes"] = [
        {"kind": "full", "tasks": ["toy"], "variants": ["adap_ins_pos", "adap_ins_pos-shuffled"]},
        {"kind": "full", "tasks": ["toy_choice"], "variants": ["majority", "finetune"]},
        {"kind": "multitask", "name": "backwards", "tasks": ["toy_choice", "toy"], "variants": ["adap_pos"]},
        {"kind": "multitask", "variants": ["adap_pos", "adap_pos_ins_vec-staged"]},
    ]
    parts["variants"] = ["majority", "finetune", "adap_pos", "adap_ins_pos", "adap_pos_ins_vec-staged",
                         "adap_ins_pos-shuffled"]  # fmt: skip
    (root / "workflow/scales/parts.yaml").write_text(yaml.safe_dump(parts))
    settings = yaml.safe_load((root / "params.yaml").read_text()) | {"folder": "a-superglue-folder"}
    (root / "params.yaml").write_text(yaml.safe_dump(settings))
    (root / "blocked").mkdir()
    (root / "blocked/sitecustomize.py").write_text(NO_NETWORK)

    @cache
    def jobs(scale, target="report"):
        command = [sys.executable, "-m", "snakemake", "-np", "--nocolor", "--config", f"scale={scale}", "--", target]
        env = os.environ | {"PYTHONPATH": f"{root}:{root / 'blocked'}"}
        done = subprocess.run(command, cwd=root, env=env, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return parse(done.stdout + done.stderr)

    jobs.root = root
    return jobs


def parse(text):
    """The jobs of a dry run as Snakemake prints them, without the targets, which make no file."""
    found = []
    for block in re.split(r"^(?:local)?rule ", text, flags=re.MULTILINE)[1:]:
        rule = block.split(":")[0]
        listed = {
            key: files.split(", ") for key, files in re.findall(r"^    (input|output): (.*)$", block, re.MULTILINE)
        }
        if "output" in listed:
            found.append(Job(rule, listed.get("input", []), listed["output"]))
    return found


SCALES = [
    "smoke",
    "open",
    "open-gpu",
    pytest.param("paper-thin", marks=pytest.mark.slow),
    "searched",
    "parts",
    "methods-minilm",
    "multitask-minilm",
    "demo",
    pytest.param("paper", marks=[pytest.mark.slow, pytest.mark.exhaustive]),  # what paper-thin has, 40 times
]


def test_five_stages_ask_snakemake_for_their_phase():
    assert list(STAGES) == PHASES
    for name, stage in STAGES.items():
        assert stage["cmd"] == f"snakemake --cores all --rerun-incomplete -- {name}"


def test_each_stage_keeps_one_folder_of_its_own():
    for name in PHASES:
        assert outs(name) == {f"results/{name}": {"persist": True}}
    folders = [path for name in PHASES for path in outs(name)]
    for folder in folders:
        assert within(folder, folders) == [folder]


def test_each_stage_depends_on_all_code_and_on_the_stages_before_it():
    for name in PHASES:
        assert set(STAGES[name]["deps"]) == CODE | {f"results/{stage}" for stage in READS[name]}


def test_what_decides_a_run_stands_in_dvc_lock_by_name():
    """All of params.yaml but the catalogues, and where curves are shown."""
    named = yaml.safe_load((ROOT / "params.yaml").read_text()).keys() - {"backbones", "variants", "protocols", "curves"}
    for name in PHASES:
        assert set(STAGES[name]["params"]) == named


def test_metrics_and_plots_are_outputs_of_the_report_of_any_scale():
    """And a plot draws columns that its table has, with a template that computes with these alone."""
    names = report_files(load(ROOT, {"scale": "smoke"}))
    (metrics,) = DVC["metrics"]
    assert metrics == "results/report/${scale}/metrics" and any(name.startswith("metrics/") for name in names)
    assert DVC["params"] == ["workflow/scales/${scale}.yaml"]
    columns = {"results.csv": table.COLUMNS} | {
        f"figures/{name}.csv": all_figures.ALL[name].COLUMNS for name in ("learning_curves", "paper_comparison")
    }
    plots = {path.removeprefix("results/report/${scale}/"): of for plot in DVC["plots"] for path, of in plot.items()}
    assert plots.keys() == columns.keys() <= set(names)
    for name, of in plots.items():
        template = (ROOT / f".dvc/plots/{of['template']}.json").read_text()
        made = set(re.findall(r'"as": "(\w+)"', template)) | {"rev", "accuracy"}  # `accuracy`: the diagonal's own
        read = set(re.findall(r'datum\.(\w+)|"field": "(\w+)"', template))
        assert {of["x"], of["y"]} <= set(columns[name])
        assert {one or other for one, other in read} - made <= set(columns[name]), name


@pytest.mark.parametrize("scale", SCALES)
def test_every_output_lies_in_the_stage_of_its_rule(plan, scale):
    everywhere = [path for stage in PHASES for path in outs(stage)]
    for job in plan(scale):
        for path in job.outputs:
            assert within(path, everywhere) == [f"results/{PHASE_OF[job.rule]}"], f"{job.rule} writes {path}"


@pytest.mark.parametrize("scale", SCALES)
def test_every_file_has_one_writer(plan, scale):
    writers = Counter(path for job in plan(scale) for path in job.outputs)
    assert not [path for path, count in writers.items() if count > 1]


@pytest.mark.parametrize("scale", SCALES)
def test_every_input_is_declared_by_the_stage_that_reads_it(plan, scale):
    """An input is made by the same stage, or lies under one of its deps; a made file has a writer in the plan."""
    jobs = plan(scale)
    made = {path for job in jobs for path in job.outputs}
    assert {job.rule for job in jobs if not job.inputs} == {"fetch_task", "fetch_backbone"}
    for rule, path in {(job.rule, path) for job in jobs for path in job.inputs}:
        phase = PHASE_OF[rule]
        here = within(path, [f"results/{phase}", *STAGES[phase]["deps"]])
        assert len(here) == 1, f"{rule} reads {path}, which stage {phase} does not declare"
        assert path in made, f"{rule} reads {path} by its time stamp: a file of the project is a parameter"


@pytest.mark.parametrize("scale", SCALES)
def test_the_plan_counts_what_the_grid_counts(plan, scale):
    """Each cell is predicted once, each trained cell tuned once, each backbone and task fetched once, and so on."""
    counts = Counter(job.rule for job in plan(scale))
    print(scale, dict(counts))
    study = load(plan.root, {"scale": scale})
    cells, names, tasks = grid.cells(study), study.scale.backbones, study.tasks
    read = {(c.backbone, c.task) for c in cells if grid.needs_features(study, c.variant)}
    trained = {grid.training(study, cell) for cell in cells} - {None}
    searches = len({cell.variant_path for cell in trained}) if study.scale.search else 0
    expected = {
        "fetch_task": len(tasks),
        "fetch_backbone": len(names),
        "tokenize_task": len(tasks) * len(names),
        "features": len(read),
        "train_run": len(trained) + searches * (study.scale.search.trials if study.scale.search else 0),
        "choose": searches,
        "evaluate_run": len(cells),
        "report_scale": 1,
    }
    assert counts == Counter(expected)


@pytest.mark.parametrize("scale", SCALES)
def test_a_run_reads_what_its_variant_needs(plan, scale):
    """Features where a choice is made by instance, the runs whose choices it keeps, and what a search chose."""
    study = load(plan.root, {"scale": scale})
    cells = {cell.run: cell for cell in [*grid.needed_trainings(study), *grid.cells(study)]}
    for job in plan(scale):
        if job.rule not in ("train_run", "evaluate_run"):
            continue
        folder = Path(job.outputs[0]).parent
        run = folder.relative_to(f"results/{PHASE_OF[job.rule]}/{scale}").as_posix()
        read = {Path(path).parent for path in job.inputs if path.endswith("SHA256SUMS")}
        assert {cells[run].task} <= {one.parent.name for one in read if one.name == "tokens"} or cells[
            run
        ].task == "all"
        definition = study.params.variants[cells[run].variant]
        if isinstance(definition, Control):
            definition = study.params.variants[definition.control_of]
        said = definition.model_dump()
        kept = [said.get("position"), said.get("length")]
        learners = [one["learned_by"] for one in kept if isinstance(one, dict)]
        by_instance = [said, *(study.params.variants[name].model_dump() for name in learners)]
        features = said.get("baseline") == "linear_probe" or any(
            "instance" in (one.get("position"), one.get("length")) or one.get("representation") == "instance_pool"
            for one in by_instance
        )
        assert ("features" in {one.parent.name for one in read}) == features, run
        assert ("backbones" in {one.parent.name for one in read}) == (said.get("baseline") != "majority"), run
        tuned = [one for one in read if one.parts[1] == "train" and one.name != "choice"]
        if job.rule == "evaluate_run":
            assert len(tuned) == (said.get("baseline") not in ("majority", "zero_shot")), run
        else:
            assert {folder.parent.name for folder in tuned} == set(learners), run
            chosen = study.scale.search is not None and cells[run].trial is None
            assert ("choice" in {one.name for one in read}) == chosen, run


@pytest.mark.parametrize("phase", PHASES)
def test_every_phase_is_a_target_that_runs_it_and_what_it_reads(plan, phase):
    assert {PHASE_OF[job.rule] for job in plan("smoke", phase)} == READS[phase] | {phase}


@pytest.mark.parametrize("phase", PHASES)
def test_a_phase_leaves_nothing_of_its_stage_to_a_later_one(plan, phase):
    """Asking for `report` makes no file under results/<phase> that asking for <phase> does not."""

    def files(target):
        return {path for job in plan("smoke", target) for path in job.outputs if within(path, [f"results/{phase}"])}

    assert files("report") == files(phase)
