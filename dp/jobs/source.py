"""What of a module's text is code: not comments, blank lines and strings that stand alone, docstrings among them."""

import ast
import io
import tokenize
from collections.abc import Iterator

Span = tuple[int, int, int, int]
"""First line (from 1), first column, last line, column behind the last character."""


def code_of(text: str) -> str:
    """A module's text without comments, docstrings and blank lines, so that editing those changes no digest.

    Every other character stays, and so do blank lines within a string. Raises SyntaxError where the text is no Python.
    """
    lines: list[str | None] = list(text.split("\n"))
    for first, start, last, end in sorted({*_docstrings(text), *_comments(text)}, reverse=True):
        head, tail = (lines[first - 1] or "")[:start], (lines[last - 1] or "")[end:]
        rest = (head + tail).rstrip()
        lines[first - 1 : last] = [rest or None] + [None] * (last - first)
    inside = _within_strings(text)
    return "\n".join(line for n, line in enumerate(lines, 1) if line is not None and (line.strip() or n in inside))


def _comments(text: str) -> Iterator[Span]:
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type == tokenize.COMMENT:
            yield (*token.start, *token.end)


def _docstrings(text: str) -> Iterator[Span]:
    """Spans in characters; the syntax tree counts columns in bytes of UTF-8."""
    lines = text.split("\n")
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            assert node.end_lineno is not None and node.end_col_offset is not None
            yield (node.lineno, _characters(lines[node.lineno - 1], node.col_offset),
                   node.end_lineno, _characters(lines[node.end_lineno - 1], node.end_col_offset))  # fmt: skip


def _within_strings(text: str) -> set[int]:
    """Lines that a string spans."""
    strings = (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant | ast.JoinedStr))
    return {line for node in strings for line in range(node.lineno, (node.end_lineno or node.lineno) + 1)}


def _characters(line: str, count: int) -> int:
    return len(line.encode()[:count].decode())
