"""What a closure needs of a module's text, kept by the text's digest: scanning all of `dp` takes a second, and every
process that asks for a closure would do it again.
"""

import ast
import contextlib
import hashlib
import json
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

from dp import files
from dp.jobs import source
from dp.sources.cache import cache as cache_folder


class Scan(NamedTuple):
    """code: sha256 of its code (see `dp.jobs.source`). modules: `dp` modules that it imports by name. members: names
    that it imports from them, modules or not. rooms: packages of which it may import any module.
    """

    code: str
    modules: list[str]
    members: list[str]
    rooms: list[str]


def scan(text: str) -> Scan:
    """Raises SyntaxError where the text is no Python."""
    tree = ast.parse(text)
    modules, members, rooms = [], [], []
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names if alias.name.split(".")[0] == "dp"]
        elif isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "dp":
            modules.append(node.module)
            members += [f"{node.module}.{alias.name}" for alias in node.names]
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith("import_module"):
            # `import_module(f"dp.room.{name}")`
            rooms.append(ast.unparse(node.args[0]).removeprefix("f'").partition(".{")[0])
    code = hashlib.sha256(source.code_of(text).encode()).hexdigest()
    return Scan(code, modules, members, rooms)


def kept(text: str) -> Scan:
    """As `scan`, from the cache where it holds the text."""
    key = hashlib.sha256(text.encode()).hexdigest()
    scans = _kept()
    if key not in scans:
        scans[key] = scan(text)
        _new.add(key)
    return scans[key]


_new: set[str] = set()


def keep() -> None:
    """Write down what was scanned since. Where the cache cannot be written, the next process scans again."""
    if _new:
        _new.clear()
        with contextlib.suppress(OSError):
            files.write_text(_place(), json.dumps(_kept(), sort_keys=True))


@cache
def _kept() -> dict[str, Scan]:
    try:
        return {key: Scan(*found) for key, found in files.read_json(_place()).items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


@cache
def _place() -> Path:
    """One file for each code of the scan itself and each Python, whose parser and printer have a say."""
    of = [Path(__file__).read_text(encoding="utf-8"), Path(source.__file__).read_text(encoding="utf-8"), sys.version]
    return cache_folder() / "code" / f"{files.digest(of)}.json"
