"""The paper as data, and the verdicts on it: known answers, precedence, reasons, and what a person sees."""

import csv
import hashlib
import importlib
import json
import re
import shutil
import subprocess
import sys
from collections import Counter
from dataclasses import replace
from decimal import ROUND_DOWN, ROUND_HALF_UP, Decimal
from pathlib import Path
from statistics import fmean, stdev

import numpy as np
import pytest
import yaml
from built_project import environment
from conftest import ROOT
from scipy import stats
from synthetic_results import change, predictions, study_in, write_results

from dp import paths
from dp.commands import cli
from dp.errors import UserError
from dp.paper import claimed as claims
from dp.paper import matching, verdicts
from dp.paper.verdicts import collapsed_cells
from dp.report import findings
from dp.results import runs as evaluations
from dp.results import table
from dp.results.runs import Run
from dp.statistics.intervals import wilson
from dp.study.grid import cells, run_config
from dp.study.params import Params
from dp.study.study import Study, load
from dp.study.variants import Baseline, Prompted

PAPER = claims.load()
TASKS = ["boolq", "multirc", "wic", "cb", "rte"]
MAJORITY = {"boolq": 62.17, "multirc": 57.20, "wic": 50.00, "cb": 50.00, "rte": 52.71}
SCALE = yaml.safe_load((ROOT / "workflow/scales/paper-released.yaml").read_text())
PARAMS = yaml.safe_load((ROOT / "params.yaml").read_text())


def study(**changes):
    """The scale paper-released with changes, read from no file."""
    parts = {"params": Params.model_validate(PARAMS), "scale_name": "synthetic", "scale": SCALE | changes}
    return Study.model_validate(parts)


RELEASED = study()


def run(of, cell, percent, n=None, labels=(), collapsed=None, kept_out=0.001):
    """An evaluated cell with an accuracy; collapsed as metrics.json says, unless it is given."""
    n = n or PAPER.facts.tasks[cell.task].n
    right, rate = round(percent * n / 100), PAPER.facts.tasks[cell.task].rate
    low, high = wilson(right, n)
    clean = {"with": {"dirty": False}}
    return Run(
        cell,
        of.params.model_of(cell.backbone),
        Path(cell.run),
        None,
        hashlib.sha256(cell.run.encode()).hexdigest(),
        {"metrics": {"accuracy": {"value": percent / 100, "low": low, "high": high}}, "n": n, "majority": rate,
         "collapsed": low <= rate <= high if collapsed is None else collapsed},
        {"asked": run_config(of, cell), "made": {"labels": list(labels)}} | clean,
        {"made": {}} | clean,
        {"made": {"available": {"train": 1 - kept_out, "selection": kept_out}}},
    )  # fmt: skip


def runs(of, accuracy, **facts):
    """Runs of the cells for which `accuracy(cell)` is a number, the same one whatever the seed if it is no list."""
    found = []
    for cell in cells(of):
        value = accuracy(cell)
        if isinstance(value, list):
            value = value[of.scale.seeds.index(cell.seed)]
        if value is not None:
            found.append(run(of, cell, value, **facts))
    return found


def only(backbone, variant, task, values):
    return lambda cell: values if (cell.backbone, cell.variant, cell.task) == (backbone, variant, task) else None


def judged(of, found):
    return {row["claim"]: row for row in verdicts.rows(of, found)}


def cell(value, of=RELEASED, claim="A_t5_small_lm_fixed_boolq", **facts):
    """The row of one cell of table A for runs with these accuracies."""
    own = PAPER.claim(claim)
    return judged(of, runs(of, only(own.backbone, own.variant, own.task, value), **facts))[claim]


def around(centre, spread):
    """Five values with this mean and standard deviation."""
    values = np.array([-1.2, -0.4, 0.1, 0.5, 1.0])
    return list(centre + spread * (values - values.mean()) / values.std(ddof=1))


# The paper as data


def test_the_cells_are_the_papers_tables():
    by_kind = Counter(claim.kind for claim in PAPER.claims.values())
    assert by_kind["cell"] == 125 and by_kind["average"] == 25 and by_kind["gain"] == 16
    assert all(re.fullmatch("[A-Za-z0-9_]+", name) for name in PAPER.claims)
    tables = Counter(claim.table for claim in PAPER.claims.values() if claim.kind in ("cell", "average"))
    assert tables == {"A_position": 72, "B_length": 24, "C_prompt": 54}
    assert str(PAPER.claim("A_t5_large_lm_fixed_multirc").value) == "58.00", "the printed decimals are kept"


@pytest.fixture
def handed_out():
    path = ROOT.parent / "shared" / "paper_tables.csv"
    if not path.is_file():
        pytest.skip(f"no {path} to compare with")
    with path.open() as file:
        return list(csv.DictReader(file))


def test_every_cell_is_as_handed_out(handed_out):
    own = {"fixed_pos": "fixed", "fixed_len": "fixed", "fine_tuning": "finetune"}
    expected = [
        (row["table"], f"t5-{row['backbone'].split('-')[-1].lower()}-lm", own.get(row["method"], row["method"]),
         row["dataset"].lower().replace("avg", "average"), row["value_pct"], row["n_val"],
         row["attainable_on_full_val"])
        for row in handed_out
    ]  # fmt: skip
    with (claims.FOLDER / "cells.csv").open() as file:
        assert [tuple(row.values())[1:] for row in csv.DictReader(file)] == expected


def test_averages_agree_with_their_cells():
    """XL adap_pos alone is printed as 86.72, and is 86.714."""
    off = [
        claim.id
        for claim in PAPER.claims.values()
        if claim.kind == "average" and abs(claim.value - sum(one.value for one in claim.cells) / 5) > Decimal("0.005")
    ]
    assert off == ["A_t5_xl_lm_adap_pos_average"]


