"""Strategies: what people and disks do to a file. A damage says what it does, and does it to any file of its kind."""

import json
import math
from collections.abc import Iterator
from typing import Any, NamedTuple

from hypothesis import strategies as st

Path = tuple[str | int, ...]
"""Keys and places from the top of a parsed file."""


class Raw(NamedTuple):
    """A scalar as it stands in a YAML file."""

    text: str


class Pairs(NamedTuple):
    """A mapping in which a key may stand twice."""

    pairs: list[tuple[Any, Any]]


class Edit(NamedTuple):
    """Of one place in a parsed file: delete, set, rename, nest (below a key), wrap (in a list), twice (the key)."""

    path: Path
    what: str
    value: Any = None


class Spoil(NamedTuple):
    """Of the bytes between two places, as shares of all: replaced; or of all: written in another encoding."""

    start: float
    end: float
    value: bytes | str


NUMBERS = [0, 1, -1, 2**31, 2**63, 10**30, 0.5, -0.5, 1e-320, math.inf, -math.inf, math.nan]
TEXTS = ["", " ", "a", "x" * 5000, "\ud83d", "\x00", "\x1b[31m", "é", "e\u0301", "日本", "\u202e", "a\nb", "a;b",
         "=1+1", "-x", "--log=x", "../../x", "/", ".", "a/b", "{", "}", "{}", "{0}", "{passage}", "{passage!r:>99999}",
         "[ ] * ?", "null", "true", "1", "1e-1", "full", "task", "instance", "folder", "hub", "all", "fixed",
         "toy"]  # fmt: skip
TREES = [[], [[]], [None], [1, 1], ["a", "a"], [math.nan], {}, {"": None}, {"kind": "full"}, {"a": {"b": [0]}}]
ODD = [None, True, False, *NUMBERS, *TEXTS, *TREES]
SCALARS = ["010", "0o10", "0x1f", "1:30", "1_000", "1e3", "1e-1", "+.inf", ".nan", "9" * 5000, "yes", "No", "~", "# x",
           "2024-01-01", "2024-13-45", "2024-01-01T99:00:00Z", "[" * 3000, "{" * 300, "*a", "&a [*a]", "!x y", "!!str",
           "!!python/object:os.system x", "!!binary '='", "!!set {a, b}", "!!float x", "!!int ''", "!!timestamp x",
           "!!omap [a]", "? a", "<<: 1", "{<<: [1]}", "{<<: *a}", "{? [a]: 1}", "{[a]: 1}", "{1: 2}", "{null: 1}", "|",
           "{2024-01-01: 1}", "%", "@", "`", "'", '"', '"\\ud83d"', '"\\x00"', "'\t'", "---\na: 1", "...",
           "- a"]  # fmt: skip
ODD_YAML = [Raw(text) for text in SCALARS]
ODD_BYTES = [b"", b"\x00", b"\xe9", b"\xff\xfe", b"\xef\xbb\xbf", b"\r", b"\r\n", b"\n", b"\t", b"\x1b", b"\x85", b"'",
             b"\xed\xa0\xbd", b'"', b"{", b"}", b"[", b"]", b":", b": ", b",", b"- ", b"#", b"&a ", b"*a", b"!", b"|",
             b"%", b"0", b"NaN", b"-", b"\\ud83d"]  # fmt: skip
ENCODINGS = ["latin-1", "utf-16", "utf-16-le", "utf-32", "utf-8-sig", "cp037"]

scalars = st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=20))
trees = st.recursive(
    scalars, lambda one: st.lists(one, max_size=3) | st.dictionaries(st.text(max_size=8), one, max_size=3), max_leaves=4
)
values = st.one_of(st.sampled_from(ODD), trees)
yaml_values = st.one_of(st.sampled_from(ODD_YAML), values)
keys = st.one_of(st.sampled_from(["", "a", "kind", "name", "é", "\ud83d", "x" * 3000, "1", "<<"]), st.text(max_size=8))


def edits(tree: Any, values: st.SearchStrategy[Any], most: int = 3) -> st.SearchStrategy[list[Edit]]:
    """Up to `most` edits at places of a parsed file; what is set is odd, or stands elsewhere in it."""
    places = list(places_of(tree))
    own = [value for path in places if not isinstance(value := value_at(tree, path), dict | list)]

    def at(path: Path) -> st.SearchStrategy[Edit]:
        whats = [st.builds(Edit, st.just(path), st.just("set"), st.one_of(values, st.sampled_from(own)))] * 3
        whats += [st.just(Edit(path, what)) for what in ("delete", "wrap", "twice")]
        whats += [st.builds(Edit, st.just(path), st.just(what), keys) for what in ("rename", "nest")]
        return st.one_of(whats)

    return st.lists(st.sampled_from(places).flatmap(at), min_size=1, max_size=most)


