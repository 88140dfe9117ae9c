"""report.html: one file with all that a report says, to look at without a network, a server or another file."""

import hashlib
from base64 import b64encode
from collections.abc import Iterable
from math import fsum
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from dp.jobs.made import Made
from dp.report.figures import all_figures
from dp.report.findings import Findings
from dp.report.page import glance, lineage, tables, verdict
from dp.results import comparisons
from dp.results.groups import grouped
from dp.results.jobs import by_jobs, packages, surroundings
from dp.results.labels import WORDS, spelled_out
from dp.results.table import Row
from dp.study import contents

HERE = Path(__file__).parent
STYLE = ("page.css",)
SCRIPTS = ("base.js", "tables.js", "lineage.js", "figures.js", "theme.js")
NO_EVIDENCE = ("planted-world", "random-weights", "made-up")
"""Labels of numbers that say nothing about the methods on real data."""
LARGEST_SVG = 3_000_000
"""Bytes; a drawing above it is shown as its PNG, since a browser would take seconds to draw it."""


def document(found: Findings, folder: Path, made: list[Made]) -> str:
    """The page's HTML from what a report says, the figures that lie in `folder` and the records of all jobs.

    Everything from the data is escaped, and a content security policy forbids whatever is not in the file itself. The
    same rows make the same bytes.
    """
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined
    )
    environment.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "sort_keys": False}
    study = found.study
    style, script = _source(STYLE), _source(SCRIPTS)
    traced = lineage.data(found, made)
    return environment.get_template("page.html").render(
        policy=_policy(style, script),
        style=Markup(style),
        script=Markup(script),
        data=traced.data,
        study=study,
        protocol=study.params.protocols[study.scale.protocol],
        warnings=_warnings(found.results),
        collapse=verdict.of_collapse(found.results),
        overflow=verdict.of_overflow(found.results),
        dynamic=comparisons.in_words(study, found.comparisons),
        claims=verdict.of_claims(found.claims),
        predictions=verdict.of_predictions(found.predictions, found.null_task) if found.predictions else None,
        predicted_maps=glance.of_predictions(found.predictions),
        claimed_maps=glance.of_claims(found.claims),
        matrices=glance.of_results(found.results),
        tables=tables.views(found, traced.cells_of),
        figures=[_figure(folder / "figures", name) for name in contents.figures(study)],
        facts=_facts(made),
        labels=spelled_out(found.results),
        files=[name for name in contents.report_files(study) if "/" not in name and not name.endswith(".html")],
    )


def _source(names: Iterable[str]) -> str:
    return "".join((HERE / name).read_text(encoding="utf-8") for name in names)


def _policy(style: str, script: str) -> str:
    """Nothing from outside, no connection, and of styles and scripts only these very bytes."""
    return (
        f"default-src 'none'; style-src '{_hash(style)}'; script-src '{_hash(script)}'; img-src data:; "
        "connect-src 'none'; base-uri 'none'; form-action 'none'"
    )


def _hash(text: str) -> str:
    return f"sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}"


def _warnings(rows: list[Row]) -> list[str]:
    """`label: what it means` for labels of numbers that are no evidence about the methods."""
    found = {label for row in rows for label in row["labels"].split(";")}
    return [f"{label}: {WORDS[label]}" for label in NO_EVIDENCE if label in found]


def _facts(made: list[Made]) -> list[tuple[str, list[str], list[list[str]]]]:
    """(title, head, rows) of small tables of what jobs say of code, machine, packages and time, and how many say so."""

    def commit(job: Made) -> str | None:
        head, dirty = job.said("with", "commit"), job.said("with", "dirty")
        return f"{head}{' with uncommitted changes' if dirty else ''}" if head else None

    machine = {
        "host": "host",
        "device": "device",
        "platform": "platform",
        "processors": "processor_count",
        "Python": "python",
    }
    spent = [
        [command, f"{len(members):,}", f"{fsum(job.said('made', 'wall_seconds') or 0.0 for job in members):,.1f}"]
        for command, members in grouped(made, lambda job: job.command).items()
    ]
    return [
        ("Code", ["commit", "jobs"], by_jobs(made, commit)),
        ("Machine", ["fact", "value", "jobs"], surroundings(made, machine)),
        ("Packages", ["package", "version", "jobs"], packages(made)),
        ("Time", ["command", "jobs", "wall time, s"], spent),
    ]


def _figure(folder: Path, name: str) -> dict[str, Any]:
    """A drawing as a data URI, so that nothing in it (ids, scripts, styles) reaches the page."""
    svg = (folder / f"{name}.svg").read_bytes()
    kind, content = ("svg+xml", svg) if len(svg) <= LARGEST_SVG else ("png", (folder / f"{name}.png").read_bytes())
    return {"name": name, "title": name.replace("_", " ").capitalize(), "about": all_figures.ALL[name].ABOUT,
            "source": f"data:image/{kind};base64,{b64encode(content).decode()}"}  # fmt: skip
