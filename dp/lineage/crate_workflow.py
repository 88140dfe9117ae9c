"""The workflow of a crate: its sources, its steps, and the one run that all jobs belong to."""

import re
from pathlib import Path
from typing import Any

from dp import files
from dp.errors import UserError
from dp.jobs.closure import PACKAGE
from dp.jobs.made import Made
from dp.lineage.crate_actions import commit_of, package, tool_of
from dp.lineage.crate_entities import COMPLETED, LITERALS, Entities, facts
from dp.study.study import Study

SOURCES = ("LICENSE", "README.md", "pyproject.toml", "requirements.lock", "environment.yml", "dvc.yaml",
           "dp/**/*.py", "dp/tasks/*.yaml", "dp/paper/*.*", "dp/report/page/*.*", "dp/planning/*.*",
           "profiles/*/config.yaml", "workflow/*.smk", "workflow/*.json", "workflow/*.yaml", "workflow/rules/*.smk",
           "workflow/report/*.rst")  # fmt: skip
CONDA = "https://conda.io/projects/conda/en/latest/user-guide/tasks/manage-environments.html#create-env-file-manually"
CONFIGURED = ("scale", "source", "folder", "allow_dirty")
"""Keys of params.yaml that a call may replace: the workflow's parameters."""


def add_sources(entities: Entities, study: Study, jobs: list[Made]) -> Any:
    """The Snakefile as the crate's workflow, with this project's files and the parameters. Returns the workflow."""
    root = PACKAGE.parent
    if not (root / "Snakefile").is_file():
        raise UserError(f"{root}: has no Snakefile, so a crate could not hold the workflow. Run `dp` from a checkout.")
    surroundings = jobs[-1].record["with"]
    file = root / "Snakefile"
    kinds = {"@type": ["File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"]}
    workflow = entities.crate.add_workflow(
        file, "Snakefile", main=True, lang="snakemake", lang_version=surroundings["packages"]["snakemake"],
        properties=kinds | facts("Snakefile", file, files.sha256(file)),
    )  # fmt: skip
    workflow["name"] = "The dynamic-prompting pipeline"
    if version := commit_of(surroundings):
        workflow["version"] = version
    for pattern in SOURCES:
        for path in sorted(root.glob(pattern)):
            name = path.relative_to(root).as_posix()
            entities.add_copy(name, path, files.sha256(path))
    for name in configurations(study):
        entities.add_copy(name, Path(name), files.sha256(Path(name)))
    entities.files["README.md"]["about"] = entities.crate.root_dataset
    conda = entities.add(CONDA, "WebPageElement", name="Conda environment file")
    entities.files["environment.yml"]["conformsTo"] = conda
    workflow["buildInstructions"] = entities.files["environment.yml"]
    return workflow


def configurations(study: Study) -> list[str]:
    """The files that say what a run is to do."""
    predicted = [study.scale.predictions] if study.scale.predictions else []
    return ["params.yaml", f"workflow/scales/{study.scale_name}.yaml", *predicted]


def add_run(entities: Entities, study: Study, workflow: Any, jobs: list[Made], actions: list[Any]) -> Any:
    """The CreateAction of the whole run, and the OrganizeAction of Snakemake. `actions` are those of the jobs."""
    _add_steps(entities, workflow, jobs)
    inputs = [_setting(entities, study, workflow, key) for key in CONFIGURED]
    sources = [one for one in entities.crate.get_entities() if one.id.startswith("#source/")]
    run = entities.add(
        "#run",
        "CreateAction",
        name=f"Run of scale {study.scale_name}",
        description="Every job of the scale, over one or several calls of the workflow.",
        instrument=workflow,
        object=[*(entities.files[name] for name in configurations(study)), *inputs, *sources],
        result=[_result(entities, workflow, path) for path in jobs[-1].outputs],
        startTime=min(job.started for job in jobs),
        endTime=max(job.ended for job in jobs),
        actionStatus=COMPLETED,
    )
    version = jobs[-1].record["with"]["packages"]["snakemake"] or "unknown"
    entities.add(
        "#engine",
        "OrganizeAction",
        name="Snakemake",
        instrument=package(entities, "snakemake", version),
        object=[{"@id": action.id.replace("#job/", "#control/", 1)} for action in actions],
        result=run,
    )
    return run


def _add_steps(entities: Entities, workflow: Any, jobs: list[Made]) -> None:
    """One step per command. A search goes back and forth between train and choose, so its steps have no position."""
    commands = list(dict.fromkeys(job.command for job in jobs))
    for position, command in enumerate(commands):
        step = entities.step(command)
        entities.link(workflow, "step", step)
        if "choose" not in commands:
            step["position"] = position
        step["buildInstructions"] = entities.files["environment.yml"]
        step["isPartOf"] = [file for name, file in entities.files.items() if _runs(name, command)]
    for job in jobs:
        tool = tool_of(entities, job)
        entities.link(workflow, "hasPart", tool)
        entities.link(entities.step(job.command), "workExample", tool)


def _runs(name: str, command: str) -> bool:
    """Whether a file of rules calls a command."""
    path = PACKAGE.parent / name
    calls = re.compile(rf"python -m dp {command}(?![\w-])")
    return path.suffix == ".smk" and calls.search(path.read_text(encoding="utf-8")) is not None


def _setting(entities: Entities, study: Study, workflow: Any, key: str) -> Any:
    """The value of a workflow parameter, connected to the commands that take it."""
    value = study.scale_name if key == "scale" else study.source if key == "source" else getattr(study.params, key)
    formal = entities.formal(f"#workflow/{key}", key, LITERALS.get(type(value), "Text"))
    entities.link(workflow, "input", formal)
    for step in workflow["step"]:
        if target := entities.known(f"#parameter/{step['name']}/{key}"):
            connected = entities.add(f"#connection/{step['name']}/{key}", "ParameterConnection",
                                     sourceParameter=formal, targetParameter=target)  # fmt: skip
            entities.link(step, "connection", connected)
    return entities.value("#value/workflow", key, value, exampleOfWork=formal)


def _result(entities: Entities, workflow: Any, path: str) -> Any:
    """An output of the whole run: one of the report's."""
    command, name = entities.producers[path]
    formal = entities.formal(f"#workflow/{command}/{name}", name, "File")
    connected = entities.add(f"#connection/workflow/{name}", "ParameterConnection",
                             sourceParameter={"@id": f"#output/{command}/{name}"}, targetParameter=formal)  # fmt: skip
    entities.link(workflow, "output", formal)
    entities.link(workflow, "connection", connected)
    entities.link(entities.files[path], "exampleOfWork", formal)
    return entities.files[path]
