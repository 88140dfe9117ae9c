"""The tree behind a number as text and as JSON."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from rich.text import Text
from rich.tree import Tree

from dp import files
from dp.errors import printable
from dp.lineage.why.address import Number, run_names, values_of
from dp.lineage.why.facts import about, common, differences, seconds, surroundings
from dp.lineage.why.tree import Node

DIMENSIONS = ("backbone", "regime", "k", "task", "variant")
SHORT = 12
"""Hex digits of a digest of a job's code or record: as many as results.csv has in its column `runs`."""


def as_json(number: Number, nodes: Mapping[Path, Node]) -> dict[str, Any]:
    """leaves: source -> sha256 -> folders of the jobs that read it so."""
    leaves: dict[str, dict[str, list[str]]] = {}
    for node in nodes.values():
        for name, digest in node.leaves.items():
            leaves.setdefault(name, {}).setdefault(digest, []).append(str(node.folder))
    records = {
        str(node.folder): {
            "record": node.record,
            "digest": node.digest,
            "adopted": node.adoption.model_dump() if node.adoption else None,
            "holds": not node.problems,
            "problems": node.problems,
            "upstream": [str(folder) for folder in node.upstream],
        }
        for node in nodes.values()
    }
    return {"number": number.address, "values": number.values, "nodes": records,
            "root": [str(folder) for folder in number.roots], "leaves": leaves}  # fmt: skip


def as_text(number: Number, nodes: Mapping[Path, Node]) -> tuple[Tree, Text]:
    """The number and what its jobs have in common, then each job once with its inputs below it; and the total."""
    shared = common(nodes.values())
    alike = all(surroundings(node.record).items() <= shared.items() for node in nodes.values() if node.record)
    of = f"of {_jobs(nodes)}:" if alike else f"of {_jobs(nodes)}, unless one says otherwise:"
    facts = [Text.assemble((f"  {name} ", "dim"), printable(value)) for name, value in shared.items()]
    tree = Tree(Text("\n").join([_head(number), *([Text(of, style="dim"), *facts] if facts else [])]))
    seen: set[str] = set()
    for folder in number.roots:
        branch = tree.add(_title(nodes[folder], None))
        if number.runs is not None:
            cast(Text, branch.label).append(f" ({len(number.runs)} of its {len(run_names(folder))} runs)", "italic")
        _add(branch, nodes[folder], nodes, shared, seen)
    return tree, _total(nodes)


def _add(branch: Tree, node: Node, nodes: Mapping[Path, Node], shared: dict[str, str], seen: set[str]) -> None:
    """Fill the branch of a job that was not seen before; `seen` holds folders, and sources with their digests."""
    seen.add(str(node.folder))
    branch.label = Text("\n").join([cast(Text, branch.label), *_lines(node, shared)])
    for name, digest in sorted(node.leaves.items()):
        again = f"{name} {digest}" in seen
        seen.add(f"{name} {digest}")
        branch.add(Text.assemble(printable(name), (" (above)" if again else f" sha256:{digest}", "dim")))
    if node.record and node.command == "evaluate" and not any(one.parts[1] == "train" for one in node.upstream):
        branch.add(Text("untrained"))
    for folder in _shown(node, nodes):
        title = _title(nodes[folder], node)
        if str(folder) in seen:
            branch.add(title.append(" (above)", "dim"))
        else:
            _add(branch.add(title), nodes[folder], nodes, shared, seen)


def _title(node: Node, reader: Node | None) -> Text:
    role = _role(node, reader) if reader else ""
    return Text.assemble((node.command, "bold cyan"), " ", (str(node.folder), "bold"), (role, "italic"))


def _shown(node: Node, nodes: Mapping[Path, Node]) -> list[Path]:
    """What a job read; of a report only what no evaluation of it names, for it reads the records of all jobs."""
    if node.command != "report":
        return node.upstream
    evaluated = [folder for folder in node.upstream if nodes[folder].command == "evaluate"]
    reached, todo = set(), list(evaluated)
    while todo:
        for folder in nodes[todo.pop()].upstream:
            if folder not in reached:
                reached.add(folder)
                todo.append(folder)
    return [folder for folder in node.upstream if folder not in reached]


