"""A table as LaTeX: booktabs, and longtable where it is longer than a page."""

import re
from itertools import groupby

from dp.report.layout import Group, Shown, Table

PAGE = 56
"""Printed lines that fit one page."""
COMMENT = "% Needs \\usepackage{{{}}}. Written by `dp report`, so edits are lost."
LOOKS = ["\\scriptsize", "\\setlength{\\tabcolsep}{2.5pt}"]


def document(table: Table) -> str:
    """A float, or for a table that would not fit a page a longtable, whose head stands on each.

    An interval stands under its number, so that six tasks with two numbers each fit the width of a page.
    """
    if table.empty:
        lines = ["\\toprule", f"{tex(table.empty)} \\\\", "\\bottomrule"]
        return _float(table, ["\\begin{tabular}{p{0.9\\textwidth}}", *lines, "\\end{tabular}"], [])
    lines = [line for group in table.groups for line in _lines(table, group)]
    if len(lines) > PAGE + len(table.groups):  # a rule above each takes no line
        return _long(table, lines)
    tabular = [f"\\begin{{tabular}}{{{table.alignment}}}", "\\toprule", *_heads(table), *lines]
    return _float(table, [*tabular, "\\bottomrule", "\\end{tabular}"], table.notes)


def _float(table: Table, tabular: list[str], notes: list[str]) -> str:
    under = [f"{tex(note)}\\par" for note in notes]
    if under:
        under = ["\\par\\smallskip", "\\parbox{\\textwidth}{\\raggedright", *under, "}"]
    return "\n".join([COMMENT.format("booktabs"), "\\begin{table*}[tp]", "\\centering", *LOOKS, _caption(table),
                      _label(table), "\\smallskip", *tabular, *under, "\\end{table*}", ""])  # fmt: skip


def _long(table: Table, lines: list[str]) -> str:
    """No page ends behind the title of a group, or between a number and its interval."""
    heads = ["\\toprule", *_heads(table)]
    return "\n".join([COMMENT.format("booktabs,longtable"), "\\begingroup", *LOOKS,
                      f"\\begin{{longtable}}{{{table.alignment}}}",
                      f"{_caption(table)}{_label(table)} \\\\", *heads, "\\endfirsthead",
                      f"{_caption(table, ', continued')} \\\\", *heads, "\\midrule", "\\endhead",
                      "\\bottomrule", "\\endfoot", *lines, "\\end{longtable}",
                      "\\noindent\\raggedright", *(f"{tex(note)}\\par" for note in table.notes),
                      "\\endgroup", ""])  # fmt: skip


def _caption(table: Table, more: str = "") -> str:
    return f"\\caption{'[]' if more else ''}{{{tex(table.title + more)}}}"


def _label(table: Table) -> str:
    return f"\\label{{tab:{table.name}}}"


def _lines(table: Table, group: Group) -> list[str]:
    """A rule, the group's title, and each line, with its intervals below. A * keeps a line and the next on one page."""
    stubs, columns = table.stubs, table.columns
    width = len(stubs) + len(columns)
    lines = ["\\midrule", f"\\multicolumn{{{width}}}{{l}}{{\\textbf{{{tex(group.title)}}}}} \\\\*"]
    for line in group.lines:
        shown = [line.shown(column) for column in columns]
        numbers = _row([*map(tex, line.stubs), *map(_number, shown)])
        if any(one.interval for one in shown):
            intervals = [f"{{\\tiny {one.interval}}}" if one.interval else "" for one in shown]
            lines += [f"{numbers}*", _row([*[""] * len(stubs), *intervals])]
        else:
            lines.append(numbers)
    return lines


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


def _heads(table: Table) -> list[str]:
    """One line of heads, or two where several columns share one."""
    subs = _row([tex(text) for text in (*table.stubs, *(column.title for column in table.columns))])
    spans = [(head, len(list(members))) for head, members in groupby(table.columns, lambda column: column.above)]
    if not any(column.above for column in table.columns):
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