def test_gains_follow_from_the_cells():
    gains = {claim.id: claim.value for claim in PAPER.claims.values() if claim.kind == "gain"}
    assert len(gains) == 16
    known = {
        "A_t5_base_lm_adap_ins_pos": "9.02",
        "A_t5_large_lm_adap_pos": "4.99",
        "A_t5_large_lm_adap_ins_pos": "6.99",
        "C_t5_large_lm_adap_pos_ins_vec": "8.45",
        "A_t5_small_lm_adap_pos": "1.07",
        "A_t5_xl_lm_adap_ins_pos": "0.51",
        "B_t5_base_lm_adap_length": "2.87",
    }
    assert {name: str(gains[f"gain_{name}"]) for name in known} == known
    close = {
        name: str(PAPER.claim(f"text_close_to_finetune_t5_{name}_lm").value) for name in ("small", "base", "large")
    }
    assert close == {"small": "-2.18", "base": "-16.12", "large": "-1.46"}
    assert "text_close_to_finetune_t5_xl_lm" not in PAPER.claims


def attainable(value, n):
    """Whether some k / n, rounded or cut to the printed decimals, is the printed percentage."""
    digits = Decimal(1).scaleb(value.as_tuple().exponent)
    near = int(value * n / 100)
    shares = [Decimal(100 * k) / n for k in range(near - 1, near + 3)]
    return any(share.quantize(digits, rule) == value for share in shares for rule in (ROUND_HALF_UP, ROUND_DOWN))


def test_attainable_says_whether_a_value_can_be_a_count():
    for claim in PAPER.claims.values():
        if claim.kind == "cell":
            assert attainable(claim.value, claim.n) == claim.attainable, claim.id
    assert not attainable(Decimal("84.32"), 56) and attainable(Decimal("83.92"), 56), "47 / 56 is 83.928..., cut or not"


def test_the_papers_collapsed_cells():
    """paper.md section 4: fixed at Base on three tasks and at Large on MultiRC, both combinations, and one length."""
    found = {claim.id for claim in PAPER.claims.values() if claim.kind == "cell" and collapsed_cells(PAPER, claim)}
    base = {f"{table}_t5_base_lm_fixed_{task}" for table in "AB" for task in ("boolq", "multirc", "wic")}
    combined = {f"C_t5_base_lm_{variant}_{task}" for variant in ("adap_ins_vec_pos", "adap_pos_ins_vec")
                for task in ("boolq", "multirc")}  # fmt: skip
    large = {f"{table}_t5_large_lm_fixed_multirc" for table in "AB"}
    assert found == base | combined | large | {"B_t5_base_lm_adap_length_multirc"}


def test_majority_rates():
    assert {name: round(100 * task.rate, 2) for name, task in PAPER.facts.tasks.items()} == MAJORITY


def test_the_tasks_are_as_the_official_files_say(superglue):
    for name, folder in (("boolq", "BoolQ"), ("cb", "CB"), ("rte", "RTE"), ("wic", "WiC"), ("multirc", "MultiRC")):
        rows = [json.loads(line) for line in (superglue / folder / "val.jsonl").open()]
        if name == "multirc":
            rows = [
                answer for row in rows for question in row["passage"]["questions"] for answer in question["answers"]
            ]
        counts = Counter(str(row["label"]) for row in rows)
        task = PAPER.facts.tasks[name]
        assert (task.n, task.majority) == (counts.total(), max(counts.values())), name


def test_the_names_mean_what_the_paper_means():
    """A claim is matched by name, so a name of params.yaml must stand for the paper's method."""
    definitions = Params.model_validate(PARAMS).variants
    expected = {
        "fixed": Prompted(position="prefix"),
        "adap_pos": Prompted(position="task"),
        "adap_ins_pos": Prompted(position="instance"),
        "adap_length": Prompted(length="task"),
        "adap_ins_length": Prompted(length="instance"),
        "adap_ins_vec_pos": Prompted(position="instance", representation="instance_pool"),
        "adap_pos_ins_vec": Prompted(position="task", representation="instance_pool"),
        "finetune": Baseline(baseline="finetune"),
        "p-tuning-v2-linear": Baseline(baseline="p_tuning_v2", head="linear"),
    }
    to_match = [claim for claim in PAPER.claims.values() if not claim.why_not and not claim.best_of]
    assert {name for claim in to_match for name in claim.variants} == set(expected)
    assert {name: definitions[name] for name in expected} == expected
    sizes = {"t5-small-lm": "small", "t5-base-lm": "base", "t5-large-lm": "large", "t5-xl-lm": "xl"}
    for backbone in {claim.backbone for claim in to_match}:
        repo = PARAMS["backbones"][backbone]["source"]["repo"]
        assert repo == (f"google/t5-{sizes[backbone]}-lm-adapt" if backbone in sizes else "FacebookAI/roberta-large")


def test_anchors_say_why():
    anchors = [claim for claim in PAPER.claims.values() if claim.kind == "anchor"]
    assert len(anchors) == 145 and all(claim.why_not or claim.says for claim in anchors)
    matched = {(claim.backbone, claim.task) for claim in anchors if not claim.why_not}
    assert matched == {("t5-large-lm", task) for task in ("multirc", "boolq", "wic", "rte")} | {
        ("roberta-large", task) for task in ("boolq", "wic", "rte")
    }
    for claim in anchors:
        if claim.backbone == "t5-base-original":
            assert "pre-training" in claim.why_not
        if claim.task == "wsc":
            assert "not in this project" in claim.why_not


