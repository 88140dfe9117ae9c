"""An audit names exactly what is wrong, and exactly the numbers that it touches."""

import csv
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from synthetic_results import change, predictions, report, study_in, write_results

from dp import files, paths
from dp.commands import cli
from dp.commands.audit import _text
from dp.jobs import closure, record, stale
from dp.jobs.finding import KINDS, Finding
from dp.jobs.inputs import verified
from dp.lineage import auditing as audit
from dp.lineage import numbers, orphans, scales
from dp.study.resolve import jobs
from dp.study.study import load

REPORT = Path("results/report/synthetic")
RESULTS_CSV = REPORT / "results.csv"
NO_LOCK = "unlocked was not checked: there is no dvc.lock; `dvc repro` writes it"


def trained(run):
    return Path("results/train/synthetic/tiny-t5/full", run)


def evaluated(run):
    return Path("results/evaluate/synthetic/tiny-t5/full", run)


def tokens(task):
    return Path("results/tokenize/synthetic/tiny-t5", task, "tokens")


VARIANTS = ("majority/seed0", "fixed/seed0", "fixed/seed1", "adap_ins_pos/seed0", "adap_ins_pos/seed1")
RUNS = [f"{task}/{run}" for task in ("alpha", "beta") for run in VARIANTS]


def lines(cell):
    """Nobody is at the majority class but the baseline that is it."""
    if cell.variant == "majority":
        return [line | {"prediction": 0} for line in predictions(1.0)]
    return predictions(0.9, cell.seed)


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """All artifacts and the report, of a clean tree, older than any clock's tick."""
    root = tmp_path_factory.mktemp("clean")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(record, "commit", lambda: {"commit": "c" * 40, "dirty": False})
        write_results(study_in(root, patch, seeds=[0, 1]), lines)
        report()
    for path in root.rglob("*"):
        os.utime(path, (1_700_000_000,) * 2)
    return root


@pytest.fixture
def here(clean, tmp_path, monkeypatch):
    copy = tmp_path / "copy"
    shutil.copytree(clean, copy)
    monkeypatch.chdir(copy)
    return copy


def study():
    return load(Path(), {"scale": "synthetic"})


def found():
    """(kind, path, why), sorted."""
    return sorted((one.kind, one.path, one.why) for one in audit.audit(study()).findings)


def touched():
    return [numbers.name_of(key) for key in numbers.touched(study(), audit.audit(study()).findings)]


def rest(root, kind, *folders):
    return [("stale", folder, f"rests on {root}, which is {kind}") for folder in folders]


def lost(run, claimed=2):
    """What the table says of a row when the evaluation that it names is no longer here."""
    name = str(Path("tiny-t5/full", run).parent)
    return ("seeds", RESULTS_CSV, f"{name} claims {claimed} run{'s' * (claimed > 1)}, of which {claimed - 1} lie here")


def mark(folder, **facts):
    files.write_json(paths.state(folder), {"command": "train", "host": os.uname().nodename, "started": 0.0} | facts)


def dead():
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_a_clean_tree_has_none(here):
    first = audit.audit(study())
    assert (first.findings, first.artifacts, first.notes) == ([], 26, [NO_LOCK])
    assert first.files == sum(path.is_file() for path in (here / "results").rglob("*"))
    assert first.bytes_hashed == sum(path.stat().st_size for path in (here / "results").rglob("*") if path.is_file())
    assert audit.audit(study()) == audit.Audit([], 26, first.files, 0, [NO_LOCK])
    assert audit.audit(study(), full=True) == first
    assert touched() == []


def test_a_missing_record_and_a_missing_output(here):
    (evaluated("alpha/fixed/seed0") / "record.json").unlink()
    (trained("beta/fixed/seed1") / "config.json").unlink()
    gone = trained("beta/fixed/seed1")
    assert found() == sorted([
        ("missing", evaluated("alpha/fixed/seed0"), "has no record.json"),
        ("missing", gone / "config.json", "is gone, though its record is there"),
        *rest(gone, "missing", evaluated("beta/fixed/seed1")),
        *rest(gone, "missing", REPORT),
        lost("alpha/fixed/seed0"),
    ])  # fmt: skip
    assert touched() == ["tiny-t5/full/alpha/fixed", "tiny-t5/full/beta/fixed"]