def _role(node: Node, reader: Node) -> str:
    """Why a training was read, where its reader's command does not say it."""
    if not (node.record and reader.record and node.command == "train"):
        return ""
    if reader.command == "choose":
        is_chosen = node.folder.name == f"trial{reader.record['made'].get('chosen')}"
        return " (the chosen trial)" if is_chosen else " (a trial)"
    definition = (reader.record["asked"].get("definition") or {}) if reader.command == "train" else {}
    variant = node.record["asked"].get("variant")
    kept = [factor for factor, value in definition.items() if value == {"learned_by": variant}]
    return f" (its choice of {' and '.join(kept)} is kept)" if kept else ""


def _lines(node: Node, shared: dict[str, str]) -> list[Text]:
    problems = [Text(printable(f"! {problem}"), style="bold red") for problem in node.problems]
    if node.record is None:
        return problems
    record, made, seed = node.record, node.record["made"], node.record["asked"].get("seed")
    values = values_of(node.folder) if node.command == "evaluate" else []
    job = [
        f"seed {seed}" if seed is not None else "",
        str(made.get("status")),
        seconds(made["wall_seconds"]),
        f"{made.get('peak_memory_mib')} MiB",
        f"GPU {made['gpu_peak_memory_mib']} MiB" if made.get("gpu_peak_memory_mib") else "",
        f"code {record['used']['code']['digest'][:SHORT]}",
        f"record {(node.digest or '')[:SHORT]}",
    ]
    return [
        *(Text(_value(value), style="green") for value in values),
        Text(" · ".join(part for part in job if part)),
        *([Text(printable(str(node.adoption)), style="yellow")] if node.adoption else []),
        *(Text(printable(line), style="dim") for line in about(record)),
        *(Text(printable(line), style="yellow") for line in differences(record, shared)),
        *problems,
    ]


def _head(number: Number) -> Text:
    lines = [Text(printable(number.address), style="bold")]
    for value in number.values:
        said = (*DIMENSIONS, "metric", "low", "high", "interval", _name(value), "runs")
        rest = [f"{key} {one}" for key, one in value.items() if key not in said and one not in ("", None)]
        lines.append(Text(" / ".join(str(value[key]) for key in DIMENSIONS if value.get(key))))
        lines.append(Text(_value(value), style="bold green"))
        lines.append(Text(printable(", ".join(rest))))
    path = Path(number.address)
    if not number.values and path.is_file():
        lines.append(Text(f"sha256:{files.sha256(path)}"))
    return Text("\n").join(line for line in lines if line)


def _name(value: Mapping[str, Any]) -> str:
    """The column that holds the number itself: of a row that has a share, `value` is what was chosen."""
    return next((key for key in ("mean", "share", "value") if key in value), "")


def _value(value: Mapping[str, Any]) -> str:
    """`accuracy 0.5 [0.35, 0.65], interval: examples`, as far as a row of a table or a metric has these."""
    name, ends = _name(value), [value.get("low"), value.get("high")]
    bounds = "" if {None, ""} & set(ends) else f" [{_short(ends[0])}, {_short(ends[1])}]"
    kind = f", interval: {value['interval']}" if value.get("interval") else ""
    return f"{value.get('metric') or name} {_short(value.get(name, ''))}{bounds}{kind}".strip()


def _short(value: Any) -> str:
    return f"{value:.6f}" if isinstance(value, float) else str(value)


def _total(nodes: Mapping[Path, Node]) -> Text:
    records = [node.record for node in nodes.values() if node.record]
    wall = sum(record["made"]["wall_seconds"] for record in records)
    gpu = sum(record["made"]["wall_seconds"] for record in records if record["with"]["device"] != "cpu")
    broken = [Text(f"! {node.folder} does not hold", style="bold red") for node in nodes.values() if node.problems]
    on = f", {seconds(gpu)} of them on a GPU" if gpu else ""
    return Text("\n").join([*broken, Text(f"{_jobs(nodes)}, {seconds(wall)} in all{on}")])


def _jobs(nodes: Mapping[Path, Node]) -> str:
    return "1 job" if len(nodes) == 1 else f"{len(nodes)} jobs"
