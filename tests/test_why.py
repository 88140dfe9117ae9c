"""`why` names exactly what a number rests on, as a walk by digests finds it, and marks what does not hold."""

import csv
import json
import re
import shutil
from collections import defaultdict
from pathlib import Path

import pytest
from conftest import ROOT
from small_project import Project
from synthetic_results import change, predictions, report, study_in, write_results

from dp import files
from dp.commands import cli

REPORT = Path("results/report/synthetic")
EVALUATE = Path("results/evaluate/synthetic/tiny-t5")
REGIMES = [
    {"kind": "full"},
    {"kind": "fewshot", "k": [8, 16], "sample_seeds": [0, 1], "variants": ["fixed", "adap_pos", "adap_pos-frozen"]},
    {"kind": "multitask", "variants": ["majority", "adap_ins_pos"]},
    {"kind": "multitask", "name": "s1", "variants": ["adap_ins_pos"]},
]
VARIANTS = ["majority", "fixed", "adap_pos", "adap_pos-frozen", "adap_ins_pos", "adap_ins_pos-shuffled"]
WEIGHTS = "e" * 64
LOOKS = {files.sha256(path) for path in (ROOT / "dp/report/page").iterdir() if path.is_file()}


def lines_of(cell):
    share = 0.5 + 0.01 * (sum(map(ord, cell.run)) % 40)
    return predictions(share, seed=cell.seed, split=lambda i: i % 5)


@pytest.fixture(scope="module", autouse=True)
def results(tmp_path_factory):
    """Synthetic results with their report, a CSV of comparisons, and a downloaded backbone; the tests work in them."""
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("why")
        study = study_in(root, patch, regimes=REGIMES, variants=VARIANTS, seeds=[0, 1])
        write_results(study, lines_of)
        change(Path("results/download/backbones/tiny-t5/record.json"), downloaded)
        report()
        text = (
            "backbone,regime,k,task,variant,against,question,holds\n"
            'tiny-t5,full,,alpha,adap_pos,fixed,"is it\nbetter?",yes\n'
            "tiny-t5,full,,alpha + beta,fixed,,both,no\n"
            "tiny-t5,full,,,fixed,,no task,no\n"
            "tiny-t5,fewshot,,alpha,fixed,,no k,no\n"
            "tiny-t5,fewshot-k8-s0,8,alpha,fixed,,one sample,no\n"
            "tiny-t5,full,,alpha,smop,,never run,no\n"
        )
        files.write_text(REPORT / "compared.csv", text)
        change(REPORT / "record.json", lambda record: with_output(record, "compared.csv"))
        yield root


@pytest.fixture
def copy(results, tmp_path, monkeypatch):
    """The results in a folder of its own, to be tampered with."""
    shutil.copytree(results, tmp_path / "copy")
    monkeypatch.chdir(tmp_path / "copy")


def downloaded(record):
    record["made"] |= {"repo": "some/model", "revision": "main", "commit": "d" * 40, "files": {"weights.bin": WEIGHTS}}
    record["used"]["inputs"] = {"weights.bin": WEIGHTS}
    return record


def with_output(record, name):
    record["made"]["outputs"][name] = files.sha256(REPORT / name)
    return record


def why(capsys, *arguments, scale="synthetic"):
    """(JSON, exit status) of `why`."""
    capsys.readouterr()
    status = 0
    try:
        cli.main(["why", *arguments, "--json", "--set", f"scale={scale}"])
    except SystemExit as stop:
        status = stop.code
    return json.loads(capsys.readouterr().out), status


def refusal(capsys, number):
    with pytest.raises(SystemExit) as stop:
        cli.main(["why", number, "--set", "scale=synthetic"])
    assert stop.value.code == 2
    return capsys.readouterr().err


class Graph:
    """All records there are, joined by the digests of outputs and inputs; no path is looked at."""

    def __init__(self):
        self.records = {str(path.parent): path for path in Path("results").rglob("record.json")}
        self.made = {folder: json.loads(path.read_text()) for folder, path in self.records.items()}
        owners = defaultdict(set)
        for folder, record in self.made.items():
            for digest in (*record["made"]["outputs"].values(), files.sha256(self.records[folder])):
                owners[digest].add(folder)
        self.upstream, self.raw = defaultdict(set), defaultdict(set)
        for folder, record in self.made.items():
            for digest in record["used"]["inputs"].values():
                self.upstream[folder] |= owners[digest] if len(owners[digest]) == 1 else set()
                if not owners[digest] and digest not in LOOKS:
                    self.raw[digest].add(folder)

    def behind(self, folders):
        found, todo = set(), [str(folder) for folder in folders]
        while todo:
            folder = todo.pop()
            if folder not in found:
                found.add(folder)
                todo += self.upstream[folder]
        return found