@pytest.fixture
def folder(tmp_path):
    for name in claims.FILES:
        shutil.copy(claims.FOLDER / name, tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("name", "old", "new", "message"),
    [
        ("cells.csv", ",boolq,67.31,", ",boolq,67;31,", "cells.csv, line 2, column value: '67;31' is no percentage"),
        ("cells.csv", ",boolq,67.31,", ",boolq,167.31,", "column value: '167.31' is no percentage"),
        ("cells.csv", ",67.31,3270,", ",67.31,3271,", "line 2, column n: '3271' is not the size of boolq in paper"),
        ("cells.csv", ",67.31,3270,1", ",67.31,3270,", "line 2, column attainable: '' is none of 0, 1"),
        ("cells.csv", "boolq,A_position", "boolq,A_postion", "column table: 'A_postion' is none of A_position"),
        ("cells.csv", "A_t5_small_lm_fixed_boolq", "A_t5_small_lm_fixed_rte", "column claim: .* stands there twice"),
        ("cells.csv", "A_t5_small_lm_fixed_boolq", "A-t5", "column claim: 'A-t5' is no name"),
        ("cells.csv", "fixed,boolq", "fixed,boolqq", "'boolqq' is none of .*; the nearest valid name is 'boolq'"),
        ("cells.csv", "claim,table", "claim,tables", "line 1: the columns must be claim,table"),
        ("cells.csv", "3270,1\n", "3270,1,1\n", "line 2: more than 8 values"),
        ("anchors.csv", ",yes,", ",maybe,", "anchors.csv, line .*, column comparable: 'maybe' is none of yes, no"),
        ("anchors.csv", ",released,20,", ",release,20,", "column protocol: 'release' is none of released"),
        ("anchors.csv", ",released,20,", ",released,0,", "column prompt_length: '0' is no count"),
        ("paper.yaml", "majority: 28", "majority: 57", "paper.yaml: .*57 rows of 56"),
        ("paper.yaml", "seed: 144", "seed: 144\n  sed: 1", "unknown key 'protocol.sed'; the nearest valid name is"),
        ("paper.yaml", "claim: text_fewshot", "claim: text_multitask", "two claims are called 'text_multitask_t5"),
    ],
)  # fmt: skip
def test_a_mistake_in_the_data_is_named(folder, name, old, new, message):
    text = (folder / name).read_text()
    assert old in text
    (folder / name).write_text(text.replace(old, new, 1))
    with pytest.raises(UserError, match=message):
        claims.load(folder)


def test_a_missing_cell_of_an_average_is_named(folder):
    lines = (folder / "cells.csv").read_text().splitlines(keepends=True)
    (folder / "cells.csv").write_text("".join(line for line in lines if "A_t5_small_lm_fixed_rte" not in line))
    with pytest.raises(UserError, match="'A_t5_small_lm_fixed_average' is a mean over tasks, and rte has no cell"):
        claims.load(folder)


# Verdicts


@pytest.mark.parametrize(
    ("values", "verdict"),
    [  # 67.31 with 2 points on each side
        (around(67.3, 0.5), "reproduced"),
        (around(69.0, 0.2), "reproduced"),
        (around(69.2, 0.2), "unclear"),
        (around(67.3, 4.0), "unclear"),
        (around(70.5, 0.2), "differs"),
        (around(64.0, 0.2), "differs"),
    ],
)
def test_a_cell_is_judged_by_its_whole_interval(values, verdict):
    row = cell(values)
    half = stats.t.ppf(0.975, 4) * stdev(values) / 5**0.5
    assert (row["low"], row["ours"], row["high"]) == pytest.approx(
        (fmean(values) - half, fmean(values), fmean(values) + half)
    )
    assert row["verdict"] == verdict
    assert row["difference"] == pytest.approx(fmean(values) - 67.31) and row["tolerance"] == 2.0
    assert (row["value"], row["seeds"], row["protocol"], row["paper_collapsed"]) == ("67.31", 5, "released", "no")


def test_the_interval_is_that_of_results_csv():
    found = runs(RELEASED, only("t5-small-lm", "fixed", "cb", around(84, 1)))
    for members in (found, found[:1], [run(RELEASED, one.cell, 84) for one in found]):
        row, result = judged(RELEASED, members)["A_t5_small_lm_fixed_cb"], table.summary(members, "accuracy")
        assert [row["ours"], row["low"], row["high"]] == pytest.approx(
            [100 * result[k] for k in ("mean", "low", "high")]
        )


def test_the_tolerance_is_one_row_and_half_a_point_where_rows_are_few():
    claim = "A_t5_small_lm_fixed_cb"  # 83.93
    assert cell(around(83.93, 0.1), claim=claim)["tolerance"] == pytest.approx(0.5 + 100 / 56)
    assert cell(around(86.1, 0.05), claim=claim)["verdict"] == "reproduced", "2.17 away, 2.29 allowed"
    assert cell(around(86.4, 0.05), claim=claim)["verdict"] == "differs"


def test_one_run_has_the_interval_of_its_examples():
    one = study(seeds=[144])
    assert cell(67.3, one)["verdict"] == "reproduced"
    row = cell(83.93, one, "A_t5_small_lm_fixed_cb")
    assert row["verdict"] == "unclear" and "one run: the interval is over its examples" in row["reason"]
    assert row["labels"] == "single-seed"


def test_a_reason_says_whether_one_run_could_have_given_the_papers_number():
    values = around(70.0, 1.0)
    half = stats.t.ppf(0.975, 4) * (1 + 1 / 5) ** 0.5
    assert (
        f"one more run would lie within [{70 - half:.2f}, {70 + half:.2f}], so one could have" in cell(values)["reason"]
    )
    assert "so one could hardly have given 67.31" in cell(around(70.0, 0.5))["reason"]