def test_failed_killed_and_running_jobs(here):
    runs = [trained(f"alpha/fixed/seed{seed}") for seed in (0, 1)] + [trained("beta/fixed/seed0")]
    for folder in runs:
        shutil.rmtree(folder)
    mark(runs[0], state="failed", pid=1, error="UserError: no loss")
    mark(runs[1], state="running", pid=dead())
    mark(runs[2], state="running", pid=os.getpid())
    mark(trained("beta/fixed/seed1"), state="running", pid=dead())  # a later call by hand: what it made before stands
    assert found() == sorted([
        ("failed", runs[0], "UserError: no loss"),
        ("missing", runs[1], "its job was killed"),
        ("missing", runs[2], f"is running (process {os.getpid()} on {os.uname().nodename})"),
        *rest(runs[0], "failed", evaluated("alpha/fixed/seed0")),
        *rest(runs[1], "missing", evaluated("alpha/fixed/seed1")),
        *rest(runs[2], "missing", evaluated("beta/fixed/seed0")),
        *rest(runs[0], "failed", REPORT),
    ])  # fmt: skip
    assert touched() == ["tiny-t5/full/alpha/fixed", "tiny-t5/full/beta/fixed"]


def test_a_failure_beside_an_old_record_counts(here):
    mark(evaluated("alpha/majority/seed0"), state="failed", pid=1, error="ValueError: broken")
    failed = evaluated("alpha/majority/seed0")
    assert found() == [("failed", failed, "ValueError: broken"), *rest(failed, "failed", REPORT)]


def test_a_job_at_work_is_running_and_not_tampered(here):
    folder = evaluated("alpha/majority/seed0")
    (folder / "metrics.json").write_text("half")
    (folder / ".metrics.json.x.part").write_text("half")
    mark(folder, state="running", pid=os.getpid())
    why = f"is running (process {os.getpid()} on {os.uname().nodename})"
    assert found() == sorted([
        ("missing", folder, why), *rest(folder, "missing", REPORT), lost("alpha/majority/seed0", 1)
    ])  # fmt: skip
    assert audit.before_jobs(jobs(study()))[0] == []


def test_tampered_bytes_and_records(here):
    edited, rewritten, cut = trained("alpha/fixed/seed0"), trained("beta/fixed/seed0"), evaluated("beta/fixed/seed1")
    (edited / "steps.jsonl").write_text("")
    record_file = rewritten / "record.json"
    record_file.write_text(record_file.read_text().replace('"steps": 120', '"steps": 121'))
    (cut / "record.json").write_text("{")
    no_seal, differ = "is not what its job wrote, or not by this version", "its bytes differ from its record.json"
    expected = [
        ("tampered", edited / "steps.jsonl", differ),
        ("tampered", rewritten / "record.json", no_seal),
        ("tampered", cut / "record.json", no_seal),
    ]
    assert found() == sorted([
        *expected,
        *rest(edited, "tampered", evaluated("alpha/fixed/seed0")),
        ("stale", evaluated("beta/fixed/seed0"), f"input changed: {record_file}"),
        ("stale", REPORT, f"input changed: {cut}/record.json, {record_file}"),
        lost("beta/fixed/seed1"),
    ])  # fmt: skip
    seen = [(one.kind, one.path, one.why) for one in audit.before_jobs(jobs(study()))[0]]
    assert sorted(seen) == sorted(expected)
    assert touched() == ["tiny-t5/full/alpha/fixed", "tiny-t5/full/beta/fixed"]


def test_what_vanished_between_two_looks_was_not_tampered_with(here, monkeypatch):
    folder = evaluated("alpha/fixed/seed0")
    (folder / "metrics.json").write_text("of another job")
    assert [one.path for one in audit.before_jobs(jobs(study()))[0]] == [folder / "metrics.json"]
    monkeypatch.setattr("dp.jobs.look.read_mark", lambda of: (of / "record.json").unlink(missing_ok=True))
    assert audit.before_jobs(jobs(study()))[0] == []


