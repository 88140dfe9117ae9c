"""What changed between two states of the study: each planted change is named, and nothing else."""

import copy
import csv
import io
import itertools
import json
import os
import random
import shutil
import subprocess
import sys
from fnmatch import fnmatch

import pytest
import yaml
from synthetic_results import change, planted, report, study_in, write_results

from dp import files
from dp.commands import cli
from dp.jobs.record import sealed
from dp.lineage.diff_text import domains_of, patterns
from dp.lineage.differences import changes

RUN = "synthetic/tiny-t5/full"
TRAINED, EVALUATED = f"results/train/{RUN}", f"results/evaluate/{RUN}"
REPORT = "results/report/synthetic"
ROWS = "results/download/tasks/alpha/made_up"
COUNTS = {"download": 3, "tokenize": 4, "train": 4, "evaluate": 6, "report": 1}


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A project folder with full results and a little code."""
    root = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        write_results(study_in(root, patch), planted)
        report("allow_dirty=true")
    (root / "dp").mkdir()
    (root / "dp" / "one.py").write_text('"""One."""\n\nVALUE = 1  # the first\n')
    (root / "Snakefile").write_text("rule all:\n")
    return root


@pytest.fixture
def states(project, tmp_path, monkeypatch):
    """Two equal project folders, `old` and `new`; the second is the working directory."""
    old, new = tmp_path / "old", tmp_path / "new"
    shutil.copytree(project, old)
    shutil.copytree(project, new)
    monkeypatch.chdir(new)
    return old, new


def said(capsys, *arguments):
    """Exit status and what was printed."""
    with pytest.raises(SystemExit) as stop:
        cli.main(["diff", *(str(one) for one in arguments)])
    streams = capsys.readouterr()
    return stop.value.code, streams.err if stop.value.code == 2 else streams.out


def difference(capsys, *arguments):
    status, printed = said(capsys, *arguments, "--json")
    found = json.loads(printed)
    assert status == (1 if found["different"] else 0)
    return found


def nothing(old, new):
    """The whole document where two states are equal."""
    untouched = {"added": [], "removed": [], "remade": [], "other_bytes": []}
    return {
        "old": {"name": str(old), "commit": None, "artifacts": 18},
        "new": {"name": str(new), "commit": None, "artifacts": 18},
        "parameters": {"declared": [], "asked": []},
        "code": {"files": [], "modules": [], "commits": []},
        "data": {"inputs": [], "downloads": []},
        "environments": [],
        "numbers": {"synthetic": {"in": "both", "unchanged": 6, "changed": [], "added": [], "removed": []}},
        "artifacts": {phase: copy.deepcopy(untouched) | {"unchanged": count} for phase, count in COUNTS.items()},
        "different": False,
    }


def expected(states, *remade, other_bytes=(), **sections):
    """`nothing`, but for these sections and the artifacts made again."""
    found = nothing(*states) | sections | {"different": True}
    for folder in sorted(remade):
        phase = found["artifacts"][folder.split("/")[1]]
        phase["remade"].append(folder)
        phase["unchanged"] -= 1
        phase["other_bytes"] += [folder] if folder in other_bytes else []
    return found


def edit(folder, *keys, to):
    """Set a value of a record, as its job would have written it."""

    def changed(record):
        where = record
        for key in keys[:-1]:
            where = where[key]
        where[keys[-1]] = to
        return record

    change(folder / "record.json", changed)


def edit_rows(new, changed):
    """Rewrite results.csv through a function of its rows, as the report would have written them."""
    path = new / REPORT / "results.csv"
    with path.open() as file:
        rows = list(csv.DictReader(file))
    rows = changed(rows)
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    path.write_text(text.getvalue())
    outputs = files.read_json(path.parent / "record.json")["made"]["outputs"]
    edit(path.parent, "made", "outputs", to=outputs | {"results.csv": files.sha256(path)})


def test_equal_states(states, capsys):
    assert difference(capsys, *states) == nothing(*states)
    status, text = said(capsys, *states)
    assert (status, text) == (0, f"old  {states[0]} (18 artifacts)\nnew  {states[1]} (18 artifacts)\n\nno change\n")


def test_a_parameter(states, capsys):
    """The same change of two artifacts is one entry, that of a third to another value is another."""
    new = states[1]
    touched = [f"{EVALUATED}/alpha/fixed/seed0", f"{TRAINED}/alpha/fixed/seed0"]
    for folder in touched:
        edit(new / folder, "asked", "training", "optimizer", "lr", to=0.1)
    other = f"{TRAINED}/beta/fixed/seed0"
    edit(new / other, "asked", "training", "optimizer", "lr", to=1)
    edit(new / other, "asked", "definition", "position", to={"learned_by": "adap_pos"})
    edit(new / other, "asked", "extra", to=None)
    edit(new / other, "asked", "trial", to=False)
    asked = [
        {"key": "definition.position", "old": "prefix", "new": {"learned_by": "adap_pos"}, "artifacts": [other]},
        {"key": "extra", "new": None, "artifacts": [other]},
        {"key": "training.optimizer.lr", "old": 0.3, "new": 0.1, "artifacts": touched},
        {"key": "training.optimizer.lr", "old": 0.3, "new": 1, "artifacts": [other]},
        {"key": "trial", "old": None, "new": False, "artifacts": [other]},
    ]
    found = difference(capsys, *states)
    found["parameters"]["asked"].sort(key=lambda entry: (entry["key"], entry["artifacts"]))
    assert found == expected(states, *touched, other, parameters={"declared": [], "asked": asked})


def test_one_is_not_true():
    assert list(changes({"a": 1, "b": [1]}, {"a": True, "b": [True]})) == [
        {"key": "a", "old": 1, "new": True},
        {"key": "b", "old": [1], "new": [True]},
    ]
    assert list(changes({"a": {"b": 1, "c": 2}}, {"a": {"c": 2, "b": 1}})) == []


def test_declared_parameters_and_files_of_the_code(states, capsys):
    new = states[1]
    params = yaml.safe_load((new / "params.yaml").read_text())
    params["variants"]["fixed"]["position"] = "postfix"
    del params["variants"]["postfix"]
    (new / "params.yaml").write_text(yaml.safe_dump(params))
    (new / "workflow/scales/other.yaml").write_text("seeds: [1]\n")
    (new / "dp/one.py").write_text('"""Another word."""\n\nVALUE = 1\n')
    (new / "dp/two.py").write_text("VALUE = 2\n")
    (new / "dp/__pycache__").mkdir()
    (new / "dp/__pycache__/two.pyc").write_text("")
    (new / "Snakefile").write_text("rule other:\n")
    declared = [
        {"file": "params.yaml", "key": "variants.fixed.position", "old": "prefix", "new": "postfix"},
        {"file": "params.yaml", "key": "variants.postfix", "old": {"position": "postfix"}},
        {"file": "workflow/scales/other.yaml", "key": "", "new": {"seeds": [1]}},
    ]
    changed_files = [
        {"file": "Snakefile", "change": "changed"},
        {"file": "dp/one.py", "change": "comments"},
        {"file": "dp/two.py", "change": "added"},
    ]
    code = {"files": changed_files, "modules": [], "commits": []}
    found = difference(capsys, *states)
    assert found == expected(states, parameters={"declared": declared, "asked": []}, code=code)
    (new / "dp/one.py").write_text('"""One."""\n\nVALUE = 3  # the first\n')
    assert difference(capsys, *states)["code"]["files"][1] == {"file": "dp/one.py", "change": "changed"}
    found = difference(capsys, states[1], states[0])
    assert found["code"]["files"][2] == {"file": "dp/two.py", "change": "removed"}
    assert found["parameters"]["declared"][2] == {
        "file": "workflow/scales/other.yaml",
        "key": "",
        "old": {"seeds": [1]},
    }


def test_results_alone_declare_nothing(states, capsys):
    """The folder of results itself, under another name too; its artifacts are named as in a project."""
    old, new = states
    shutil.move(old / "results", old / "kept")
    (new / "params.yaml").write_text("scale: other\n")
    found = difference(capsys, old / "kept", new / "results")
    same = nothing(old / "kept", new / "results")
    same["parameters"]["declared"] = same["code"]["files"] = None
    assert found == same


def test_the_code_of_records(states, capsys):
    new = states[1]
    edited = [
        f"{TRAINED}/{task}/{variant}/seed0" for task in ("alpha", "beta") for variant in ("adap_ins_pos", "fixed")
    ]
    evaluated = f"{EVALUATED}/alpha/fixed/seed0"
    was = files.read_json(new / edited[0] / "record.json")["used"]["code"]["modules"]
    for folder in [*edited, evaluated]:
        modules = files.read_json(new / folder / "record.json")["used"]["code"]["modules"]
        modules = modules | {"dp/data/tokens.py": "9" * 64}
        if folder != evaluated:
            del modules["dp/training/loop.py"]
        edit(new / folder, "used", "code", to={"digest": files.digest(modules), "modules": modules})
    edit(new / evaluated, "with", "commit", to="d" * 40)
    modules = [
        {
            "module": "dp/data/tokens.py",
            "old": was["dp/data/tokens.py"],
            "new": "9" * 64,
            "artifacts": {"train": 4, "evaluate": 1},
        },
        {"module": "dp/training/loop.py", "old": was["dp/training/loop.py"], "artifacts": {"train": 4}},
    ]
    commits = [{"old": "c" * 40, "new": "d" * 40, "artifacts": 1}]
    code = {"files": [], "modules": modules, "commits": commits}
    assert difference(capsys, *states) == expected(states, *edited, evaluated, code=code)


def test_data(states, capsys):
    """Rows of other bytes with their counts, and a task's definition; what artifacts made is no source."""
    old, new = states
    folder, tokens = new / ROWS, f"results/tokenize/{RUN.split('/')[0]}/tiny-t5/alpha/tokens"
    for state, rows, digest in ((old, 80, "1" * 64), (new, 70, "2" * 64)):
        edit(state / ROWS, "made", "rows", to={"train": rows, "validation": 100})
        edit(state / ROWS, "made", "label_counts", to={"train": [rows // 2] * 2})
        inputs = files.read_json(state / tokens / "record.json")["used"]["inputs"]
        edit(state / tokens, "used", "inputs", to=inputs | {"dp/tasks/alpha.yaml": digest, "results/x": digest})
    (folder / "train.jsonl").write_text("fewer\n")
    outputs = files.read_json(folder / "record.json")["made"]["outputs"]
    sha = files.sha256(folder / "train.jsonl")
    edit(folder, "made", "outputs", to=outputs | {"train.jsonl": sha})
    edit(folder, "made", "started", to="2026-02-03T04:05:06+00:00")
    data = {
        "inputs": [{"key": "dp/tasks/alpha.yaml", "old": "1" * 64, "new": "2" * 64, "artifacts": [tokens]}],
        "downloads": [{
            "artifact": ROWS,
            "outputs": [{"file": "train.jsonl", "old": outputs["train.jsonl"], "new": sha}],
            "facts": [{"key": "label_counts.train", "old": [40, 40], "new": [35, 35]},
                      {"key": "rows.train", "old": 80, "new": 70}],
        }],
    }  # fmt: skip
    assert difference(capsys, *states) == expected(states, ROWS, tokens, other_bytes=[ROWS], data=data)


def test_environments(states, capsys):
    new = states[1]
    one, other = f"{TRAINED}/alpha/fixed/seed0", f"{EVALUATED}/alpha/fixed/seed0"
    was = files.read_json(new / one / "record.json")["with"]
    for folder in (one, other):
        edit(new / folder, "with", "packages", "torch", to="9.9")
    edit(new / one, "with", "device", to="H100")
    edit(new / one, "with", "cuda", to="13.0")
    environments = [
        {"key": "cuda", "new": "13.0", "artifacts": [one]},
        {"key": "device", "old": "cpu", "new": "H100", "artifacts": [one]},
        {"key": "packages.torch", "old": was["packages"]["torch"], "new": "9.9", "artifacts": [other, one]},
    ]
    assert difference(capsys, *states) == expected(states, one, other, environments=environments)


def row_of(task, variant, **more):
    return {"backbone": "tiny-t5", "regime": "full", "k": "", "task": task, "source": "made_up", "variant": variant,
            "protocol": "controlled", "metric": "accuracy"} | more  # fmt: skip


def estimate(mean, low, high, seeds=1):
    return {"mean": mean, "low": low, "high": high, "seeds": seeds}


ESTIMATES = {
    # (task, variant) -> estimate before and after; a tie of the difference goes by name
    ("alpha", "majority"): (estimate(0.6, 0.5, 0.7), estimate(0.6, 0.5, 0.7)),  # other labels
    ("alpha", "fixed"): (estimate(0.61, 0.5, 0.7), estimate(0.81, 0.71, 0.9)),  # apart
    ("alpha", "adap_ins_pos"): (estimate(0.9, 0.8, 0.95), estimate(0.7, 0.6, 0.8)),  # touching
    ("beta", "majority"): (estimate(0.6, 0.5, 0.7), estimate(0.1, 0.05, 0.2)),  # far apart, downwards
    ("beta", "fixed"): (estimate(0.61, 0.5, 0.7), estimate(0.61, 0.5, 0.7, seeds=5)),  # of more seeds
    ("beta", "adap_ins_pos"): (estimate(0.9, 0.8, 0.95), estimate(0.9, 0.8, 0.95)),  # the same
}


def planted_rows(side):
    def changed(rows):
        for row in rows:
            row |= ESTIMATES[row["task"], row["variant"]][side]
            row |= {"labels": "subset", "collapsed": "0/1", "runs": f"run{side}", "seconds": f"{side}.0"}
            if side and (row["task"], row["variant"]) in (("alpha", "majority"), ("alpha", "fixed")):
                row |= {"labels": "dirty-tree;subset"} if row["variant"] == "majority" else {"collapsed": "1/1"}
        return rows

    return changed


def test_numbers(states, capsys):
    old, new = states
    edit_rows(old, planted_rows(0))
    edit_rows(new, planted_rows(1))

    def changed(task, variant, points, word, *facts):
        was, now = ESTIMATES[task, variant]
        return row_of(task, variant, old=was, new=now, points=points, word=word, facts=list(facts))

    found = {
        "in": "both",
        "unchanged": 1,
        "changed": [
            changed("beta", "majority", -50.0, "apart"),
            changed("alpha", "adap_ins_pos", -20.0, "within intervals"),
            changed("alpha", "fixed", 20.0, "apart", {"key": "collapsed", "old": "0/1", "new": "1/1"}),
            changed("alpha", "majority", 0.0, "same", {"key": "labels", "old": "subset", "new": "dirty-tree;subset"}),
            changed("beta", "fixed", 0.0, "same"),
        ],
        "added": [],
        "removed": [],
    }
    printed = difference(capsys, *states)
    assert printed == expected(states, REPORT, other_bytes=[REPORT], numbers={"synthetic": found})


def test_rows_in_one_state_alone(states, capsys):
    """A row joins only its own backbone, regime, k, task, source, variant, protocol and metric."""
    old, new = states
    edit_rows(old, lambda rows: [row for row in planted_rows(0)(rows) if row["variant"] == "fixed"])
    edit_rows(new, lambda rows: [
        row | ({"k": "32", "regime": "fewshot"} if row["task"] == "alpha" else {})
        for row in planted_rows(0)(rows) if row["variant"] == "fixed"
    ])  # fmt: skip
    numbers = difference(capsys, *states)["numbers"]["synthetic"]
    was = row_of("alpha", "fixed") | estimate(0.61, 0.5, 0.7)
    assert numbers == {"in": "both", "unchanged": 1, "changed": [], "added": [was | {"k": "32", "regime": "fewshot"}],
                       "removed": [was]}  # fmt: skip
    for column in ("backbone", "regime", "k", "task", "source", "variant", "protocol", "metric"):
        edit_rows(new, lambda rows, column=column: [planted_rows(0)(rows[:1])[0] | {column: "other"}])
        numbers = difference(capsys, *states)["numbers"]["synthetic"]
        assert (len(numbers["added"]), len(numbers["removed"]), numbers["changed"]) == (1, 2, []), column
        edit_rows(new, lambda rows, column=column: [rows[0] | row_of("alpha", "fixed")])


def test_artifacts_in_one_state_alone_and_made_again(states, capsys):
    new = states[1]
    gone, come = f"{TRAINED}/alpha/fixed/seed0", f"{TRAINED}/alpha/fixed/seed1"
    (new / gone).rename(new / come)
    again = f"{EVALUATED}/alpha/fixed/seed0"
    edit(new / again, "made", "wall_seconds", to=99.0)
    found = expected(states, again)
    found["artifacts"]["train"] |= {"added": [come], "removed": [gone], "unchanged": 3}
    assert difference(capsys, *states) == found
    shutil.rmtree(new / REPORT)
    found = difference(capsys, *states)
    assert found["numbers"]["synthetic"]["in"] == "old"
    assert len(found["numbers"]["synthetic"]["removed"]) == 6
    assert "scale synthetic: 6 rows, in the old state alone" in said(capsys, *states)[1]
    assert difference(capsys, *reversed(states))["numbers"]["synthetic"]["in"] == "new"


TEXT = f"""\
parameters
  workflow/scales/other.yaml  added
  workflow/scales/synthetic.yaml  prompt.length: 4 -> 5
  workflow/scales/synthetic.yaml  training.steps: 120 -> absent
  trial: null -> {{"lr": 0.1}}
    8 artifacts
    results/{{evaluate,train}}/{RUN}/*/{{adap_ins_pos,fixed}}/seed0

code
  dp/one.py  comments and docstrings alone changed
  dp/data/tokens.py  GRID -> 999999999999  (artifacts: train 1)
  made at commit cccccccccccc -> dddddddddddd  (artifacts: 1)

data
  dp/tasks/alpha.yaml: none -> 222222222222
    1 artifact
    {ROWS}
  {ROWS}
    rows: absent -> {{"train": 70}}

environments
  device: cpu -> H100
  packages.torch: 1.0 -> 9.9
    6 artifacts
    results/evaluate/{RUN}/*/*/seed0

numbers
  mean [95 % interval] (seeds) in percent, old -> new, difference in points
  scale synthetic: 4 changed (2 apart, 1 within intervals, 1 same), 0 unchanged, 1 added, 1 removed; source made_up, protocol controlled
    tiny-t5/full/beta/majority       accuracy  60.00 [50.00, 70.00] (1)  ->  10.00 [5.00, 20.00] (1)   -50.00  apart
    tiny-t5/full/alpha/adap_ins_pos  accuracy  90.00 [80.00, 95.00] (1)  ->  70.00 [60.00, 80.00] (1)  -20.00  within intervals
    tiny-t5/full/alpha/fixed         accuracy  61.00 [50.00, 70.00] (1)  ->  81.00 [71.00, 90.00] (1)  +20.00  apart; collapsed 0/1 -> 1/1
    tiny-t5/full/beta/fixed          accuracy  61.00 [50.00, 70.00] (1)  ->  61.00 [50.00, 70.00] (5)  +0.00   same
    added  tiny-t5/fewshot-k32/alpha/majority  f1  60.00 [50.00, 70.00] (1)
    removed  tiny-t5/full/alpha/majority  accuracy  60.00 [50.00, 70.00] (1)

artifacts
  download: 1 made again (0 with other bytes), 2 untouched
  evaluate: 6 made again (0 with other bytes), 0 untouched
  report: 1 made again (1 with other bytes), 0 untouched
  tokenize: 1 removed, 3 untouched
    removed results/tokenize/synthetic/tiny-t5/beta/tokens
  train: 4 made again (0 with other bytes), 0 untouched
"""  # noqa: E501


def test_the_text(states, capsys):
    """What a person reads, to the letter."""
    old, new = states
    scale = yaml.safe_load((new / "workflow/scales/synthetic.yaml").read_text())
    scale["prompt"]["length"] = 5
    del scale["training"]["steps"]
    (new / "workflow/scales/synthetic.yaml").write_text(yaml.safe_dump(scale))
    (new / "workflow/scales/other.yaml").write_text("seeds: [1]\n")
    (new / "dp/one.py").write_text('"""1."""\n\nVALUE = 1  # the first\n')
    for task, variant in itertools.product(("alpha", "beta"), ("fixed", "adap_ins_pos")):
        for phase in (EVALUATED, TRAINED):
            edit(new / f"{phase}/{task}/{variant}/seed0", "asked", "trial", to={"lr": 0.1})
    for state, version in ((old, "1.0"), (new, "9.9")):
        for task, variant in itertools.product(("alpha", "beta"), ("fixed", "adap_ins_pos", "majority")):
            edit(state / f"{EVALUATED}/{task}/{variant}/seed0", "with", "packages", "torch", to=version)
            if state == new:
                edit(new / f"{EVALUATED}/{task}/{variant}/seed0", "with", "device", to="H100")
    folder = new / f"{TRAINED}/alpha/fixed/seed0"
    modules = files.read_json(folder / "record.json")["used"]["code"]["modules"]
    was, modules["dp/data/tokens.py"] = modules["dp/data/tokens.py"], "9" * 64
    edit(folder, "used", "code", to={"digest": files.digest(modules), "modules": modules})
    edit(folder, "with", "commit", to="d" * 40)
    edit(new / ROWS, "used", "inputs", to={"dp/tasks/alpha.yaml": "2" * 64})
    edit(new / ROWS, "made", "rows", to={"train": 70})
    shutil.rmtree(new / "results/tokenize/synthetic/tiny-t5/beta/tokens")
    shown = [("alpha", "majority"), ("alpha", "fixed"), ("alpha", "adap_ins_pos"), ("beta", "majority"),
             ("beta", "fixed")]  # fmt: skip
    for side, state in enumerate(states):
        edit_rows(state, lambda rows, side=side: [
            row | ({"k": "32", "regime": "fewshot", "metric": "f1"} if side and row["task"] == "alpha"
                   and row["variant"] == "majority" else {})
            for row in planted_rows(side)(rows) if (row["task"], row["variant"]) in shown
        ])  # fmt: skip
    status, text = said(capsys, *states)
    head, _, body = text.partition("\n\n")
    assert status == 1 and head == f"old  {old} (18 artifacts)\nnew  {new} (17 artifacts)"
    assert body == TEXT.replace("GRID", was[:12])


def test_sections_without_change_are_one_line(states, capsys):
    edit(states[1] / f"{EVALUATED}/alpha/fixed/seed0", "with", "device", to="H100")
    _, text = said(capsys, *states)
    assert text.split("\n\n")[1:] == [
        "parameters: no change",
        "code: no change",
        "data: no change",
        f"environments\n  device: cpu -> H100\n    1 artifact\n    {EVALUATED}/alpha/fixed/seed0",
        "numbers: no change in 6 of scale synthetic",
        "artifacts\n  download: 3 untouched\n  evaluate: 1 made again (0 with other bytes), 5 untouched\n"
        "  report: 1 untouched\n  tokenize: 4 untouched\n  train: 4 untouched\n",
    ]


def test_long_lists_show_what_came_and_went(states, capsys):
    new = states[1]
    runs = files.read_json(new / REPORT / "record.json")["asked"]["runs"]
    for asked, shown in (
        ([*runs[1:], "x"], f"runs: without {runs[0]}, with x\n    1 artifact\n    {REPORT}\n"),
        ([*runs, *(f"tiny-t5/full/run{n}" for n in range(11))], "runs: 11 new\n"),
        (runs[::-1], "runs: in another order\n"),
        ([*runs, runs[0]], f"runs: with {runs[0]}\n"),
    ):
        edit(new / REPORT, "asked", "runs", to=asked)
        assert shown in said(capsys, *states)[1]


def expanded(pattern):
    """The patterns without braces."""
    places = [part[1:-1].split(",") if part[:1] == "{" else [part] for part in pattern.split("/")]
    return ["/".join(parts) for parts in itertools.product(*places)]


def test_patterns_name_these_folders_and_no_other():
    draw = random.Random(0)
    folders = [f"results/{phase}/s/{'/'.join(parts)}"
               for phase, depth in (("train", 3), ("evaluate", 3), ("tokenize", 1))
               for parts in itertools.product(["a", "b"], ["a", "c", "d"], ["seed0", "seed2", "seed10"][:depth])
               ] + ["results/tokenize/s/a", "results/tokenize/s/a/b"]  # fmt: skip
    domains = domains_of(folders)
    for size in [1, 2, 3, 5, 8, 13, 21, 34, len(folders)] * 20:
        chosen = sorted(draw.sample(folders, size))
        found = [one for pattern in patterns(chosen, domains) for one in expanded(pattern)]
        matched = [folder for folder in folders for one in found
                   if one.count("/") == folder.count("/") and fnmatch(folder, one)]  # fmt: skip
        assert sorted(matched) == chosen
    assert patterns([one for one in folders if one.startswith("results/train/s/a")], domains) == [
        "results/train/s/a/*/*"
    ]
    assert patterns(["results/train/s/a/c/seed10", "results/train/s/a/c/seed2"], domains) == [
        "results/train/s/a/c/{seed2,seed10}"
    ]


def test_what_is_not_what_a_job_wrote_is_refused(states, capsys):
    new = states[1]
    path = new / REPORT / "results.csv"
    kept = path.read_text()
    path.write_text(kept.replace("0.6", "0.7"))
    assert f"{new}: {REPORT}/results.csv differs from its record.json" in said(capsys, *states)[1]
    path.write_text(kept)
    path = new / EVALUATED / "alpha/fixed/seed0/record.json"
    record = files.read_json(path)
    record["made"]["n"] = 1
    files.write_json(path, record)
    message = f"{new}: {EVALUATED}/alpha/fixed/seed0/record.json was edited after the job wrote it"
    assert message in said(capsys, *states)[1]
    files.write_json(path, sealed({key: value for key, value in record.items() if key != "seal"}))
    assert said(capsys, *states)[0] == 1
    path.write_text("{")
    assert "record.json is no JSON" in said(capsys, *states)[1]


def test_names_that_are_no_state(states, capsys, tmp_path):
    status, message = said(capsys, "nowhere")
    assert status == 2
    assert "'nowhere' is neither a folder that holds results nor a git revision here (fatal: not a git" in message
    (tmp_path / "empty" / "results" / "train").mkdir(parents=True)
    assert "holds no record.json" in said(capsys, tmp_path / "empty")[1]
    os.chdir(tmp_path)
    assert "the working tree has no results" in said(capsys, "old")[1]


# Revisions

STAGES = {"stages": {
    phase: {"cmd": "true", "outs": [{f"results/{phase}": {"persist": True}}]}
    for phase in ("download", "tokenize", "train", "evaluate", "report")
}}  # fmt: skip


def call(folder, *command):
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def git(folder, *arguments):
    call(folder, "git", "-c", "user.name=T", "-c", "user.email=t@t", "-c", "commit.gpgsign=false", *arguments)


def dvc(folder, *arguments):
    call(folder, sys.executable, "-m", "dvc", *arguments)


def with_history(project, root, top, site):
    """The project in `root`, in a git repository at `top`. Tags: `bare` has no dvc.lock, `first` has results, `second`
    has others of one evaluation and one parameter.
    """
    shutil.copytree(project, root)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DVC_SITE_CACHE_DIR", str(site))
        git(top, "init", "-q")
        dvc(root, "init", "-q", *(["--subdir"] if root != top else []))
        (root / "dvc.yaml").write_text(yaml.safe_dump(STAGES))
        (root / ".gitignore").write_text("/results/\n")
        for tag in ("bare", "first", "second"):
            if tag == "second":
                edit(root / f"{EVALUATED}/alpha/fixed/seed0", "asked", "seed", to=7)
                scale = root / "workflow/scales/synthetic.yaml"
                scale.write_text(scale.read_text().replace("steps: 120", "steps: 60"))
                (root / "dp/one.py").write_text("VALUE = 2\n")
            if tag != "bare":
                dvc(root, "repro", "-q", "--force")
            git(top, "add", "-A")
            git(top, "commit", "-q", "-m", tag)
            git(top, "tag", tag)
    return root


@pytest.fixture(scope="module")
def repository(project, tmp_path_factory):
    root = tmp_path_factory.mktemp("repository") / "project"
    return with_history(project, root, root, tmp_path_factory.mktemp("site"))


@pytest.fixture
def clone(repository, tmp_path, monkeypatch):
    """A copy of the repository, as the working directory."""
    root = tmp_path / "copy"
    shutil.copytree(repository, root, symlinks=True)
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    monkeypatch.chdir(root)
    return root


def planted_difference(old, new):
    """The whole document of `first` -> `second`."""
    evaluation = f"{EVALUATED}/alpha/fixed/seed0"
    found = expected(("", ""), evaluation, parameters={
        "declared": [{"file": "workflow/scales/synthetic.yaml", "key": "training.steps", "old": 120, "new": 60}],
        "asked": [{"key": "seed", "old": 0, "new": 7, "artifacts": [evaluation]}],
    }, code={"files": [{"file": "dp/one.py", "change": "changed"}], "modules": [], "commits": []})  # fmt: skip
    return found | {"old": old, "new": new}


def state(name, root=None):
    commit = None
    if root:
        done = subprocess.run(["git", "rev-parse", name], cwd=root, capture_output=True, text=True, check=True)
        commit = done.stdout.strip()
    return {"name": name, "commit": commit, "artifacts": 18}


def test_two_revisions(clone, capsys):
    """Their results come from DVC's cache: the working tree has none."""
    shutil.rmtree("results")
    found = difference(capsys, "first", "second")
    assert found == planted_difference(state("first", clone), state("second", clone))
    assert not difference(capsys, "HEAD", "second")["different"]
    assert not os.path.exists("results")


def test_a_project_that_is_a_folder_of_a_larger_repository(project, tmp_path, monkeypatch, capsys):
    """Beside another project of that repository, whose results are none of ours."""
    top, root = tmp_path / "top", tmp_path / "top/papers/project"
    (top / "papers").mkdir(parents=True)
    (top / "params.yaml").write_text("of: another\n")
    with_history(project, root, top, tmp_path / "site")
    monkeypatch.setenv("DVC_SITE_CACHE_DIR", str(tmp_path / "site"))
    monkeypatch.chdir(root)
    assert not difference(capsys, "HEAD")["different"]
    shutil.rmtree("results")
    found = difference(capsys, "first", "second")
    assert found == planted_difference(state("first", top), state("second", top))


@pytest.mark.parametrize("name", ["GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY"])
def test_the_variables_of_another_repositorys_hook_are_not_heard(clone, tmp_path, monkeypatch, capsys, name):
    (tmp_path / "other").mkdir()
    git(tmp_path / "other", "init", "-q")
    git(tmp_path / "other", "commit", "-q", "--allow-empty", "-m", "other")
    monkeypatch.setenv(name, str(tmp_path / "other/.git"))
    found = difference(capsys, "first", "second")
    monkeypatch.delenv(name)
    assert found == planted_difference(state("first", clone), state("second", clone))


def test_what_is_no_repository_says_so_in_gits_words(project, monkeypatch, capsys):
    monkeypatch.chdir(project)
    assert "nor a git revision here (fatal: not a git repository" in said(capsys, "HEAD")[1]


def test_a_revision_and_the_working_tree(clone, capsys):
    """The working tree is compared as it lies there, committed or not."""
    assert not difference(capsys, "HEAD")["different"]
    found = difference(capsys, "first")
    assert found == planted_difference(state("first", clone), state("the working tree"))
    (clone / "dp/one.py").write_text("VALUE = 3\n")
    edit(clone / f"{TRAINED}/beta/fixed/seed0", "with", "device", to="H100")
    found = difference(capsys, "HEAD")
    assert found["code"]["files"] == [{"file": "dp/one.py", "change": "changed"}]
    assert [entry["key"] for entry in found["environments"]] == ["device"]
    assert found["parameters"] == {"declared": [], "asked": []}


def test_a_revision_without_results(clone, capsys):
    status, message = said(capsys, "bare", "first")
    assert status == 2
    assert "bare: this revision has no dvc.lock" in message and "`dvc repro` and commit dvc.lock" in message


def remove_cached(root, is_it):
    """Remove objects from DVC's cache, and count them."""
    found = [path for path in (root / ".dvc/cache/files/md5").rglob("*") if path.is_file() and is_it(path)]
    for path in found:
        path.unlink()
    return len(found)


@pytest.mark.parametrize("what", ["record", "folder"])
def test_objects_missing_from_the_cache(clone, capsys, what):
    """They come from a remote where it has them; otherwise nothing is compared."""
    lock = yaml.safe_load((clone / "dvc.lock").read_text())
    folder = lock["stages"]["evaluate"]["outs"][0]["md5"]
    digest = files.sha256(clone / f"{EVALUATED}/alpha/fixed/seed0/record.json")

    def is_it(path):
        return files.sha256(path) == digest if what == "record" else path.name == folder[2:]

    dvc(clone, "remote", "add", "-d", "store", str(clone.parent / "store"))
    dvc(clone, "push", "-q")
    assert remove_cached(clone, is_it) == 1
    assert not difference(capsys, "second")["different"]
    shutil.rmtree(clone.parent / "store")
    shutil.rmtree(clone.parent / "site")
    status, message = said(capsys, "second")
    assert status == 2
    assert message.startswith("dp diff: second: what dvc.lock records there cannot be read")
    assert "`dvc fetch --all-commits`" in message


def test_a_name_that_is_both(clone, capsys):
    shutil.copytree("results", "first/results")
    status, message = said(capsys, "first")
    assert status == 2
    commit = state("first", clone)["commit"][:12]
    assert f"'first' is a git revision and a folder of results; write ./first for the folder, or {commit}" in message
    assert difference(capsys, "./first")["old"] == {"name": "./first", "commit": None, "artifacts": 18}
    assert difference(capsys, commit)["old"]["name"] == commit
    (clone / "second").mkdir()  # holds no results, so it is none of the two
    assert difference(capsys, "second")["old"] == state("second", clone)
