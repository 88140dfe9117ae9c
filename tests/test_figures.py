"""Figures: from known rows to known marks, what they say where there is nothing, and the same bytes anywhere."""

import csv
import hashlib
import importlib
import json
import math
import os
import random
import re
import subprocess
import sys
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import ROOT
from matplotlib.collections import LineCollection, QuadMesh
from matplotlib.colors import to_rgb
from synthetic_results import change, predictions, study_in, write_results

from dp import files, paths
from dp.jobs.closure import closure
from dp.paper import claimed as claims
from dp.report import findings
from dp.report.figures import all_figures as every
from dp.report.figures import bundles, by_variant, cost, gain_over_fixed, style
from dp.report.figures import split_by_input_length as by_length
from dp.results import runs, steps, table
from dp.study.contents import FIGURES, OF_PREDICTIONS, TABLES

CELL = {"backbone": "b", "regime": "full", "k": "", "task": "t", "variant": "v", "labels": "", "runs": "0" * 12}


def module(name):
    return importlib.import_module(f"dp.report.figures.{name}")


def written(name, rows, folder):
    """The rows as a report writes them."""
    path = folder / f"{name}.csv"
    path.write_text(table.to_csv(module(name).COLUMNS, rows))
    return path


def drawn(name, rows, tmp_path):
    """The figure, drawn from the CSV of the rows."""
    with written(name, rows, tmp_path).open(newline="") as file:
        return module(name).draw(list(csv.DictReader(file)))


def panel(figure, title, number=0):
    return [axes for axes in figure.axes if axes.get_title() == title][number]


def marks(axes, marker):
    """(x, y) of every mark of a shape."""
    found = [line for line in axes.lines if line.get_marker() == marker]
    return [(float(x), float(y)) for line in found for x, y in zip(line.get_xdata(), line.get_ydata(), strict=True)]


def words(figure):
    return "\n".join(text.get_text() for text in figure.texts)


def text_of(figure):
    return " ".join(words(figure).split())


def lightness(colour):
    """0 black .. 1 white, as a grey print has it."""
    return float(np.dot(to_rgb(colour), (0.299, 0.587, 0.114)))


# Registration, empty figures, looks, layout


def test_every_figure_says_in_a_sentence_what_it_shows():
    said = [one.ABOUT for one in every.ALL.values()]
    assert len(set(said)) == len(said) and all(re.fullmatch(r"[A-Z].{20,}\.", text) for text in said)
    assert all({"backbone", "labels", "runs"} <= set(one.COLUMNS) for one in every.ALL.values())


def test_the_code_of_a_report_holds_every_figure_and_table_that_is_named():
    files_of = {path.as_posix() for path in closure("report")}
    assert {f"dp/report/figures/{name}.py" for name in (*FIGURES, *OF_PREDICTIONS)} <= files_of
    assert {f"dp/report/tables/{name}.py" for name in TABLES if name not in claims.TABLES} <= files_of


@pytest.mark.parametrize("name", FIGURES)
def test_a_figure_with_nothing_to_draw_says_why(tmp_path, name):
    figure = drawn(name, [], tmp_path)
    assert not figure.axes
    assert len(text_of(figure)) > 25 and text_of(figure).endswith(".")


@pytest.mark.parametrize("name", ["paper_comparison", "optimism", "cost"])
def test_marks_differ_in_shape_or_fill(name):
    looks = module(name).LOOKS.values()
    shapes = [(look["marker"], "markerfacecolor" in look) for look in looks]
    assert len(set(shapes)) == len(shapes)


def test_lines_of_a_panel_differ_in_grey():
    greys = sorted(lightness(colour) for colour in style.COLOURS)
    assert min(b - a for a, b in pairwise(greys)) > 0.25
    lines = [style.line(n) for n in range(12)]
    assert len({(look["color"], str(look["linestyle"])) for look in lines}) == 12
    assert len({style.marked(n)["marker"] for n in range(9)}) == 9


def test_every_panel_lies_inside_and_apart_and_holds_the_widest_title(tmp_path):
    rows = [CELL | {"task": task, "variant": variant} for task in "ab" for variant in ("v", "w" * 40)]
    lines = [style.Band(["a", "b" * 30], 1.0, "header"), style.Band(["a"], 0.5)]
    figure, grid = style.page(rows, "text " * 60, lines, 1.0, style.label_width(["w" * 40]))
    boxes = [axes.get_position() for line in grid for axes in line]
    assert all(0 < box.x0 < box.x1 < 1 and 0 < box.y0 < box.y1 < 1 for box in boxes)
    assert boxes[0].x1 < boxes[1].x0 and boxes[2].y1 < boxes[0].y0
    width, height = figure.get_size_inches()
    assert boxes[1].width * width > style.text_width("b" * 30, 8) - 0.22
    assert boxes[0].height * height == pytest.approx(1.0)
    assert boxes[0].x0 * width > style.text_width("w" * 40)
    assert words(figure).startswith("header\ntext text")


