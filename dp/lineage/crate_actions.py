"""What a crate says about a job: a CreateAction with its tool, parameters, files, environment and what it used."""

import ast
from functools import cache
from pathlib import Path
from typing import Any

from dp import files, paths
from dp.jobs.closure import PACKAGE, modules
from dp.jobs.job import ADOPTED, RECORD
from dp.jobs.made import Made
from dp.jobs.project import is_of_project
from dp.lineage.crate_entities import COMPLETED, LITERALS, Entities, flattened

COPIED_PHASES = ("train", "evaluate", "report")
LARGEST_COPY = 50 * 10**6  # bytes, of tuned parameters
UNITS = "https://qudt.org/vocab/unit/"
USAGE = {  # key of a record's `made` -> what it measures, unit
    "wall_seconds": ("https://schema.org/duration", "SEC"),
    "peak_memory_mib": ("https://docs.python.org/3/library/resource.html#resource.getrusage", "MebiBYTE"),
    "gpu_peak_memory_mib": (
        "https://docs.pytorch.org/docs/stable/generated/torch.cuda.memory.max_memory_allocated.html",
        "MebiBYTE",
    ),
}
ORIGIN = ("source", "package", "repo", "revision", "commit", "seed")  # keys of a download's `made`


def add(entities: Entities, job: Made) -> Any:
    """The CreateAction of a job, and the ControlAction that says which step it is an execution of."""
    folder, made, tool = job.folder.as_posix(), job.record["made"], tool_of(entities, job)
    usage = [
        entities.value(f"#usage/{folder}", key, made[key], propertyID=quantity, unitCode=UNITS + unit)
        for key, (quantity, unit) in USAGE.items()
        if made[key] is not None
    ]
    surroundings = {key: value for key, value in job.record["with"].items() if key not in ("python", "packages")}
    parameters = [_parameter(entities, job, tool, *item) for item in flattened(job.record["asked"]).items()]
    action = entities.add(
        f"#job/{folder}",
        "CreateAction",
        name=f"dp {job.command}: {folder}",
        description=f"The job that made {folder}, without a container."
        + (f" It was {job.adoption}." if job.adoption else ""),
        instrument=tool,
        object=[*(_input(entities, job, tool, path) for path in job.inputs), *parameters],
        result=[_output(entities, job, tool, path) for path in job.outputs],
        startTime=job.started,
        endTime=job.ended,
        actionStatus=COMPLETED,
        resourceUsage=usage,
        additionalProperty=[entities.value("#with", *item) for item in surroundings.items()],
    )
    entities.add(f"#control/{folder}", "ControlAction", name=f"Control of {folder}",
                 instrument=entities.step(job.command), object=action)  # fmt: skip
    return action


def tool_of(entities: Entities, job: Made) -> Any:
    """A command as it was installed: at one commit, with one set of packages."""
    surroundings, ran = job.record["with"], job.record["used"]["code"]["modules"]
    version, packages = commit_of(surroundings), {"python": surroundings["python"]} | surroundings["packages"]
    module = f"dp/compute/{job.command.replace('-', '_')}.py"
    return entities.add(
        f"#tool/{job.command}/{files.digest([job.code, version, packages])[:12]}",
        "SoftwareApplication",
        name=f"dp {job.command}",
        description=_about(module),
        softwareVersion=version,
        identifier=f"sha256:{job.code}",
        mainEntity=entities.files[module],
        hasPart=[entities.files[path] for path in (modules(job.command, job.job.family) if job.adoption else ran)],
        softwareRequirements=[package(entities, *one) for one in packages.items() if one[1]],
    )


@cache
def _about(module: str) -> str:
    """The first line that a module says about itself."""
    tree = ast.parse((PACKAGE.parent / module).read_text(encoding="utf-8"))
    return (ast.get_docstring(tree) or module).splitlines()[0]


def commit_of(surroundings: dict[str, Any]) -> str | None:
    """The commit in a record's `with`, marked where the code differed from it; None without git."""
    commit = surroundings["commit"]
    return f"{commit}-dirty" if commit and surroundings["dirty"] else commit


def package(entities: Entities, name: str, version: str) -> Any:
    identifier = f"pkg:generic/python@{version}" if name == "python" else f"pkg:pypi/{name}@{version}"
    return entities.add(f"#package/{name}/{version}", "SoftwareApplication", name=name, version=version,
                        identifier=identifier)  # fmt: skip


def _parameter(entities: Entities, job: Made, tool: Any, key: str, value: Any) -> Any:
    formal = entities.formal(f"#parameter/{job.command}/{key}", key, LITERALS.get(type(value), "Text"))
    entities.link(tool, "input", formal)
    return entities.value(f"#value/{job.command}", key, value, exampleOfWork=formal)


def _output(entities: Entities, job: Made, tool: Any, path: str) -> Any:
    source, digest = Path(path), job.outputs[path]
    name = source.relative_to(job.folder).as_posix()
    formal = entities.formal(f"#output/{job.command}/{name}", name, "File")
    entities.link(tool, "output", formal)
    entities.producers[path] = (job.command, name)
    is_copied = job.job.phase in COPIED_PHASES or name in (RECORD, ADOPTED)
    if is_copied and not (name == "tuned.safetensors" and source.stat().st_size > LARGEST_COPY):
        found = entities.add_copy(path, source, digest)
    else:
        found = entities.add_reference(path, source, digest, f"Not included in this crate.{_origin(job)}")
    entities.link(found, "exampleOfWork", formal)
    return found


def _input(entities: Entities, job: Made, tool: Any, path: str) -> Any:
    """What another job made, a file of this project, or a source file of which the crate holds the digest alone."""
    is_made = path.startswith(f"{paths.RESULTS}/")
    if not is_made and not is_of_project(path):
        name = f"{job.folder.relative_to(paths.DOWNLOAD).as_posix()}/{path}"
        return entities.add(f"#source/{name}", "CreativeWork", name=path, sha256=job.inputs[path],
                            description=f"Not included in this crate.{_origin(job)}")  # fmt: skip
    if is_made:
        producer = "/".join(entities.producers[path])
        formal = entities.formal(f"#input/{job.command}/{producer}", producer, "File")
        entities.link(tool, "input", formal)
        entities.link(entities.files[path], "exampleOfWork", formal)
        connected = entities.add(f"#connection/{job.command}/{producer}", "ParameterConnection",
                                 sourceParameter={"@id": f"#output/{producer}"}, targetParameter=formal)  # fmt: skip
        entities.link(entities.step(job.command), "connection", connected)
    return entities.files[path]


def _origin(job: Made) -> str:
    """In words, where the files of a download came from."""
    if job.job.phase != "download":
        return ""
    made = job.record["made"]
    return f" Origin: {', '.join(f'{key} {made[key]}' for key in ORIGIN if made.get(key) is not None)}."
