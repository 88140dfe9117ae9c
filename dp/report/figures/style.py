"""How every figure looks and is saved: from its CSV alone, to the same bytes each time."""

import textwrap
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

import matplotlib.style
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.textpath import TextToPath
from matplotlib.ticker import NullLocator

from dp import files
from dp.escapes import csv_rows
from dp.results.labels import spelled_out
from dp.results.table import OVERFLOW, is_overflow

Rows = list[dict[str, str]]

SETTINGS = {
    "font.family": "DejaVu Sans",
    "font.size": 8,
    "axes.titlesize": 9,
    "axes.titleweight": "bold",
    "axes.labelsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "grid.color": "0.9",
    "grid.linewidth": 0.6,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "figure.dpi": 110,
    "text.parse_math": False,  # a $ is a $
    "axes.formatter.use_locale": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "dynamic-prompting",
}
INK, ACCENT = "0.15", "#0072B2"
# Three of Okabe and Ito's colours that differ in lightness too: with the dashes they tell lines apart in grey.
COLOURS = ("#000000", "#0072B2", "#E69F00")
REFERENCE: dict[str, Any] = {"color": "0.72", "linewidth": 2.2, "zorder": 1}  # what stands behind the lines of a panel
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">")
# Looks of a verdict: shape, fill and lightness all tell them apart.
GOOD: dict[str, Any] = {"color": COLOURS[1], "marker": "o", "markersize": 4.5}
BAD: dict[str, Any] = {"color": "#D55E00", "marker": "X", "markersize": 7, "mec": "black", "mew": 0.6}
OPEN: dict[str, Any] = {"color": "black", "marker": "D", "markersize": 4.5, "markerfacecolor": "white"}
HEADER = 0.34  # inches
MOST = 8
"""Backbones and regimes of one figure."""
DASHES = ("-", (0, (4, 1.5)), (0, (1, 1.2)), (0, (6, 1.5, 1, 1.5)))


