"""What changed between two states of the study: parameters, code, data, environments, numbers and artifacts."""

import json
from collections import Counter
from collections.abc import Callable, Iterator
from math import inf
from typing import Any

from dp import yaml12
from dp.jobs.record import SUMS
from dp.jobs.source import code_of
from dp.lineage.snapshots import Record, Row, Snapshot

ROW_KEY = ("backbone", "regime", "k", "task", "source", "variant", "protocol", "metric")
ESTIMATE = ("mean", "low", "high", "seeds")
# Columns of results.csv that differ whenever a run is made again.
UNSTABLE_COLUMNS = ("seconds", "runs")
# Facts of a record that say how a job went or are compared elsewhere; all others say what came out.
NOT_COMPARED = ("started", "status", "wall_seconds", "peak_memory_mib", "gpu_peak_memory_mib", "outputs", "files")

Entry = dict[str, Any]
Pairs = dict[str, tuple[Record, Record]]
ABSENT = object()


def compare(old: Snapshot, new: Snapshot) -> dict[str, Any]:
    """Everything that changed, as JSON. An entry without `old` was added, one without `new` is gone.

    parameters.declared and code.files are None where a state is a folder of results alone. `different` says whether
    anything changed at all.
    """
    both = [folder for folder in old.records if folder in new.records]
    pairs = {folder: (old.records[folder], new.records[folder]) for folder in both}
    remade = {folder: (one, other) for folder, (one, other) in pairs.items() if one["seal"] != other["seal"]}
    declared, code = _sources(old, new)
    sections = {
        "parameters": {"declared": declared, "asked": _gathered(remade, lambda record: record["asked"])},
        "code": {"files": code, "modules": _modules(remade), "commits": _commits(remade)},
        "data": {"inputs": _gathered(remade, lambda record: record["used"]["inputs"]), "downloads": _downloads(remade)},
        "environments": _gathered(remade, lambda record: record["with"] | {"commit": None}),
        "numbers": {scale: _numbers(old, new, scale) for scale in sorted({*old.rows, *new.rows})},
        "artifacts": _artifacts(old, new, remade),
    }
    states = {side: {"name": one.name, "commit": one.commit, "artifacts": len(one.records)}
              for side, one in (("old", old), ("new", new))}  # fmt: skip
    return states | sections | {"different": any(changed(section) for section in sections.values())}


def changed(section: Any) -> bool:
    """Whether a section, or a part of one, lists anything; counts are no change."""
    if isinstance(section, dict):
        return any(changed(part) for part in section.values())
    return isinstance(section, list) and bool(section)


