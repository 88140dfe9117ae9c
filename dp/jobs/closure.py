"""The code closure of a command: every `dp` module that what computes imports, at the top or inside a function."""

from functools import cache
from pathlib import Path
from typing import get_args

from dp import files
from dp.backbones.names import Family
from dp.jobs import scan

PACKAGE = Path(__file__).resolve().parents[1]
ROOT = "dp.compute"
"""The room whose module of a command's name is where its closure begins."""
WITHOUT_SAY = (
    "dp.study",  # what it resolves is compared literally, as `asked`
    "dp.jobs",  # records and compares
    "dp.paths",  # where things lie, compared as folders
    "dp.closed",  # lets parameters and tasks pass as they are, or refuses them
    "dp.yaml12",  # likewise: what was read stands in records
    "dp.errors",  # words
    "dp.progress",  # shows
)
"""Modules and rooms that are imported by what computes and decide nothing of what comes out."""
OF_THE_REPORT = ("dp.study.study", "dp.study.grid", "dp.study.prediction_file", "dp.jobs.adoption", "dp.jobs.pins")
"""But for the report, which computes with these, and of which `asked` does not hold what they resolve."""
FAMILIES = "dp.backbones.families"
"""It imports the class of every family, and a job uses one: the module of the family's name."""


def closure(command: str, family: str | None = None) -> list[Path]:
    """Files of `dp` that decide what a command computes, sorted, relative to the folder that holds `dp`.

    family: of the backbone that it is about; the files of the other families have no say. None: all may have.

    Commands, the worker, Snakemake and the shell start a job, and none of them is imported by what it computes.
    """
    modules: set[str] = set()
    todo = [f"{ROOT}.{command.replace('-', '_')}"]
    while todo:
        module = todo.pop()
        if module not in modules and not has_no_say(module, command):
            modules.add(module)
            others = _others(family) if module == FAMILIES else set()
            todo += [one for one in _imports(module) if one not in others]
    return sorted(_file(module).relative_to(PACKAGE.parent) for module in _with_parents(modules))


def _others(family: str | None) -> set[str]:
    """Modules of the families that a job has nothing to do with."""
    return {f"dp.backbones.{name}" for name in get_args(Family) if name != family} if family else set()


def has_no_say(module: str, command: str) -> bool:
    """Of `WITHOUT_SAY`, where it is no such module, nor a package of one, that a report computes with."""
    if command == "report" and any(f"{one}.".startswith(f"{module}.") for one in OF_THE_REPORT):
        return False
    return any(module == one or module.startswith(f"{one}.") for one in WITHOUT_SAY)


@cache
def modules(command: str, family: str | None = None) -> dict[str, str]:
    """File -> sha256 of its code (see `dp.jobs.source`), for each file of a command's closure."""
    found = {path.as_posix(): _digest(PACKAGE.parent / path) for path in closure(command, family)}
    scan.keep()
    return found


def code_digest(command: str, family: str | None = None) -> str:
    """One digest of a command's closure: what makes its jobs stale when code changes."""
    return files.digest(modules(command, family))


@cache
def _digest(path: Path) -> str:
    return scan.kept(path.read_text(encoding="utf-8")).code


def _with_parents(modules: set[str]) -> set[str]:
    """Importing a.b.c runs a and a.b too."""
    return {".".join(parts[: n + 1]) for parts in (m.split(".") for m in modules) for n in range(len(parts))}


def _file(module: str) -> Path:
    base = PACKAGE.parent.joinpath(*module.split("."))
    return base / "__init__.py" if base.is_dir() else base.with_suffix(".py")


@cache
def _imports(module: str) -> list[str]:
    """Absolute names of the `dp` modules that one module imports, by a statement or as any module of a room."""
    found = scan.kept(_file(module).read_text(encoding="utf-8"))
    members = [name for name in found.members if _file(name).is_file()]
    return [*found.modules, *members, *(name for room in found.rooms for name in _all_of(room))]


def _all_of(room: str) -> list[str]:
    folder = _file(room).parent
    return [f"{room}.{path.stem}" for path in sorted(folder.glob("*.py")) if path.stem != "__init__"]