def test_of_too_many_settings_few_shot_is_left_out_first_and_named():
    rows = [CELL | {"backbone": b, "regime": r, "k": k} for b in "xy" for r, k in
            (("full", ""), ("fewshot", "2"), ("fewshot", "32"), ("fewshot", "8"), ("multitask", ""))]  # fmt: skip
    assert style.fewer(rows, 10) == (rows, "")
    kept, said = style.fewer(rows, 6)
    assert [(row["backbone"], row["regime"], row["k"]) for row in kept] == [
        (b, r, k) for b in "xy" for r, k in (("full", ""), ("fewshot", "32"), ("multitask", ""))
    ]
    assert said == " Not drawn, but in the CSV: fewshot with 2, 8 per label of x, y."


def test_chunks_are_nearly_equal_and_lose_nothing():
    assert style.chunks("abcdefg", 6) == [["a", "b", "c"], ["d", "e", "f", "g"]]
    assert style.chunks("", 6) == []
    for count in range(1, 40):
        parts = style.chunks(range(count), 6)
        assert [n for part in parts for n in part] == list(range(count))
        assert max(map(len, parts)) <= 6 and max(map(len, parts)) - min(map(len, parts)) <= 1


def test_the_reference_is_in_no_part_and_a_part_has_only_tasks_of_its_variants():
    rows = [CELL | {"task": task, "variant": variant} for task, variant in
            [("t", "fixed"), ("u", "fixed"), *(("u", f"v{n}") for n in range(7)), ("t", "v0")]]  # fmt: skip
    first, second = bundles.parts(rows)
    assert (first.header, second.header) == ("b, full", "")
    assert first.variants + second.variants == [f"v{n}" for n in range(7)]
    assert (first.tasks, second.tasks) == (["u", "t"], ["u"])
    (alone,) = bundles.parts(rows[:2])
    assert (alone.variants, alone.tasks) == ([], ["t", "u"])


# Figures whose rows are variants


def test_accuracy_by_variant_has_a_point_bar_and_rate_for_each_row(tmp_path):
    rows = [CELL | {"variant": v, "mean": m, "low": m - 0.1, "high": m + 0.05, "majority": 0.6, "collapsed": c}
            for v, m, c in (("fixed", 0.7, "0/3"), ("random", 0.65, "1/3"))]  # fmt: skip
    rows.append(rows[0] | {"regime": "multitask", "task": "u", "mean": 0.9, "high": 0.95})
    figure = drawn("accuracy_by_variant", rows, tmp_path)
    axes = panel(figure, "t")
    assert marks(axes, "o") == [(pytest.approx(70), 0), (pytest.approx(65), 1)]
    fills = [line.get_markerfacecolor() for line in axes.lines if line.get_marker() == "o"]
    assert fills == [style.ACCENT, "white"]
    assert [list(line.get_xdata()) for line in axes.lines if line.get_marker() == "None"] == [
        pytest.approx([60, 75]), pytest.approx([55, 70]), pytest.approx([60, 60])]  # fmt: skip
    assert [label.get_text() for label in axes.get_yticklabels()] == ["fixed", "random"]
    assert [label.get_text() for label in panel(figure, "u").get_yticklabels()] == ["fixed"]
    assert len(figure.axes) == 2, "a block has only the tasks that it was run on"


def optimism_row(variant, rows, best, last, chosen):
    return CELL | {"variant": variant, "rows": rows, "evaluations": 40, "seeds": 3, "best": best, "last": last,
                   "chosen": chosen, "best_minus_last": best - last, "best_minus_chosen": None, "low": 0.0,
                   "high": 0.1}  # fmt: skip


def test_optimism_marks_best_last_and_chosen_apart_for_the_rows_looked_at(tmp_path):
    rows = [optimism_row("fixed", "selection", 0.8, 0.7, 0.75), optimism_row("random", "selection", 0.6, 0.6, 0.5),
            optimism_row("fixed", "reported", 0.85, 0.7, None)]  # fmt: skip
    figure = drawn("optimism", rows, tmp_path)
    first, second = panel(figure, "t"), panel(figure, "t", 1)
    assert marks(first, "^") == [(pytest.approx(80), 0), (pytest.approx(60), 1)]
    assert marks(first, "s") == [(pytest.approx(70), 0), (pytest.approx(60), 1)]
    assert marks(first, "o") == [(pytest.approx(75), 0), (pytest.approx(50), 1)]
    assert (marks(second, "^"), marks(second, "o")) == ([(pytest.approx(85), 0)], [])
    assert "evaluations of the selection rows" in words(figure) and "evaluations of the reported rows" in words(figure)