def spoils(most: int = 3) -> st.SearchStrategy[list[Spoil]]:
    """Up to `most` damages of bytes."""
    place = st.floats(0, 1, allow_nan=False)
    cut = st.builds(Spoil, place, st.just(1.0), st.just(b""))
    length = st.sampled_from([0.0, 0.0, 0.001, 0.01, 0.1])
    value = st.one_of(st.sampled_from(ODD_BYTES), st.binary(max_size=8))
    patch = st.builds(lambda start, more, value: Spoil(start, min(1.0, start + more), value), place, length, value)
    recode = st.builds(Spoil, st.just(0.0), st.just(1.0), st.sampled_from(ENCODINGS))
    return st.lists(st.one_of(patch, patch, patch, cut, recode), min_size=1, max_size=most)


def places_of(tree: Any, above: Path = ()) -> Iterator[Path]:
    for key, value in tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ():
        yield (*above, key)
        yield from places_of(value, (*above, key))


def value_at(tree: Any, path: Path) -> Any:
    for key in path:
        tree = tree[key]
    return tree


def edited(tree: Any, edits: list[Edit]) -> Any:
    """A parsed file after edits; an edit whose place is gone does nothing."""
    for edit in edits:
        tree = _edited(tree, edit.path, edit)
    return tree


def spoiled(data: bytes, spoils: list[Spoil]) -> bytes:
    for start, end, value in spoils:
        if isinstance(value, str):
            data = data.decode(errors="replace").encode(value, errors="replace")
        else:
            data = data[: round(start * len(data))] + value + data[round(end * len(data)) :]
    return data


def yaml_text(value: Any) -> str:
    """Flow style, which admits what no dumper writes."""
    match value:
        case Raw(text):
            return text
        case Pairs(pairs):
            return "{" + ", ".join(f"{yaml_text(key)}: {yaml_text(one)}" for key, one in pairs) + "}"
        case dict():
            return yaml_text(Pairs(list(value.items())))
        case list():
            return f"[{', '.join(map(yaml_text, value))}]"
        case float() if not math.isfinite(value):
            return f"{value}".replace("inf", ".inf").replace("nan", ".nan")
    return json.dumps(value)


def json_bytes(value: Any) -> bytes:
    """As a program in any language might write it; lone surrogates and numbers that are none included."""
    return json.dumps(_plain(value)).encode()


def is_repeated(tree: Any) -> bool:
    """Whether a key stands twice in some mapping."""
    if isinstance(tree, Pairs):
        return True
    return any(map(is_repeated, tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()))


def _plain(value: Any) -> Any:
    match value:
        case Raw(text):
            return text
        case Pairs(pairs):
            return {key: _plain(one) for key, one in pairs}
        case dict():
            return {key: _plain(one) for key, one in value.items()}
        case list():
            return [_plain(one) for one in value]
    return value


def _edited(tree: Any, path: Path, edit: Edit) -> Any:
    key, *rest = path
    is_there = (
        key in tree if isinstance(tree, dict) else isinstance(tree, list) and isinstance(key, int) and key < len(tree)
    )
    if not is_there:
        return tree
    if rest:
        return _with(tree, key, _edited(tree[key], tuple(rest), edit))
    old = tree[key]
    match edit.what:
        case "set":
            return _with(tree, key, edit.value)
        case "wrap":
            return _with(tree, key, [old])
        case "nest":
            return _with(tree, key, {edit.value: old})
        case "delete" if isinstance(tree, dict):
            return {one: value for one, value in tree.items() if one != key}
        case "delete":
            return tree[:key] + tree[key + 1 :]
        case "rename" if isinstance(tree, dict):
            return {edit.value if one == key else one: value for one, value in tree.items()}
        case "twice" if isinstance(tree, dict):
            return Pairs([*tree.items(), (key, old)])
    return tree


def _with(tree: Any, key: Any, value: Any) -> Any:
    if isinstance(tree, dict):
        return tree | {key: value}
    return [value if place == key else one for place, one in enumerate(tree)]