def test_nothing_is_tampered_with_where_nothing_is(here):
    shutil.rmtree(here / "results/train")
    (REPORT / "results.md").unlink()
    assert audit.before_jobs(jobs(study()))[0] == []


def test_only_a_full_audit_sees_an_edit_that_keeps_size_and_time(here):
    assert found() == []
    path = evaluated("alpha/majority/seed0") / "metrics.json"
    text, facts = path.read_text(), path.stat()
    path.write_text(text.replace("0.6", "0.7"))
    os.utime(path, ns=(facts.st_atime_ns, facts.st_mtime_ns))
    assert found() == []
    kinds = [(one.kind, one.path) for one in audit.audit(study(), full=True).findings]
    assert kinds == [("tampered", path), ("stale", REPORT)]


def test_stale_by_a_parameter(here):
    params = yaml.safe_load(Path("params.yaml").read_text())
    params["variants"]["fixed"]["position"] = "postfix"
    Path("params.yaml").write_text(yaml.safe_dump(params))
    why = 'definition.position was "prefix", is "postfix"'
    runs = [f"{task}/fixed/seed{seed}" for task in ("alpha", "beta") for seed in (0, 1)]
    expected = [("stale", folder(run), why) for run in runs for folder in (trained, evaluated)]
    assert found() == sorted([*expected, *rest(trained("alpha/fixed/seed0"), "stale", REPORT)])
    assert touched() == ["tiny-t5/full/alpha/fixed", "tiny-t5/full/beta/fixed"]


def test_another_seed_touches_the_rows_that_lack_it(here):
    scale = Path("workflow/scales/synthetic.yaml")
    scale.write_text(yaml.safe_dump(yaml.safe_load(scale.read_text()) | {"seeds": [0, 1, 2]}))
    runs = [f"{task}/{variant}/seed2" for task in ("alpha", "beta") for variant in ("fixed", "adap_ins_pos")]
    by_kind = [one for one in found() if one[0] != "stale"]
    assert by_kind == sorted([
        *[("missing", folder(run), "has no record.json") for run in runs for folder in (trained, evaluated)],
        *[("seeds", RESULTS_CSV, f"tiny-t5/full/{Path(run).parent} claims 2 runs, the grid has 3") for run in runs],
    ])  # fmt: skip
    ((_, path, why),) = [one for one in found() if one[0] == "stale"]
    assert path == REPORT and why.startswith('runs was ["tiny-t5/full/alpha/majority/seed0"')
    assert touched() == [f"tiny-t5/full/{Path(run).parent}" for run in
                         ("alpha/fixed/_", "alpha/adap_ins_pos/_", "beta/fixed/_", "beta/adap_ins_pos/_")]  # fmt: skip


def edit_code(monkeypatch, command, *names):
    """As if these modules of a command's closure were other ones."""
    modules = closure.modules

    def edited(of, family=None):
        return modules(of, family) | (dict.fromkeys(names, "0" * 64) if of == command else {})

    for module in (closure, stale):
        monkeypatch.setattr(module, "modules", edited)


def test_stale_by_code(here, monkeypatch):
    edit_code(monkeypatch, "evaluate", "dp/files.py", "dp/new.py", "dp/results/metrics.py", "dp/classifier/scoring.py")
    why = "code changed: dp/classifier/scoring.py, dp/files.py, dp/new.py and 1 more"
    first = next(folder for folder, one in jobs(study()).items() if one.command == "evaluate")
    expected = [("stale", evaluated(run), why) for run in RUNS]
    assert found() == sorted([*expected, *rest(first, "stale", REPORT)])
    assert len(touched()) == 6


def test_code_of_the_table_touches_all_numbers_and_that_of_figures_none(here, monkeypatch):
    edit_code(monkeypatch, "report", "dp/report/figures/style.py")
    assert found() == [("stale", REPORT, "code changed: dp/report/figures/style.py")]
    assert touched() == []
    edit_code(monkeypatch, "report", "dp/statistics/intervals.py")
    assert found() == [("stale", REPORT, "code changed: dp/report/figures/style.py, dp/statistics/intervals.py")]
    assert len(touched()) == 6