def check(found, roots, runs=None):
    """A JSON answer against the graph; `runs` are the evaluations where the root is a report that holds others."""
    graph = Graph()
    expected = graph.behind(runs) | set(map(str, roots)) if runs else graph.behind(roots)
    assert found["root"] == [str(root) for root in roots]
    assert set(found["nodes"]) == expected
    for folder, node in found["nodes"].items():
        assert node["record"] == graph.made[folder]
        assert node["digest"] == files.sha256(Path(folder) / "record.json")
        assert (node["holds"], node["problems"]) == (True, [])
        assert set(node["upstream"]) == graph.upstream[folder] & expected
    leaves = defaultdict(set)
    for digests in found["leaves"].values():
        for digest, folders in digests.items():
            leaves[digest] |= set(folders)
    assert leaves == {digest: here for digest, folders in graph.raw.items() if (here := folders & expected)}


def table(name="results.csv"):
    with (REPORT / name).open() as file:
        return list(csv.DictReader(file))


def by_digests(row):
    """The evaluations of a row, by the digests that results.csv has of their records."""
    known = {files.sha256(path)[:12]: path.parent for path in Path("results/evaluate").rglob("record.json")}
    return [known[digest] for digest in row["runs"].split(";")]


def place(rows, **values):
    """(line in the file, row) of the first row with these values."""
    return next((n, row) for n, row in enumerate(rows, 2) if all(row[key] == one for key, one in values.items()))


CELLS = [
    {"regime": "full", "task": "beta", "variant": "majority"},
    {"regime": "full", "task": "alpha", "variant": "adap_pos-frozen"},
    {"regime": "full", "task": "alpha", "variant": "adap_ins_pos-shuffled"},
    {"regime": "fewshot", "k": "8", "task": "beta", "variant": "adap_pos-frozen"},
    {"regime": "multitask", "task": "alpha", "variant": "adap_ins_pos"},
    {"regime": "multitask-s1", "task": "alpha", "variant": "adap_ins_pos"},
]


@pytest.mark.parametrize("cell", CELLS, ids=lambda cell: "-".join(cell.values()))
def test_a_line_of_the_table_a_point_of_a_figure_and_the_cells_name_are_one_number(cell, capsys):
    line, row = place(table(), **cell)
    point, drawn = place(table("figures/accuracy_by_variant.csv"), **cell)
    regime = f"fewshot-k{row['k']}" if row["k"] else row["regime"]
    runs = by_digests(row)
    assert len(runs) == int(row["seeds"])
    for number, values in (
        (f"{REPORT}/results.csv:{line}", row),
        (f"{REPORT}/figures/accuracy_by_variant.csv:{point}", drawn),
        (f"{REPORT}/figures/accuracy_by_variant.svg:{point}", drawn),
        (f"{REPORT}/figures/accuracy_by_variant.png:{point}", drawn),
        (f"tiny-t5/{regime}/{cell['task']}/{cell['variant']}", row),
    ):
        found, status = why(capsys, number)
        assert (found["number"], found["values"], status) == (number, [values], 0)
        check(found, [REPORT], runs)


def test_a_row_of_another_table_rests_on_what_it_compares_and_on_all_its_tasks(capsys):
    for line, cells in {
        2: ["alpha/adap_pos", "alpha/fixed"],
        3: ["alpha/adap_pos", "alpha/fixed"],
        4: ["alpha/fixed", "beta/fixed"],
    }.items():
        found, status = why(capsys, f"{REPORT}/compared.csv:{line}")
        check(found, [REPORT], [EVALUATE / "full" / cell / f"seed{seed}" for cell in cells for seed in (0, 1)])
        assert status == 0
    found, _ = why(capsys, f"{REPORT}/compared.csv:7")
    check(found, [REPORT], [EVALUATE / f"fewshot-k8-s0/alpha/fixed/seed{seed}" for seed in (0, 1)])