def claim(variant, value, ours, verdict, kind="cell", task="t", backbone="b", collapsed="no"):
    low, high = (None, None) if ours is None else (ours - 1, ours + 2)
    return CELL | {"claim": f"{variant}_{task}", "table": "A_position", "kind": kind, "backbone": backbone,
                   "task": task, "variant": variant, "protocol": "released", "value": value, "ours": ours,
                   "low": low, "high": high,
                   "seeds": 3, "verdict": verdict, "paper_collapsed": collapsed}  # fmt: skip


VERDICTS = {"reproduced": "o", "differs": "X", "unclear": "D", "collapsed": "v", "not comparable": "+"}


def test_paper_comparison_shows_the_papers_number_and_ours_by_verdict(tmp_path):
    rows = [claim(f"v{n}", "70.12", 71.0 + n, verdict) for n, verdict in enumerate(VERDICTS)]
    rows.append(claim("w", "52.71", None, "not run", collapsed="yes"))
    rows.append(claim("v0", "80.00", None, "not run", backbone="another"))
    figure = drawn("paper_comparison", rows, tmp_path)
    axes = panel(figure, "t")
    assert len(figure.axes) == 1, "a backbone without runs of ours is left out where others have some"
    assert marks(axes, "|") == [*((70.12, n) for n in range(5)), (52.71, 5)]
    for n, marker in enumerate(VERDICTS.values()):
        found = marks(axes, marker)
        assert (71.0 + n, n) in found, marker
        assert [71.0 + n - 1, 71.0 + n + 2] in [list(line.get_xdata()) for line in axes.lines]
    assert (52.71, 5) in marks(axes, "o"), "a ring where the paper sits at the majority rate"
    assert (
        "Of 7 numbers of the paper: 1 reproduced, 1 differs, 1 unclear, 1 collapsed, 1 not comparable, 2 not run."
        in (text_of(figure))
    )


def test_paper_comparison_without_runs_says_so_and_shows_the_paper_alone(tmp_path):
    rows = [claim("v", "70.00", None, "not run"), claim("v", "71.00", None, "not run", "average", "average")]
    figure = drawn("paper_comparison", rows, tmp_path)
    assert text_of(figure).startswith("b: the paper alone No run of this scale stands against a number of the paper")
    assert marks(panel(figure, "average"), "|") == [(71.0, 0)]
    assert sum(len(axes.lines) for axes in figure.axes) == 2


def test_paper_comparison_takes_cells_and_averages_alone():
    rows = [claim("v", "1.00", None, "not run", kind) for kind in ("cell", "average", "gain", "text", "anchor")]
    found = module("paper_comparison").data(SimpleNamespace(claims=rows))
    assert [row["kind"] for row in found] == ["cell", "average"]


def comparison(backbone, variant, task, difference, low, high, regime="full", against="fixed"):
    return CELL | {"backbone": backbone, "regime": regime, "k": None, "variant": variant, "task": task,
                   "against": against, "difference": difference, "low": low, "high": high, "labels": task}  # fmt: skip


def gains(monkeypatch, rows, claims=(), sizes=None):
    sizes = sizes or {"big": 2_850_000_000, "small": 77_000_000}
    monkeypatch.setattr(gain_over_fixed, "_parameters", sizes.get)
    params = SimpleNamespace(model_of=lambda name: name)
    study = SimpleNamespace(scale=SimpleNamespace(backbones=list(sizes)), params=params)
    return gain_over_fixed.data(SimpleNamespace(study=study, comparisons=rows, claims=list(claims)))


def test_gain_is_averaged_over_tasks_with_an_interval_joined_from_theirs(monkeypatch):
    cells = [("t", 0.02, -0.01, 0.06), ("u", 0.04, 0.0, 0.07)]
    rows = [comparison("small", "v", *cell) for cell in cells] + [
        comparison("small", "v", "t", 9.0, 9.0, 9.0, against="postfix")
    ]
    found = gains(monkeypatch, rows + [comparison("small", "v", *cell, regime="multitask-x") for cell in cells])
    assert [row["task"] for row in found] == ["t", "u", "average"] * 2
    one, union = found[2], found[5]
    assert (one["gain"], one["labels"], one["runs"]) == (pytest.approx(0.03), "t;u", f"{'0' * 12};{'0' * 12}")
    assert one["low"] == pytest.approx(0.03 - math.sqrt(0.03**2 + 0.04**2) / 2)
    assert one["high"] == pytest.approx(0.03 + math.sqrt(0.04**2 + 0.03**2) / 2)
    assert (union["low"], union["high"]) == (pytest.approx(0.03 - 0.035), pytest.approx(0.03 + 0.035))
    assert gain_over_fixed.average([(0.1, None, None), (0.3, 0.2, 0.4)], False) == (pytest.approx(0.2), None, None)


