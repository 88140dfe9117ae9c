"""The records behind a number: which job read which other job's outputs, and where that does not hold."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from dp import files, paths
from dp.jobs import adoption
from dp.jobs.adoption import Adoption
from dp.jobs.job import ADOPTED, RECORD, SUMS
from dp.jobs.mark import read as read_mark
from dp.jobs.project import is_of_project, project_digest
from dp.jobs.record import is_sealed, parsed

ORDER = ("report", "evaluate", "train", "choose", "features", "tokenize", "fetch-backbone", "fetch-task")
LOOKS = "dp/report/page/"
"""Files that decide how a report looks and no number."""


@dataclass
class Node:
    """One job. `record`: None where there is none that can be read. `leaves`: source (see `leaf`) -> sha256 as read."""

    folder: Path
    record: dict[str, Any] | None
    digest: str | None  # of record.json
    upstream: list[Path] = field(default_factory=list)
    leaves: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    adoption: Adoption | None = None

    @property
    def command(self) -> str:
        """Without a record, the phase, which for most jobs is the same word."""
        return self.record["command"] if self.record else self.folder.parts[1]

    @property
    def inputs(self) -> dict[str, str]:
        return self.record["used"]["inputs"] if self.record else {}

    @property
    def outputs(self) -> dict[str, str]:
        return self.record["made"]["outputs"] if self.record else {}


def folder_of(path: Path) -> Path:
    """The artifact that a file below results/ belongs to: the nearest folder with a record, else the file's own."""
    return next((folder for folder in path.parents if (folder / RECORD).is_file()), path.parent)


def lineage(roots: Sequence[Path], runs: Sequence[Path] | None = None) -> dict[Path, Node]:
    """Folder -> node, for some artifacts and all that they were made from.

    `runs`: the evaluations that a number of a report, the only root, is made from; None stands for all it read.
    """
    nodes = _walk(roots if runs is None else runs)
    if runs is not None:
        for root in roots:
            node = nodes[root] = _node(root)
            read = dict.fromkeys([*runs, *_upstream(node)])
            node.upstream = [folder for folder in read if folder in nodes and folder != root]
            if node.record:
                node.problems += [f"did not read {run}" for run in runs if f"{run}/record.json" not in node.inputs]
    for node in nodes.values():
        node.problems += _differences(node, nodes)
        node.upstream.sort(key=lambda folder: _place(nodes[folder]))
    return nodes


def is_below_results(path: str) -> bool:
    return Path(path).parts[:1] == paths.RESULTS.parts


def leaf(record: dict[str, Any], name: str) -> str:
    """A raw source by its full name: package:file, repo@commit:file, folder/file, or a file of the project as it is."""
    made = record["made"]
    if name not in made.get("files", {}):
        return name
    if made.get("package"):
        return f"{made['package']}:{name}"
    if made.get("repo"):
        return f"{made['repo']}@{made['commit']}:{name}"
    return f"{made['folder']}/{name}" if made.get("folder") else name


def readable(path: Path) -> dict[str, Any] | None:
    """A record with the parts that a walk needs, else None."""
    try:
        return parsed(path.read_bytes(), edited=True)
    except (OSError, ValueError):
        return None


def _walk(roots: Iterable[Path]) -> dict[Path, Node]:
    nodes: dict[Path, Node] = {}
    todo = list(reversed(list(roots)))
    while todo:
        folder = todo.pop()
        if folder not in nodes:
            node = nodes[folder] = _node(folder)
            node.upstream = _upstream(node)
            todo += reversed(node.upstream)
    return nodes


def _upstream(node: Node) -> list[Path]:
    own = {folder_of(Path(path)) for path in node.inputs if is_below_results(path)}
    return sorted(own - {node.folder})


def _node(folder: Path) -> Node:
    path = folder / "record.json"
    if not path.is_file():
        why = ""
        if mark := read_mark(folder):
            failed = f"failed, {mark['error'].splitlines()[0]}" if mark["state"] == "failed" else ""
            why = f": its job {failed or 'is ' + mark['state']}"
        return Node(folder, None, None, problems=[f"has no record.json{why}"])
    digest = files.sha256(path)
    node = Node(folder, readable(path), digest, adoption=adoption.of(folder, digest))
    if node.record is None:
        node.problems.append("its record.json cannot be read")
        return node
    if not is_sealed(node.record):
        node.problems.append("its record.json was edited after the job wrote it")
    node.problems += _changed_outputs(node)
    node.leaves = {
        leaf(node.record, name): digest
        for name, digest in node.inputs.items()
        if not is_below_results(name) and not name.startswith(LOOKS)
    }
    # Files of the project that it read: what it downloaded is not here to be compared.
    node.problems += [f"{name} is not what it read" for name, digest in node.leaves.items()
                      if is_of_project(name) and project_digest(name) != digest]  # fmt: skip
    return node


def _changed_outputs(node: Node) -> Iterator[str]:
    for name, digest in node.outputs.items():
        path = node.folder / name
        if not path.is_file():
            yield f"{name} is missing"
        elif files.sha256(path) != digest:
            yield f"{name} differs from the record"


def _differences(node: Node, nodes: dict[Path, Node]) -> Iterator[str]:
    """Inputs that are not what the upstream record says now."""
    changed: dict[Path, list[str]] = {}
    for path, digest in node.inputs.items():
        upstream = nodes.get(folder_of(Path(path))) if is_below_results(path) else None
        if upstream and upstream.record and upstream.folder != node.folder:
            name = Path(path).relative_to(upstream.folder).as_posix()
            now = upstream.digest if name == RECORD else upstream.outputs.get(name)
            if name == ADOPTED and upstream.adoption:
                now = files.sha256(upstream.folder / ADOPTED)
            if now != digest and name != SUMS:
                changed.setdefault(upstream.folder, []).append(name)
    for folder, names in changed.items():
        yield f"{folder} is another since this read it ({', '.join(names)})"


def _place(node: Node) -> tuple[int, list[str | int]]:
    """By command, then by path with numbers in their order."""
    return ORDER.index(node.command) if node.command in ORDER else len(ORDER), paths.natural(node.folder)