def remake(folder, name):
    """A job's other output, with the record that it would have written."""
    (folder / name).write_text("made anew")

    def made(old):
        old["made"]["outputs"][name] = files.sha256(folder / name)
        return old

    change(folder / "record.json", made)


def test_an_upstream_edit_names_exactly_the_numbers_it_touches(here):
    remake(tokens("alpha"), "rows.json")
    rows = tokens("alpha") / "rows.json"
    features = tokens("alpha").parent / "features/masked_mean"
    runs = [run for run in RUNS if run.startswith("alpha")]
    assert found() == sorted([
        ("stale", features, f"input changed: {rows}"),
        *[("stale", trained(run), f"input changed: {rows}") for run in runs if "majority" not in run],
        *[("stale", evaluated(run), f"input changed: {rows}") for run in runs],
        ("stale", REPORT, f"input changed: {tokens('alpha')}/record.json"),
    ])  # fmt: skip
    assert touched() == [f"tiny-t5/full/alpha/{variant}" for variant in ("majority", "fixed", "adap_ins_pos")]


def test_inputs_that_no_artifact_makes_and_those_that_nobody_can_check(here):
    right = files.sha256(closure.PACKAGE / "tasks" / "toy.yaml")
    inputs = {"dp/tasks/toy.yaml": right, "dp/tasks/toy_choice.yaml": "0" * 64, "dp/tasks/no.yaml": "0" * 64,
              "results/train/elsewhere/tuned.safetensors": "0" * 64, "BoolQ/train.jsonl": "0" * 64}  # fmt: skip
    read_by(REPORT, lambda before: before | inputs)
    why = "input changed: dp/tasks/no.yaml, dp/tasks/toy_choice.yaml, results/train/elsewhere/tuned.safetensors; "
    assert found() == [("stale", REPORT, f"{why}input is read no more: dp/tasks/toy.yaml")]


def read_by(folder, change_of):
    """As if the job of an artifact had read other inputs: `change_of` of path -> digest."""
    change(
        folder / "record.json",
        lambda old: old | {"used": old["used"] | {"inputs": change_of(old["used"]["inputs"])}},
    )


def test_inputs_that_were_added_and_those_that_are_read_no_more(here):
    """A page part or an upstream artifact that the job did not know, or knew and that is no part of the grid now."""
    new = (tokens("beta"), "dp/report/page/page.css")
    read_by(REPORT, lambda old: {path: one for path, one in old.items() if not path.startswith(tuple(map(str, new)))})
    assert found() == [("stale", REPORT, f"input is new: dp/report/page/page.css, {tokens('beta')}")]
    features = Path("results/tokenize/synthetic/tiny-t5/beta/features/masked_mean")
    read_by(trained("beta/fixed/seed0"), lambda old: old | verified(features))
    why = {path: why for _, path, why in found()}
    assert why[trained("beta/fixed/seed0")] == f"input is read no more: {features}"


def test_features_touch_only_what_reads_them(here):
    features = Path("results/tokenize/synthetic/tiny-t5/beta/features/masked_mean")
    (features / "features.safetensors").write_text("edited")
    runs = [run for run in RUNS if run.startswith("beta/adap")]
    assert found() == sorted([
        ("tampered", features / "features.safetensors", "its bytes differ from its record.json"),
        *rest(features, "tampered", REPORT, *(folder(run) for run in runs for folder in (trained, evaluated))),
    ])  # fmt: skip
    assert touched() == ["tiny-t5/full/beta/adap_ins_pos"]


def test_the_nearest_cause_is_named(here):
    rows, run = Path("results/download/tasks/beta/made_up"), "beta/fixed/seed0"
    (rows / "train.jsonl").write_text("edited")
    (trained(run) / "steps.jsonl").unlink()
    causes = {path: why for kind, path, why in found() if kind == "stale"}
    assert causes.pop(evaluated(run)) == f"rests on {trained(run)}, which is missing"
    assert causes.pop(evaluated("beta/fixed/seed1")) == f"rests on {rows}, which is tampered"
    assert all("beta" in str(path) or path == REPORT for path in causes)