def changes(old: Any, new: Any, key: str = "") -> Iterator[Entry]:
    """The values that differ between two nested mappings, under dotted keys."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted({*old, *new}, key=str):
            yield from changes(old.get(name, ABSENT), new.get(name, ABSENT), f"{key}.{name}" if key else str(name))
    elif _text(old) != _text(new):
        yield {"key": key} | {side: value for side, value in (("old", old), ("new", new)) if value is not ABSENT}


def _text(value: Any) -> str | None:
    """Canonical, so that 1 is not true and the order of keys is nothing."""
    return None if value is ABSENT else json.dumps(value, sort_keys=True, default=str)


def _gathered(pairs: Pairs, part: Callable[[Record], Any]) -> list[Entry]:
    """Each change of one part of the records, with the artifacts that saw it."""
    found: dict[str, Entry] = {}
    for folder, (old, new) in pairs.items():
        for entry in changes(part(old), part(new)):
            known = found.setdefault(json.dumps(entry, sort_keys=True), entry | {"artifacts": []})
            known["artifacts"].append(folder)
    return [found[text] for text in sorted(found)]


def _sources(old: Snapshot, new: Snapshot) -> tuple[list[Entry] | None, list[Entry] | None]:
    """Changes of params.yaml and of every scale; and files of the code that differ. None where a state has no sources.

    A file of parameters that is there in one state alone has the key ''.
    """
    if old.sources is None or new.sources is None:
        return None, None
    declared, code = list[Entry](), list[Entry]()
    for path in sorted({*old.sources, *new.sources}):
        one, other = old.sources.get(path), new.sources.get(path)
        if path == "params.yaml" or path.startswith("workflow/scales/"):
            then, now = (ABSENT if text is None else yaml12.parse(text, f"{snapshot.name}: {path}")
                         for snapshot, text in ((old, one), (new, other)))  # fmt: skip
            declared += [{"file": path} | entry for entry in changes(then, now)]
        elif one != other:
            code.append({"file": path, "change": _kind(path, one, other)})
    return declared, code


def _kind(path: str, old: bytes | None, new: bytes | None) -> str:
    """added, removed, changed, or `comments` where comments and docstrings alone are."""
    if old is None or new is None:
        return "added" if old is None else "removed"
    try:
        only_comments = path.endswith(".py") and code_of(old.decode()) == code_of(new.decode())
    except (SyntaxError, UnicodeDecodeError):
        only_comments = False
    return "comments" if only_comments else "changed"


def _modules(remade: Pairs) -> list[Entry]:
    """Modules whose code differs between the records of one artifact: command -> artifacts made by each."""
    alike: dict[tuple[str, str], list[tuple[Record, Record]]] = {}
    for old, new in remade.values():
        alike.setdefault((old["used"]["code"]["digest"], new["used"]["code"]["digest"]), []).append((old, new))
    found: dict[str, Entry] = {}
    for pairs in alike.values():
        for entry in changes(*(record["used"]["code"]["modules"] for record in pairs[0])):
            known = found.setdefault(json.dumps(entry, sort_keys=True), entry | {"artifacts": Counter()})
            known["artifacts"].update(new["command"] for _, new in pairs)
    return [{"module": found[text].pop("key")} | found[text] for text in sorted(found)]


def _commits(remade: Pairs) -> list[Entry]:
    counts = Counter((old["with"]["commit"], new["with"]["commit"]) for old, new in remade.values())
    moved = [(old, new, count) for (old, new), count in counts.items() if old != new]
    return [{"old": old, "new": new, "artifacts": count} for old, new, count in sorted(moved, key=str)]


def _downloads(remade: Pairs) -> list[Entry]:
    """Rows and backbones of other bytes, or with other facts: row and label counts, revision, size."""
    found = []
    for folder, (old, new) in remade.items():
        if folder.startswith("results/download/"):
            made = changes(old["made"]["outputs"], new["made"]["outputs"])
            outputs = [{"file": one.pop("key")} | one for one in made if one["key"] != SUMS]
            facts = list(changes(_facts(old), _facts(new)))
            if outputs or facts:
                found.append({"artifact": folder, "outputs": outputs, "facts": facts})
    return found


def _facts(record: Record) -> dict[str, Any]:
    return {name: value for name, value in record["made"].items() if name not in NOT_COMPARED}


def _numbers(old: Snapshot, new: Snapshot, scale: str) -> Entry:
    """Rows of a scale's results.csv in both states, sorted by the size of their difference, and rows in one alone."""
    before, after = ({_key(row): row for row in one.rows.get(scale, [])} for one in (old, new))
    both = [_number(before[key], after[key]) for key in before if key in after]
    differing = [entry for entry in both if entry["old"] != entry["new"] or entry["facts"]]
    return {
        "in": "both" if scale in old.rows and scale in new.rows else "old" if scale in old.rows else "new",
        "unchanged": len(both) - len(differing),
        "changed": sorted(differing, key=lambda entry: (-_size(entry["points"]), _key(entry))),
        "added": [_named(row) | _estimate(row) for key, row in after.items() if key not in before],
        "removed": [_named(row) | _estimate(row) for key, row in before.items() if key not in after],
    }


def _size(points: float | None) -> float:
    """A number that came or went is the largest change there is."""
    return inf if points is None else abs(points)


def _key(row: Entry) -> tuple[str, ...]:
    return tuple(row.get(column, "") for column in ROW_KEY)


def _named(row: Row) -> Entry:
    return dict(zip(ROW_KEY, _key(row), strict=True))


def _estimate(row: Row) -> Entry:
    """Shares, None where the runs ended in a status (label `overflow`) and there is no number."""
    shares = {name: float(row[name]) if row[name] else None for name in ("mean", "low", "high")}
    return shares | {"seeds": int(row["seeds"])}


def _number(old: Row, new: Row) -> Entry:
    one, other = _estimate(old), _estimate(new)
    known = None not in (one["mean"], other["mean"])
    apart = known and (one["low"] > other["high"] or other["low"] > one["high"])
    same = all(one[name] == other[name] for name in ("mean", "low", "high"))
    left_out = {*ROW_KEY, *ESTIMATE, *UNSTABLE_COLUMNS}
    before, after = ({name: value for name, value in row.items() if name not in left_out} for row in (old, new))
    return _named(new) | {
        "old": one,
        "new": other,
        "points": round(100 * (other["mean"] - one["mean"]), 4) if known else None,
        "word": "same" if same else "not to be compared" if not known else "apart" if apart else "within intervals",
        "facts": list(changes(before, after)),
    }


def _artifacts(old: Snapshot, new: Snapshot, remade: Pairs) -> dict[str, Entry]:
    """By phase: folders added, removed and made again, those among the last whose bytes differ, and the untouched."""
    found: dict[str, Entry] = {}
    for folder in sorted({*old.records, *new.records}):
        phase = folder.split("/")[1]
        one = found.setdefault(phase, {"added": [], "removed": [], "remade": [], "other_bytes": [], "unchanged": 0})
        if folder not in old.records:
            one["added"].append(folder)
        elif folder not in new.records:
            one["removed"].append(folder)
        elif folder in remade:
            one["remade"].append(folder)
            if len({_text(record["made"]["outputs"]) for record in remade[folder]}) > 1:
                one["other_bytes"].append(folder)
        else:
            one["unchanged"] += 1
    return found
