"""Where a variant that chooses puts the input: how often each split was taken on the reported examples."""

from typing import Any

from matplotlib.figure import Figure

from dp.evaluation.findings import Findings
from dp.figures import style
from dp.variants import Prompted

COLUMNS = ("backbone", "regime", "k", "task", "variant", "split", "share", "examples", "seeds", "labels", "runs")


def data(found: Findings) -> list[dict[str, Any]]:
    """One row per split 0..P; the share is taken over the examples of all runs together."""
    rows = [row | {"split": row["value"]} for row in found.choices if row["factor"] == "split"]
    learned = {
        name
        for name, variant in found.study.params.variants.items()
        if isinstance(variant, Prompted) and variant.position in ("task", "instance")
    }
    return [row for row in rows if row["variant"] in learned]


def draw(rows: style.Rows) -> Figure:
    if not rows:
        return style.only_words("No variant of this scale chooses a split.")
    variants, tasks, settings = style.unique(rows, "variant"), style.tasks(rows), style.settings(rows)
    last = max(int(row["split"]) for row in rows)
    figure, grid = style.panels(rows, len(variants), 1.9, 1.15, sharex=True, sharey=True)
    lines = [(setting, variant) for setting in settings for variant in variants]
    for (setting, variant), line in zip(lines, grid, strict=True):
        for task, axes in zip(tasks, line, strict=True):
            bars = style.where(rows, setting, task=task, variant=variant)
            axes.bar([int(row["split"]) for row in bars], [100 * float(row["share"]) for row in bars], 0.85,
                     color=style.ACCENT)  # fmt: skip
            axes.axhline(100 / (last + 1), color=style.INK, linewidth=0.8, linestyle=(0, (1, 2)))
            axes.grid(axis="x", visible=False)
    grid[0][0].set_xlim(-0.7, last + 0.7)
    grid[0][0].set_ylim(0, 105)
    grid[0][0].set_xticks(sorted({0, last // 2, last}))
    for axes in grid[-1]:
        axes.set_xlabel("split s (vectors in front)")
    names = [f"{style.setting_name(setting)}\n{variant}\n% of examples" for setting, variant in lines]
    style.name_rows_and_columns(grid, tasks, names)
    text = (
        f"Share of the reported examples, all runs together, for which each split was chosen: 0 puts all vectors "
        f"behind the input, {last} all in front. Dotted: every split equally often."
    )
    style.caption(figure, rows, text)
    return figure