def test_half_of_the_runs_collapsed_decides():
    claim = "A_t5_base_lm_fixed_boolq"  # 62.35 itself sits at the majority
    row = cell([62.2, 62.3, 62.4, 70.0, 71.0], claim=claim)
    assert row["verdict"] == "collapsed" and row["paper_collapsed"] == "yes"
    assert "3 of 5 of our runs collapsed" in row["reason"]
    assert "the paper's own value sits at the majority class (62.17)" in row["reason"]
    row = cell([62.2, 62.3, 70.0, 70.1, 70.0])
    assert row["verdict"] == "unclear" and "2 of 5 of our runs collapsed" in row["reason"], "fewer do not"
    row = cell([62.17] * 5)
    assert row["verdict"] == "collapsed" and "the paper's own" not in row["reason"]


def overflowed(one):
    metrics = one.metrics | {
        "metrics": {"accuracy": None},
        "collapsed": None,
        "overflow": "the norm is inf at update 3",
    }
    labelled = one.evaluated | {"made": {"labels": ["overflow"]}}
    return replace(one, metrics=metrics, evaluated=labelled)


@pytest.mark.parametrize("bad", [1, 5])
def test_a_run_that_overflowed_leaves_no_number(bad):
    """Whatever the other seeds say: what survives is no fair sample. Gains and averages with it have none either."""
    of = study(variants=["fixed", "adap_length", "adap_pos"], without={}, backbones=["t5-base-lm"])
    found = runs(of, lambda cell: 75.0 + cell.seed % 3)
    taken = [one for one in found if (one.cell.variant, one.cell.task) == ("adap_length", "rte")][:bad]
    rows = judged(of, [overflowed(one) if one in taken else one for one in found])
    row = rows["B_t5_base_lm_adap_length_rte"]
    assert row["verdict"] == "overflowed" and (row["seeds"], len(row["runs"].split(";"))) == (5, 5)
    assert row["ours"] is row["low"] is row["difference"] is None and "overflow" in row["labels"]
    assert row["reason"].startswith(
        f"{bad} of 5 of our runs ended in an overflow and in no number (adap_length on rte)"
    )
    for claim in ("B_t5_base_lm_adap_length_average", "gain_B_t5_base_lm_adap_length"):
        assert rows[claim]["verdict"] == "overflowed" and rows[claim]["ours"] is None, claim
    assert rows["B_t5_base_lm_adap_length_cb"]["ours"] is not None
    assert rows["A_t5_base_lm_adap_pos_rte"]["verdict"] != "overflowed"


def test_a_claim_without_runs_says_what_is_missing():
    small = study(
        backbones=["t5-small-lm"], without={}, tasks={"hub": ["boolq", "rte"]}, variants=["fixed", "adap_pos"]
    )
    found = judged(small, [])
    assert {row["verdict"] for row in found.values()} == {"not run", "not comparable"}
    reasons = {name: row["reason"] for name, row in found.items()}
    assert reasons["A_t5_xl_lm_fixed_rte"] == "the scale has no backbone t5-xl-lm"
    assert reasons["A_t5_small_lm_fixed_cb"] == "the scale has no task cb"
    assert reasons["A_t5_small_lm_adap_ins_pos_rte"] == "the scale has no variant adap_ins_pos"
    assert reasons["A_t5_small_lm_fixed_average"] == "the scale has no task multirc, no task wic, no task cb"
    assert reasons["text_fewshot_t5_small_lm_adap_pos"] == "the scale has no regime fewshot"
    assert reasons["A_t5_small_lm_fixed_rte"] == "evaluations are missing: 0 of 5 runs so far"
    assert reasons["text_up_to_6_points"].startswith(
        "16 of 16 gains have no runs; gain_A_t5_small_lm_adap_pos: the scale"
    )
    parts = [{"kind": "full", "tasks": TASKS[:4]}, {"kind": "full", "tasks": ["rte"], "variants": ["fixed"]}]
    parted = study(regimes=parts, variants=["fixed", "adap_pos"], without={})
    assert judged(parted, [])["A_t5_xl_lm_adap_pos_rte"]["reason"] == "the scale has no adap_pos on rte"


def test_what_has_run_so_far_is_judged():
    found = runs(RELEASED, only("t5-small-lm", "fixed", "boolq", around(67.3, 0.1)))[:3]
    row = judged(RELEASED, found)["A_t5_small_lm_fixed_boolq"]
    assert row["verdict"] == "reproduced" and row["seeds"] == 3 and row["reason"].endswith("3 of 5 runs so far")


@pytest.mark.parametrize(
    ("changes", "facts", "reason"),
    [
        ({"protocol": "controlled"}, {}, "protocol controlled, the claim's is released"),
        ({}, {"labels": ["subset"]}, "made with a subset of the rows (subset)"),
        ({}, {"labels": ["random-weights"]}, "made with random weights (random-weights)"),
        ({}, {"labels": ["re-split"]}, "re-split"),
        ({}, {"labels": ["made-up"]}, "made-up"),
        ({}, {"labels": ["planted-world"]}, "planted-world"),
        ({}, {"n": 3269}, "3,269 reported rows of boolq, the paper has 3,270"),
        ({}, {"kept_out": 0.1}, "up to 10% of the train rows were kept out, there none"),
        ({"prompt": {"length": 10}}, {}, "prompt length 10, there 20"),
        ({"max_tokens": 256}, {}, "max tokens 256, there 480"),
        ({"training": SCALE["training"] | {"steps": 10000}}, {}, "steps 10000, there 20000"),
        ({"training": SCALE["training"] | {"batch_size": 16}}, {}, "batch size 16, there 32"),
    ],
)
def test_other_runs_are_shown_and_not_judged(changes, facts, reason):
    row = cell(around(67.3, 0.1), study(**changes), **facts)
    assert row["verdict"] == "not comparable" and reason in row["reason"] and ";" not in row["reason"]
    assert row["ours"] == pytest.approx(67.3) and row["difference"] == pytest.approx(-0.01)