def test_an_edited_table_touches_all_its_numbers_and_an_edited_figure_none(here):
    (REPORT / "figures/chosen_splits.svg").write_text("edited")
    assert touched() == []
    RESULTS_CSV.write_text(RESULTS_CSV.read_text().replace("0.9", "0.8"))
    assert len(touched()) == 6
    shutil.rmtree(REPORT)
    assert found() == [("missing", REPORT, "has no record.json")]
    assert len(touched()) == 6


def orphan(name):
    path = Path("results", name)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("left behind")
    return path


def litter():
    """Files of every sort that a pipeline leaves; the findings that they make."""
    scale = yaml.safe_load(Path("workflow/scales/synthetic.yaml").read_text())
    other = scale | {"tasks": {"made_up": ["gamma"], "package": ["delta"]}, "backbones": ["tiny-llama"]}
    Path("workflow/scales/other.yaml").write_text(yaml.safe_dump(other))
    for name in ("train/other/tiny-llama/full/x", "download/tasks/gamma/made_up/train.jsonl", "elsewhere/file",
                 "download/tasks/delta/package/train.jsonl", "logs/old.log",
                 "download/backbones/tiny-llama/config.json",
                 "train/synthetic/tiny-t5/full/alpha/fixed/seed0/state/state.safetensors",
                 "train/synthetic/tiny-t5/full/alpha/fixed/seed0/failure.json"):  # fmt: skip
        orphan(name)
    Path("results/train/synthetic/empty/folder").mkdir(parents=True)
    orphan("train/synthetic/tiny-t5/full/alpha/postfix/seed0/tuned.safetensors")
    orphan("train/synthetic/tiny-t5/full/alpha/postfix/seed1/tuned.safetensors")
    orphan("evaluate/synthetic/tiny-t5/full/alpha/fixed/seed0/notes.txt")
    orphan("report/synthetic/figures/old.svg")
    orphan("report/gone/results.csv")
    orphan("download/tasks/alpha/folder/train.jsonl")
    Path("outside").mkdir()
    Path("outside/kept").write_text("kept")
    Path("results/tokenize/synthetic/link").symlink_to(Path("outside").resolve())
    return [
        ("orphaned", Path("results/download/tasks/alpha/folder"), "belongs to no artifact (1 file)"),
        ("orphaned", evaluated("alpha/fixed/seed0") / "notes.txt", f"is no output of {evaluated('alpha/fixed/seed0')}"),
        ("orphaned", Path("results/report/gone"), "there is no workflow/scales/gone.yaml (1 file)"),
        ("orphaned", REPORT / "figures/old.svg", f"is no output of {REPORT}"),
        ("orphaned", Path("results/tokenize/synthetic/link"), "belongs to no artifact"),
        ("orphaned", trained("alpha/postfix"), "belongs to no artifact (2 files)"),
    ]


def test_orphans_are_named_and_nothing_else(here):
    assert litter() == found()
    assert touched() == []


def test_prune_removes_the_orphans_and_nothing_else(here, capsys):
    expected = litter()
    before = {path for path in here.rglob("*") if ".cache" not in path.parts}
    cli.main(["audit", "--set", "scale=synthetic", "--prune"])
    after = {path for path in here.rglob("*") if ".cache" not in path.parts}
    named = [here / path for _, path, _ in expected]
    removed = before - after
    assert removed == {path for path in before if any(one in (path, *path.parents) for one in named)}
    assert (here / "outside/kept").exists() and after < before
    printed = capsys.readouterr().out
    assert all(f"removed {path}\n" in printed for _, path, _ in expected)
    assert found() == []