def test_joined_intervals_of_independent_tasks_cover_as_often_as_they_should():
    """Known truth: means of 5 normal runs on 4 tasks of different spread, each with its own t interval."""
    draw, hits, t = np.random.default_rng(0), 0, 2.776445
    for _ in range(2000):
        runs_of = draw.normal(0, [[0.01], [0.02], [0.03], [0.01]], (4, 5))
        mean, half = runs_of.mean(1), t * runs_of.std(1, ddof=1) / math.sqrt(5)
        _, low, high = gain_over_fixed.average(list(zip(mean, mean - half, mean + half, strict=True)), False)
        hits += low <= 0 <= high
    assert 0.93 < hits / 2000 < 0.99


def test_gain_over_fixed_goes_by_size_and_has_the_papers_gain_beside(monkeypatch, tmp_path):
    rows = [comparison("big", "v", "t", 0.01, -0.02, 0.04), comparison("small", "v", "t", -0.03, -0.05, -0.01)]
    claims = [
        claim("v", "4.99", None, "not run", "gain", backbone="big"),
        claim("v", "1.00", None, "not run", "average"),
    ]
    figure = drawn("gain_over_fixed", gains(monkeypatch, rows, claims), tmp_path)
    assert [axes.get_title() for axes in figure.axes] == ["small (77 M)", "big (2.85 G)"]
    small, big = figure.axes
    assert marks(small, "o") == [(pytest.approx(-3), 0)] and marks(small, "D") == []
    assert marks(big, "o") == [(pytest.approx(1), 0)]
    assert marks(big, "D") == [(pytest.approx(4.99), 0)]
    assert any(list(line.get_xdata()) == pytest.approx([-2, 4]) for line in big.lines)
    elsewhere = gains(monkeypatch, [row | {"regime": "multitask"} for row in rows], claims)
    assert not any(row.get("paper") for row in elsewhere), "the paper's tables are of the full train splits"


def test_a_backbone_of_unknown_size_stands_last(monkeypatch):
    rows = [comparison(name, "v", "t", 0.01, 0.0, 0.02) for name in ("unknown", "big", "small")]
    found = gains(monkeypatch, rows, sizes={"unknown": None, "big": 2, "small": 1})
    assert style.unique(found, "backbone") == ["small", "big", "unknown"]


# Curves


def accuracy_row(variant, k, mean, **changes):
    regime = "fewshot" if k else "full"
    return CELL | {"variant": variant, "regime": regime, "k": k, "mean": mean, "low": mean - 0.1, "high": mean + 0.1,
                   "interval": "seeds", "seeds": 3, "majority": 0.5, "metric": "accuracy"} | changes  # fmt: skip


def test_fewshot_curves_stand_at_log2_of_k_and_end_with_the_full_split(tmp_path):
    rows = [accuracy_row(v, k, m) for v, m in (("fixed", 0.6), ("v", 0.7)) for k in (None, 32, 4, 8)]
    axes = panel(drawn("fewshot_curves", rows, tmp_path), "t")
    (line,) = [line for line in axes.lines if line.get_marker() == "o" and len(line.get_xdata()) > 1]
    assert list(line.get_xdata() - line.get_xdata()[0]) == pytest.approx([0, 1, 3])
    assert list(line.get_xdata()) == pytest.approx([2, 3, 5], abs=0.2) and list(line.get_ydata()) == pytest.approx(
        [70] * 3
    )
    (full,) = [line for line in axes.lines if line.get_marker() == "o" and len(line.get_xdata()) == 1]
    assert full.get_xdata()[0] == pytest.approx(6, abs=0.2)
    assert [label.get_text() for label in axes.get_xticklabels()] == ["4", "8", "32", "full"]
    level = [line.get_ydata()[0] for line in axes.lines if list(line.get_xdata()) == [0, 1]]
    assert sorted(level) == pytest.approx([50, 60, 70])
    bars = [segment[:, 1].tolist() for one in axes.collections for segment in one.get_segments()]
    assert bars == [pytest.approx([50, 70])] * 4 + [pytest.approx([60, 80])] * 4


def test_fewshot_curves_take_full_rows_only_of_what_has_few_shot_ones(tmp_path, monkeypatch):
    study = study_in(tmp_path, monkeypatch)
    rows = [accuracy_row("fixed", 4, 0.6), accuracy_row("fixed", None, 0.7), accuracy_row("adap_ins_pos", None, 0.8),
            accuracy_row("fixed", None, 0.7, task="u"), accuracy_row("majority", 4, 0.5),
            accuracy_row("fixed", 4, 0.6, metric="f1a"),
            accuracy_row("fixed", None, 0.7, regime="multitask")]  # fmt: skip
    found = module("fewshot_curves").data(SimpleNamespace(study=study, results=rows))
    assert found == rows[:2]