def test_a_row_about_the_pool_of_one_run_rests_on_that_run(copy, capsys):
    files.write_text(
        REPORT / "choices.csv",
        "backbone,regime,k,task,variant,factor,runs\n"
        "tiny-t5,full,,alpha,fixed,pool of seed1,1\n"
        'tiny-t5,fewshot,8,alpha,fixed,"pool of fewshot-k8-s1, seed0",1\n'
        "tiny-t5,full,,alpha,fixed,pool,seed0\n",
    )
    change(REPORT / "record.json", lambda record: with_output(record, "choices.csv"))
    for line, run in {
        2: "full/alpha/fixed/seed1",
        3: "fewshot-k8-s1/alpha/fixed/seed0",
        4: "full/alpha/fixed/seed0",
    }.items():
        found, _ = why(capsys, f"{REPORT}/choices.csv:{line}")
        check(found, [REPORT], [EVALUATE / run])


def test_a_row_over_several_tasks_goes_by_the_digests_of_its_runs(copy, capsys):
    runs = [EVALUATE / f"full/{task}/fixed/seed{seed}" for task in ("alpha", "beta") for seed in (0, 1)]
    digests = [files.sha256(run / "record.json")[:12] for run in runs]
    text = f"backbone,regime,task,variant,runs\ntiny-t5,full,average,fixed,{';'.join(digests)}\n"
    text += f"tiny-t5,full,,fixed,{digests[0]};0123456789ab\n"
    files.write_text(REPORT / "averages.csv", text)
    change(REPORT / "record.json", lambda record: with_output(record, "averages.csv"))
    found, status = why(capsys, f"{REPORT}/averages.csv:2")
    check(found, [REPORT], runs)
    assert status == 0
    assert "no runs that lie here: those it was made from are gone (0123456789ab)" in refusal(
        capsys, f"{REPORT}/averages.csv:3"
    )


@pytest.mark.parametrize(
    "number",
    [f"{REPORT}/results.md", f"{REPORT}/figures/chosen_splits.svg", f"{REPORT}/record.json",
     f"{EVALUATE}/full/alpha/adap_ins_pos-shuffled/seed1/metrics.json",
     "results/train/synthetic/tiny-t5/full/beta/adap_pos-frozen/seed0/tuned.safetensors",
     "results/tokenize/synthetic/tiny-t5/alpha/tokens/rows.json",
     "results/download/backbones/tiny-t5/model.safetensors"],
)  # fmt: skip
def test_a_file_rests_on_all_that_its_job_read(number, capsys):
    found, status = why(capsys, number)
    root = REPORT if str(REPORT) in number else Path(number).parent
    check(found, [root])
    assert status == 0
    assert (
        why(capsys, f"./{number}")[0]["nodes"] == why(capsys, str(Path(number).resolve()))[0]["nodes"] == found["nodes"]
    )


def test_one_run_and_one_sample_seed_go_by_their_evaluations_alone(capsys):
    run = EVALUATE / "fewshot-k8-s1/beta/fixed/seed1"
    found, _ = why(capsys, "tiny-t5/fewshot-k8-s1/beta/fixed/seed1")
    check(found, [run])
    accuracy = files.read_json(run / "metrics.json")["metrics"]["accuracy"]
    assert found["values"] == [{"metric": "accuracy", **accuracy}]
    found, _ = why(capsys, "tiny-t5/fewshot-k8-s1/beta/fixed")
    check(found, [run.parent / "seed0", run])
    found, _ = why(capsys, "tiny-t5/multitask/all/adap_ins_pos/seed0")
    check(found, [Path("results/train/synthetic/tiny-t5/multitask/all/adap_ins_pos/seed0")])


def test_a_source_has_its_full_name_and_who_read_it(capsys):
    found, _ = why(capsys, "tiny-t5/full/alpha/fixed")
    backbone = "results/download/backbones/tiny-t5"
    paper = {f"dp/paper/{name}": {files.sha256(ROOT / "dp/paper" / name): [str(REPORT)]}
             for name in ("anchors.csv", "cells.csv", "paper.yaml")}  # fmt: skip
    assert found["leaves"] == paper | {f"some/model@{'d' * 40}:weights.bin": {WEIGHTS: [backbone]}}


