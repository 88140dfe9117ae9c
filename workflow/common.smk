"""Targets, inputs and settings, all from dp.study.resolve: the rules stay fixed while the grid grows."""

import json
import os
import re
import sys
from contextlib import ExitStack

from snakemake.settings.types import DeploymentMethod

from dp import paths
from dp.commands.common import SETTINGS_VARIABLE
from dp.errors import UserError
from dp.jobs import adoption, inputs
from dp.jobs.job import FILES, RECORD, SUMS
from dp.lineage import event_files
from dp.study import grid, needs
from dp.study.resolve import jobs
from dp.study.study import load
from dp.worker.client import VARIABLE as WORKER_VARIABLE
from dp.worker.start import worker

if set("{}") & set(str(workflow.basedir)):
    # It fills in the absolute path of `conda:` as it fills in wildcards.
    raise WorkflowError(
        f"{workflow.basedir}: Snakemake takes braces in a path for wildcards. Move the project to a folder without."
    )
try:
    STUDY = load(settings=dict(config))
    needs.check_tasks(STUDY)
    if STUDY.params.curves:
        event_files.check_installed()
except UserError as error:
    raise WorkflowError(str(error))

SCALE = STUDY.scale_name
JOBS = jobs(STUDY)
PHASES = ("download", "tokenize", "train", "evaluate", "report")
COMPUTE = STUDY.scale.compute
# Neither the interpreter nor the settings of this call are part of a rule's shell line: another virtual environment or
# another `--config` makes no job stale by itself, only through the parameters that it changes.
os.environ.update({SETTINGS_VARIABLE: json.dumps(dict(config))})
IMAGE = "workflow/environment.sif"
IN_IMAGE = DeploymentMethod.APPTAINER in workflow.deployment_settings.deployment_method
if IN_IMAGE and not os.path.isfile(IMAGE):
    raise WorkflowError(f"{IMAGE} does not exist. Make it with `apptainer build {IMAGE} workflow/apptainer.def`.")
OTHER_PYTHON = IN_IMAGE or DeploymentMethod.CONDA in workflow.deployment_settings.deployment_method
if not OTHER_PYTHON:
    os.environ.update(PATH=os.pathsep.join([os.path.dirname(sys.executable), *os.get_exec_path()]))

# Jobs of this process and machine share what they import (docs/results.md); others find no worker and run alone.
WORKER = ExitStack()


def start_worker():
    if not OTHER_PYTHON and os.environ.get(WORKER_VARIABLE) != "":
        WORKER.enter_context(worker())


def start_curves():
    if STUDY.params.curves:
        WORKER.enter_context(event_files.beside())


def patterns_of(cells):
    """The pattern of paths backbone/regime/task/variant, of (backbone, variant)."""
    return "|".join(f"{re.escape(backbone)}/[^/]+/[^/]+/{re.escape(variant)}" for backbone, variant in cells)


# Runs that one job trains, by their names below a variant -> (backbone, variant) of those that have them
SHARING = {}
for _one in JOBS.values():
    if _one.command == "train" and "together" in _one.asked:
        SHARING.setdefault(tuple(_one.asked["together"]), {})[_one.asked["backbone"], _one.asked["variant"]] = None
TRAINED = (*FILES["train"], SUMS, RECORD)
RUN = "[^/]+/[^/]+/[^/]+/[^/]+/(seed|trial)[0-9]+"
ALONE = "".join(f"(?!(?:{patterns_of(cells)})/(?:{'|'.join(runs)})/)" for runs, cells in SHARING.items()) + RUN


def each_of(runs, found, joined=False):
    """What is found of the folder of each of some runs of a variant, for a rule. joined: all that is in these lists."""

    def of_all(wc):
        of_each = [found(paths.train_run(SCALE, f"{wc.variant}/{run}")) for run in runs]
        return sorted({one for each in of_each for one in each}) if joined else of_each

    return of_all


wildcard_constraints:
    scale=SCALE,
    backbone="[^/]+",
    task="[^/]+",
    source="[^/]+",
    pooling="masked_mean|padded_mean",
    variant="[^/]+/[^/]+/[^/]+/[^/]+",
    run=RUN,


def job(folder):
    """What the scale wants in a folder below results/; the one place where Snakemake's graph comes from."""
    try:
        return JOBS[folder]
    except KeyError:
        raise WorkflowError(f"Scale '{SCALE}' asks for no {folder}.")


def asked(folder):
    """A resolved configuration as the rule parameter that makes its job stale."""
    return json.dumps(job(folder).asked, sort_keys=True)


def code(folder):
    """Digest of the code that decides a job, as the rule parameter that makes it stale; what was adopted keeps its own."""
    return adoption.noted(job(folder))


def read_by(folder):
    """Inputs, for the order of jobs: one small file stands for an upstream folder. Their stamps decide nothing."""
    return inputs.stems(job(folder))


def read(folder):
    """What a job reads, files of the project among it, as the parameter by which a rule is stale; only content counts.

    Snakemake asks when it builds its graph, and again when a job's inputs have been made, before it starts.
    """
    refuse_unseen(folder)
    return inputs.digest_of(job(folder)) if workflow.local_exec else WhenNoted(job(folder))


class WhenNoted(str):
    """The same digest, of what lies there when it is noted: jobs that go to a node as one group make inputs of each other,
    and Snakemake asks for none of them again.
    """

    def __new__(cls, one):
        made = super().__new__(cls, "")
        made.job, made.project = one, inputs.project_of(one)
        return made

    def __repr__(self):
        return repr(inputs.digest_of(self.job, self.project))


def shown(name):
    """A file of the report as an output; pages, tables and drawings stand on the page of `snakemake --report`."""
    path, suffix = str(paths.report("{scale}") / name), os.path.splitext(name)[1]
    if suffix == ".svg":
        figure = os.path.splitext(os.path.basename(name))[0]
        return report(path, category="Figures", labels={"figure": figure}, caption="../report/figure.rst")
    if suffix in (".html", ".md", ".csv") and not name.startswith("figures/"):
        return report(path, category="Tables", labels={"table": name}, caption="../report/table.rst")
    return path


def targets(phase):
    """Every file that a phase makes for the chosen scale."""
    return [str(path) for one in JOBS.values() if one.phase == phase for path in one.paths]