def test_bins_of_input_length_by_hand():
    lengths = [*range(1, 31)]
    splits = [n % 4 for n in lengths]
    found = by_length.binned(lengths[::-1], splits[::-1])
    assert [(row["tokens_low"], row["tokens_high"], row["examples"]) for row in found] == [
        (3 * n + 1, 3 * n + 3, 3) for n in range(10)
    ]
    third = found[2]  # lengths 7, 8, 9 -> splits 3, 0, 1
    assert (third["tokens"], third["split"]) == (8.0, pytest.approx(4 / 3))
    assert (third["split_q1"], third["split_q3"]) == tuple(np.percentile([3, 0, 1], [25, 75]))


def test_inputs_of_one_length_stay_in_one_bin_and_none_is_lost():
    draw = random.Random(0)
    for _ in range(50):
        lengths = [draw.choice((3, 4, 4, 4, 9, 20, 21)) for _ in range(draw.randint(1, 60))]
        found = by_length.binned(lengths, lengths)
        assert sum(row["examples"] for row in found) == len(lengths) and len(found) <= 10
        ends = [end for row in found for end in (row["tokens_low"], row["tokens_high"])]
        assert ends == sorted(ends)
        assert all(a["tokens_high"] < b["tokens_low"] for a, b in pairwise(found))
        assert [row["tokens"] for row in found] == pytest.approx([row["split"] for row in found])


def test_split_by_input_length_draws_means_and_quartiles(tmp_path):
    rows = [CELL | {"bin": n, "tokens_low": 10 * n, "tokens_high": 10 * n + 9, "tokens": 20.0 + n, "split": float(n),
                    "split_q1": n - 0.5, "split_q3": n + 1.0, "last": 4, "examples": 5, "seeds": 1}
            for n in range(4)]  # fmt: skip
    axes = panel(drawn("split_by_input_length", rows, tmp_path), "t")
    assert marks(axes, "o") == [(20 + n, n) for n in range(4)]
    (bars,) = [one for one in axes.collections if isinstance(one, LineCollection)]
    assert [[float(y) for _, y in bar] for bar in bars.get_segments()] == [[n - 0.5, n + 1] for n in range(4)]
    assert axes.get_xscale() == "linear"
    far = [row | {"tokens": 20.0 * 3 ** row["bin"]} for row in rows]
    assert panel(drawn("split_by_input_length", far, tmp_path), "t").get_xscale() == "log"


# Choices


@pytest.mark.parametrize(("name", "column"), [("chosen_splits", "split"), ("chosen_lengths", "length")])
def test_histograms_are_stacked_with_the_first_variant_on_top(tmp_path, name, column):
    shares = {"v": (0.25, 0.75, 0.0), "w": (1.0, 0.0, 0.0)}
    rows = [CELL | {"variant": v, column: n, "share": share, "examples": 8, "seeds": 2}
            for v, own in shares.items() for n, share in enumerate(own)]  # fmt: skip
    axes = panel(drawn(name, rows, tmp_path), "t")
    bars = [(round(bar.get_x() + bar.get_width() / 2), bar.get_y(), bar.get_height() / 0.92) for bar in axes.patches]
    assert bars == [(0, 1, pytest.approx(0.25)), (1, 1, pytest.approx(0.75)), (2, 1, 0),
                    (0, 0, pytest.approx(1)), (1, 0, 0), (2, 0, 0)]  # fmt: skip
    assert [text.get_text() for text in axes.texts] == ["w", "v"]
    assert "Dotted" in words(axes.figure)


def test_of_many_splits_no_equal_share_is_drawn(tmp_path):
    rows = [CELL | {"split": n, "share": 1 / 21, "examples": 8, "seeds": 2} for n in range(21)]
    figure = drawn("chosen_splits", rows, tmp_path)
    assert "Dotted" not in words(figure) and not panel(figure, "t").collections
    assert [label.get_text() for label in panel(figure, "t").get_xticklabels()] == ["0", "5", "10", "15", "20"]


def test_pool_weights_are_a_line_of_cells_per_run(tmp_path):
    weights = {("v", "seed0"): (0.25, 0.75), ("v", "seed1"): (1.0, 0.0), ("w", "fewshot-k8-s1, seed0"): (0.5, 0.5)}
    rows = [CELL | {"variant": v, "run": run, "prompt": n, "weight": weight, "examples": 9}
            for (v, run), own in weights.items() for n, weight in enumerate(own)]  # fmt: skip
    axes = panel(drawn("pool_weights", rows, tmp_path), "t")
    meshes = [one.get_array().tolist() for one in axes.collections if isinstance(one, QuadMesh)]
    assert meshes == [[[0.25, 0.75], [1.0, 0.0]], [[0.5, 0.5]]]
    texts = [text.get_text() for text in axes.texts]
    assert texts == ["25", "75", "100", "50", "50", "seed0", "seed1", "s1, seed0", "v", "w"]


# Cost


