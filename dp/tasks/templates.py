"""Texts with {field}s: which fields they name, and a text of such a form taken apart again."""

import re
from string import Formatter

from dp.closed import nearest


def fields_of(key: str, text: str, fields: list[str]) -> list[str]:
    """The fields that a text with {field}s names. Raises ValueError for one that the task has not."""
    try:
        parts = [part for part in Formatter().parse(text) if part[1] is not None]
    except ValueError as error:
        raise ValueError(f"{key}: {error}") from None
    for _, field, spec, conversion in parts:
        if field not in fields or spec or conversion:
            raise ValueError(f"{key}: {{{field}}} is not a field{nearest(str(field), fields)}")
    return [str(field) for _, field, _, _ in parts]


def spans(text: str, fields: dict[str, str]) -> dict[str, tuple[int, int]]:
    """Field -> (start, end) in the text filled in, with what the text attaches to the field, as a full stop."""
    found: dict[str, tuple[int, int]] = {}
    at, last = 0, ""
    for literal, field, _, _ in Formatter().parse(text):
        if last:
            attached = re.match(r"\S*", literal)
            assert attached is not None
            found[last] = (found[last][0], at + attached.end())
        at += len(literal)
        if field is not None:
            found[field] = (at, at + len(fields[field]))
            at += len(fields[field])
        last = field or ""
    return found


def check_pattern(key: str, pattern: str, fields: list[str]) -> None:
    """Raises ValueError unless `parse` can take a text of this form apart."""
    if sorted(fields_of(key, pattern, fields)) != sorted(fields):
        raise ValueError(f"{key}: {pattern!r} must hold each of the fields {fields} once, as {{field}}")
    if not all(_literals(pattern)[1:-1]):
        raise ValueError(f"{key}: {pattern!r} must have something between two fields")


def parse(pattern: str, text: str) -> dict[str, str] | None:
    """The fields of a text of the form `pattern`. None where it has another form, or has it in more than one way.

    In linear time: what stands between two fields must stand there once. A regular expression may take for ever.
    """
    first, *between, last = _literals(pattern)
    if len(text) < len(first) + len(last) or not (text.startswith(first) and text.endswith(last)):
        return None
    rest, values = text[len(first) : len(text) - len(last)], []
    for literal in between:
        value, *others = rest.split(literal)
        if len(others) != 1:
            return None
        values.append(value)
        rest = others[0]
    named = [field for _, field, _, _ in Formatter().parse(pattern) if field is not None]
    return dict(zip(named, [*values, rest], strict=True))


def _literals(pattern: str) -> list[str]:
    """What stands in front of, between and behind the fields."""
    found = [""]
    for literal, field, _, _ in Formatter().parse(pattern):
        found[-1] += literal
        if field is not None:
            found.append("")
    return found
