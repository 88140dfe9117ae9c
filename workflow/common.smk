"""Targets, inputs and settings, all from dp.grid: the rules stay fixed while the grid grows."""

import json
import os
import shutil
import sys
from contextlib import ExitStack

from snakemake.settings.types import DeploymentMethod

from dp import grid, paths
from dp.commands.common import SETTINGS_VARIABLE
from dp.errors import UserError
from dp.evaluation import runs
from dp.lineage.closure import code_digest
from dp.study import load
from dp.worker.client import VARIABLE as WORKER_VARIABLE
from dp.worker.start import worker

try:
    STUDY = load(settings=dict(config))
except UserError as error:
    raise WorkflowError(str(error))

SCALE = STUDY.scale_name
CELLS = {cell.run: cell for cell in grid.cells(STUDY)}
TRAININGS = {cell.run: cell for cell in grid.needed_trainings(STUDY)}
VARIANTS = {cell.variant_path: cell for cell in grid.trainings(STUDY)}
PHASES = ("download", "tokenize", "train", "evaluate", "report")
COMPUTE = STUDY.scale.compute
# Neither the interpreter nor the settings of this call are part of a rule's shell line: another virtual environment or
# another `--config` makes no job stale by itself, only through the parameters that it changes.
os.environ.update({SETTINGS_VARIABLE: json.dumps(dict(config))})
OTHER_PYTHON = DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method
if not OTHER_PYTHON:
    os.environ.update(PATH=os.pathsep.join([os.path.dirname(sys.executable), *os.get_exec_path()]))
# A job asks for a GPU where there is one to ask for; profiles/default admits as many such jobs as `gpu` says.
GPU = int(COMPUTE.device == "cuda" or (COMPUTE.device == "auto" and shutil.which("nvidia-smi") is not None))

# Jobs of this process and machine share what they import (docs/results.md); others find no worker and run alone.
WORKER = ExitStack()


def start_worker():
    here = workflow.is_main_process and workflow.local_exec
    if here and not OTHER_PYTHON and os.environ.get(WORKER_VARIABLE) != "":
        WORKER.enter_context(worker())


wildcard_constraints:
    scale=SCALE,
    backbone="[^/]+",
    task="[^/]+",
    source="[^/]+",
    pooling="masked_mean|padded_mean",
    variant="[^/]+/[^/]+/[^/]+/[^/]+",
    run="[^/]+/[^/]+/[^/]+/[^/]+/(seed|trial)[0-9]+",


def asked(config):
    """A resolved configuration as the rule parameter that makes its job stale."""
    return json.dumps(config, sort_keys=True)


def named(folder, *names):
    return [str(folder / name) for name in names]


def task_files(task):
    return named(paths.task_rows(task, STUDY.source), "train.jsonl", "validation.jsonl")


def backbone_files(name):
    return named(paths.backbone(name), "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json")


def token_files(backbone, task):
    return named(paths.tokens(SCALE, backbone, task), "tokens.safetensors", "rows.json")


def feature_files(backbone, task, pooling):
    return named(paths.features(SCALE, backbone, task, pooling), "features.safetensors")


def train_files(run):
    return named(paths.train_run(SCALE, run), "tuned.safetensors", "config.json", "steps.jsonl", "record.json")


def choice_files(variant):
    return named(paths.choice(SCALE, variant), "choice.json")


def evaluation_files(run):
    return named(paths.evaluation(SCALE, run), "predictions.jsonl", "metrics.json")


def row_files(cell):
    """Tokens of a run's tasks, the backbone, and features where the variant reads them."""
    tasks, pooling = grid.tasks_of(STUDY, cell), grid.pooling(STUDY, cell.variant)
    found = [file for task in tasks for file in token_files(cell.backbone, task)]
    if grid.needs_backbone(STUDY, cell.variant):
        found += backbone_files(cell.backbone)
    if grid.needs_features(STUDY, cell.variant):
        found += [file for task in tasks for file in feature_files(cell.backbone, task, pooling)]
    return found


def train_inputs(run):
    """What a training reads: its rows, runs whose choice it keeps, and what a search chose."""
    cell = TRAININGS[run]
    found = row_files(cell)
    for source in grid.sources(STUDY, cell).values():
        found += train_files(source.run)
    if STUDY.scale.search and cell.trial is None:
        found += choice_files(cell.variant_path)
    return found


def choice_inputs(variant):
    return [file for trial in grid.trials(STUDY, VARIANTS[variant]) for file in train_files(trial.run)]


def evaluation_inputs(run):
    """What an evaluation reads: its rows, and the training that it shows."""
    cell = CELLS[run]
    training = grid.training(STUDY, cell)
    return row_files(cell) + (train_files(training.run) if training else [])


def report_inputs():
    return sorted({str(path) for cell in CELLS.values() for path in runs.sources(STUDY, cell)})


def targets(phase):
    """Every file that a phase makes for the chosen scale."""
    cells = CELLS.values()
    pairs = sorted({(cell.backbone, cell.task) for cell in cells})
    match phase:
        case "download":
            found = [task_files(task) for task in STUDY.tasks]
            return found + [backbone_files(name) for name in STUDY.scale.backbones]
        case "tokenize":
            read = {
                (c.backbone, c.task, grid.pooling(STUDY, c.variant))
                for c in cells
                if grid.needs_features(STUDY, c.variant)
            }
            return [token_files(*pair) for pair in pairs] + [feature_files(*one) for one in sorted(read)]
        case "train":
            chosen = [choice_files(variant) for variant in VARIANTS] if STUDY.scale.search else []
            return [train_files(run) for run in TRAININGS] + chosen
        case "evaluate":
            return [evaluation_files(cell.run) for cell in cells]
        case "report":
            return named(paths.report(SCALE), *grid.report_files(STUDY), "record.json")
