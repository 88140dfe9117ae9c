"""Is what lies here what the code, the parameters and the data say?"""

import argparse
import json
import sys

from dp.commands import common
from dp.lineage.audit import Audit, audit, touched
from dp.lineage.finding import KINDS
from dp.lineage.numbers import name_of
from dp.lineage.orphans import prune


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
        print(_text(found, rows, arguments.allow), flush=True)
    removed = [str(path) for path in prune(found.findings)] if arguments.prune else []
    if arguments.json:
        print(json.dumps(_document(found, rows, arguments.allow, removed), indent=2))
    for path in removed if not arguments.json else []:
        print(f"removed {path}")
    settled = {*arguments.allow, *(["orphaned"] if arguments.prune else [])}
    if any(one.kind not in settled for one in found.findings):
        sys.exit(1)


def _text(found: Audit, rows: list[str], allowed: list[str]) -> str:
    lines = []
    for kind in KINDS:
        here = [one for one in found.findings if one.kind == kind]
        lines.append(f"{kind}: {len(here)}" + (" (allowed)" if here and kind in allowed else ""))
        lines += [f"  {one.path}: {one.why}" for one in here]
    lines += [f"numbers touched: {len(rows)}", *(f"  {row}" for row in rows), *found.notes]
    return "\n".join(
        [*lines, f"{found.artifacts} artifacts, {found.files} files, {found.bytes_hashed} bytes hashed anew"]
    )


def _document(found: Audit, rows: list[str], allowed: list[str], removed: list[str]) -> dict[str, object]:
    return {
        "findings": [
            {"kind": one.kind, "path": str(one.path), "why": one.why, "allowed": one.kind in allowed}
            for one in found.findings
        ],
        "touched": rows,
        "removed": removed,
        "artifacts": found.artifacts,
        "files": found.files,
        "bytes_hashed": found.bytes_hashed,
        "notes": found.notes,
    }