def test_every_reason_is_named_and_collapse_among_them():
    controlled = study(protocol="controlled", max_tokens=128)
    row = cell([62.17] * 5, controlled, labels=["subset"], n=3000)
    assert row["verdict"] == "not comparable"
    for part in (
        "subset",
        "3,000 reported rows",
        "protocol controlled",
        "max tokens 128",
        "5 of 5 of our runs collapsed",
    ):
        assert part in row["reason"]


def test_nominal_steps_and_batch_are_compared_not_updates():
    """Under `released` fixed makes 80,000 updates of batch 8, which is how the paper's cells came about."""
    training = run_config(RELEASED, cells(RELEASED)[1])["training"]
    assert (training["steps"], training["batch_size"]) == (80000, 8)
    assert cell(around(67.3, 0.1))["verdict"] == "reproduced"


def everywhere(accuracy):
    return lambda one: None if one.variant == "majority" else accuracy(one)


def papers(one):
    return float(next(claim.value for claim in PAPER.claims.values() if claim.kind == "cell" and (
        claim.backbone, claim.variant, claim.task) == (one.backbone, one.variant, one.task)))  # fmt: skip


SHIFT = dict(zip(SCALE["seeds"], around(0, 0.3), strict=True))


@pytest.fixture(scope="module")
def like_the_paper():
    """The paper's own numbers, each seed a little above or below in every cell; cells at the majority collapsed."""
    return judged(RELEASED, runs(RELEASED, everywhere(lambda one: papers(one) + SHIFT[one.seed])))


def test_every_claim_has_a_row_in_every_scale(like_the_paper):
    assert list(like_the_paper) == list(PAPER.claims)
    for path in sorted((ROOT / "workflow/scales").glob("*.yaml")):
        of = load(ROOT, {"scale": path.stem, "source": None, "folder": "any"})
        found = verdicts.rows(of, [])
        assert [row["claim"] for row in found] == list(PAPER.claims)
        assert all(set(row) == set(verdicts.COLUMNS) for row in found)
        assert all(row["reason"] and row["verdict"] in verdicts.VERDICTS for row in found)


def test_the_papers_own_numbers_reproduce_it_but_where_it_collapsed(like_the_paper):
    for name, claim in PAPER.claims.items():
        row = like_the_paper[name]
        if claim.kind in ("cell", "average", "gain") or name.startswith("text_close"):
            at_majority = any(
                verdict == "collapsed" for verdict in (like_the_paper[c.id]["verdict"] for c in claim.cells)
            )
            assert row["verdict"] == ("collapsed" if at_majority else "reproduced"), name
            assert row["paper_collapsed"] == ("yes" if at_majority else "no"), name


def test_an_average_is_over_the_seeds_means():
    values = {task: around(70 + number, 1 + number) for number, task in enumerate(TASKS)}
    found = judged(RELEASED, runs(RELEASED, lambda one: values[one.task] if (one.backbone, one.variant) == (
        "t5-small-lm", "fixed") else None))["A_t5_small_lm_fixed_average"]  # fmt: skip
    means = [fmean(values[task][number] for task in TASKS) for number in range(5)]
    half = stats.t.ppf(0.975, 4) * stdev(means) / 5**0.5
    assert (found["ours"], found["low"], found["high"]) == pytest.approx((72, 72 - half, 72 + half))
    assert found["tolerance"] == 2.0
    assert len(found["runs"].split(";")) == 25 and found["seeds"] == 5


def test_an_average_over_other_seeds_adds_variances():
    """boolq has three of the five seeds, so there are no means of seeds: Welch's degrees of freedom."""
    values = {task: around(70, 1 + number) for number, task in enumerate(TASKS)}
    found = runs(
        RELEASED, lambda one: values[one.task] if (one.backbone, one.variant) == ("t5-small-lm", "fixed") else None
    )
    found = [one for one in found if one.cell.task != "boolq" or one.cell.seed in (144, 0, 1)]
    row = judged(RELEASED, found)["A_t5_small_lm_fixed_average"]
    kept = {task: own[:3] if task == "boolq" else own for task, own in values.items()}
    parts = [(stdev(own) ** 2 / len(own) / 25, len(own) - 1) for own in kept.values()]
    total = sum(part for part, _ in parts)
    freedom = total**2 / sum(part**2 / df for part, df in parts)
    half = stats.t.ppf(0.975, freedom) * total**0.5
    mean = fmean(fmean(own) for own in kept.values())
    assert (row["low"], row["high"]) == pytest.approx((mean - half, mean + half))
    assert row["seeds"] == 3 and "23 of 25 runs so far" in row["reason"]


def test_a_gain_is_a_difference_of_averages_by_welch():
    def value(one):
        if one.backbone != "t5-small-lm" or one.variant not in ("fixed", "adap_pos"):
            return None
        return around(75, 2.0) if one.variant == "adap_pos" else around(70, 1.0)

    row = judged(RELEASED, runs(RELEASED, value))["gain_A_t5_small_lm_adap_pos"]
    expected = stats.ttest_ind(around(75, 2.0), around(70, 1.0), equal_var=False).confidence_interval(0.95)
    assert (row["low"], row["ours"], row["high"]) == pytest.approx((expected.low, 5, expected.high))
    assert row["value"] == "1.07" and row["verdict"] == "unclear", "2.7 to 7.3 against at most 3.07"
    assert row["difference"] == pytest.approx(5 - 1.07)


