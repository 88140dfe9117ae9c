"""A scale's results with their history as one folder: a Provenance Run Crate (Workflow Run RO-Crate 0.5, RO-Crate 1.1).

https://w3id.org/ro/wfrun/provenance/0.5 says what the entities and their properties mean.
"""

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

from rocrate.rocrate import ROCrate

from dp import files
from dp.errors import ECHO, UserError, shown
from dp.jobs import made
from dp.jobs.inputs import verified
from dp.jobs.made import Made
from dp.jobs.stale import now_of
from dp.lineage import crate_actions, crate_workflow
from dp.lineage.crate_entities import Entities
from dp.study.resolve import jobs
from dp.study.study import Study

METADATA = "ro-crate-metadata.json"
MARK = "dynamic-prompting"
PROFILES = {
    "https://w3id.org/ro/wfrun/process/0.5": ("Process Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/workflow/0.5": ("Workflow Run Crate", "0.5"),
    "https://w3id.org/ro/wfrun/provenance/0.5": ("Provenance Run Crate", "0.5"),
    "https://w3id.org/workflowhub/workflow-ro-crate/1.0": ("Workflow RO-Crate", "1.0"),
}
LICENSE = "https://spdx.org/licenses/Apache-2.0"
SHOWN = 3
"""Problems that a refusal repeats."""


class Exported(NamedTuple):
    """What a crate holds. `referenced`: files that it names with their sha256 and does not hold."""

    jobs: int
    entities: int
    copied: int
    referenced: int
    size: int  # bytes


def export(study: Study, out: Path) -> Exported:
    """Write the crate of a scale to `out`; the same results give the same bytes.

    Raises UserError where the results are not complete and current, or `out` is there and no earlier crate.
    """
    _check_replaceable(out)
    members = _finished(study)
    crate = ROCrate(version="1.1")
    crate.metadata.extra_contexts.append("https://w3id.org/ro/terms/workflow-run/context")
    crate.metadata.extra_terms["buildInstructions"] = "https://codemeta.github.io/terms/buildInstructions"
    entities = Entities(crate)
    workflow = crate_workflow.add_sources(entities, study, members)
    actions = [crate_actions.add(entities, job) for job in members]
    run = crate_workflow.add_run(entities, study, workflow, members, actions)
    _describe(entities, study, [run, *actions], members[-1].ended)
    entities.compact()
    with _replacing(out) as beside:
        crate.write(beside)
    held = [path for path in out.rglob("*") if path.is_file()]
    return Exported(len(members), len(crate.get_entities()), len(held), len(entities.referenced),
                    sum(path.stat().st_size for path in held))  # fmt: skip


def _finished(study: Study) -> list[Made]:
    """Every job of a scale, upstream first, the report last.

    Raises UserError where one is missing, edited, or made from other parameters, code or inputs than those at hand.
    """
    members: list[Made] = []
    digests: dict[str, str] = {}
    now = now_of(digests)
    problems: list[str] = []
    for job in jobs(study).values():
        try:
            verified(job.folder)
            member = made.read(job)
        except UserError as error:
            problems.append(str(error))
            continue
        assert member is not None  # `verified` read it
        problems += [f"{job.folder}: {reason}." for reason in member.reasons(now)]
        members.append(member)
        digests |= member.outputs
    if problems:
        first = " | ".join(shown(one, 2 * ECHO) for one in problems[:SHOWN])
        more = " | ..." if len(problems) > SHOWN else ""
        raise UserError(
            f"scale '{study.scale_name}' is not complete and current ({len(problems)} artifacts are not), and a crate "
            f"claims that it is: {first}{more} `python -m dp status` and `python -m dp audit` say more; "
            "`snakemake --cores all` makes what is missing."
        )
    return members


def _describe(entities: Entities, study: Study, actions: list[Any], published: str) -> None:
    for url, (name, version) in PROFILES.items():
        entities.add(url, "CreativeWork", name=name, version=version)
    license = entities.add(LICENSE, "CreativeWork", name="Apache License 2.0", identifier="Apache-2.0")
    root = entities.crate.root_dataset
    root["identifier"] = f"{MARK}/{study.scale_name}"
    root["name"] = f"Dynamic prompting: scale {study.scale_name}"
    root["description"] = (
        f"{study.scale.description} Holds the report, predictions, metrics, tuned prompts, parameters, code and the "
        "record of every job. Weights of backbones, rows and tokens of tasks belong to others or are large: they are "
        "named with their sha256 and not included."
    )
    root["license"] = license
    root["datePublished"] = published
    root["conformsTo"] = [{"@id": url} for url in PROFILES]
    root["mentions"] = actions


def _check_replaceable(out: Path) -> None:
    """Raises UserError where `out` holds anything but an earlier crate, to the file."""
    remedy = "Choose another --out, or move that folder away."
    if out.is_symlink() or (out.exists() and not out.is_dir()):
        raise UserError(f"--out {out}: is there and is no folder. {remedy}")
    if not out.exists():
        return
    try:
        graph = {one["@id"]: one for one in files.read_json(out / METADATA)["@graph"]}
        is_ours = graph["./"]["identifier"].startswith(f"{MARK}/")
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        is_ours = False
    if not is_ours:
        raise UserError(f"--out {out}: is there and is no earlier crate of this command. {remedy}")
    listed = {METADATA, *(one["@id"] for one in graph["./"]["hasPart"])}
    for path in sorted(path for path in out.rglob("*") if not path.is_dir()):
        if quote(path.relative_to(out).as_posix()) not in listed:
            raise UserError(f"--out {out}: holds {path}, which this command did not write. {remedy}")


@contextmanager
def _replacing(out: Path) -> Iterator[Path]:
    """A folder beside `out` to fill; renamed to `out` on success, removed on any failure."""
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as name:
        beside, old = Path(name) / "new", Path(name) / "old"
        beside.mkdir()
        yield beside
        if out.exists():
            os.replace(out, old)
        os.replace(beside, out)
