"""Text of others - labels, descriptions, paths, questions, errors - in files and terminals where it must stay text."""

import csv
import re
from collections.abc import Iterable

NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?%?")
FORMULA = re.compile(r"'*[=+\-@\t\n\uff1d\uff0b\uff0d\uff20]")
"""How a cell begins that a spreadsheet computes (the last four: full width), behind as many ' as it was given."""
MARKED_DOWN = re.compile(r"[\\`*|~$]|\](?=[(\[:])|(?<![^\W_])_|_(?![^\W_])|!(?=\[)")


def cell(value: str) -> str:
    """A text as the cell of a CSV: a spreadsheet shows a ' and what follows as it is. Numbers stay numbers.

    Line breaks become \\n: Python's writer does not quote another one, so a lone \\r would end the row.
    """
    value = value.replace("\r\n", "\n").replace("\r", "\n")
    return f"'{value}" if FORMULA.match(value) and not NUMBER.fullmatch(value) else value


def csv_rows(lines: Iterable[str]) -> list[dict[str, str]]:
    """The rows of a CSV of ours, with the text that `cell` was given."""
    return [given(row) for row in csv.DictReader(lines, restval="")]


def given(row: dict[str, str]) -> dict[str, str]:
    """A row of a CSV of ours with the text that `cell` was given; values beyond its columns (a list) as they are."""
    return {key: _given(value) if isinstance(value, str) else value for key, value in row.items()}


def _given(text: str) -> str:
    return text[1:] if text.startswith("'") and FORMULA.match(text) else text


def markdown(text: str) -> str:
    """A text as a part of one line of Markdown (also of GitHub's): no HTML, markup, link, formula, cell or line."""
    text = re.sub(r"&(?=#?\w+;)", "&amp;", " ".join(text.split()))
    text = re.sub(r"<(?=[A-Za-z/!?])", "&lt;", MARKED_DOWN.sub(r"\\\g<0>", text))
    start = re.match(r"\d+(?=[.)](\s|$))|(?=[#>+=-](?![\d.]))", text)
    return text if start is None else f"{text[: start.end()]}\\{text[start.end() :]}"
