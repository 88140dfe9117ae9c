"""A table as CSV for machines, and as Markdown and LaTeX (booktabs) for readers."""

import re
from collections.abc import Iterable, Iterator
from itertools import groupby

from dp.escapes import markdown as marked_down
from dp.report.tables.layout import Column, Group, Line, Shown, Table
from dp.results.table import to_csv

PAGE = 56
"""Printed lines that one LaTeX float may have; a longer table goes on in the next."""

EMPTY = ("\\begin{tabular}{p{0.9\\textwidth}}\n\\toprule", "\\bottomrule", "\\end{tabular}")


def texts(table: Table) -> dict[str, str]:
    """File below the report's folder -> its text."""
    kinds = {"csv": csv, "md": markdown, "tex": latex}
    return {f"tables/{table.name}.{kind}": text(table) for kind, text in kinds.items()}


def csv(table: Table) -> str:
    """One line for each record, numbers in full."""
    return to_csv(table.fields, table.records)


def markdown(table: Table) -> str:
    """A heading, one table whose groups are set apart by a bold line, and the notes as a list."""
    if table.empty:
        return f"# {marked_down(table.title)}\n\n{marked_down(table.empty)}\n"
    heads = [column.head if column.head == column.sub else f"{column.head} {column.sub}" for column in table.columns]
    rows = [[marked_down(text) for text in (*table.stubs, *heads)]]
    for group in table.groups:
        rows.append([f"**{marked_down(group.title)}**", *[""] * (len(rows[0]) - 1)])
        rows += [[marked_down(text) for text in (*line.stubs, *_in_one(table.columns, line))] for line in group.lines]
    widths = [max(3, *(len(row[n]) for row in rows)) for n in range(len(rows[0]))]
    left = len(table.stubs)
    rule = ["-" * width if n < left else "-" * (width - 1) + ":" for n, width in enumerate(widths)]
    padded = [[text.ljust(width) if n < left else text.rjust(width)
               for n, (text, width) in enumerate(zip(row, widths, strict=True))] for row in rows]  # fmt: skip
    lines = [f"| {' | '.join(row)} |" for row in (padded[0], rule, *padded[1:])]
    notes = [f"- {marked_down(note)}" for note in table.notes]
    return "\n\n".join([f"# {marked_down(table.title)}", "\n".join(lines), "\n".join(notes)]).rstrip() + "\n"


def latex(table: Table) -> str:
    """One float, or several where it would not fit a page; needs the package booktabs and nothing else.

    An interval stands under its number, so that six tasks with two numbers each fit the width of a page.
    """
    parts = ["% Needs \\usepackage{booktabs}. Written by `dp report`, so edits are lost."]
    if table.empty:
        parts += _float(table, "", [EMPTY[0], f"{tex(table.empty)} \\\\", *EMPTY[1:]], [])
        return "\n".join(parts)
    pages = list(_pages(table))
    for number, groups in enumerate(pages):
        suffix = f" ({number + 1} of {len(pages)})" if len(pages) > 1 else ""
        parts += _float(table, suffix, _tabular(table, groups), table.notes if number == len(pages) - 1 else [])
    return "\n".join(parts)


def tex(text: str) -> str:
    """Text with every character that means something to LaTeX, or that its old fonts print as another, escaped.

    Line breaks are blanks. A [ or * at the start, which the end of the line before would take for its argument, is set
    apart.
    """
    return re.sub(r"^[\[*]", r"{\g<0>}", re.sub("-(?=-)", "-{}", " ".join(text.split()).translate(SPECIAL)))


SPECIAL = str.maketrans(
    {character: f"\\{character}" for character in "&%$#_{}"}
    | {"\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}", "<": "\\textless{}",
       ">": "\\textgreater{}", "|": "\\textbar{}", '"': "''", "`": "\\textasciigrave{}"}
)  # fmt: skip


def _in_one(columns: Iterable[Column], line: Line) -> list[str]:
    return [" ".join(part for part in shown if part) for shown in _shown(columns, line)]


def _shown(columns: Iterable[Column], line: Line) -> list[Shown]:
    return [column.show(line.records[column.record]) if column.record in line.records else Shown()
            for column in columns]  # fmt: skip


def _float(table: Table, suffix: str, tabular: list[str], notes: list[str]) -> list[str]:
    label = [] if suffix and not suffix.startswith(" (1 ") else [f"\\label{{tab:{table.name}}}"]
    under = [f"{tex(note)}\\par" for note in notes]
    if under:
        under = ["\\par\\smallskip", "\\parbox{\\textwidth}{\\raggedright", *under, "}"]
    return ["\\begin{table*}[tp]", "\\centering", "\\scriptsize", "\\setlength{\\tabcolsep}{2.5pt}",
            f"\\caption{{{tex(table.title + suffix)}}}", *label, "\\smallskip", *tabular, *under,
            "\\end{table*}", ""]  # fmt: skip


def _tabular(table: Table, groups: list[Group]) -> list[str]:
    stubs, columns = table.stubs, table.columns
    lines = [f"\\begin{{tabular}}{{{'l' * len(stubs)}{'r' * len(columns)}}}", "\\toprule", *_heads(table)]
    for group in groups:
        lines += [
            "\\midrule",
            f"\\multicolumn{{{len(stubs) + len(columns)}}}{{l}}{{\\textbf{{{tex(group.title)}}}}} \\\\",
        ]
        for line in group.lines:
            shown = _shown(columns, line)
            lines.append(_row([*map(tex, line.stubs), *map(_number, shown)]))
            if any(one.interval for one in shown):
                intervals = [f"{{\\tiny {one.interval}}}" if one.interval else "" for one in shown]
                lines.append(_row([*[""] * len(stubs), *intervals]))
    return [*lines, "\\bottomrule", "\\end{tabular}"]


def _heads(table: Table) -> list[str]:
    """One line of heads, or two where several columns share one."""
    subs = _row([tex(text) for text in (*table.stubs, *(column.sub for column in table.columns))])
    spans = [(head, len(list(members))) for head, members in groupby(table.columns, lambda column: column.head)]
    if all(column.head == column.sub for column in table.columns):
        return [subs]
    above, rules, at = [""] * len(table.stubs), [], len(table.stubs) + 1
    for head, width in spans:
        above.append(f"\\multicolumn{{{width}}}{{c}}{{{tex(head)}}}")
        rules.append(f"\\cmidrule(lr){{{at}-{at + width - 1}}}")
        at += width
    return [_row(above), " ".join(rules), subs]


def _number(shown: Shown) -> str:
    """A mark of one letter takes no width, so that digits stay below each other."""
    mark = f"\\textsuperscript{{{tex(shown.mark)}}}" if shown.mark else ""
    return tex(shown.number) + (f"\\rlap{{{mark}}}" if len(shown.mark) == 1 else mark)


def _row(cells: list[str]) -> str:
    return f"{' & '.join(cells)} \\\\"


def _pages(table: Table) -> Iterator[list[Group]]:
    """The groups, cut so that none of the lists has more than PAGE printed lines."""
    page: list[Group] = []
    room = PAGE
    for group in table.groups:
        lines: list[Line] = []
        heights = [1 + any(one.interval for one in _shown(table.columns, line)) for line in group.lines]
        if page and min(sum(heights), PAGE // 2) + 1 > room:
            yield page
            page, room = [], PAGE
        room -= 1
        for line, height in zip(group.lines, heights, strict=True):
            if height > room:
                yield [*page, Group(group.title, lines)]
                page, lines, room = [], [], PAGE - 1
            lines.append(line)
            room -= height
        page.append(Group(group.title, lines))
    yield page