def test_a_gain_is_judged_under_either_protocol_and_says_which():
    def value(one):
        return everywhere(lambda two: (71.07 if two.variant == "adap_pos" else 70) + SHIFT[two.seed])(one)

    controlled = study(protocol="controlled")
    found = judged(controlled, runs(controlled, value))
    row = found["gain_A_t5_small_lm_adap_pos"]
    assert (row["verdict"], row["protocol"]) == ("reproduced", "controlled")
    assert found["A_t5_small_lm_adap_pos_average"]["verdict"] == "not comparable"
    other_rows = judged(controlled, runs(controlled, value, n=3000))["gain_A_t5_small_lm_adap_pos"]
    assert other_rows["verdict"] == "reproduced", "a claim about methods does not stand on these very rows"
    row = judged(controlled, runs(controlled, value, labels=["subset"]))["gain_A_t5_small_lm_adap_pos"]
    assert row["verdict"] == "not comparable" and "subset" in row["reason"]


def test_a_gain_that_may_be_none_says_so():
    found = judged(RELEASED, runs(RELEASED, everywhere(lambda one: 80 + SHIFT[one.seed])))
    row = found["gain_A_t5_xl_lm_adap_pos"]
    assert row["verdict"] == "reproduced" and "holds 0: no gain is shown" in row["reason"], "0 is within 0.93 +- 2"
    assert found["gain_A_t5_large_lm_adap_ins_pos"]["verdict"] == "differs"


def test_a_gain_over_a_collapsed_baseline_is_none():
    def value(one):
        if one.backbone != "t5-large-lm":
            return None
        return 57.2 + SHIFT[one.seed] if (one.variant, one.task) == ("fixed", "multirc") else 82 + SHIFT[one.seed]

    row = judged(RELEASED, runs(RELEASED, everywhere(value)))["gain_A_t5_large_lm_adap_pos"]
    assert row["verdict"] == "collapsed" and row["ours"] == pytest.approx(24.8 / 5)
    assert "5 of 50 of our runs collapsed (fixed on multirc)" in row["reason"]
    assert "the paper's own values of fixed on multirc sit at the majority class" in row["reason"]


def test_the_best_gain_is_the_largest_of_all():
    gain = {"adap_pos": 2, "adap_ins_pos": 6}

    def value(one):
        extra = 0.1 if one.backbone == "t5-xl-lm" else 0
        return (
            75
            + gain.get(one.variant, 1 if one.variant != "fixed" else 0)
            + extra * (one.variant != "fixed")
            + SHIFT[one.seed]
        )

    found = runs(RELEASED, everywhere(value))
    row = judged(RELEASED, found)["text_up_to_6_points"]
    assert row["ours"] == pytest.approx(6.1) and row["verdict"] == "reproduced"
    assert "gain_A_t5_xl_lm_adap_ins_pos" in row["reason"] and "too large" in row["reason"]
    assert (
        len(row["runs"].split(";"))
        == 5 * 5 * sum(len(RELEASED.variants_on(b)) - 1 for b in RELEASED.scale.backbones) - 75
    )
    without = [one for one in found if (one.cell.backbone, one.cell.task) != ("t5-small-lm", "cb")]
    assert judged(RELEASED, without)["text_up_to_6_points"]["verdict"] == "not run"


REGIMES = [{"kind": "fewshot", "k": [2, 8], "sample_seeds": [0, 1]}, {"kind": "multitask"}]


@pytest.mark.parametrize(
    ("gain", "spread", "verdict"), [(3, 1, "reproduced"), (-3, 1, "differs"), (0.2, 3, "unclear"), (-0.2, 3, "unclear")]
)
def test_a_direction_is_judged_by_its_sign(gain, spread, verdict):
    of = study(backbones=["t5-small-lm"], without={}, regimes=REGIMES, seeds=[0, 1], variants=["fixed", "adap_pos"])
    moved = dict(zip(["0", "1"], (-spread / 2, spread / 2), strict=True))

    def value(one):
        return 80 + moved[str(one.seed)] + (gain if one.variant == "adap_pos" else 0)

    found = judged(of, runs(of, value))
    row = found["text_fewshot_t5_small_lm_adap_pos"]
    assert (row["verdict"], row["regime"], row["k"], row["seeds"]) == (verdict, "fewshot", "2;8", 4)
    assert row["ours"] == pytest.approx(gain) and row["value"] is None and row["difference"] is None
    assert len(row["runs"].split(";")) == 2 * 5 * 2 * 4
    row = found["text_multitask_t5_small_lm_adap_pos"]
    assert (row["regime"], row["seeds"]) == ("multitask", 2) and row["ours"] == pytest.approx(gain)
    assert found["text_multitask_t5_small_lm_adap_ins_pos"]["reason"] == "the scale has no variant adap_ins_pos"


def test_no_difference_at_all_is_no_gain():
    assert verdicts.direction(0.0, 0.0) == verdicts.direction(-1.0, 0.0) == "differs"
    assert verdicts.direction(0.0, 1.0) == "unclear" and verdicts.direction(0.1, 1.0) == "reproduced"


def test_a_direction_stands_on_some_collapsed_cells_but_not_on_half_of_the_runs():
    of = study(backbones=["t5-small-lm"], without={}, regimes=REGIMES[:1], seeds=[0, 1], variants=["fixed", "adap_pos"])

    def row(tasks):
        def value(one):
            own = MAJORITY[one.task] if one.task in tasks else 80 + 2 * (one.variant == "adap_pos")
            return own + one.seed * 0.1

        return judged(of, runs(of, value))["text_fewshot_t5_small_lm_adap_pos"]

    assert row(TASKS[:2])["verdict"] == "reproduced" and "32 of 80 of our runs collapsed" in row(TASKS[:2])["reason"]
    assert row(TASKS[:3])["verdict"] == "collapsed"