@pytest.fixture(scope="module")
def searched(tmp_path_factory):
    """A small project trained with a search, where one variant keeps what another learned."""
    with pytest.MonkeyPatch.context() as patch:
        root = tmp_path_factory.mktemp("searched")
        patch.chdir(root)
        search = {"method": "grid", "trials": 2, "space": {"lr_factor": [0.3, 1.0]}}
        variants, cell = ["adap_pos", "adap_pos-frozen"], "tiny-t5/full/toy"
        project = Project(root, variants, search=search)
        project.prepare()
        for variant in variants:
            for run in ("trial0", "trial1"):
                project.train(f"{cell}/{variant}/{run}")
            cli.main(["choose", "--variant", f"{cell}/{variant}"])
            project.train(f"{cell}/{variant}/seed0")
            project.evaluate(f"{cell}/{variant}/seed0")
    return root


def test_a_trained_run_leads_to_the_search_its_trials_the_kept_choice_and_the_tasks_file(searched, capsys, monkeypatch):
    monkeypatch.chdir(searched)
    run = Path("results/evaluate/small/tiny-t5/full/toy/adap_pos-frozen/seed0")
    for number in ("tiny-t5/full/toy/adap_pos-frozen", "tiny-t5/full/toy/adap_pos-frozen/seed0", f"{run}/metrics.json"):
        found, status = why(capsys, number, scale="small")
        check(found, [run])
        assert status == 0
    variants = {Path(folder).parent.name for folder in found["nodes"] if Path(folder).name.startswith("trial")}
    assert variants == {"adap_pos", "adap_pos-frozen"}
    (digest,) = found["leaves"]["dp/tasks/toy.yaml"]
    assert digest == files.sha256(Path(cli.__file__).parents[1] / "tasks" / "toy.yaml")
    trial, _ = why(capsys, "tiny-t5/full/toy/adap_pos/trial1", scale="small")
    check(trial, [Path("results/train/small/tiny-t5/full/toy/adap_pos/trial1")])
    assert trial["values"][0]["metric"] == "selection accuracy"
    cli.main(["why", "tiny-t5/full/toy/adap_pos-frozen/seed0", "--set", "scale=small"])
    text = capsys.readouterr().out
    chosen = files.read_json(Path("results/train/small/tiny-t5/full/toy/adap_pos/choice/choice.json"))["chosen"]
    assert f"adap_pos/trial{chosen} (the chosen trial)" in text and f"adap_pos/trial{1 - chosen} (a trial)" in text
    assert "adap_pos/seed0 (its choice of position is kept)" in text


def tamper_output():
    (Path("results/tokenize/synthetic/tiny-t5/alpha/tokens") / "tokens.safetensors").write_text("other")


def cut_record():
    Path("results/download/backbones/tiny-t5/record.json").unlink()


def edit_record():
    path = Path("results/train/synthetic/tiny-t5/full/alpha/adap_pos/seed1/record.json")
    files.write_json(path, files.read_json(path) | {"command": "train "})


def break_record():
    Path("results/train/synthetic/tiny-t5/full/alpha/adap_pos/seed1/record.json").write_text("{}")


def remake_training():
    change(Path("results/train/synthetic/tiny-t5/full/alpha/adap_pos/seed1/steps.jsonl"), lambda lines: lines[:-1])


def remake_evaluation():
    change(EVALUATE / "full/alpha/adap_pos/seed0/record.json", lambda r: r | {"made": r["made"] | {"wall_seconds": 1}})


def lose_output():
    (EVALUATE / "full/alpha/adap_pos/seed0/metrics.json").unlink()


def elsewhere():
    (EVALUATE / "full/beta/adap_pos/seed0/metrics.json").write_text("{}")
    shutil.rmtree("results/train/synthetic/tiny-t5/full/alpha/fixed")


SINCE = " is another since this read it"
TRAINED = "results/train/synthetic/tiny-t5/full/alpha/adap_pos/seed1"
TAMPERED = {
    tamper_output: {"results/tokenize/synthetic/tiny-t5/alpha/tokens": ["tokens.safetensors differs from the record"]},
    cut_record: {"results/download/backbones/tiny-t5": ["has no record.json"]},
    edit_record: {TRAINED: ["its record.json was edited after the job wrote it"],
                  f"{EVALUATE}/full/alpha/adap_pos/seed1": [f"{TRAINED}{SINCE} (record.json)"],
                  str(REPORT): [f"{TRAINED}{SINCE} (record.json)"]},
    break_record: {TRAINED: ["its record.json cannot be read"]},
    remake_training: {
        f"{EVALUATE}/full/alpha/adap_pos/seed1": [f"{TRAINED}{SINCE} (record.json, steps.jsonl)"],
        str(REPORT): [f"{TRAINED}{SINCE} (record.json, steps.jsonl)"]},
    remake_evaluation: {str(REPORT): [f"{EVALUATE}/full/alpha/adap_pos/seed0{SINCE} (record.json)"]},
    lose_output: {f"{EVALUATE}/full/alpha/adap_pos/seed0": ["metrics.json is missing"]},
    elsewhere: {},
}  # fmt: skip


