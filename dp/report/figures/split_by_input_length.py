from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from dp.report.figures import bundles, style
from dp.report.findings import Findings
from dp.results.groups import by_row
from dp.results.table import made_from, overflowed

ABOUT = "Whether the split that an instance variant chooses goes with the length of the input."
COLUMNS = ("backbone", "regime", "k", "task", "variant", "bin", "tokens_low", "tokens_high", "tokens", "split",
           "split_q1", "split_q3", "last", "examples", "seeds", "labels", "runs")  # fmt: skip
BINS = 10
WIDE = 3
"""Ratio of the last bin's mean length to the first's above which the axis is logarithmic."""


def data(found: Findings) -> list[dict[str, Any]]:
    """One row per bin of the reported examples of all runs together; `last` is the largest split that was chosen.

    tokens, split: means; tokens_low, tokens_high: the shortest and longest input; split_q1, split_q3: quartiles.
    """
    rows: list[dict[str, Any]] = []
    for key, members in by_row(found.runs).items():
        definition = found.study.params.variants[key.variant]
        if definition.choices.get("position") != "instance" or overflowed(members):
            continue
        lines = [line for run in members for line in run.predictions()]
        tokens, splits = [line["tokens"] for line in lines], [line["split"] for line in lines]
        about = key._asdict() | {"last": max(splits), "seeds": len(members)} | made_from(members)
        rows += [about | {"bin": n} | one for n, one in enumerate(binned(tokens, splits))]
    return rows


def binned(tokens: Sequence[int], splits: Sequence[int]) -> list[dict[str, Any]]:
    """At most 10 bins of inputs by length, as equal in count as inputs of one length, which stay together, allow."""
    length, split = np.array(tokens), np.array(splits)
    edges = np.unique(np.quantile(length, np.arange(1, BINS) / BINS, method="inverted_cdf"))
    number = np.searchsorted(edges, length, side="left")
    found = []
    for n in np.unique(number):
        own, chosen = length[number == n], split[number == n]
        q1, q3 = np.quantile(chosen, [0.25, 0.75])
        found.append({"tokens_low": int(own.min()), "tokens_high": int(own.max()), "tokens": float(own.mean()),
                      "split": float(chosen.mean()), "split_q1": float(q1), "split_q3": float(q3),
                      "examples": len(own)})  # fmt: skip
    return found


def draw(rows: style.Rows) -> Figure:
    if not rows:
        return style.only_words("No variant of this scale chooses a split for each instance.")
    rows, left_out = style.fewer(rows)
    parts = list(bundles.parts(rows, reference=False))
    lines = [style.Band(part.tasks, 1.25, part.header) for part in parts]
    text = (
        "Reported examples, all runs together, in at most 10 bins of nearly equally many by the tokens of the input. "
        "Points are the mean length and the mean split of a bin, bars the quartiles of its splits, moved aside a "
        f"little where they would hide one another. A flat line: the choice does not go with the length. The "
        f"horizontal axis is logarithmic where inputs differ much.{left_out}"
    )
    right = style.label_width(style.unique(rows, "variant")) + 0.55
    figure, grid = style.page(rows, text, lines, 1.9, 0.6, right, between=0.4)
    last = max(int(row["last"]) for row in rows)
    for part, line in zip(parts, grid, strict=True):
        looks = {variant: style.marked(n) | {"linewidth": 1.1} for n, variant in enumerate(part.variants)}
        for task, axes in zip(part.tasks, line, strict=True):
            own = [row for row in style.where(rows, part.setting, task=task) if row["variant"] in looks]
            ends = [float(row["tokens"]) for row in own]
            wide, ratio = max(ends) - min(ends) or 1.0, max(ends) / min(ends)
            for n, (variant, look) in enumerate(looks.items()):
                bins = style.of(own, variant=variant)
                aside = 0.016 * (n - (len(looks) - 1) / 2)
                x = [_moved(float(row["tokens"]), aside, wide, ratio) for row in bins]
                low, high = ([float(row[key]) for row in bins] for key in ("split_q1", "split_q3"))
                axes.vlines(x, low, high, color=look["color"], linewidth=0.9)
                axes.plot(x, [float(row["split"]) for row in bins], **look)
            if ratio > WIDE:
                axes.set_xscale("log")
            axes.set_xlim(_moved(min(ends), -0.07, wide, ratio), _moved(max(ends), 0.07, wide, ratio))
            if ratio > WIDE:
                style.log_ticks(axes)
            axes.set_ylim(-0.05 * last - 0.05, 1.05 * last + 0.05)
            axes.locator_params(axis="y", nbins=5, integer=True)
            axes.set_xlabel("tokens of the input", labelpad=2)
        line[0].set_ylabel("split s")
        bundles.named(line[-1], looks)
    return figure


def _moved(tokens: float, share: float, wide: float, ratio: float) -> float:
    """A place moved by a share of the axis."""
    return tokens * ratio**share if ratio > WIDE else tokens + share * wide
