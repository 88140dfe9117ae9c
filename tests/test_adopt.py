"""Results that outlive the code: what is adopted, on what evidence, and what is refused."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import built_project
import pytest
import torch
from safetensors.torch import load_file, save_file
from small_project import in_a_clean_tree, made, reseal, small_study

from dp import files
from dp.commands import cli, making
from dp.escapes import csv_rows
from dp.jobs import adoption, closure, mark, record, stale
from dp.jobs.job import ADOPTED
from dp.lineage import adopting
from dp.lineage.adopting import TOLERANCE, Kind, kind_of, sample, survey, tried
from dp.lineage.auditing import audit
from dp.lineage.compare import different, different_file
from dp.study.resolve import jobs
from dp.training import loop

VARIANTS = ["majority", "fixed", "adap_ins_pos"]
TUNED = "results/train/small/tiny-t5/full/toy"
SHOWN = "results/evaluate/small/tiny-t5/full/toy"
PROMPTED = {f"{folder}/{variant}/seed0" for folder in (TUNED, SHOWN) for variant in ("fixed", "adap_ins_pos")}


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    root = tmp_path_factory.mktemp("finished")
    with made(root, VARIANTS):
        pass
    return root


@pytest.fixture
def project(finished, tmp_path, monkeypatch):
    """A finished small scale, whose jobs were made by other code of `train` and `evaluate` than is here now."""
    shutil.copytree(finished, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    edit(monkeypatch, "train", "evaluate")
    return making.common.load(Path(), {})


def edit(monkeypatch, *commands, to="1"):
    modules = closure.modules

    def edited(command, family=None):
        return modules(command, family) | ({"dp/training/loop.py": to * 64} if command in commands else {})

    for module in (closure, stale):
        monkeypatch.setattr(module, "modules", edited)


def adopt(study, count=1):
    """Folders that are adopted, and why others are not."""
    members = list(jobs(study).values())
    found = survey(members)
    chosen = [one for of_kind in found.stale.values() for one in sample(of_kind, count)]
    outcomes = list(tried(chosen, lambda job, folder, inputs: making.compute(job, folder, study, inputs)))
    adopted, refused = adopting.adopt(members, found, outcomes)
    return {str(folder) for folder in adopted}, {str(folder): why for folder, why in refused.items()}


def stale_folders(study):
    return {str(one.path) for one in audit(study).findings if one.kind == "stale" and "report" not in one.path.parts}


def test_what_other_code_makes_the_same_is_adopted_and_no_byte_of_it_changes(project):
    records = {path: path.read_bytes() for path in Path("results").rglob("*") if path.is_file()}
    assert stale_folders(project) == PROMPTED | {f"{SHOWN}/majority/seed0"}
    assert adopt(project) == (PROMPTED | {f"{SHOWN}/majority/seed0"}, {})
    assert {path: path.read_bytes() for path in records} == records
    assert stale_folders(project) == set()
    found = adoption.of(Path(TUNED, "fixed", "seed0"))
    made = files.read_json(Path(TUNED, "fixed", "seed0", "record.json"))
    assert (found.was, found.now) == (made["used"]["code"]["digest"], closure.code_digest("train", "seq2seq"))
    assert found.evidence.made_again == [f"{TUNED}/fixed/seed0"] and found.evidence.how == "bytes"
    assert adopting.survey(jobs(project).values()).count == 0


def test_a_flipped_sign_is_refused_with_all_that_rests_on_it_and_nothing_else(project, monkeypatch):
    monkeypatch.setattr(loop, "objective", lambda *given, real=loop.objective: -real(*given))
    adopted, refused = adopt(project)
    assert adopted == {f"{SHOWN}/majority/seed0"}
    assert refused.keys() == PROMPTED
    assert "tuned.safetensors: prompt." in refused[f"{TUNED}/fixed/seed0"]
    assert refused[f"{SHOWN}/fixed/seed0"] == f"rests on {TUNED}/fixed/seed0, which is not adopted"
    assert stale_folders(project) == PROMPTED


def test_facts_of_the_record_are_compared_too(project, monkeypatch):
    real = making.compute
    monkeypatch.setattr(making, "compute", lambda *given: real(*given) | {"trainable_parameters": 7})
    assert "trainable_parameters was" in adopt(project)[1][f"{TUNED}/fixed/seed0"]


def test_other_reasons_than_code_are_left_alone(project):
    path = Path("workflow/scales/small.yaml")
    path.write_text(path.read_text().replace("steps: 4", "steps: 2").replace("evaluate_every: 2", "evaluate_every: 1"))
    found = survey(jobs(making.common.load(Path(), {})).values())
    assert {str(one.folder) for of_kind in found.stale.values() for one in of_kind} == {f"{SHOWN}/majority/seed0"}
    assert found.other[Path(TUNED, "fixed", "seed0")] == "training.steps was 4, is 2"


def test_what_rests_on_a_record_that_is_none_says_so(project):
    tokens = Path("results/tokenize/small/tiny-t5/toy/tokens")
    (tokens / "record.json").write_text("x")
    assert survey(jobs(project).values()).other[Path(TUNED, "fixed", "seed0")] == f"rests on {tokens}"


def test_an_adoption_by_code_of_no_commit_says_so(project, monkeypatch):
    for dirty, said in ((True, ", which no commit holds: 1 of 1"), (False, ": 1 of 1")):
        monkeypatch.setattr(record, "commit", lambda dirty=dirty: {"commit": "c" * 40, "dirty": dirty})
        adopt(project)
        found = adoption.of(Path(TUNED, "fixed", "seed0"))
        assert f" by {found.now[:12]}{said}" in str(found)
        Path(TUNED, "fixed", "seed0", ADOPTED).unlink()


def test_an_edited_output_is_no_evidence(project):
    Path(TUNED, "fixed", "seed0", "tuned.safetensors").write_bytes(b"other")
    with pytest.raises(Exception, match=r"tuned\.safetensors: its bytes differ from its record"):
        survey(jobs(project).values())


def test_what_one_code_made_says_nothing_of_what_another_made(project, monkeypatch):
    """A lab that stopped midway has artifacts of two codes, and the later one may have been wrong."""
    monkeypatch.setattr(adopting, "kind_of", lambda job: Kind(job.command, "", "all"))
    right, wrong = Path(TUNED, "fixed", "seed0"), Path(TUNED, "adap_ins_pos", "seed0")
    tensors = {name: value + 1 for name, value in load_file(wrong / "tuned.safetensors").items()}
    save_file(tensors, wrong / "tuned.safetensors")
    content = files.read_json(wrong / "record.json")
    content["used"]["code"]["digest"] = "2" * 64
    files.write_json(wrong / "record.json", content)
    reseal(wrong / "tuned.safetensors")
    adopted, refused = adopt(project)
    assert str(right) in adopted and "tuned.safetensors" in refused[str(wrong)]


def test_an_edited_adoption_is_tampered_with_and_holds_nothing(project):
    adopt(project)
    folder = Path(TUNED, "fixed", "seed0")
    content = files.read_json(folder / ADOPTED)
    files.write_json(folder / ADOPTED, content | {"now": "2" * 64})
    kinds = {(one.kind, str(one.path)) for one in audit(project).findings}
    assert ("tampered", str(folder / ADOPTED)) in kinds and ("stale", f"{SHOWN}/fixed/seed0") in kinds
    files.write_json(folder / ADOPTED, content)
    assert stale_folders(project) == set()


def test_an_adoption_about_another_record_holds_nothing_and_a_new_run_removes_it(project):
    adopt(project)
    first, second = Path(TUNED, "fixed", "seed0"), Path(TUNED, "adap_ins_pos", "seed0")
    shutil.copyfile(first / ADOPTED, second / ADOPTED)
    assert adoption.of(second) is None
    cli.main(["train", "--run", "tiny-t5/full/toy/adap_ins_pos/seed0"])
    assert not (second / ADOPTED).exists() and adoption.of(first)


def test_code_that_changes_once_more_makes_stale_what_was_adopted(project, monkeypatch):
    adopt(project)
    edit(monkeypatch, "train", to="3")
    assert f"{TUNED}/fixed/seed0" in stale_folders(project)


def test_snakemake_keeps_what_it_noted_of_what_was_adopted(project):
    job = jobs(project)[Path(TUNED, "fixed", "seed0")]
    assert adoption.noted(job) == closure.code_digest("train", "seq2seq")
    adopt(project)
    assert adoption.noted(job) == files.read_json(job.folder / "record.json")["used"]["code"]["digest"]


def test_audit_why_the_report_and_the_crate_say_what_was_adopted(project, capsys, monkeypatch):
    in_a_clean_tree(monkeypatch)
    adopt(project)
    assert "input is new: results/train" in next(
        one.why for one in audit(project).findings if one.path == Path("results/report/small")
    )
    cli.main(["report"])
    with Path("results/report/small/results.csv").open() as file:
        rows = {row["variant"]: row["labels"] for row in csv_rows(file)}
    assert {name for name, labels in rows.items() if "adopted" in labels.split(";")} == {*VARIANTS}
    assert "| train tiny-t5 prefix x fixed x single, full |" in re.sub(
        " +", " ", Path("results/report/small/reproducibility.md").read_text()
    )
    capsys.readouterr()
    cli.main(["why", "results/report/small/results.csv:3"])
    assert capsys.readouterr().out.count("made by other code (") == 2
    cli.main(["audit", "--allow", "collapsed"])
    printed = capsys.readouterr().out
    assert (
        "adopted: 2 of train, made by code " in printed
        and "which made 2 of 2 kinds again, the same in bytes" in printed
    )
    cli.main(["export", "--out", "crate"])
    crate = Path("crate/ro-crate-metadata.json").read_text()
    assert crate.count("It was made by other code (") == 5 and crate.count("/adopted.json") >= 5


def test_a_stopped_call_does_not_make_again_what_it_compared(project):
    found = survey(jobs(project).values())
    members = [one for of_kind in found.stale.values() for one in of_kind]
    calls = []

    def compute(job, folder, inputs):
        calls.append(job.folder)
        return making.compute(job, folder, project, inputs)

    assert [one.why for one in tried(members[:2], compute)] == [None, None]
    assert [one.why for one in tried(members, compute)] == [None] * len(members)
    assert calls == [one.folder for one in members]


def test_another_package_makes_again_what_was_compared(project, monkeypatch):
    members = [one for of_kind in survey(jobs(project).values()).stale.values() for one in of_kind][:1]
    calls = []

    def compute(job, folder, inputs):
        calls.append(job.folder)
        return making.compute(job, folder, project, inputs)

    list(tried(members, compute))
    real = record.environment()
    monkeypatch.setattr(record, "environment", lambda: real | {"packages": real["packages"] | {"transformers": "0"}})
    list(tried(members, compute))
    assert len(calls) == 2


def test_two_calls_at_once_do_not_compare_each_others_files(project):
    """The other one's may be right where this one's are wrong: of another folder that shares the cache (DP_CACHE)."""
    member = next(one for of_kind in survey(jobs(project).values()).stale.values() for one in of_kind)
    scratch = []

    def compute(job, folder, inputs):
        scratch.append(folder)
        if len(scratch) == 1:
            list(tried([member], compute))
        return making.compute(job, folder, project, inputs)

    assert [one.why for one in tried([member], compute)] == [None]
    assert scratch[0] != scratch[1] and not any(folder.exists() for folder in scratch)


def test_what_is_being_made_is_left_alone_with_what_rests_on_it(project):
    training = Path(TUNED, "fixed", "seed0")
    with mark.marked(training, "train"):
        adopted, refused = adopt(project)
        left = survey(jobs(project).values()).other
    assert left[training].startswith("is being made (process ")
    assert left[Path(SHOWN, "fixed", "seed0")] == f"rests on {training}"
    assert not {str(training), f"{SHOWN}/fixed/seed0"} & {*adopted, *refused}


def test_samples_are_seeded_and_a_larger_one_holds_a_smaller_one(project):
    members = [one for of_kind in survey(jobs(project).values()).stale.values() for one in of_kind]
    folders = [[one.folder for one in sample(members, count)] for count in (1, 2, len(members))]
    assert folders[1][:1] == folders[0] and folders[2][:2] == folders[1] and len(folders[2]) == 5
    assert folders[2] == [one.folder for one in sample(members[::-1], 5)] != [one.folder for one in members]


def test_kinds_are_told_apart_by_what_runs_other_code(project):
    found = {kind_of(job) for job in jobs(project).values() if job.command in ("train", "evaluate", "fetch-backbone")}
    assert found == {
        Kind("fetch-backbone", "tiny-t5", "random"),
        Kind("train", "tiny-t5", "prefix x fixed x single, full"),
        Kind("train", "tiny-t5", "instance x fixed x single, full"),
        Kind("evaluate", "tiny-t5", "majority, full"),
        Kind("evaluate", "tiny-t5", "prefix x fixed x single, full"),
        Kind("evaluate", "tiny-t5", "instance x fixed x single, full"),
    }


def test_what_is_frozen_what_a_search_tries_and_what_is_measured_tell_kinds_apart():
    frozen = ["adap_pos", "adap_pos-frozen", "adap_ins_pos", "adap_ins_pos-frozen"]
    tasks = {"package": ["boolq", "cb", "multirc"]}
    study = small_study(frozen, source="package", tasks=tasks)
    assert {kind_of(job).what for job in jobs(study).values() if job.command == "train"} == {
        f"{position} x fixed x single, full" for position in ("task", "instance", "frozen task", "frozen instance")
    }
    assert {kind_of(job).what.partition("full")[2] for job in jobs(study).values() if job.command == "evaluate"} == {
        "", ", macro_f1", ", f1a, exact_match"
    }  # fmt: skip
    searched = small_study(["fixed"], search={"method": "grid", "trials": 2, "space": {"lr_factor": [0.5, 1.0]}})
    assert {kind_of(job).what for job in jobs(searched).values() if job.command == "train"} == {
        "prefix x fixed x single, full", "prefix x fixed x single, full, trial"
    }  # fmt: skip


def test_a_dry_run_says_what_and_how_long_and_makes_nothing(project, capsys, monkeypatch):
    monkeypatch.setattr("dp.lineage.admission.no_commit", lambda: None)
    cli.main(["adopt", "--dry-run"])
    printed = capsys.readouterr().out
    assert "5 artifacts are stale by code alone, of 5 kinds" in printed and "made again: 5, which took" in printed
    assert re.search(r"train tiny-t5 prefix x fixed x single, full: 1 of 1, [\d.]+ s: results/train", printed)
    assert not list(Path("results").rglob(ADOPTED)) and not Path(".cache/dp/adopt").exists()


def test_the_command_exits_with_1_and_names_the_first_difference(project, capsys, monkeypatch):
    monkeypatch.setattr("dp.lineage.admission.no_commit", lambda: None)
    monkeypatch.setattr(loop, "objective", lambda *given, real=loop.objective: -real(*given))
    with pytest.raises(SystemExit) as end:
        cli.main(["adopt"])
    printed = capsys.readouterr().out
    assert end.value.code == 1
    assert f"{TUNED}/fixed/seed0: another: tuned.safetensors: prompt." in printed
    assert "adopted: 1" in printed and "not adopted: 4" in printed


def test_code_without_a_commit_adopts_nothing(project, capsys, monkeypatch):
    monkeypatch.setattr("dp.lineage.admission.no_commit", lambda: "Code differs from the commit: dp/x.py.")
    with pytest.raises(SystemExit):
        cli.main(["adopt"])
    assert "An adoption names the code that it vouches for. Code differs" in capsys.readouterr().err


def test_code_that_changes_meanwhile_adopts_nothing(project, capsys, monkeypatch):
    monkeypatch.setattr("dp.lineage.admission.no_commit", lambda: None)
    commits = iter("ab")
    monkeypatch.setattr(record, "commit", lambda *root: {"commit": next(commits, "c"), "dirty": False})
    with pytest.raises(SystemExit):
        cli.main(["adopt"])
    assert "the code changed while artifacts were made again" in capsys.readouterr().err
    assert not list(Path("results").rglob(ADOPTED))


def test_a_report_that_does_not_know_of_an_adoption_is_made_by_the_next_call(project, capsys, monkeypatch):
    """The first was stopped before it came to that."""
    monkeypatch.setattr("dp.lineage.admission.no_commit", lambda: None)
    calls = []
    monkeypatch.setattr("dp.lineage.doors.snakemake", lambda *words, **_: calls.append(words) or subprocess.run("true"))
    adopt(project)
    cli.main(["adopt"])
    assert "adopted: 0" in capsys.readouterr().out and len(calls) == 1
    in_a_clean_tree(monkeypatch)
    cli.main(["report"])
    cli.main(["adopt"])
    assert len(calls) == 1


def test_results_of_another_scale_that_dvc_has_not_recorded_stay_so(project, capsys, monkeypatch):
    monkeypatch.setattr("dp.lineage.admission.no_commit", lambda: None)
    monkeypatch.setattr("dp.lineage.scales.unrecorded", lambda scale: ["other"])
    monkeypatch.setattr("dp.lineage.doors.snakemake", lambda *words, **_: subprocess.run("true"))
    monkeypatch.setattr("dp.lineage.doors.call", lambda *words, **_: pytest.fail(" ".join(words)))
    Path("dvc.lock").touch()
    cli.main(["adopt"])
    assert "not recorded by DVC, which would record what lies here of other too" in capsys.readouterr().out
    cli.main(["adopt", "--set", "scale=small"])
    assert "not recorded by DVC, which knows no --set: `dvc repro` does" in capsys.readouterr().out


def test_a_scale_that_was_never_made_is_said_to_be(project, capsys, monkeypatch):
    monkeypatch.setattr("dp.lineage.admission.no_commit", lambda: None)
    shutil.rmtree("results")
    with pytest.raises(SystemExit):
        cli.main(["adopt"])
    assert "nothing of scale small was made here; `snakemake --cores all` makes it." in capsys.readouterr().err


@pytest.mark.parametrize("count", ["0", "-1", "many", "1.5"])
def test_a_sample_is_a_number_of_artifacts(project, count, capsys):
    with pytest.raises(SystemExit):
        cli.main(["adopt", "--sample", count])
    assert "no number of artifacts from 1" in capsys.readouterr().err


# Comparing

PAIRS = [
    ({"a": 1.0}, {"a": 1.0}, 0.0, None),
    ({"a": 1.0}, {"a": 1.0000001}, 0.0, "a was 1.0, is 1.0000001"),
    ({"a": 1.0}, {"a": 1.0005}, TOLERANCE, None),
    ({"a": 1.0}, {"a": 1.0015}, TOLERANCE, "a was 1.0, is 1.0015"),
    ({"a": 500.0}, {"a": 500.4}, TOLERANCE, None),
    ({"n": 1}, {"n": 2}, TOLERANCE, "n was 1, is 2"),
    ({"n": 1}, {"n": 1.0}, TOLERANCE, "n was 1, is 1.0"),
    ({"a": {"b": [1, {"c": "x"}]}}, {"a": {"b": [1, {"c": "y"}]}}, 0.0, 'a.b[1].c was "x", is "y"'),
    ({"a": [1]}, {"a": [1, 2]}, 0.0, "a has 2 entries, had 1"),
    ({"a": 1}, {}, 0.0, "a is gone"),
    ({}, {"a": 1}, 0.0, "a is new"),
    ({"seconds": 1.0, "a": 1}, {"seconds": 2.0, "a": 1}, 0.0, None),
    ({"a": float("nan")}, {"a": 1.0}, TOLERANCE, "a was NaN, is 1.0"),
    ({"a": 1.0}, {"a": float("nan")}, TOLERANCE, "a was 1.0, is NaN"),
]


@pytest.mark.parametrize("old, new, tolerance, why", PAIRS)
def test_values(old, new, tolerance, why):
    assert different(old, new, tolerance) == why


def test_tensors(tmp_path):
    old, new = tmp_path / "old.safetensors", tmp_path / "new.safetensors"
    save_file({"a": torch.zeros(2, 3), "b": torch.ones(2)}, old)

    def compared(tensors, tolerance=0.0, metadata=None):
        save_file(tensors, new, metadata)
        return different_file(old, new, tolerance)

    other = torch.zeros(2, 3)
    other[1, 2] = 0.01
    assert compared({"a": torch.zeros(2, 3), "b": torch.ones(2)}) is None
    assert compared({"a": other, "b": torch.ones(2)}) == "a[1, 2] was 0, is 0.00999999978"
    assert compared({"a": torch.zeros(2, 3), "b": torch.tensor([1.0005, 1.0])}, TOLERANCE) is None
    assert compared({"a": other * 0.01, "b": torch.ones(2)}, TOLERANCE).startswith("a[1, 2] was 0, is 9.99")
    save_file({"a": other, "b": torch.full((2,), 1e-5)}, old)  # as small as LoRA's B after a step
    assert compared({"a": other, "b": torch.full((2,), -1e-5)}, TOLERANCE).startswith("b[0] was 9.99")
    assert compared({"a": other * 1.0005, "b": torch.full((2,), 1.0005e-5)}, TOLERANCE) is None
    save_file({"a": torch.zeros(2, 3), "b": torch.ones(2)}, old)
    assert compared({"a": other * float("nan"), "b": torch.ones(2)}, TOLERANCE).startswith("a[0, 0] was 0, is nan")
    assert compared({"a": torch.zeros(2, 3)}) == "the tensors ['b'] are in one of the two alone"
    assert compared({"a": torch.zeros(3, 2), "b": torch.ones(2)}).startswith("a was torch.float32[2, 3], is")
    assert compared({"a": torch.zeros(2, 3), "b": torch.ones(2)}, metadata={"x": "y"}) == (
        "its values are the same, its bytes are not"
    )


def test_a_log_of_steps_is_compared_but_for_its_times(tmp_path):
    lines = [{"step": 1, "loss": 0.5, "seconds": 1.0, "tokens_per_second": 3.0}]
    old, new = tmp_path / "old.jsonl", tmp_path / "new.jsonl"
    old.write_text("".join(json.dumps(line) + "\n" for line in lines))
    new.write_text(json.dumps(lines[0] | {"seconds": 2.0, "tokens_per_second": 1.5}) + "\n")
    assert different_file(old, new) is None
    new.write_text(json.dumps(lines[0] | {"loss": 0.25}) + "\n")
    assert different_file(old, new) == "[0].loss was 0.5, is 0.25"


# The whole project, by its doors


@pytest.mark.slow
def test_both_doors_are_idle_after_an_adoption_and_a_flipped_sign_is_refused(tmp_path):
    root = built_project.make(tmp_path)
    adopt_here = (built_project.BIN / "python", "-m", "dp", "adopt")
    built_project.dvc(root, "repro")
    built_project.commit(root, "results")
    code, adds = root / "dp/training/loop.py", "\n\nUNUSED = 1\n"
    text = code.read_text()
    code.write_text(text + adds)
    built_project.commit(root, "an edit that changes no number")
    assert built_project.jobs(root, dry=True)
    kept = {path: path.read_bytes() for path in (root / "results").rglob("*") if path.is_file()}
    kept = {path: data for path, data in kept.items() if not {"report", "logs"} & {*path.relative_to(root).parts}}
    built_project.run(root, *adopt_here)
    assert built_project.jobs(root, dry=True) == []
    assert "up to date" in built_project.dvc(root, "status")
    built_project.run(root, *adopt_here[:-1], "audit", "--allow", "collapsed")
    assert {path: path.read_bytes() for path in kept} == kept
    rows = (root / "results/report/e2e/results.csv").read_text().splitlines()[1:]
    assert {("majority" in row, "adopted" in row) for row in rows} == {(True, False), (False, True)}

    line = "                scores = classifier.scores(states, batch)\n"
    code.write_text(text.replace(line, f"{line}                scores = -scores\n", 1))
    assert code.read_text() != text
    built_project.commit(root, "a flipped sign")
    printed, status = built_project.run(root, *adopt_here, check=False)
    assert status == 1 and "tuned.safetensors: prompt." in printed and "adopted: 0" in printed
    assert built_project.jobs(root, dry=True)