def test_multitask_is_the_union_that_has_all_tasks():
    unions = [{"kind": "multitask", "name": "two", "tasks": TASKS[:2]}, {"kind": "multitask", "name": "five"}]
    of = study(backbones=["t5-small-lm"], without={}, regimes=unions, variants=["fixed", "adap_pos"])
    row = judged(of, runs(of, lambda one: 80 + SHIFT[one.seed]))["text_multitask_t5_small_lm_adap_pos"]
    assert row["regime"] == "multitask-five" and len(row["runs"].split(";")) == 50


def test_anchors_are_judged_as_cells_are():
    row = cell(around(81.2, 0.3), claim="anchor_openprompt_soft_prompt_multirc")
    assert row["verdict"] == "reproduced" and row["kind"] == "anchor" and row["paper_collapsed"] == "no"
    theirs = {"max_tokens": 128, "baselines": {"p_tuning_v2": {"length": 8, "lengths": {"rte": 128}}}}
    linear = {"backbones": ["roberta-large"], "without": {}, "variants": ["p-tuning-v2-linear"], "overrides": {}}
    roberta = study(protocol="controlled", **theirs, **linear)
    for task, value in (("boolq", 84.0), ("rte", 86.6)):
        row = cell(around(value, 0.3), roberta, f"anchor_p_tuning_v2_roberta_large_{task}")
        assert row["verdict"] == "reproduced", row["reason"]
    other = study(**linear)
    row = cell(around(86.6, 0.3), other, "anchor_p_tuning_v2_roberta_large_rte")
    assert row["reason"] == "prompt length 20, there 128; max tokens 480, there 128"
    row = judged(RELEASED, [])["anchor_p_tuning_v2_bert_large_rte"]
    assert row["verdict"] == "not comparable" and "cased" in row["reason"] and row["ours"] is None


def test_rows_are_the_same_bytes_whatever_the_order_of_runs(like_the_paper):
    found = runs(RELEASED, everywhere(lambda one: papers(one) + SHIFT[one.seed]))
    texts = [table.to_csv(verdicts.COLUMNS, verdicts.rows(RELEASED, own)) for own in (found, found[::-1])]
    assert texts[0] == texts[1]


# The scale of the paper's own study


def test_paper_released_runs_the_tables_and_nothing_else():
    of = load(ROOT, {"scale": "paper-released"})
    in_tables = {(c.backbone, c.variant, c.task) for c in PAPER.claims.values() if c.kind == "cell"}
    in_grid = {(one.backbone, one.variant, one.task) for one in cells(of) if one.variant != "majority"}
    assert in_grid == in_tables
    assert of.scale.protocol == "released" and PAPER.facts.protocol.seed in of.scale.seeds
    matcher = matching.Matcher(of, PAPER)
    for claim in PAPER.claims.values():
        if claim.kind in ("cell", "average", "gain"):
            assert not matcher.match(claim).lacking, claim.id
    row = cell(around(67.3, 0.1), of)
    assert row["verdict"] == "reproduced", "its set-up is the paper's"
    assert of.scale.rows.selection_fraction <= verdicts.KEPT_OUT


def test_needed_cells():
    matcher = matching.Matcher(RELEASED, PAPER)
    count = {
        "A_t5_xl_lm_fixed_rte": 5,
        "A_t5_xl_lm_fixed_average": 25,
        "gain_C_t5_small_lm_adap_pos_ins_vec": 50,
        "text_up_to_6_points": 500,
        "anchor_accept_pt_cb": 0,
    }
    assert {name: len(matcher.needed(PAPER.claim(name))) for name in count} == count
    found = matching.cells_for(RELEASED, PAPER, PAPER.of_table("B_length"), "table_B_length")
    assert {(one.backbone, one.variant) for one in found} == {
        ("t5-base-lm", "fixed"),
        ("t5-base-lm", "adap_length"),
        ("t5-large-lm", "fixed"),
        ("t5-large-lm", "adap_ins_length"),
    }


# What a person sees


@pytest.fixture
def small(tmp_path, monkeypatch):
    """T5 Small on two tasks, two seeds, with files of evaluations; their 100 rows are labelled a subset."""
    of = study_in(tmp_path, monkeypatch, backbones=["t5-small-lm"], source="hub", tasks={"hub": ["boolq", "rte"]},
                  variants=["fixed", "adap_pos"], seeds=[0, 1])  # fmt: skip
    write_results(of, lambda one: predictions(0.7 + 0.02 * one.seed, split=lambda i: 4))
    return of


def said(capsys, *arguments):
    cli.main(["claims", "--set", "scale=synthetic", *arguments])
    return capsys.readouterr().out


def test_claims_prints_what_has_been_evaluated_so_far(small, capsys):
    printed = said(capsys)
    rows = [line for line in printed.splitlines() if re.match(r" *A_t5", line)]
    assert [line.split()[0] for line in rows] == [
        f"A_t5_small_lm_{variant}_{task}" for variant in ("fixed", "adap_pos") for task in ("boolq", "rte")
    ]
    assert all("not comparable" in line and "71.00" in line and "subset" in line for line in rows)
    total = len(PAPER.claims)
    assert printed.splitlines()[-1] == f"scale synthetic, {total} claims: 142 not comparable, {total - 142} not run"
    shutil.rmtree(paths.evaluation("synthetic", "t5-small-lm/full/rte/fixed/seed0"))
    printed = said(capsys)
    assert "1 of 2 runs so far" in printed, "a part is enough, and the report's other files are not asked for"
    shutil.rmtree("results/evaluate")
    assert said(capsys).splitlines()[-1].endswith(f": 138 not comparable, {total - 138} not run")


