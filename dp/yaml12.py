"""YAML by the core schema of YAML 1.2, and nothing in it that can be read in two ways.

PyYAML scans and composes; what it would decide by YAML 1.1 is decided here. ruamel.yaml in its 1.2 mode knows dates and
underscores in numbers, which the core schema does not, and takes no exception to 010.
"""

import math
import re
from pathlib import Path
from typing import Any

import yaml

from dp.errors import UserError, shown

BYTES = 1_000_000
DEPTH = 50
NODES = 100_000
"""Limits of one file: of its size, of the levels of its nesting, of its values where every alias counts in full."""
WHOLE = 2**63
"""Whole numbers are below this and not below its negative: they fit in 64 bits."""

_TAG = "tag:yaml.org,2002:"
_MERGE = f"{_TAG}merge"
_OCTAL = re.compile(r"[-+]?0[0-7]+")
_INT = r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+"
_FLOAT = r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)"
CORE = {
    "null": re.compile(r"(null|Null|NULL|~|)"),
    "bool": re.compile(r"(true|True|TRUE|false|False|FALSE)"),
    "int": re.compile(_INT),
    "float": re.compile(_FLOAT),
}
"""What a plain scalar is, in this order; else it is a word (YAML 1.2.2, section 10.3.2)."""
WORDS = {"null": "nothing", "bool": "true or false", "int": "a whole number", "float": "a number", "str": "a word",
         "timestamp": "a date", "value": "a default value", "merge": "a merge"}  # fmt: skip
_TWO_WAYS = "!two-ways "
_LINE_END = re.compile("[\x85\u2028\u2029]")
"""Ends a line, and so a comment, in YAML 1.1 and not in 1.2."""


class _Refused(Exception):
    """Line and mistake."""


def read(path: Path) -> Any:
    """The value of a YAML file in UTF-8. Raises UserError naming file, line and remedy, FileNotFoundError for none."""
    try:
        with path.open("rb") as file:
            data = file.read(BYTES + 1)
    except FileNotFoundError:
        raise
    except OSError as error:
        raise UserError(f"{shown(str(path))} cannot be read: {error.strerror}.") from None
    return parse(data, str(path))


def parse(given: bytes | str, where: str) -> Any:
    """The value of a YAML text. `where` names it in errors. Raises UserError as `read`."""
    if len(given) > BYTES:
        raise UserError(f"{where} is larger than {BYTES:,} bytes, which no file of parameters is.")
    try:
        text = given if isinstance(given, str) else given.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        byte = error.object[error.start]
        raise UserError(f"{where}, line {line}: is not UTF-8 (byte 0x{byte:02x}); save it as UTF-8.") from None
    try:
        return _value_of(text)
    except _Refused as refused:
        line, mistake = refused.args
        raise UserError(f"{where}, line {line}: {mistake}.") from None


def dump(value: Any, sort_keys: bool = True, width: int = 80) -> str:
    """A value as YAML that this module, and any reader of YAML 1.1, reads as it was."""
    return yaml.dump(value, Dumper=_Dumper, sort_keys=sort_keys, allow_unicode=True, width=width)


class _Dumper(yaml.SafeDumper):
    """Puts quotes around words that either version would take for something else."""

    def represent_str(self, data: str) -> yaml.ScalarNode:
        style = '"' if _LINE_END.search(data) else None  # in these quotes, such an end is spelled out
        return self.represent_scalar(f"{_TAG}str", data, style=style)


_Dumper.add_representer(str, _Dumper.represent_str)

for _kind, _first in (("int", "-+0123456789"), ("float", "-+.0123456789")):
    _whole = re.compile(f"(?:{CORE[_kind].pattern})\\Z")
    _Dumper.add_implicit_resolver(f"{_TAG}{_kind}#1.2", _whole, list(_first))


class _Composer(yaml.SafeLoader):
    """Text -> nodes, no deeper than DEPTH, plain scalars tagged by CORE."""

    def __init__(self, text: str) -> None:
        self.depth = 0
        super().__init__(text)

    def compose_node(self, parent: Any, index: Any) -> Any:
        self.depth += 1
        if self.depth > DEPTH:
            raise _refused(self.peek_event(), f"is nested more than {DEPTH} levels deep")  # type: ignore[no-untyped-call]
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def resolve(self, kind: Any, value: Any, implicit: Any) -> str:
        """The tag of a node without one; of a plain scalar that YAML 1.1 takes for another thing, both of its kinds."""
        old: str = super().resolve(kind, value, implicit)
        if kind is not yaml.ScalarNode or not implicit[0] or old == _MERGE:
            return old
        new = next((name for name, pattern in CORE.items() if pattern.fullmatch(value)), "str")
        before = old.removeprefix(_TAG)
        if new == before == "int" and _OCTAL.fullmatch(value):
            return f"{_TWO_WAYS}an octal number/a decimal one"
        if before in (new, "str"):
            return f"{_TAG}{new}"
        return f"{_TWO_WAYS}{WORDS[before]}/{WORDS[new]}"