def result(variant, task, mean, trainable, seconds, **changes):
    return CELL | {"k": None, "variant": variant, "task": task, "metric": "accuracy", "mean": mean,
                   "trainable": trainable, "seconds": seconds, "majority": 0.5, "seeds": 3, "labels": "subset",
                   "runs": task * 12} | changes  # fmt: skip


def test_cost_is_averaged_over_tasks_where_all_variants_have_the_same(tmp_path, monkeypatch):
    study = study_in(tmp_path, monkeypatch)
    rows = [
        result(v, task, mean, 100, 8.0 + mean) for task, mean in (("t", 0.6), ("u", 0.8)) for v in ("fixed", "adap_pos")
    ]
    rows += [result("majority", "t", 0.5, 0, 0.0), result("adap_pos-noise", "t", 0.6, 100, 1.0),
             result("fixed", "t", 0.1, 100, 1.0, metric="f1a")]  # fmt: skip
    found = cost.data(SimpleNamespace(study=study, results=rows))
    assert [(row["variant"], row["task"], row["chooses"]) for row in found] == [
        ("fixed", "mean of 2 tasks", "nothing"), ("adap_pos", "mean of 2 tasks", "per task")]  # fmt: skip
    assert (found[0]["mean"], found[0]["seconds"]) == (pytest.approx(0.7), pytest.approx(8.7))
    assert (found[0]["tasks"], found[0]["labels"], found[0]["runs"]) == ("t;u", "subset", f"{'t' * 12};{'u' * 12}")
    apart = cost.data(SimpleNamespace(study=study, results=[*rows, result("adap_ins_pos", "u", 0.9, 200, 9.0)]))
    assert [(row["task"], row["variant"]) for row in apart] == [
        ("t", "fixed"), ("t", "adap_pos"), ("u", "fixed"), ("u", "adap_pos"), ("u", "adap_ins_pos")]  # fmt: skip
    assert apart[-1]["chooses"] == "per instance"


def test_cost_has_two_panels_and_names_in_the_order_of_accuracy(tmp_path):
    rows = [CELL | {"variant": f"v{n}", "tasks": "t", "chooses": kind, "mean": 0.5 + 0.001 * n, "trainable": 10.0**n,
                    "seconds": 5.0, "majority": 0.4, "seeds": 1} for n, kind in enumerate(cost.LOOKS)]  # fmt: skip
    left, right = drawn("cost", rows, tmp_path).axes
    for n, look in enumerate(cost.LOOKS.values()):
        assert marks(left, look["marker"]) == [(10.0**n, pytest.approx(50 + 0.1 * n))]
        assert marks(right, look["marker"]) == [(5.0, pytest.approx(50 + 0.1 * n))]
    assert [text.get_text() for text in left.texts] == ["v0", "v1", "v2", "v3"]
    heights = [text.xyann[1] for text in left.texts]
    assert heights == sorted(heights)


def test_labels_are_spread_without_overlap_and_stay_where_they_can():
    assert cost.spread([0.2, 0.5, 0.9], 0.1) == pytest.approx([0.2, 0.5, 0.9])
    assert cost.spread([0.5, 0.5], 0.1) == pytest.approx([0.45, 0.55])
    assert cost.spread([0.0, 1.0], 0.1) == pytest.approx([0.0, 1.0])
    draw = random.Random(0)
    for _ in range(300):
        places = sorted(draw.choice((draw.random(), 0.5, 0.98, 0.02)) for _ in range(draw.randint(1, 11)))
        found = cost.spread(places, 0.09)
        assert all(b - a > 0.09 - 1e-9 for a, b in pairwise(found)), (places, found)
        assert found[0] >= -1e-9 and found[-1] <= 1 + 1e-9


def test_ticks_of_a_log_axis():
    assert style.ticks(50, 20_000) == [100, 1000, 10_000]
    assert style.ticks(150, 600) == [200, 500]
    assert style.ticks(6.5, 9.5) == [7, 8, 9]
    assert style.ticks(1.1, 1.2) == [1.1, 1.2]
    assert [style.short(n) for n in (0.5, 100, 10_240, 77e6, 2.85e9)] == ["0.5", "100", "10.2 k", "77 M", "2.85 G"]


# From runs to rows


def in_scale(tmp_path, monkeypatch, lines_of, **changes):
    study = study_in(tmp_path, monkeypatch, **changes)
    write_results(study, lines_of)
    return findings.find(study, runs.read(study))


