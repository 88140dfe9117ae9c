"""Is what lies here what the code, the parameters and the data say?"""

import argparse
import json
import re
import sys
from pathlib import Path

from dp.commands import common
from dp.errors import printable
from dp.jobs.finding import KINDS, Finding
from dp.lineage.auditing import Audit, audit
from dp.lineage.numbers import name_of, touched
from dp.lineage.orphans import prune
from dp.paths import RESULTS

LONG = 20
"""Lines of one kind that are printed one by one; --json has all of them."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--full", action="store_true", help="read every byte again, whatever its time stamp")
    parser.add_argument("--prune", action="store_true", help="remove what is orphaned, and nothing else")
    parser.add_argument("--allow", action="append", default=[], choices=KINDS, metavar="KIND",
                        help=f"list it, but exit with 0 for all that; one of {', '.join(KINDS)}")  # fmt: skip
    parser.add_argument("--json", action="store_true", help="print one JSON document")


def run(arguments: argparse.Namespace) -> None:
    """Print findings and the numbers that they touch; exit with 1 where any is left that is not allowed."""
    study = common.study(arguments)
    found = audit(study, arguments.full)
    rows = [name_of(key) for key in touched(study, found.findings)]
    if not arguments.json:
        print(printable(_text(found, rows, arguments.allow)), flush=True)
    removed = [str(path) for path in prune(found.findings)] if arguments.prune else []
    if arguments.json:
        print(json.dumps(_document(found, rows, arguments.allow, removed), indent=2))
    else:
        for path in removed:
            print(printable(f"removed {path}"))
    settled = {*arguments.allow, *(["orphaned"] if arguments.prune else [])}
    if any(one.kind not in settled for one in found.findings):
        sys.exit(1)


def _text(found: Audit, rows: list[str], allowed: list[str]) -> str:
    lines: list[str] = []
    for kind in KINDS:
        here = [one for one in found.findings if one.kind == kind]
        lines.append(f"{kind}: {len(here)}" + (" (allowed)" if here and kind in allowed else ""))
        lines += _listed(here)
    more = [f"  and {len(rows) - LONG} more"] if len(rows) > LONG else []
    lines += [f"numbers touched: {len(rows)}", *(f"  {row}" for row in rows[:LONG]), *more, *found.notes]
    return "\n".join(
        [*lines, f"{found.artifacts} artifacts, {found.files} files, {found.bytes_hashed} bytes hashed anew"]
    )


def _listed(findings: list[Finding]) -> list[str]:
    """A line each; but one for many of a phase that have the same reason, whosever files it names."""
    alike: dict[tuple[Path, str], list[Finding]] = {}
    for one in findings:
        why = re.sub(rf"({RESULTS}/\w+)/\S*/", r"\1/*/", one.why)
        alike.setdefault((Path(*one.path.parts[:3]), why), []).append(one)
    lines = []
    for (folder, why), members in alike.items():
        if len(members) > LONG:
            lines.append(f"  {folder}: {len(members)}, the first is {members[0].path}: {why}")
        else:
            lines += [f"  {one.path}: {one.why}" for one in members]
    return lines


def _document(found: Audit, rows: list[str], allowed: list[str], removed: list[str]) -> dict[str, object]:
    return {
        "findings": [vars(one) | {"path": str(one.path), "allowed": one.kind in allowed} for one in found.findings],
        "touched": rows,
        "removed": removed,
        "artifacts": found.artifacts,
        "files": found.files,
        "bytes_hashed": found.bytes_hashed,
        "notes": found.notes,
    }
