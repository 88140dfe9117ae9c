"""How every figure looks and is saved: from its CSV alone, to the same bytes each time."""

import csv
import textwrap
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib.style
import seaborn
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from dp import files
from dp.evaluation.labels import spelled_out

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
    "svg.fonttype": "none",
    "svg.hashsalt": "dynamic-prompting",
}
INK, ACCENT = "0.15", "#0072B2"
# Three of Okabe and Ito's colours that differ in lightness too: with the dashes they tell lines apart in grey.
COLOURS = ("#000000", "#0072B2", "#E69F00")
DASHES = ("-", (0, (4, 1.5)), (0, (1, 1.2)), (0, (6, 1.5, 1, 1.5)))


def line(number: int) -> dict[str, object]:
    """Colour and dashes of the n-th line of a panel; 12 differ."""
    return {"color": COLOURS[number % 3], "linestyle": DASHES[number // 3 % 4]}


def save(data: Path, draw: Callable[[Rows], Figure]) -> list[Path]:
    """Draw `<name>.csv` into `<name>.svg` and `<name>.png` beside it; both carry the CSV's sha256 as `Source`."""
    with data.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    source = f"{data.name} sha256:{files.sha256(data)}"
    drop = {"svg": {"Date": None, "Creator": None}, "png": {"Software": None}}
    written = []
    with matplotlib.style.context(seaborn.axes_style("whitegrid") | SETTINGS, after_reset=True):  # type: ignore[arg-type]
        figure = draw(rows)
        for kind, without in drop.items():
            with files.replacing(data.with_suffix(f".{kind}")) as beside:
                figure.savefig(beside, format=kind, metadata={"Source": source, **without})
            written.append(data.with_suffix(f".{kind}"))
    return written


def panels(
    rows: Rows, per_setting: int, width: float, height: float, **axes: object
) -> tuple[Figure, list[list[Axes]]]:
    """A grid of axes: `per_setting` rows for each backbone and regime, one column for each task, sizes in inches."""
    down, across = per_setting * len(settings(rows)), len(tasks(rows))
    size = (max(width * across + 1.8, 7.0), height * down + 1.3)
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(down, across, squeeze=False, **axes)  # type: ignore[call-overload]
    return figure, grid.tolist()


def caption(figure: Figure, rows: Rows, text: str) -> None:
    """What is drawn, and the labels of its numbers in words, at the foot of the figure."""
    width = int(figure.get_figwidth() * 18)
    lines = [part for line in (text, *spelled_out(rows)) for part in textwrap.wrap(line, width, subsequent_indent="  ")]
    figure.supxlabel("\n".join(lines), x=0.01, ha="left", fontsize=7, linespacing=1.4)


def only_words(text: str) -> Figure:
    """A figure that says why there is nothing to draw."""
    figure = Figure(figsize=(7.0, 1.2))
    figure.text(0.5, 0.5, text, ha="center", va="center")
    return figure


def tasks(rows: Rows) -> list[str]:
    return unique(rows, "task")


def settings(rows: Rows) -> list[tuple[str, str, str]]:
    """The (backbone, regime, k) of the rows, in their order."""
    return list(dict.fromkeys((row["backbone"], row["regime"], row["k"]) for row in rows))


def setting_name(setting: tuple[str, str, str]) -> str:
    backbone, regime, k = setting
    return f"{backbone}\n{regime}" + (f", {k} per label" if k else "")


def unique(rows: Rows, key: str) -> list[str]:
    """Distinct values of a column, in their order."""
    return list(dict.fromkeys(row[key] for row in rows))


def where(rows: Rows, setting: tuple[str, str, str], **values: str) -> Rows:
    """The rows of one backbone and regime that have the given values."""
    return [
        row
        for row in rows
        if (row["backbone"], row["regime"], row["k"]) == setting and all(row[key] == v for key, v in values.items())
    ]


def name_rows_and_columns(grid: Sequence[Sequence[Axes]], columns: list[str], names: list[str], pad: float = 6) -> None:
    """Task names above the grid, and a name left of each of its rows."""
    for axes, name in zip(grid[0], columns, strict=True):
        axes.set_title(name, pad=pad)
    for row, name in zip(grid, names, strict=True):
        row[0].set_ylabel(name, rotation=0, ha="right", va="center")