def _value_of(text: str) -> Any:
    """Raises _Refused."""
    if found := _LINE_END.search(text):
        line = text[: found.start()].count("\n") + 1
        raise _Refused(line, f"U+{ord(found[0]):04X} ends a line in YAML 1.1 and not in YAML 1.2; take it out")
    try:
        loader = _Composer(text)
    except yaml.reader.ReaderError as error:
        line = text[: error.position].count("\n") + 1
        raise _Refused(line, f"holds the character {chr(error.character)!a}, which YAML forbids") from None
    try:
        node = loader.get_single_node()  # type: ignore[no-untyped-call]
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        said = " ".join(filter(None, (error.context, error.problem)))
        raise _Refused(mark.line + 1 if mark else 1, f"is not valid YAML: {shown(said)}") from None
    except (ValueError, OverflowError) as error:  # an escape or a directive with an impossible number
        raise _Refused(loader.line + 1, f"is not valid YAML: {shown(str(error))}") from None
    finally:
        loader.dispose()  # type: ignore[no-untyped-call]
    return None if node is None else _Values().of(node, "")


class _Values:
    """Nodes -> values. `count`: nodes so far."""

    def __init__(self) -> None:
        self.count = 0

    def of(self, node: yaml.Node, key: str, depth: int = 1) -> Any:
        """`key`: where the node stands, as a.b.0; an alias stands for a copy of what it names."""
        self.count += 1
        if depth > DEPTH:
            raise _refused(node, f"{_at(key)}is nested more than {DEPTH} levels deep, or an alias within itself")
        if self.count > NODES:
            raise _refused(node, f"{_at(key)}with every alias the file holds more than {NODES:,} values")
        kind = node.tag.removeprefix(_TAG)
        if isinstance(node, yaml.MappingNode) and kind == "map":
            return self._mapping(node, key, depth)
        if isinstance(node, yaml.SequenceNode) and kind == "seq":
            return [self.of(one, f"{key}.{n}" if key else str(n), depth + 1) for n, one in enumerate(node.value)]
        if isinstance(node, yaml.ScalarNode):
            return _scalar(node, key)
        raise _refused(node, f"{_at(key)}the tag {shown(node.tag)} means nothing here; take it out")

    def _mapping(self, node: yaml.MappingNode, key: str, depth: int) -> dict[str, Any]:
        """Own keys go before merged ones (`<<`), and of these the first."""
        lines: dict[str, int] = {}
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        for name_node, value_node in node.value:
            merge = name_node.tag == _MERGE
            name = "<<" if merge else _name(name_node, key)
            line = name_node.start_mark.line + 1
            if name in lines:
                raise _refused(name_node, f"{_at(_below(key, name))}stands there twice, first in line {lines[name]}; "
                                          "keep one of them")  # fmt: skip
            lines[name] = line
            if merge:
                parts = value_node.value if isinstance(value_node, yaml.SequenceNode) else [value_node]
                for part in parts:
                    if not isinstance(part, yaml.MappingNode):
                        raise _refused(part, f"{_at(_below(key, name))}merges what is no mapping")
                    merged = self.of(part, _below(key, name), depth + 1) | merged
            else:
                own[name] = self.of(value_node, _below(key, name), depth + 1)
        return merged | own


def _name(node: yaml.Node, key: str) -> str:
    name = _scalar(node, key) if isinstance(node, yaml.ScalarNode) else None
    if not isinstance(name, str):
        what = shown(node.value) if isinstance(node, yaml.ScalarNode) else "a list or mapping"
        raise _refused(node, f"{_at(key)}a key must be a word, not {what or 'empty'}; put quotes around it")
    return name


def _scalar(node: yaml.ScalarNode, key: str) -> Any:
    text, kind = node.value, node.tag.removeprefix(_TAG)
    if node.tag.startswith(_TWO_WAYS):
        old, new = node.tag.removeprefix(_TWO_WAYS).split("/")
        raise _refused(node, f"{_at(key)}{shown(text)} is {old} in YAML 1.1 and {new} in YAML 1.2; write what is meant "
                             "in another way, a word in quotes")  # fmt: skip
    if any("\ud800" <= one <= "\udfff" for one in text):
        raise _refused(node, f"{_at(key)}{shown(text)} holds half of a surrogate pair, which is no character")
    if kind == "str":
        return text
    if kind not in CORE or not CORE[kind].fullmatch(text):
        raise _refused(node, f"{_at(key)}{shown(text)} is not what its tag {shown(node.tag)} says; take the tag out")
    if kind == "null":
        return None
    if kind == "bool":
        return text.lower() == "true"
    if kind == "int":
        # Python refuses to read thousands of digits; so many are too many in any case.
        value = int(text, {"0o": 8, "0x": 16}.get(text[:2], 10)) if len(text) <= 100 else WHOLE
        if not -WHOLE <= value < WHOLE:
            raise _refused(node, f"{_at(key)}{shown(text, 40)} does not fit in 64 bits")
        return value
    number = float(re.sub(r"\.(?=inf|nan)", "", text.lower()))
    if not math.isfinite(number):
        raise _refused(node, f"{_at(key)}{shown(text, 40)} is no finite number")
    return number


def _at(key: str) -> str:
    return f"{shown(key)}: " if key else ""


def _below(key: str, name: str) -> str:
    return f"{key}.{name}" if key else name


def _refused(at: Any, text: str) -> _Refused:
    return _Refused(at.start_mark.line + 1, text)