def test_claims_of_one_table_or_one_claim(small, capsys):
    printed = said(capsys, "--table", "B")
    assert printed.count("\n") == 26 + 4 and printed.splitlines()[-1] == "scale synthetic, 26 claims: 26 not run"
    printed = said(capsys, "--claim", "A_t5_small_lm_fixed_boolq")
    facts = dict(re.split("  +", line.strip(), maxsplit=1) for line in printed.splitlines()[:-1])
    assert facts["paper"] == "67.31 ± 2.00" and facts["ours"] == "71.00" and facts["verdict"] == "not comparable"
    assert facts["source"] == "arXiv:2303.02909v2" and facts["labels"] == "random-weights;subset"
    for arguments, message in (
        (
            ["--claim", "A_t5_small_lm_fixd_boolq"],
            "is no claim of the paper; the nearest valid name is 'A_t5_small_lm_fixed",
        ),
        (["--table", "D"], "'D' is no table of the paper; its tables are A_position, B_length, C_prompt"),
    ):
        with pytest.raises(SystemExit):
            cli.main(["claims", "--set", "scale=synthetic", *arguments])
        assert message in capsys.readouterr().err


def test_claims_refuses_what_a_table_could_not_vouch_for(small, capsys):
    path = paths.evaluation("synthetic", "t5-small-lm/full/rte/fixed/seed0")
    change(path / "record.json", lambda record: record | {"asked": record["asked"] | {"max_tokens": 1}})
    with pytest.raises(SystemExit):
        cli.main(["claims", "--set", "scale=synthetic"])
    assert "made under other parameters" in capsys.readouterr().err
    assert "not comparable" in said(capsys, "--claim", "A_t5_small_lm_fixed_boolq"), "another claim does not read it"


def test_a_report_has_every_run_or_none(small):
    assert len(evaluations.read(small)) == 8 and len(evaluations.evaluated(small)) == 8
    shutil.rmtree(paths.evaluation("synthetic", "t5-small-lm/full/rte/fixed/seed0"))
    assert len(evaluations.read(small, evaluations.evaluated(small))) == 7
    with pytest.raises(UserError, match="files that the report reads are missing"):
        evaluations.read(small)


def test_rows_are_made_from_what_findings_hold(small):
    found = findings.find(small, evaluations.read(small))
    row = next(row for row in verdicts.rows(found.study, found.runs) if row["claim"] == "A_t5_small_lm_fixed_boolq")
    result = next(row for row in found.results if (row["task"], row["variant"]) == ("boolq", "fixed"))
    assert row["runs"] == result["runs"] and row["labels"] == result["labels"]
    assert row["ours"] == pytest.approx(100 * result["mean"]) and row["low"] == pytest.approx(100 * result["low"])


# How often the verdicts are wrong


def test_the_rates_of_wrong_verdicts(monkeypatch):
    """At most 2.5 % on each side, give or take what 200 sets leave open; power where the difference is large."""
    monkeypatch.syspath_prepend(ROOT / "benchmarks")
    simulation = importlib.import_module("verdicts")
    for spread, seeds in ((0.5, 3), (0.5, 5), (1.0, 5)):
        found = {
            difference: simulation.shares(
                simulation.Setting("A_t5_small_lm_fixed_boolq", seeds, spread, difference), 200
            )
            for difference in (0.0, 2.0, 3.0, 10.0)
        }
        assert found[0.0]["differs"] == 0 and found[0.0]["reproduced"] > 0.75
        assert found[2.0]["differs"] < 0.06 and found[2.0]["reproduced"] < 0.06
        assert found[3.0]["reproduced"] < 0.01 and found[10.0]["differs"] == 1
        assert all(sum(one.values()) == pytest.approx(1) for one in found.values())
    setting = simulation.Setting("A_t5_small_lm_fixed_boolq", 1, 2.0, 2.0)
    name, share = simulation.wrong(setting, simulation.shares(setting, 200))
    assert name == "differs" and share > 0.1, "one run knows no spread over seeds, and docs/claims.md says so"
    assert simulation.wrong(setting._replace(difference=3.0), {"reproduced": 0.5})[0] == "reproduced"


# Targets


def plan(*arguments):
    """What Snakemake plans: rule -> number of jobs; or its error."""
    command = [sys.executable, "-m", "snakemake", "-n", "--nocolor", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=environment(ROOT), capture_output=True, text=True)
    printed = done.stdout + done.stderr
    return {} if done.returncode else dict(re.findall(r"^(\w+) +(\d+)$", printed, re.MULTILINE)), printed


@pytest.mark.slow
@pytest.mark.parametrize(
    ("target", "trained"),
    [
        ("table_A_position", 300),
        ("table_B", 100),
        ("claim_A_t5_xl_lm_fixed_rte", 5),
        ("claim_gain_A_t5_xl_lm_adap_pos", 50),
    ],
)
def test_a_target_makes_the_evaluations_that_it_needs(target, trained):
    jobs, printed = plan("--config", "scale=paper-released", "--", target)
    assert (
        jobs["evaluate_run"] == jobs["train_run"] == str(trained) and jobs[target] == "1" and "report_scale" not in jobs
    ), printed


@pytest.mark.slow
def test_a_target_without_runs_says_which_scale_has_them():
    _, printed = plan("--config", "scale=smoke", "--", "claim_A_t5_xl_lm_fixed_rte")
    told = re.search(
        r"scale 'smoke' has no run for it: no backbone t5-xl-lm; to be had with `--config scale=(.+)`", printed
    )
    scales = {path.stem: yaml.safe_load(path.read_text()) for path in (ROOT / "workflow/scales").glob("*.yaml")}
    having = {name for name, scale in scales.items() if "t5-xl-lm" in scale["backbones"]}
    assert told and set(told[1].removesuffix(".").split(" or ")) == having and "paper" in having, printed
    _, printed = plan("--config", "scale=paper-released", "--", "claim_anchor_accept_pt_cb")
    assert "no run can decide it: the original T5 saw SuperGLUE" in printed