def test_rows_of_choices_are_of_variants_that_learn_them_themselves(tmp_path, monkeypatch):
    variants = ["fixed", "adap_pos", "adap_ins_pos", "adap_ins_pos-shuffled", "adap_pos-frozen", "adap_ins_length",
                "adap_ins_vec", "adap_ins_vec-shuffled", "smop"]  # fmt: skip

    def lines_of(cell):
        pool = [0.25, 0.75] if "vec" in cell.variant or cell.variant == "smop" else None
        length = 1 + cell.seed if "length" in cell.variant else None
        found = predictions(0.9, split=lambda i: 1 if i < 60 else 3)
        return [line | {"pool": pool, "length": length, "tokens": 10 + i} for i, line in enumerate(found)]

    found = in_scale(tmp_path, monkeypatch, lines_of, seeds=[0, 1], variants=variants, prompt={"length": 5})
    splits, lengths, weights, by = (
        module(name).data(found)
        for name in ("chosen_splits", "chosen_lengths", "pool_weights", "split_by_input_length")
    )
    assert style.unique(splits, "variant") == ["adap_pos", "adap_ins_pos"]
    assert {row["split"]: row["share"] for row in splits[:6]} == {0: 0, 1: 0.6, 2: 0, 3: 0.4, 4: 0, 5: 0}
    assert style.unique(lengths, "variant") == ["adap_ins_length"]
    assert {row["length"]: row["share"] for row in lengths[:6]} == {0: 0, 1: 0.5, 2: 0.5, 3: 0, 4: 0, 5: 0}
    assert style.unique(weights, "variant") == ["adap_ins_vec", "smop"]
    assert [(row["run"], row["prompt"], row["weight"]) for row in weights[:4]] == [
        ("seed0", 0, 0.25), ("seed0", 1, 0.75), ("seed1", 0, 0.25), ("seed1", 1, 0.75)]  # fmt: skip
    assert style.unique(by, "variant") == ["adap_ins_pos"]
    assert [(row["tokens_low"], row["examples"], row["split"]) for row in by[:10]] == [
        (10 * n, 20, 1.0 if n < 7 else 3.0) for n in range(1, 11)]  # fmt: skip
    assert len(by[0]["runs"].split(";")) == 2


def test_logs_of_settings_beyond_the_drawn_ones_are_not_read(tmp_path, monkeypatch):
    regimes = [{"kind": "full"}, {"kind": "fewshot", "k": [2, 4]}]
    found = in_scale(
        tmp_path, monkeypatch, lambda cell: predictions(0.8), regimes=regimes, variants=["majority", "fixed"]
    )
    figure = module("learning_curves")
    monkeypatch.setattr(figure, "MOST", 2)
    rows = figure.data(found)
    assert {(row["regime"], row["k"]) for row in rows if row["quantity"] == "loss"} == {("full", None), ("fewshot", 4)}
    left_out = [row for row in rows if row["quantity"] == "left out"]
    assert [(row["k"], row["task"], row["step"], row["value"]) for row in left_out] == [
        (2, "alpha", None, None), (2, "beta", None, None)]  # fmt: skip
    assert "majority" not in style.unique(rows, "variant")
    drawing = drawn("learning_curves", rows, tmp_path)
    assert "Not drawn: fewshot with 2 per label of tiny-t5." in text_of(drawing)
    assert sum(axes.get_title() == "alpha" for axes in drawing.axes) == 2


def test_of_a_long_log_every_selection_and_some_losses_are_read(tmp_path):
    lines = []
    for step in range(1, 6001):
        lines.append({"step": step, "loss": float(step), "splits": None})
        if step % 100 == 0:
            lines.append({"step": step, "selection": {"accuracy": step / 6000, "loss": 1.0}, "best": True})
    files.write_jsonl(tmp_path / "steps.jsonl", lines)
    run = SimpleNamespace(training=tmp_path)
    assert [step for step, _ in steps.evaluations(run)] == [*range(100, 6001, 100)]
    losses = steps.losses(run)
    assert 1900 < len(losses) <= 2500 and losses[-1] == (6000, 6000.0)
    assert np.mean([loss for _, loss in losses]) == pytest.approx(3000.5, rel=0.01)
    files.write_jsonl(tmp_path / "steps.jsonl", lines[:2500])
    assert [step for step, _ in steps.losses(run)] == [line["step"] for line in lines[:2500] if "loss" in line]
    assert steps.evaluations(run) == [(line["step"], line["selection"]["accuracy"]) for line in lines[:2500]
                                      if "selection" in line]  # fmt: skip


def test_learning_curves_put_fixed_behind_every_part_and_circle_the_selected_steps(tmp_path):
    rows = [CELL | {"variant": v, "quantity": what, "step": step, "value": value, "seeds": 2}
            for v in ("fixed", *(f"v{n}" for n in range(8)))
            for what, step, value in (("loss", 1, 2.0), ("loss", 2, 1.0), ("accuracy", 2, 0.5), ("accuracy", 4, 0.75),
                                      ("selected", 4, 0.75))]  # fmt: skip
    axes = drawn("learning_curves", rows, tmp_path).axes
    assert len(axes) == 4, "two parts, each a loss and an accuracy"
    for loss, accuracy in (axes[:2], axes[2:]):
        assert [line.get_color() for line in loss.lines] == ["0.72", *(style.line(n)["color"] for n in range(4))]
        assert marks(accuracy, "o") == [(4, 0.75)] * 5
        assert list(loss.lines[1].get_ydata()) == [2, 1]