@pytest.mark.parametrize("tamper", TAMPERED, ids=lambda one: one.__name__)
def test_where_the_tree_does_not_hold_it_says_so_and_nowhere_else(tamper, copy, capsys):
    tamper()
    line, _ = place(table(), regime="full", task="alpha", variant="adap_pos")
    found, status = why(capsys, f"{REPORT}/results.csv:{line}")
    assert {folder: node["problems"] for folder, node in found["nodes"].items() if not node["holds"]} == TAMPERED[
        tamper
    ]
    assert status == bool(TAMPERED[tamper])
    text, _ = printed(capsys, f"{REPORT}/results.csv:{line}")
    for problems in TAMPERED[tamper].values():
        assert all(f"! {problem}\n" in text for problem in problems)
    assert "untrained" not in text


def test_a_missing_training_is_no_untrained_variant(copy, capsys):
    shutil.rmtree(TRAINED)
    text, status = printed(capsys, "tiny-t5/full/alpha/adap_pos")
    assert (status, "untrained" in text) == (1, False)
    (EVALUATE / "full/alpha/fixed/seed0/record.json").unlink()
    text, status = printed(capsys, "tiny-t5/full/alpha/fixed/seed0")
    assert (status, "untrained" in text) == (1, False)
    text, _ = printed(capsys, "tiny-t5/full/alpha/majority")
    assert "untrained" in text


def test_a_report_without_a_record_still_leads_to_its_runs(copy, capsys):
    line, row = place(table(), regime="fewshot", k="8", task="beta", variant="fixed")
    (REPORT / "record.json").unlink()
    found, status = why(capsys, f"{REPORT}/results.csv:{line}")
    assert (found["nodes"][str(REPORT)]["record"], status) == (None, 1)
    assert found["nodes"][str(REPORT)]["problems"] == ["has no record.json"]
    assert Graph().behind(by_digests(row)) | {str(REPORT)} == set(found["nodes"])


@pytest.mark.parametrize("kind", ["svg", "png"])
def test_a_figure_that_was_not_drawn_from_its_csv_is_marked(kind, copy, capsys):
    data = REPORT / "figures" / "accuracy_by_variant.csv"
    data.write_text(data.read_text().replace("0.", "1.", 1))
    change(REPORT / "record.json", lambda record: with_output(record, "figures/accuracy_by_variant.csv"))
    said = [f"accuracy_by_variant.{kind} was not drawn from the accuracy_by_variant.csv that lies beside it"]
    for number in (f"{data.with_suffix(f'.{kind}')}:2", str(data.with_suffix(f".{kind}"))):
        found, status = why(capsys, number)
        assert (found["nodes"][str(REPORT)]["problems"], status) == (said, 1)
    assert why(capsys, f"{data}:2")[1] == 0


def test_a_csv_that_the_report_does_not_record_is_marked(copy, capsys):
    shutil.copy(REPORT / "compared.csv", REPORT / "other.csv")
    found, status = why(capsys, f"{REPORT}/other.csv:2")
    assert (found["nodes"][str(REPORT)]["problems"], status) == (["does not record other.csv"], 1)


def printed(capsys, number):
    capsys.readouterr()
    status = 0
    try:
        cli.main(["why", number, "--set", "scale=synthetic"])
    except SystemExit as stop:
        status = stop.code
    return capsys.readouterr().out, status