def test_prune_removes_folders_that_became_empty(here):
    path = orphan("train/synthetic/tiny-t5/fewshot-k4-s0/alpha/fixed/seed0/tuned.safetensors")
    removed = orphans.prune([Finding("orphaned", path, ""), Finding("stale", RESULTS_CSV, "")])
    assert removed == [path, *list(path.parents)[:4]]
    assert not Path("results/train/synthetic/tiny-t5/fewshot-k4-s0").exists() and trained("alpha").exists()
    assert RESULTS_CSV.exists()


def test_results_of_tasks_left_out_of_a_part_are_no_orphans(here):
    part = load(Path(), {"scale": "synthetic", "tasks": ["alpha"]})
    report("tasks=[alpha]")
    assert "A part of the scale: 1 of 2 tasks, without beta." in (REPORT / "results.md").read_text()
    assert "1 of 2 tasks, without beta" in (REPORT / "report.html").read_text()
    assert "tasks=[alpha]" in (REPORT / "report.html").read_text()
    assert not [one for one in audit.audit(part).findings if one.kind != "dirty-tree"]
    astray = [path for _, path, _ in litter()]
    assert {one.path for one in audit.audit(part).findings if one.kind == "orphaned"} == {*astray}


def test_what_lies_behind_a_link_is_no_orphan(here):
    Path("results/train").rename("elsewhere")
    Path("elsewhere/synthetic/stray").write_text("")
    Path("results/train").symlink_to(Path("elsewhere").resolve())
    assert found() == []


def test_a_scale_that_does_not_load_is_named(here):
    Path("workflow/scales/bad.yaml").write_text("description: 3")
    (note, _) = audit.audit(study()).notes
    assert note.startswith("workflow/scales/bad.yaml does not load, so what it downloads counts as orphaned (")


def test_nothing_is_pruned_while_a_scale_does_not_load(here, capsys):
    """Its downloads would go with the orphans."""
    stray = orphan("download/backbones/stray/model.safetensors")
    Path("workflow/scales/bad.yaml").write_text("description: 3")
    assert call("--prune") == 2
    assert "--prune removes nothing while workflow/scales/bad.yaml does not load" in capsys.readouterr().err
    assert stray.exists()


def resealed(change_of):
    """A report whose table its job would have written so."""
    table = list(csv.DictReader(RESULTS_CSV.open()))
    change_of(table)
    with RESULTS_CSV.open("w", newline="") as file:
        writer = csv.DictWriter(file, table[0])
        writer.writeheader()
        writer.writerows(table)

    def made(old):
        old["made"]["outputs"]["results.csv"] = files.sha256(RESULTS_CSV)
        return old

    change(REPORT / "record.json", made)


def test_rows_that_claim_more_or_fewer_runs_than_there_are(here):
    def edit(table):
        for row in table:
            if (row["task"], row["variant"]) == ("alpha", "fixed"):
                row["seeds"] = "5"
            if (row["task"], row["variant"]) == ("beta", "fixed"):
                row["seeds"], row["runs"] = "1", row["runs"].split(";")[0]
            if (row["task"], row["variant"]) == ("beta", "adap_ins_pos"):
                row["runs"] = ";".join([row["runs"].split(";")[0]] * 2)

    resealed(edit)
    assert found() == sorted([
        ("seeds", RESULTS_CSV, "tiny-t5/full/alpha/fixed claims 5 runs, of which 2 lie here"),
        ("seeds", RESULTS_CSV, "tiny-t5/full/beta/fixed claims 1 run, the grid has 2"),
        lost("beta/adap_ins_pos/seed0"),
    ])  # fmt: skip
    assert touched() == []


@pytest.mark.parametrize(
    ("dirty", "why"), [(True, f"made from edits on top of commit {'c' * 12}"), (None, "no commit")]
)
def test_dirty_trees(here, dirty, why):
    change(REPORT / "record.json", lambda old: old | {"with": old["with"] | {"dirty": dirty}})
    assert found() == [("dirty-tree", REPORT, why)]


