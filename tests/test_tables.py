"""The tables of a report: what stands where, and that CSV, Markdown and LaTeX say the same."""

import csv
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from conftest import ROOT
from synthetic_results import change, predictions, study_in, write_results

from dp import paths
from dp.report import latex, markdown
from dp.report.layout import Column, Group, Shown, Table, TableLine, records
from dp.report.tables import all_tables as every
from dp.report.tables import cost, fewshot, multitask, paper_tables, protocol
from dp.results import chosen, runs, table
from dp.study.contents import TABLES
from dp.study.study import load

TASKS = ["boolq", "multirc", "wic", "cb", "rte"]
GRID = {
    "tasks": {"made_up": TASKS},
    "regimes": [
        {"kind": "full", "tasks": TASKS[:4]},
        {"kind": "full", "tasks": ["rte"], "variants": ["majority", "zero-shot", "fixed", "adap_pos"]},
        {"kind": "fewshot", "k": [16, 4], "tasks": ["cb", "rte"], "variants": ["fixed", "adap_pos"]},
        {"kind": "multitask", "name": "two", "tasks": ["rte", "cb"], "variants": ["zero-shot", "fixed", "adap_pos"]},
    ],
    "variants": ["majority", "zero-shot", "adap_pos", "fixed", "adap_ins_pos", "adap_ins_pos-shuffled"],
    "seeds": [0, 1],
}
SHARES = {"majority": 0.6, "zero-shot": 0.33, "fixed": 0.71, "adap_pos": 0.85, "adap_ins_pos": 0.92}


def lines_of(cell):
    """Accuracies that differ between seeds, but for rte under `fixed`, which sits at the majority class with seed 0."""
    if cell.variant == "majority":
        return [line | {"prediction": 0} for line in predictions(1.0)]
    share = (
        SHARES[cell.variant.removesuffix("-shuffled")] + 0.01 * [*TASKS, "alpha"].index(cell.task) + 0.02 * cell.seed
    )
    share += 0.03 * cell.regime.startswith("fewshot-k16")
    if (cell.task, cell.variant, cell.seed, cell.regime) == ("rte", "fixed", 0, "full"):
        share = 0.6
    return predictions(round(share, 2), cell.seed)


def claim(name="A_position", **changes):
    row = {"claim": "x", "table": name, "kind": "cell", "backbone": "t5-base-lm", "variant": "fixed", "task": "boolq",
           "regime": "full", "k": None, "protocol": "controlled", "metric": "accuracy", "value": 62.35, "ours": None,
           "low": None, "high": None, "difference": None, "tolerance": 2.0, "seeds": 0, "verdict": "not run",
           "reason": "", "paper_collapsed": False, "labels": "", "runs": ""}  # fmt: skip
    return row | changes


def claims():
    """All three tables; in A, one verdict of each kind on the tasks of t5-base-lm."""
    verdicts = ["reproduced", "differs", "unclear", "collapsed", "not comparable"]
    found = []
    methods = {"A_position": ["fixed", "adap_pos", "adap_ins_pos"], "B_length": ["fixed", "adap_length"],
               "C_prompt": ["adap_ins_vec_pos", "finetune"]}  # fmt: skip
    for name, variants in methods.items():
        for backbone in ("t5-base-lm", "t5-large-lm"):
            for number, variant in enumerate(variants):
                for task in [*TASKS, "average"]:
                    facts = {"backbone": backbone, "variant": variant, "task": task, "value": 60.55 + 10 * number}
                    if task == "average":
                        facts["kind"] = "average"
                    elif (name, backbone, variant) == ("A_position", "t5-base-lm", "adap_pos"):
                        at = TASKS.index(task)
                        facts |= {"ours": 70.04 + at, "low": 68.21, "high": 71.98 + at, "verdict": verdicts[at],
                                  "seeds": 3, "labels": "subset", "runs": "0" * 12}  # fmt: skip
                    found.append(claim(name, **facts))
    found[1]["paper_collapsed"] = True
    found.append(claim(kind="gain", variant="adap_pos", task="average", value=9.02))
    return found


