"""The difference of two states of the study as plain text: no colour, no line cut, whatever the terminal."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from dp import paths
from dp.lineage.differences import ESTIMATE, Entry, changed

LONGEST_LIST = 60  # characters of a list that is shown whole; of a longer one, what came and went, or how many did
SHOWN_IF_MIXED = ("source", "protocol", "metric")  # columns that are named once where all rows agree
Domains = dict[tuple[str, int, int], set[str]]


def text(difference: dict[str, Any], domains: Domains) -> str:
    """`domains` (see `domains_of`) decides where `*` stands for all names at a place of a path."""
    lines = [f"{side}  {_state(difference[side])}" for side in ("old", "new")] + [""]
    if not difference["different"]:
        return "\n".join([*lines, "no change"])
    sections: dict[str, Callable[[Any, Domains], Iterator[str]]] = {
        "parameters": _parameters, "code": _code, "data": _data,
        "environments": lambda section, domains: _with_artifacts(section, _change, domains),
        "numbers": _numbers, "artifacts": _artifacts,
    }  # fmt: skip
    for name, shown in sections.items():
        if changed(difference[name]):
            lines += [name, *_indented(shown(difference[name], domains)), ""]
        else:
            lines += [f"{name}: no change{_unchanged(difference[name]) if name == 'numbers' else ''}", ""]
    return "\n".join(lines[:-1])


def domains_of(folders: set[str]) -> Domains:
    """(phase, depth, place) -> every name that stands at this place of such a path."""
    found: Domains = {}
    for folder in folders:
        parts = folder.split("/")
        for place, part in enumerate(parts):
            found.setdefault((parts[1], len(parts), place), set()).add(part)
    return found


def patterns(folders: Iterable[str], domains: Domains) -> list[str]:
    """The shell patterns, braces and `*`, that name these folders and no other artifact."""
    products = {tuple(frozenset([part]) for part in folder.split("/")) for folder in folders}
    for place in reversed(range(max(len(product) for product in products))):
        merged: dict[Any, frozenset[str]] = {}
        for product in products:
            rest = (product[:place], product[place + 1 :], len(product))
            merged[rest] = merged.get(rest, frozenset()) | (product[place] if place < len(product) else frozenset())
        products = {(*head, names, *tail) if names else head for (head, tail, _), names in merged.items()}
    return sorted("/".join(_names(product, place, domains) for place in range(len(product))) for product in products)


def _names(product: tuple[frozenset[str], ...], place: int, domains: Domains) -> str:
    names = product[place]
    if len(names) == 1:
        return next(iter(names))
    known = set().union(*(domains.get((phase, len(product), place), set()) for phase in product[1]))
    return "*" if place > 1 and names == known else "{" + ",".join(sorted(names, key=paths.natural)) + "}"


def _state(state: Entry) -> str:
    commit = f"commit {state['commit'][:12]}, " if state["commit"] else ""
    return f"{state['name']} ({commit}{state['artifacts']} artifacts)"


def _parameters(section: Entry, domains: Domains) -> Iterator[str]:
    for entry in section["declared"] or []:
        if entry["key"]:
            yield f"{entry['file']}  {entry['key']}: {_change(entry)}"
        else:
            yield f"{entry['file']}  {_kind(entry)}"
    yield from _with_artifacts(section["asked"], _change, domains)


def _with_artifacts(entries: list[Entry], change: Callable[[Entry], str], domains: Domains) -> Iterator[str]:
    """The changes, and below those of the same artifacts which these are."""
    alike: dict[tuple[str, ...], list[Entry]] = {}
    for entry in entries:
        alike.setdefault(tuple(entry["artifacts"]), []).append(entry)
    for artifacts, members in alike.items():
        yield from (f"{entry['key']}: {change(entry)}" for entry in members)
        yield from _indented([_count(artifacts, "artifact"), *patterns(artifacts, domains)])


def _code(section: Entry, domains: Domains) -> Iterator[str]:
    words = {"comments": "comments and docstrings alone changed"}
    for entry in section["files"] or []:
        yield f"{entry['file']}  {words.get(entry['change'], entry['change'])}"
    for entry in section["modules"]:
        made = ", ".join(f"{command} {count}" for command, count in sorted(entry["artifacts"].items()))
        yield f"{entry['module']}  {_digests(entry)}  (artifacts: {made})"
    for entry in section["commits"]:
        yield f"made at commit {_digests(entry)}  (artifacts: {entry['artifacts']})"


def _data(section: Entry, domains: Domains) -> Iterator[str]:
    yield from _with_artifacts(section["inputs"], _digests, domains)
    for entry in section["downloads"]:
        yield f"{entry['artifact']}"
        yield from _indented([f"{output['file']}  {_digests(output)}" for output in entry["outputs"]])
        yield from _indented([f"{fact['key']}: {_change(fact)}" for fact in entry["facts"]])


def _numbers(section: Entry, domains: Domains) -> Iterator[str]:
    yield "mean [95 % interval] (seeds) in percent, old -> new, difference in points"
    for scale, found in section.items():
        if found["in"] != "both":
            rows = found["added"] + found["removed"]
            yield f"scale {scale}: {_count(rows, 'row')}, in the {found['in']} state alone"
            continue
        rows = found["changed"] + found["added"] + found["removed"]
        told = [column for column in SHOWN_IF_MIXED if len({row[column] for row in rows}) > 1]
        once = ", ".join(f"{name} {rows[0][name]}" for name in SHOWN_IF_MIXED if rows and name not in told)
        yield f"scale {scale}: {_counts(found)}" + (f"; {once}" if once else "")
        lines = [[*_row(row, told), _estimate(row["old"]), "->", _estimate(row["new"]), _points(row["points"]),
                  "; ".join([row["word"], *(f"{fact['key']} {_change(fact)}" for fact in row["facts"])])]
                 for row in found["changed"]]  # fmt: skip
        yield from _indented(_aligned(lines))
        for kind in ("added", "removed"):
            yield from _indented(_aligned([[kind, *_row(row, told), _estimate(row)] for row in found[kind]]))


def _counts(found: Entry) -> str:
    words = Counter(row["word"] for row in found["changed"])
    order = ("apart", "within intervals", "same", "not to be compared")
    split = ", ".join(f"{words[word]} {word}" for word in order if words[word])
    changed_ones = f"{len(found['changed'])} changed" + (f" ({split})" if split else "")
    return (
        f"{changed_ones}, {found['unchanged']} unchanged, {len(found['added'])} added, {len(found['removed'])} removed"
    )


def _unchanged(section: Entry) -> str:
    counts = [f"{found['unchanged']} of scale {scale}" for scale, found in section.items()]
    return f" in {', '.join(counts)}" if counts else ""


def _row(row: Entry, told: list[str]) -> list[str]:
    regime = f"{row['regime']}-k{row['k']}" if row["k"] else row["regime"]
    return ["/".join([row["backbone"], regime, row["task"], row["variant"]]), *(row[column] for column in told)]


def _estimate(number: Entry) -> str:
    mean, low, high, seeds = (number[name] for name in ESTIMATE)
    if mean is None:
        return f"overflow ({seeds})"
    return f"{100 * mean:.2f} [{100 * low:.2f}, {100 * high:.2f}] ({seeds})"


def _points(points: float | None) -> str:
    return "" if points is None else f"{points:+.2f}"


def _artifacts(section: Entry, domains: Domains) -> Iterator[str]:
    for phase, found in section.items():
        counts = [f"{len(found[kind])} {kind}" for kind in ("added", "removed") if found[kind]]
        if found["remade"]:
            counts.append(f"{len(found['remade'])} made again ({len(found['other_bytes'])} with other bytes)")
        yield f"{phase}: {', '.join([*counts, str(found['unchanged']) + ' untouched'])}"
        for kind in ("added", "removed"):
            if found[kind]:
                yield from _indented([f"{kind} {pattern}" for pattern in patterns(found[kind], domains)])


def _change(entry: Entry) -> str:
    old, new = entry.get("old"), entry.get("new")
    if isinstance(old, list) and isinstance(new, list) and max(len(_value(old)), len(_value(new))) > LONGEST_LIST:
        return _moves([_value(one) for one in old], [_value(one) for one in new])
    return " -> ".join(_value(entry[side]) if side in entry else "absent" for side in ("old", "new"))


def _moves(old: list[str], new: list[str]) -> str:
    gone, come = (list((Counter(one) - Counter(other)).elements()) for one, other in ((old, new), (new, old)))
    named = [f"{word} {text}" if len(text := " ".join(names)) <= LONGEST_LIST else f"{len(names)} {short}"
             for word, short, names in (("without", "gone", gone), ("with", "new", come)) if names]  # fmt: skip
    return ", ".join(named) or "in another order"


def _value(value: Any) -> str:
    return value if isinstance(value, str) and value else json.dumps(value, ensure_ascii=False, default=str)


def _kind(entry: Entry) -> str:
    return "added" if "old" not in entry else "removed" if "new" not in entry else "changed"


def _digests(entry: Entry) -> str:
    return " -> ".join((entry.get(side) or "none")[:12] for side in ("old", "new"))


def _count(things: Sequence[Any], name: str) -> str:
    return f"{len(things)} {name}" + ("" if len(things) == 1 else "s")


def _indented(lines: Iterable[str]) -> list[str]:
    return [f"  {line}" for line in lines]


def _aligned(rows: list[list[str]]) -> list[str]:
    widths = [max(len(row[n]) for row in rows) for n in range(len(rows[0]))] if rows else []
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