@pytest.mark.parametrize("number", [f"{REPORT}/results.md", "tiny-t5/fewshot-k8/beta/adap_pos-frozen"])
def test_the_text_has_every_job_once_in_full_uncut_and_plain(number, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    found, _ = why(capsys, number)
    text, status = printed(capsys, number)
    assert status == 0 and "\x1b" not in text
    lines = text.splitlines()
    for folder, node in found["nodes"].items():
        in_full = [line for line in lines if re.search(rf" {folder}( \(.*\))?$", line) and not line.endswith("(above)")]
        assert len(in_full) == 1, folder
        assert sum(f"record {node['digest'][:12]}" in line for line in lines) == 1
    assert sum(f"sha256:{WEIGHTS}" in line for line in lines) == 1
    assert lines[-1] == f"{len(found['nodes'])} jobs, {wall(found)} in all"
    assert text.count(f"commit {'c' * 40}") == text.count("packages ") == 1


def test_a_value_is_what_a_row_says_with_both_ends_of_its_interval(copy, capsys):
    run = EVALUATE / "full/alpha/fixed/seed0"
    score = {"value": 0.5, "low": 0.0, "high": 0.75, "interval": "wilson"}
    change(run / "metrics.json", lambda metrics: metrics | {"metrics": {"accuracy": score}})
    assert "accuracy 0.500000 [0.000000, 0.750000], interval: wilson\n" in printed(capsys, f"{run}/metrics.json")[0]
    line, row = place(table("choices.csv"), variant="adap_pos", value="2")
    text, _ = printed(capsys, f"{REPORT}/choices.csv:{line}")
    rest = f"factor split, value 2, examples 200, seeds 2, labels {row['labels']}"
    assert text.splitlines()[1:4] == ["tiny-t5 / full / alpha / adap_pos", f"share {row['share']}", rest]


def wall(found):
    """Every synthetic job took 12.5 s, the report what it took."""
    seconds = round(sum(node["record"]["made"]["wall_seconds"] for node in found["nodes"].values()))
    return f"{seconds // 60} min {seconds % 60} s"


def test_a_job_that_was_made_elsewhere_says_so_and_its_gpu_seconds_count(copy, capsys):
    def elsewhere(record):
        record["with"] |= {"device": "NVIDIA H100", "cuda": "13.0", "commit": "a" * 40, "dirty": True}
        record["with"]["packages"]["torch"] = "1.0"
        return record

    change(EVALUATE / "fewshot-k8-s0/beta/fixed/seed0/record.json", elsewhere)
    text, status = printed(capsys, "tiny-t5/fewshot-k8-s0/beta/fixed")
    assert status == 0
    assert text.count("device NVIDIA H100 (CUDA 13.0)") == text.count(f"commit {'a' * 40}, dirty tree") == 1
    assert text.count(f"commit {'c' * 40}, clean tree") == text.count("device cpu") == 1
    assert " packages torch 1.0\n" in text
    assert text.splitlines()[-1].endswith("12.5 s of them on a GPU")


@pytest.mark.parametrize(
    "number, nearest",
    [("tiny-t5/full/alpha/adap_ps", "tiny-t5/full/alpha/adap_pos"),
     ("tiny-t5/fewshot-k8/alpha/fixd/seed1", "tiny-t5/fewshot-k8-s0/alpha/fixed/seed1"),
     ("tiny-t5/full/alpha", "tiny-t5/full/alpha/majority"),
     (f"{EVALUATE}/ful/alpha/fixed/seed0/metric.json", f"{EVALUATE}/full/alpha/fixed/seed0/metrics.json"),
     (f"{REPORT}/result.csv:3", f"{REPORT}/results.csv:3"),
     (f"{REPORT}/figures/accuracy.svg", f"{REPORT}/figures/accuracy_by_variant.svg"),
     ("report/synthetic/results.csv:3", f"{REPORT}/results.csv:3"),
     ("results/logs/report/synthetic.log", f"{REPORT}/SHA256SUMS")],
)  # fmt: skip
def test_what_is_no_number_is_refused_with_the_nearest(number, nearest, capsys):
    said = refusal(capsys, number)
    assert f"{number}: there is no such number" in said and f"the nearest is {nearest}. " in said
    assert "A number is a file below results/" in said


@pytest.mark.parametrize(
    "number, words",
    [(f"{REPORT}/results.csv:1", f"no such row; its rows are {REPORT}/results.csv:2 to {REPORT}/results.csv:"),
     (f"{REPORT}/results.csv:999", "no such row"), (f"{REPORT}/compared.csv:5", "this row names no runs"),
     (f"{REPORT}/compared.csv:6", "this row names no runs"), (f"{REPORT}/compared.csv:8", "this row names no runs"),
     (f"{REPORT}/results.md:3", "only a CSV"), (f"{EVALUATE}/full/alpha/fixed/seed0/predictions.jsonl:3", "only a CSV"),
     ("tiny-t5/full/alpha/fixed:3", "only a CSV")],
)  # fmt: skip
def test_a_line_that_names_no_runs_is_refused_with_words(number, words, capsys):
    assert words in refusal(capsys, number)