def prices():
    row = {"backbone": "tiny-t5", "regime": "full", "k": None, "task": "cb", "variant": "fixed-x",
           "switches": "dropout", "against": "fixed", "n": 100, "seeds": 2, "with": 0.704, "without": 0.731,
           "difference": -0.027, "low": -0.0412, "high": -0.0128, "p": 0.01, "p_holm": 0.03, "test": "sign",
           "labels": "subset", "runs": "1" * 12 + ";" + "2" * 12}  # fmt: skip
    more = {"variant": "fixed-y", "switches": "rotation;dropout", "difference": 0.0313, "p_holm": 0.5}
    return [row, row | {"task": "rte", "difference": 0.011, "low": -0.02, "high": 0.0421, "p_holm": 0.8}, row | more]


def found_in(root, monkeypatch, grid=GRID, **changes):
    """Findings of a synthetic scale, with an aggregate of `fixed` on its five tasks."""
    study = study_in(root, monkeypatch, **grid)
    write_results(study, lines_of)
    read = runs.read(study)
    whole = {"backbone": "tiny-t5", "regime": "full", "k": None, "variant": "fixed", "tasks": ";".join(TASKS),
             "mean": 0.7, "mean_low": 0.601, "mean_high": 0.799}  # fmt: skip
    union = whole | {"regime": "multitask-two", "tasks": "cb;rte", "mean_low": 0.5}
    facts = {"study": study, "runs": read, "results": table.rows(study, read), "choices": chosen.rows(study, read),
             "claims": claims(), "aggregates": [whole, union],
             "prices": prices()}  # fmt: skip
    return SimpleNamespace(**(facts | changes), root=root)


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    with pytest.MonkeyPatch.context() as monkeypatch:
        return found_in(tmp_path_factory.mktemp("tables"), monkeypatch)


def csv_of(made):
    return table.to_csv(made.fields, records(made.groups))


def rows_of(text):
    return list(csv.DictReader(io.StringIO(text)))