def test_sizes_come_from_the_records_of_the_backbones(tmp_path, monkeypatch):
    study = study_in(tmp_path, monkeypatch)
    write_results(study, lambda cell: predictions(0.8))
    assert gain_over_fixed._parameters("tiny-t5") is None
    record = paths.backbone("tiny-t5") / "record.json"
    change(record, lambda found: found | {"made": found["made"] | {"parameters": 12_345}})
    assert gain_over_fixed._parameters("tiny-t5") == 12_345


def test_limits_have_room_and_are_never_empty():
    rows = [{"mean": "0.5", "low": ""}, {"mean": "0.7", "low": "0.4"}]
    assert by_variant.limits(rows, ("mean", "low")) == (pytest.approx(40 - 1.8), pytest.approx(70 + 1.8))
    assert by_variant.limits(rows[:1], ("mean", "low")) == (49, 51)


# Bytes

DRAW = """
import hashlib, importlib, json, sys
from pathlib import Path
from dp.report.figures import style
found = {}
for path in sorted(Path(sys.argv[1]).glob("*.csv")):
    for picture in style.save(path, importlib.import_module(f"dp.report.figures.{path.stem}").draw):
        found[picture.name] = hashlib.sha256(picture.read_bytes()).hexdigest()
print(json.dumps(found))
"""


def some_rows():
    """A few rows of some figures."""
    weights = [CELL | {"run": f"seed{s}", "prompt": n, "weight": 0.5, "examples": 1} for s in (0, 1) for n in (0, 1)]
    bins = [CELL | {"bin": n, "tokens_low": 1, "tokens_high": 2, "tokens": 3.0**n, "split": 1.5, "split_q1": 1.0,
                    "split_q3": 2.0, "last": 3, "examples": 5, "seeds": 1} for n in range(5)]  # fmt: skip
    gain = {
        "parameters": 5,
        "against": "fixed",
        "gain": 0.0123,
        "low": 0.0,
        "high": 0.02,
        "paper": 0.01,
        "task": "average",
    }
    price = {"tasks": "t", "chooses": "per task", "mean": 0.5, "trainable": 1234.5, "seconds": 0.7, "majority": 0.4,
             "seeds": 2, "labels": "subset;made-up"}  # fmt: skip
    return {
        "paper_comparison": [
            claim("v", "70.12", 71.5, "differs"),
            claim("w", "62.35", None, "not run", collapsed="yes"),
        ],
        "gain_over_fixed": [CELL | gain],
        "fewshot_curves": [accuracy_row("fixed", k, 0.6 + (k or 64) / 1000) for k in (2, 32, None)],
        "chosen_lengths": [CELL | {"length": n, "share": 0.2, "examples": 5, "seeds": 1} for n in range(5)],
        "split_by_input_length": bins,
        "pool_weights": weights,
        "optimism": [optimism_row("fixed", "selection", 0.8, 0.7, 0.75)],
        "cost": [CELL | price, CELL | price | {"variant": "w", "mean": 0.51}],
    }


def test_bytes_are_the_same_under_another_hash_seed_time_zone_locale_and_folder(tmp_path):
    digests = []
    surroundings = ({"PYTHONHASHSEED": "1", "TZ": "UTC", "LC_ALL": "C", "LANG": "C"},
                    {"PYTHONHASHSEED": "2", "TZ": "Pacific/Auckland", "LC_ALL": "C.UTF-8",
                     "LANG": "de_DE.UTF-8"})  # fmt: skip
    for number, other in enumerate(surroundings):
        folder = tmp_path / f"there{number}"
        folder.mkdir()
        for name, rows in some_rows().items():
            written(name, rows, folder)
        (folder / "matplotlibrc").write_text(f"axes.linewidth: {1 + number}\nfont.size: {9 + number}\n")
        environment = os.environ | other | {"PYTHONPATH": str(ROOT)}
        done = subprocess.run([sys.executable, "-c", DRAW, str(folder)], cwd=folder, env=environment, check=True,
                              capture_output=True, text=True)  # fmt: skip
        digests.append(json.loads(done.stdout))
    assert set(digests[0]) == {f"{name}.{kind}" for name in some_rows() for kind in ("svg", "png")}
    assert digests[0] == digests[1]


def test_a_figure_is_drawn_from_its_csv_alone_and_names_its_digest(tmp_path):
    path = written("optimism", some_rows()["optimism"], tmp_path)
    style.save(path, module("optimism").draw)
    source = f"optimism.csv sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}"
    assert source in path.with_suffix(".svg").read_text()
    assert sorted(one.name for one in tmp_path.iterdir()) == ["optimism.csv", "optimism.png", "optimism.svg"]