def test_mixed_environments(here):
    def other(old):
        old["with"]["packages"] |= {"torch": "1.0", "peft": None}
        return old | {"with": old["with"] | {"python": "3.99.0", "device": "A GPU"}}

    odd, bare = evaluated("alpha/fixed/seed0"), evaluated("alpha/majority/seed0")
    usual = record.read(odd)["with"]
    change(odd / "record.json", other)
    change(bare / "record.json", lambda old: old | {"with": old["with"] | {"device": "A GPU"}})  # it used none
    torch, peft = usual["packages"]["torch"], usual["packages"]["peft"]
    why = f"python 3.99.0, most have {usual['python']}; peft none, most have {peft}; "
    why += f"torch 1.0, most have {torch}; device A GPU, most have cpu"
    assert found() == sorted([
        ("mixed-environment", odd, why),
        ("stale", REPORT, f"input changed: {odd}/record.json, {bare}/record.json"),
        lost("alpha/fixed/seed0"),
        lost("alpha/majority/seed0", 1),
    ])  # fmt: skip


def test_of_two_equally_common_environments_the_first_is_the_usual_one(here):
    asked, runs = jobs(study()), [evaluated(run) for run in RUNS[:4]]
    settings = {folder: record.read(folder)["with"] for folder in runs}
    for folder in runs[2:]:
        settings[folder]["python"] = "4"
    usual = settings[runs[0]]["python"]
    seen = list(audit.mixed(study(), asked, settings))
    assert seen == [Finding("mixed-environment", one, f"python 4, 2 of 4 have {usual}") for one in runs[2:]]


def test_collapsed_runs_but_for_the_majority_class(here):
    low = evaluated("beta/adap_ins_pos/seed1")
    assert files.read_json(evaluated("beta/majority/seed0") / "metrics.json")["collapsed"]
    change(low / "metrics.json", lambda old: old | {"collapsed": True, "collapsed_because": "one class throughout"})
    assert found() == sorted([
        ("collapsed", low, "one class throughout"),
        ("stale", REPORT, f"input changed: {low}/metrics.json, {low}/record.json"),
        lost("beta/adap_ins_pos/seed1"),
    ])  # fmt: skip