def line(number: int) -> dict[str, Any]:
    """Colour and dashes of the n-th line of a panel; 12 differ."""
    return {"color": COLOURS[number % 3], "linestyle": DASHES[number // 3 % 4]}


def marked(number: int) -> dict[str, Any]:
    """The same with a mark; 9 marks differ."""
    return line(number) | {"marker": MARKERS[number % len(MARKERS)], "markersize": 4}


def save(data: Path, draw: Callable[[Rows], Figure]) -> list[Path]:
    """Draw `<name>.csv` into `<name>.svg` and `<name>.png` beside it; both carry the CSV's sha256 as `Source`."""
    with data.open(encoding="utf-8", newline="") as file:
        rows = csv_rows(file)
    source = f"{data.name} sha256:{files.sha256(data)}"
    drop = {"svg": {"Date": None, "Creator": None}, "png": {"Software": None}}
    written = []
    with matplotlib.style.context(seaborn.axes_style("whitegrid") | SETTINGS, after_reset=True):  # type: ignore[arg-type]
        figure = draw(rows)
        _settle(figure)
        for kind, without in drop.items():
            with files.replacing(data.with_suffix(f".{kind}")) as beside:
                figure.savefig(beside, format=kind, metadata={"Source": source, **without})
            written.append(data.with_suffix(f".{kind}"))
    return written


def _settle(figure: Figure) -> None:
    """Rounds what an automatic layout found: its solver's last digits change with Python's hash seed, and an SVG's ids
    with them."""
    if figure.get_layout_engine() is None:
        return
    figure.draw_without_rendering()
    figure.set_layout_engine("none")
    for axes in figure.axes:
        x, y, width, height = (round(value, 6) for value in axes.get_position(original=True).bounds)
        axes.set_position((x, y, width, height))


class Band(NamedTuple):
    """One line of panels, in inches: a title for each, their height, a header above them and the room below."""

    titles: list[str]
    height: float
    header: str = ""
    below: float = 0.45  # for ticks and their name


def page(
    rows: Rows,
    text: str,
    lines: Sequence[Band],
    width: float,
    left: float,
    right: float = 0.15,
    between: float = 0.22,
    above: float = 0.22,
    legend: Mapping[str, Any] | None = None,
) -> tuple[Figure, list[list[Axes]]]:
    """Lines of panels of one width, each with its own panels only; a legend above all, what is drawn below (`caption`).

    Sizes are in inches. `left`, `right`: room beside a line; `between`: beside a panel; `above`: room for
    the titles of a line. Nothing is fitted while drawing: 200 panels take seconds.
    """
    width = max([width, *(text_width(title, 8) * 1.12 - between for line in lines for title in line.titles)])
    across = max(len(line.titles) for line in lines)
    full = max(left + across * width + (across - 1) * between + right, 7.0)
    words = _caption(full, rows, text)
    entries = legend or {}
    columns = max(1, int((full - 0.3) / (max([0.0, *map(text_width, entries)]) + 0.75)))
    top = 0.1 + (-(-len(entries) // columns) * 0.17 + 0.1 if entries else 0.0)
    heights = [above + line.height + line.below + (HEADER if line.header else 0.0) for line in lines]
    high = top + sum(heights) + 0.2 + 0.14 * len(words)
    figure = Figure(figsize=(full, high))
    if entries:
        corner = (0.1 / full, 1 - 0.06 / high)
        figure.legend(list(entries.values()), list(entries), loc="upper left", bbox_to_anchor=corner, ncols=columns,
                      handlelength=3, borderaxespad=0, borderpad=0)  # fmt: skip
    grid, y = [], high - top
    for line, height in zip(lines, heights, strict=True):
        if line.header:
            figure.text(0.1 / full, (y - 0.17) / high, line.header, fontsize=10, weight="bold", va="center")
        bottom = y - height + line.below
        boxes = [(left + n * (width + between), bottom, width, line.height) for n in range(len(line.titles))]
        grid.append([figure.add_axes((x / full, b / high, w / full, h / high)) for x, b, w, h in boxes])
        for axes, title in zip(grid[-1], line.titles, strict=True):
            axes.set_title(title, fontsize=8, pad=4)
        y -= height
    figure.text(0.1 / full, 0.1 / high, "\n".join(words), ha="left", va="bottom", fontsize=7, linespacing=1.4)
    return figure, grid


def caption(figure: Figure, rows: Rows, text: str) -> None:
    """What is drawn, and the labels of its numbers in words, at the foot of the figure."""
    words = "\n".join(_caption(figure.get_figwidth(), rows, text))
    figure.supxlabel(words, x=0.01, ha="left", fontsize=7, linespacing=1.4)


def _caption(width: float, rows: Rows, text: str) -> list[str]:
    """Lines of at most `width` inches."""
    parts = (text, *spelled_out(rows))
    return [line for part in parts for line in textwrap.wrap(part, int(width * 18), subsequent_indent="  ")]


def numbers(rows: Rows) -> tuple[Rows, Rows]:
    """The rows that have a number, and those that say `overflow` in its place, which are named and not drawn."""
    return [row for row in rows if not is_overflow(row)], [row for row in rows if is_overflow(row)]


def without_number(rows: Rows) -> str:
    """A sentence for the caption on the rows that overflowed."""
    names = unique(rows, "variant")
    return f" Without a number, since runs ended in an overflow: {', '.join(names)}." if names else ""


def say_overflow(axes: Axes, x: float, y: float) -> None:
    """The word where a mark would stand."""
    axes.text(x, y, OVERFLOW, fontsize=6.5, style="italic", color=INK, ha="center", va="center")


def only_words(text: str) -> Figure:
    """A figure that says why there is nothing to draw."""
    figure = Figure(figsize=(7.0, 1.2))
    figure.text(0.5, 0.5, textwrap.fill(text, 100), ha="center", va="center", linespacing=1.5)
    return figure


@cache
def text_width(words: str, size: float = 7) -> float:
    """Inches that a line of text takes."""
    return TextToPath().get_text_width_height_descent(words, FontProperties(size=size), ismath=False)[0] / 72  # type: ignore[arg-type]


def label_width(names: Iterable[str]) -> float:
    """Inches that the names beside an axis take, with their distance from it."""
    return max(map(text_width, names)) + 0.3


def fewer(rows: Rows, most: int = MOST) -> tuple[Rows, str]:
    """The rows of at most so many backbones and regimes, and a sentence on those that are not drawn.

    Few-shot goes first, and of it the smallest k.
    """
    every = settings(rows)
    if len(every) <= most:
        return rows, ""
    kept = sorted(every, key=lambda setting: (setting[1] == "fewshot", -int(setting[2] or 0)))[:most]
    out: dict[tuple[str, str], list[str]] = {}
    for backbone, regime, k in every:
        if (backbone, regime, k) not in kept:
            out.setdefault((backbone, regime), []).append(k)
    same: dict[str, list[str]] = {}
    for (backbone, regime), shots in out.items():
        of_regime = regime + (f" with {', '.join(shots)} per label" if any(shots) else "")
        same.setdefault(of_regime, []).append(backbone)
    words = "; ".join(f"{regime} of {', '.join(backbones)}" for regime, backbones in same.items())
    drawn = [row for row in rows if (row["backbone"], row["regime"], row["k"]) in kept]
    return drawn, f" Not drawn, but in the CSV: {words}."


def chunks(names: Sequence[str], size: int = 6) -> list[list[str]]:
    """Names in parts of nearly equal size, so many as one panel can hold."""
    count = -(-len(names) // size)
    bounds = [len(names) * n // count for n in range(count + 1)] if count else [0]
    return [list(names[low:high]) for low, high in pairwise(bounds)]


def limits(values: Iterable[float], share: float, otherwise: float = 1.0) -> tuple[float, float]:
    """The range of values with room at both ends: a share of it, or so much where they are all the same."""
    ends = sorted(values)
    room = share * (ends[-1] - ends[0]) or otherwise
    return ends[0] - room, ends[-1] + room


def majority(axes: Axes, rows: Rows) -> None:
    """The majority rate as a dashed line across a panel."""
    for rate in sorted({100 * float(row["majority"]) for row in rows}):
        axes.axhline(rate, color=INK, linewidth=0.9, linestyle=(0, (3, 2)), zorder=1)


def log_ticks(axes: Axes) -> None:
    """A few round numbers on a horizontal log axis whose limits are set."""
    marks = ticks(*axes.get_xlim())
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_xticks(marks, [short(mark) for mark in marks])


def ticks(low: float, high: float) -> list[float]:
    """A few round numbers between two positive ones: powers of ten, or more digits where those are fewer than two."""
    for digits in ((1,), (1, 2, 5), range(1, 10)):
        every = [digit * 10.0**power for power in range(-3, 13) for digit in digits]
        within = [tick for tick in every if low <= tick <= high]
        if len(within) > 1:
            return within
    return [low, high]


def short(number: float) -> str:
    """Three digits and a unit, as 2.85 G."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.3g} {unit}"
    return f"{number:.3g}"


def settings(rows: Rows) -> list[tuple[str, str, str]]:
    """The (backbone, regime, k) of the rows, in their order."""
    return list(dict.fromkeys((row["backbone"], row["regime"], row["k"]) for row in rows))


def unique(rows: Rows, key: str) -> list[str]:
    """Distinct values of a column, in their order."""
    return list(dict.fromkeys(row[key] for row in rows))


def of(given: Rows, /, **values: str) -> Rows:
    """The rows that have the given values."""
    return [row for row in given if all(row[key] == value for key, value in values.items())]


def where(rows: Rows, setting: tuple[str, str, str], **values: str) -> Rows:
    """The rows of one backbone and regime that have the given values."""
    backbone, regime, k = setting
    return of(rows, backbone=backbone, regime=regime, k=k, **values)