def markdown_rows(text):
    """The table's rows as lists of cells, head first, the rule left out."""
    found = [[cell.strip().replace("\\", "") for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
             for line in text.splitlines() if line.startswith("|")]  # fmt: skip
    assert {len(row) for row in found} <= {len(found[0])} if found else True
    return [row for number, row in enumerate(found) if number != 1]


def line_of(text, first, group=None):
    """The cells of a Markdown row by its first cell, behind a group's bold line, by their head."""
    head, *rows = markdown_rows(text)
    at = next((n for n, row in enumerate(rows) if row[0] == f"{group}"), 0)
    return dict(zip(head, next(row for row in rows[at:] if row[0] == first), strict=True))


def tex_rows(text):
    """The rows of the table as lists of (cell, columns spanned), heads apart from the lines behind \\midrule."""
    rows = []
    for _, body in re.findall(r"\\begin\{(tabular|longtable)\}\{\w+\}\n(.*?)\\end\{\1\}", text, flags=re.S):
        for line in body.splitlines():
            if re.search(r"\\\\\*?$", line) and not line.startswith("\\caption"):
                cells = re.split(r"(?<!\\)&", line.removesuffix("*").removesuffix("\\\\"))
                spans = [re.match(r"\s*\\multicolumn\{(\d+)\}\{.\}\{(.*)\}\s*$", cell) for cell in cells]
                rows.append([(span[2], int(span[1])) if span else (cell.strip(), 1)
                             for cell, span in zip(cells, spans, strict=True)])  # fmt: skip
    return rows


NUMBER = re.compile(r"[+-]?\d[\d,]*(?:\.\d+)?")
MARK = re.compile(r"(?:\\rlap\{)?\\textsuperscript\{[^}]*\}*")


def numbers(cell):
    return NUMBER.findall(MARK.sub("", cell))


def read_numbers(text, kind, stubs):
    """The numbers of a table in reading order: of each line, of each cell the number and then its interval."""
    if kind == "md":
        rows = [row for row in markdown_rows(text)[1:] if not row[0].startswith("**")]
        return [number for row in rows for cell in row[stubs:]
                for number in numbers(re.sub(r" (c|c \d/\d|n/c|=|!=|\?)(, c.*)?$", "", cell))]  # fmt: skip
    merged, rows = [], [row for row in tex_rows(text) if len(row) > 1 and all(span == 1 for _, span in row)]
    for row in (row for row in rows if any(numbers(cell) for cell, _ in row[stubs:]) and not is_head(row)):
        cells = [cell for cell, _ in row]
        if any(cells[:stubs]):
            merged.append([numbers(cell) for cell in cells[stubs:]])
        else:
            merged[-1] = [above + numbers(cell) for above, cell in zip(merged[-1], cells[stubs:], strict=True)]
    return [number for row in merged for cell in row for number in cell]


def is_head(row):
    return row[0][0] == "variant" or row[0][0] == "method"


SHOWN = {
    "A_position": (("paper", 1), ("ours", 1), ("low", 1), ("high", 1)),
    "fewshot": (("mean", 100), ("low", 100), ("high", 100)),
    "cost": (("trainable", 1), ("steps", 1), ("seconds", 1), ("tokens_per_second", 1), ("examples_per_second", 1),
             ("peak_memory_mib", 1), ("tasks", 1), ("mean", 100), ("low", 100), ("high", 100)),
    "protocol": (("difference", 100), ("low", 100), ("high", 100)),
}  # fmt: skip
SHOWN |= {"B_length": SHOWN["A_position"], "C_prompt": SHOWN["A_position"], "multitask": SHOWN["fewshot"]}


def recorded(rows, name):
    """The numbers of a CSV in the order of its lines, of the columns that are shown."""
    return [float(row[key]) * scale for row in rows for key, scale in SHOWN[name] if row[key] != ""]


def test_all_seven_in_their_order_in_three_forms(found):
    made = every.tables(found)
    assert tuple(one.name for one in made) == TABLES
    files = {name for one in made for name in every.texts(one)}
    assert files == {f"tables/{name}.{kind}" for name in TABLES for kind in ("csv", "md", "tex")}
    assert not any(one.empty for one in made)


@pytest.mark.parametrize("name", TABLES)
def test_all_renderings_say_the_same_numbers(found, name):
    (made,) = [one for one in every.tables(found) if one.name == name]
    texts = every.texts(made)
    expected = recorded(rows_of(texts[f"tables/{name}.csv"]), name)
    assert len(expected) > 3
    for kind in ("md", "tex"):
        shown = read_numbers(texts[f"tables/{name}.{kind}"], kind, len(made.stubs))
        assert len(shown) == len(expected), kind
        for text, value in zip(shown, expected, strict=True):
            digits = len(text.partition(".")[2])
            assert abs(float(text.replace(",", "")) - value) <= 0.5 * 10**-digits + 1e-4, (kind, text, value)


@pytest.mark.parametrize("name", TABLES)
def test_latex_is_well_formed(found, name):
    (made,) = [one for one in every.tables(found) if one.name == name]
    check_tex(latex.document(made), len(made.stubs) + len(made.columns))


def check_tex(text, width):
    assert {sum(span for _, span in row) for row in tex_rows(text)} == {width}
    opened = re.findall(r"\\(begin|end)\{([\w*]+)\}", text)
    stack = []
    for what, name in opened:
        assert what == "begin" or stack.pop() == name
        stack += [name] if what == "begin" else []
    long = "\\begin{longtable}" in text
    assert not stack and ("begin", "longtable" if long else "tabular") in opened
    plain = re.sub(r"\\[{}]", "", text)
    assert plain.count("{") == plain.count("}")
    for above, rules in re.findall(r"^(.*) \\\\\n(\\cmidrule.*)$", text, flags=re.M):
        spans = [int(span) for span in re.findall(r"\\multicolumn\{(\d+)\}", above)]
        starts = [width - sum(spans[number:]) + 1 for number in range(len(spans))]
        expected = [f"\\cmidrule(lr){{{at}-{at + span - 1}}}" for at, span in zip(starts, spans, strict=True)]
        assert rules.split(" ") == expected
    assert text.count("\\toprule") == 1 + long and text.count("\\bottomrule") == 1
    assert len(set(re.findall(r"\\label\{(.*?)\}", text))) == text.count("\\label") == 1


def test_specials_of_latex_and_markdown_are_escaped():
    odd = r"a_b & 50% #1 {x} ~ ^ \ $ <y> | `z` --q"
    escaped = (
        r"a\_b \& 50\% \#1 \{x\} \textasciitilde{} \textasciicircum{} \textbackslash{} \$ \textless{}y\textgreater{} "
        r"\textbar{} \textasciigrave{}z\textasciigrave{} -{}-q"
    )
    assert latex.tex(odd) == escaped
    assert latex.tex("[a] --- [b]") == "{[}a] -{}-{}- [b]" and latex.tex("*a*b") == "{*}a*b"
    columns = [Column("one", lambda row: Shown(row["x"], mark="&"), "number", odd, "r"),
               Column("two", lambda row: Shown(row["x"], "[1, 2]"), "number", odd, "r")]  # fmt: skip
    made = Table("odd", odd, ("x",), (odd,), columns, [Group(odd, [TableLine((odd,), {"r": {"x": odd}})])], [odd])
    text = latex.document(made)
    check_tex(text, 3)
    body = text.partition("\n")[2].replace(escaped, "").replace("\\&", "")
    assert not re.search(r"[#$~^<>|`]", body) and "%" not in body
    assert text.count(escaped) == 8, "caption, two heads, group, stub, two numbers, note"


def test_markdown_escapes_and_keeps_its_columns():
    columns = [Column("a|b", lambda row: Shown(row["x"]), record="r")]
    made = Table(
        "odd", "T", ("x",), ("s",), columns, [Group("g", [TableLine(("*a_b*",), {"r": {"x": "1 | 2 \\ <b>"}})])], []
    )
    head, group, line = markdown_rows(markdown.document(made))
    assert (head, group, line) == (["s", "a|b"], ["**g**", ""], ["*a_b*", "1 | 2  &lt;b>"])
    assert r"\*a_b\*" in markdown.document(made) and r"1 \| 2 \\ &lt;b>" in markdown.document(made)


def test_a_paper_table_has_its_layout_and_a_mark_for_each_verdict(found):
    text = markdown.document(paper_tables.table(found, "A_position"))
    head, *rows = markdown_rows(text)
    assert head == ["method", *(f"{task} {of}" for task in ("BoolQ", "MultiRC", "WiC", "CB", "RTE", "average")
                                for of in ("paper", "ours"))]  # fmt: skip
    assert [row[0] for row in rows[:8]] == ["**t5-base-lm**", "fixed", "adap_pos", "adap_ins_pos", "**t5-large-lm**",
                                            "fixed", "adap_pos", "adap_ins_pos"]  # fmt: skip
    fixed, adap = line_of(text, "fixed"), line_of(text, "adap_pos")
    assert (fixed["BoolQ paper"], fixed["MultiRC paper"], fixed["average paper"]) == ("60.55", "60.55 c", "60.55")
    assert fixed["BoolQ ours"] == fixed["average ours"] == ""
    assert [adap[f"{task} ours"] for task in ("BoolQ", "MultiRC", "WiC", "CB", "RTE")] == [
        "70.0 [68.2, 72.0] =", "71.0 [68.2, 73.0] !=", "72.0 [68.2, 74.0] ?", "73.0 [68.2, 75.0] c",
        "74.0 [68.2, 76.0] n/c",
    ]  # fmt: skip
    for mark in ("=: reproduced", "!=: differs", "?: unclear", "n/c: not comparable", "c: collapsed"):
        assert mark in text
    assert "subset: only a part of the rows" in text and "9.02" not in text


def test_what_else_this_scale_ran_follows_the_paper(found):
    position, length, prompt = (paper_tables.table(found, name) for name in paper_tables.TITLES)
    group = "**tiny-t5 (not in the paper's table)**"
    text = markdown.document(position)
    fixed, adap = line_of(text, "fixed", group), line_of(text, "adap_pos", group)
    assert fixed["RTE ours"].startswith("68.5 [") and fixed["RTE ours"].endswith("] c 1/2")
    assert fixed["BoolQ paper"] == "" and re.fullmatch(r"72\.0 \[.*\]", fixed["BoolQ ours"])
    assert fixed["average ours"] == "72.5 [60.1, 79.9]", "mean of 72, 73, 74, 75, 68.5, interval of aggregates.csv"
    assert adap["average ours"] == "88.0", "no interval where aggregates.csv has none"
    assert line_of(text, "adap_ins_pos", group)["average ours"] == "", "one task of the five was not run"
    assert [row[0] for row in markdown_rows(text) if row[0] not in ("fixed", "adap_pos", "adap_ins_pos")] == [
        "method", "**t5-base-lm**", "**t5-large-lm**", group
    ]  # fmt: skip
    assert [line.stubs for line in length.groups[-1].lines] == [("fixed",)]
    assert [one.title for one in prompt.groups] == ["t5-base-lm", "t5-large-lm"], "none of its variants was run"
    rows = [row for row in rows_of(csv_of(position)) if row["backbone"] == "tiny-t5"]
    assert [(row["kind"], row["task"]) for row in rows[:6]] == [
        *[("cell", task) for task in TASKS], ("average", " + ".join(TASKS))
    ]  # fmt: skip
    assert (rows[4]["ours"], rows[4]["collapsed"], rows[4]["paper"]) == ("68.500000", "1/2", "")


def test_an_average_has_the_interval_of_the_same_tasks_alone(tmp_path, monkeypatch):
    """The aggregate of a variant that was also run on a sixth task is not the interval of the paper's average."""
    grid = GRID | {"tasks": {"made_up": [*TASKS, "alpha"]}, "regimes": [{"kind": "full"}], "variants": ["fixed"]}
    found = found_in(tmp_path, monkeypatch, grid)
    found.aggregates[0]["tasks"] += ";alpha"
    group = "**tiny-t5 (not in the paper's table)**"
    assert line_of(markdown.document(paper_tables.table(found, "A_position")), "fixed", group)["average ours"] == "72.5"
    assert line_of(markdown.document(cost.table(found)), "fixed")["accuracy"].endswith(" [60.1, 79.9]")


def test_our_collapsed_runs_are_marked_beside_any_verdict(found):
    one = claim(backbone="tiny-t5", task="rte", ours=68.5, low=30.0, high=99.0, verdict="not comparable", seeds=2)
    changed = SimpleNamespace(**(vars(found) | {"claims": [one, one | {"variant": "adap_pos"}]}))
    text = markdown.document(paper_tables.table(changed, "A_position"))
    assert line_of(text, "fixed")["RTE ours"] == "68.5 [30.0, 99.0] n/c, c 1/2"
    assert line_of(text, "adap_pos")["RTE ours"] == "68.5 [30.0, 99.0] n/c"
    assert "not in the paper's table" not in text, "what the paper has does not follow a second time"


def test_fewshot_has_a_column_for_each_k_and_a_block_for_the_mean(found):
    made = fewshot.table(found)
    text = markdown.document(made)
    assert markdown_rows(text)[0] == ["variant", "k = 16", "k = 4"], "the order of the scale"
    assert [group.title for group in made.groups] == ["tiny-t5, mean of 2 tasks", "tiny-t5, cb", "tiny-t5, rte"]
    assert [line.stubs[0] for line in made.groups[0].lines] == ["adap_pos", "fixed"], "the order of the scale"
    (row,) = [row for row in found.results if (row["k"], row["task"], row["variant"]) == (4, "cb", "fixed")]
    shown = f"{100 * row['mean']:.1f} [{100 * row['low']:.1f}, {100 * row['high']:.1f}]"
    assert line_of(text, "fixed", "**tiny-t5, cb**")["k = 4"] == shown
    assert (line_of(text, "fixed")["k = 16"], line_of(text, "fixed")["k = 4"]) == ("78.5", "75.5")


def test_multitask_stands_beside_the_same_variant_trained_alone(found):
    text = markdown.document(multitask.table(found))
    fixed = line_of(text, "fixed", "**tiny-t5, multitask-two**")
    assert list(fixed) == [
        "variant",
        "rte alone",
        "rte union",
        "cb alone",
        "cb union",
        "average alone",
        "average union",
    ]
    assert fixed["rte alone"].startswith("68.5 [") and fixed["rte alone"].endswith(" c 1/2")
    assert fixed["rte union"].startswith("76.0 [") and fixed["average union"] == "75.5 [50.0, 79.9]"
    assert fixed["average alone"] == "71.8", "over two of the five tasks, of which aggregates.csv has no interval"
    assert "Not trained, so the same alone and in a union: zero-shot." in text
    rows = rows_of(csv_of(multitask.table(found)))
    assert {row["union"] for row in rows} == {"multitask-two"}
    assert {row["regime"] for row in rows} == {"full", "multitask-two"}


def test_multitask_without_the_same_runs_alone(tmp_path, monkeypatch):
    grid = GRID | {"regimes": [{"kind": "multitask"}], "variants": ["fixed"], "seeds": [0]}
    found = found_in(tmp_path, monkeypatch, grid)
    text = markdown.document(multitask.table(found))
    assert markdown_rows(text)[0] == ["variant", *(f"{task} union" for task in TASKS), "average union"]
    (row,) = rows_of(csv_of(cost.table(found)))
    assert (row["regime"], row["tasks"], row["trainings"]) == ("multitask", "5", "1"), "one training for all tasks"


def test_cost_is_that_of_the_trainings(tmp_path, monkeypatch):
    grid = GRID | {"tasks": {"made_up": ["cb", "rte"]}, "regimes": [{"kind": "full"}, {"kind": "fewshot", "k": [4]}]}
    study = study_in(tmp_path, monkeypatch, **grid)
    write_results(study, lines_of)
    for number, path in enumerate(sorted(Path("results/train").glob("*/*/full/*/adap_pos/*/record.json"))):
        facts = {"trainable_parameters": 100 + number, "tokens_per_second": 1000.0 * number,
                 "examples_per_second": 3.0, "peak_memory_mib": 90 - number}  # fmt: skip
        change(path, lambda record, facts=facts: record | {"made": record["made"] | facts})
    read = runs.read(study)
    found = SimpleNamespace(study=study, runs=read, results=table.rows(study, read), aggregates=[])
    made = cost.table(found)
    assert [group.title for group in made.groups] == ["tiny-t5, full"], "full is what is compared, where there is one"
    text = markdown.document(made)
    assert [line.stubs[0] for line in made.groups[0].lines] == GRID["variants"][:-1], "controls train nothing"
    assert line_of(text, "adap_pos") == {
        "variant": "adap_pos", "trainable": "103", "updates": "120", "seconds": "10.5", "tokens/s": "1,500",
        "examples/s": "3.0", "memory, MiB": "90", "tasks": "2", "accuracy": "89.5",
    }  # fmt: skip
    assert line_of(text, "fixed")["tokens/s"] == "not recorded"
    assert line_of(text, "majority")["seconds"] == "" and line_of(text, "majority")["accuracy"] == "60.0"
    (row,) = [row for row in rows_of(csv_of(made)) if row["variant"] == "adap_pos"]
    assert (row["trainings"], row["task"], len(row["runs"].split(";"))) == ("4", "cb + rte", 4)


def test_cost_has_the_memory_of_a_gpu_where_there_is_one(tmp_path, monkeypatch):
    grid = {"tasks": {"made_up": ["cb"]}, "variants": ["majority", "fixed", "adap_ins_pos"]}
    study = study_in(tmp_path, monkeypatch, **grid)
    write_results(study, lines_of)
    (path,) = Path("results/train").glob("*/*/full/*/fixed/*/record.json")
    gpu = {"gpu_peak_memory_mib": 7001}
    change(path, lambda one: one | {"with": one["with"] | {"device": "H"}, "made": one["made"] | gpu})
    read = runs.read(study)
    made = cost.table(SimpleNamespace(study=study, runs=read, results=table.rows(study, read), aggregates=[]))
    text = markdown.document(made)
    assert line_of(text, "fixed")["GPU, MiB"] == "7,001" and line_of(text, "adap_ins_pos")["GPU, MiB"] == "no GPU"
    assert "Trained on: H, cpu." in text
    assert line_of(text, "majority")["accuracy"] == "60.0 [50.2, 69.1]", "the majority class is no collapsed run"


def test_protocol_prices_each_switch_in_points(found):
    text = markdown.document(protocol.table(found))
    first, second = (dict(zip(markdown_rows(text)[0], row, strict=True)) for row in markdown_rows(text)[2:])
    assert first == {"variant": "fixed", "switch": "dropout", "cb": "-2.7 [-4.1, -1.3] *", "rte": "+1.1 [-2.0, 4.2]"}
    assert (second["switch"], second["cb"], second["rte"]) == ("2 together", "+3.1 [-4.1, -1.3]", "")
    assert "- rotation: " in text and "- dropout: " in text and "- fillers: " not in text


def test_nothing_to_show_says_why_and_where(found, tmp_path, monkeypatch):
    grid = GRID | {"tasks": {"made_up": ["alpha"]}, "regimes": [{"kind": "full"}], "variants": ["majority"]}
    bare = found_in(tmp_path, monkeypatch, grid, claims=[], prices=[], aggregates=[], results=[])
    made = every.tables(bare)
    assert [one.name for one in made] == list(TABLES)
    for one in made:
        texts = every.texts(one)
        assert one.empty and "\n" not in one.empty
        assert one.empty in texts[f"tables/{one.name}.md"] and latex.tex(one.empty) in texts[f"tables/{one.name}.tex"]
        assert texts[f"tables/{one.name}.csv"] == ",".join(one.fields) + "\n"
        assert texts[f"tables/{one.name}.tex"].count("\\begin{table*}") == 1
    few, many = (next(one.empty for one in made if one.name == name) for name in ("fewshot", "multitask"))
    for scale in ("planted", "paper"):
        kinds = {part.kind for part in load(ROOT, {"scale": scale}).scale.regimes}
        assert {"fewshot", "multitask"} <= kinds and scale in few and scale in many


def test_a_scale_that_runs_nothing_of_the_paper_says_so(found):
    none = SimpleNamespace(**(vars(found) | {"results": [], "claims": [claim(), claim(task="cb")]}))
    text = markdown.document(paper_tables.table(none, "A_position"))
    assert "ours: scale synthetic runs none of this; snakemake --cores all --config scale=paper-released does" in text
    assert line_of(text, "fixed")["CB paper"] == "62.35" and "reproduced" not in text


def test_every_line_of_a_csv_leads_to_the_runs_that_it_names(found, monkeypatch):
    from dp.lineage.why.address import number

    monkeypatch.chdir(found.root)
    digests = {run.folder: run.digest[:12] for run in found.runs}
    seen = set()
    for made in every.tables(found):
        path = paths.report("synthetic") / "tables" / f"{made.name}.csv"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(csv_of(made))
        for line, row in enumerate(rows_of(path.read_text()), start=2):
            if row["backbone"] == "tiny-t5" and made.name != "protocol":
                address = number(f"{path}:{line}", lambda: found.study)
                assert {digests[folder] for folder in address.runs} == set(row["runs"].split(";")), (made.name, line)
                seen.add(made.name)
    assert seen == {"A_position", "B_length", "fewshot", "multitask", "cost"}


def long_table(groups, lines, interval=""):
    columns = [Column("x", lambda row: Shown(row["x"], interval), "number", record="r")]
    return Table("long", "Long", ("x",), ("n",), columns,
                 [Group(f"g{g}", [TableLine((f"{g}.{n}",), {"r": {"x": f"{g}.{n}"}}) for n in range(lines)])
                  for g in range(groups)], ["note"])  # fmt: skip


@pytest.mark.parametrize(("groups", "lines", "interval"), [(1, 3, ""), (5, 29, "[1, 2]"), (1, 200, ""), (30, 3, "")])
def test_what_is_longer_than_a_page_is_a_longtable(groups, lines, interval):
    text = latex.document(long_table(groups, lines, interval))
    check_tex(text, 2)
    printed = groups * (1 + lines * (2 if interval else 1))
    assert ("\\begin{longtable}" in text) == (printed > latex.PAGE) == ("\\begin{table*}" not in text)
    names = [row[0][0] for row in tex_rows(text) if len(row) == 2 and row[0][0] not in ("n", "")]
    assert names == [f"{g}.{n}" for g in range(groups) for n in range(lines)], "none lost, none twice"
    assert text.count("note\\par") == 1 and text.index("note\\par") > text.index(f"{names[-1]} &")
    if printed > latex.PAGE:
        first, again = re.findall(r"(\\caption.*?)\\end(?:first)?head", text, flags=re.S)
        assert first.startswith("\\caption{Long}\\label{tab:long}") and again.startswith("\\caption[]{Long, continued}")
        assert "\nn & x \\\\\n" in first and "\nn & x \\\\\n" in again, "the head stands on each page"
        assert "booktabs,longtable" in text.splitlines()[0]
        assert text.count("\\\\*\n") == groups * (1 + lines * bool(interval)), "kept with what follows"


SCRIPT = """
import hashlib, json, sys
from types import SimpleNamespace
from dp.results import runs, table
from dp.study.study import load
from dp.report.tables import all_tables
study = load(settings={"scale": "synthetic"})
read = runs.read(study)
found = SimpleNamespace(study=study, runs=read, results=table.rows(study, read), **json.loads(sys.argv[1]))
for made in all_tables.tables(found):
    for name, text in all_tables.texts(made).items():
        print(name, hashlib.sha256(text.encode()).hexdigest())
"""


def test_the_same_bytes_each_time(found):
    rest = json.dumps({name: getattr(found, name) for name in ("claims", "prices", "aggregates")})
    expected = [f"{name} {hashlib.sha256(text.encode()).hexdigest()}"
                for made in every.tables(found) for name, text in every.texts(made).items()]  # fmt: skip
    for seed in ("1", "2"):
        around = os.environ | {"PYTHONHASHSEED": seed, "PYTHONPATH": str(ROOT)}
        command = [sys.executable, "-c", SCRIPT, rest]
        done = subprocess.run(command, cwd=found.root, env=around, capture_output=True, text=True, check=True)
        assert done.stdout.splitlines() == expected and len(expected) == 21


def _has_tex():
    finder = shutil.which("kpsewhich")
    return bool(
        finder
        and shutil.which("pdflatex")
        and subprocess.run([finder, "booktabs.sty"], capture_output=True).returncode == 0
    )


@pytest.mark.skipif(not _has_tex(), reason="no pdflatex with booktabs here")
def test_all_seven_compile(found, tmp_path):
    for made in every.tables(found):
        (tmp_path / f"{made.name}.tex").write_text(latex.document(made))
    body = "\n".join(f"\\input{{{name}}}" for name in TABLES)
    head = "\\documentclass{article}\\usepackage[margin=2.5cm,a4paper]{geometry}\\usepackage{booktabs,longtable}"
    (tmp_path / "all.tex").write_text(f"{head}\\begin{{document}}{body}\\end{{document}}")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "all.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:]
    assert "Overfull" not in done.stdout and "Float too large" not in done.stdout