def tool(*command):
    identity = ["-c", "user.name=test", "-c", "user.email=test@example.org"] if command[0] == "git" else []
    program = ["git", *identity] if command[0] == "git" else [sys.executable, "-m", "dvc"]
    done = subprocess.run([*program, *command[1:]], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def test_outputs_that_dvc_has_not_recorded(here):
    stages = {
        name: {"cmd": "true", "deps": ["params.yaml"], "outs": [{f"results/{name}": {"persist": True}}]}
        for name in ("train", "report")
    }
    Path("dvc.yaml").write_text(yaml.safe_dump({"stages": stages}))
    Path("dvc.lock").write_text("")
    (note,) = audit.audit(study()).notes
    assert note.startswith("unlocked was not checked: git names no commit here (fatal: not a git repository")
    Path("dvc.lock").unlink()
    tool("git", "init", "-q")
    tool("git", "commit", "-qm", "empty", "--allow-empty")
    tool("dvc", "init", "-q")
    tool("dvc", "commit", "-fq")
    Path("params.yaml").write_text(Path("params.yaml").read_text() + "\n")  # a changed dependency is no changed out
    assert (audit.audit(study()).findings, audit.audit(study()).notes) == ([], [])
    remake(REPORT, "results.md")
    ((kind, path, why),) = found()
    assert (kind, path) == ("unlocked", Path("results/report"))
    assert why.startswith("differs from dvc.lock (modified): `dvc checkout --force` restores that, ")
    Path("dvc.lock").write_text("broken: [")
    ((kind, path, why),) = found()
    assert (kind, path) == ("unlocked", Path("dvc.lock")) and why.startswith("`dvc status` failed: './dvc.lock' is")


def test_kinds_come_in_their_order_and_upstream_first(here):
    shutil.rmtree(tokens("beta"))
    (trained("alpha/fixed/seed0") / "config.json").unlink()
    kinds = [one.kind for one in audit.audit(study()).findings]
    assert kinds == sorted(kinds, key=KINDS.index)
    (first, second) = [one.path for one in audit.audit(study()).findings if one.kind == "missing"]
    assert (first, second) == (tokens("beta"), trained("alpha/fixed/seed0") / "config.json")
    assert audit.audit(study()).findings[-1].path == REPORT


def call(*arguments):
    try:
        cli.main(["audit", "--set", "scale=synthetic", *arguments])
    except SystemExit as stop:
        return stop.code
    return 0


def test_the_exit_status_and_what_is_allowed(here, capsys):
    assert call() == 0
    remake(tokens("alpha"), "rows.json")
    orphan("report/gone/results.csv")
    assert (call(), call("--allow", "stale"), call("--allow", "orphaned")) == (1, 1, 1)
    capsys.readouterr()
    assert call("--allow", "stale", "--allow", "orphaned") == 0
    printed = capsys.readouterr().out.splitlines()
    assert "orphaned: 1 (allowed)" in printed and "missing: 0" in printed and "numbers touched: 3" in printed
    assert f"  {evaluated('alpha/fixed/seed0')}: input changed: {tokens('alpha')}/rows.json" in printed
    assert printed[-1].startswith("26 artifacts, ") and printed[-1].endswith(" bytes hashed anew")
    assert call("--prune", "--allow", "stale") == 0 and not Path("results/report/gone").exists()
    assert call("--allow", "orphaned") == 1, "the stale ones are left"
    with pytest.raises(SystemExit, match="2"):
        cli.main(["audit", "--allow", "everything"])


def test_many_with_a_reason_that_names_their_own_files_are_counted_in_a_line():
    why = "input changed: results/train/scale/{}/record.json, results/train/scale/{}/steps.jsonl"
    stale = [Finding("stale", Path("results/evaluate/scale", run), why.format(run, run)) for run in map(str, range(21))]
    other = Finding("stale", Path("results/evaluate/scale/21"), why.format("21", "21").replace("steps", "tuned"))
    found = audit.Audit([*stale, other], 22, 0, 0, [])
    printed = _text(found, [], []).splitlines()
    assert [line for line in printed if line.startswith("  ")] == [
        "  results/evaluate/scale: 21, the first is results/evaluate/scale/0: "
        "input changed: results/train/*/record.json, results/train/*/steps.jsonl",
        f"  {other.path}: {other.why}",
    ]


def test_json(here, capsys):
    orphan("report/gone/results.csv")
    assert call("--json", "--allow", "orphaned") == 0
    document = json.loads(capsys.readouterr().out)
    why = "there is no workflow/scales/gone.yaml (1 file)"
    expected = {"kind": "orphaned", "path": "results/report/gone", "why": why, "allowed": True}
    assert (document["findings"], document["touched"], document["artifacts"]) == ([expected], [], 26)
    assert call("--json", "--prune") == 0
    assert json.loads(capsys.readouterr().out)["removed"] == ["results/report/gone"]


def test_beside_results_of_another_scale_one_line_says_so(here, capsys):
    """And what was never made is counted by phase, not listed."""
    synthetic = yaml.safe_load(Path("workflow/scales/synthetic.yaml").read_text())
    Path("workflow/scales/other.yaml").write_text(yaml.safe_dump(synthetic | {"seeds": list(range(30))}))
    with pytest.raises(SystemExit):
        cli.main(["audit", "--set", "scale=other"])
    printed = capsys.readouterr().out.splitlines()
    line = "nothing of scale other was made here; results of synthetic lie here, and "
    assert f"{line}`python -m dp audit --set scale=synthetic` audits those" in printed
    first = "results/train/other/tiny-t5/full/alpha/fixed/seed0"
    assert f"  results/train/other: 120, the first is {first}: has no record.json" in printed
    assert len(printed) < 30
    assert audit.audit(study()).notes == [NO_LOCK]
    shutil.rmtree("results/train/synthetic")
    assert scales.others("other") == ["synthetic"] and scales.is_begun(jobs(study()))
    for phase in ("tokenize", "evaluate", "report"):
        shutil.rmtree(f"results/{phase}/synthetic")
    assert scales.others("other") == [] and not scales.is_begun(jobs(study()))
    assert audit.audit(load(Path(), {"scale": "other"})).notes == [NO_LOCK]
