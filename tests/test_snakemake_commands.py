"""Snakemake's own commands, as docs/snakemake.md says that they work here."""

import os
import re
import shutil

import pytest
from built_project import BIN, make, run, snakemake

from dp.commands.cli import MAKING

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    root = make(tmp_path_factory.mktemp("project") / "study", seeds="0")
    snakemake(root, check=True)
    return root


def counts(printed):
    """Rule -> jobs that a dry run counts."""
    return {rule: int(number) for rule, number in re.findall(r"^(\w+) +(\d+)$", printed, re.MULTILINE)}


def planned(root, *arguments):
    return counts(snakemake(root, "-n", *arguments, check=True)[0])


def test_a_dry_run_counts_rules_and_lists_no_path(root):
    printed, _ = snakemake(root, "-n", "--forceall", check=True)
    expected = {"fetch_task": 1, "fetch_backbone": 1, "tokenize_task": 1, "features": 1, "train_run": 2,
                "evaluate_run": 3, "report_scale": 1, "all": 1, "total": 11}  # fmt: skip
    assert counts(printed) == expected and "results/" not in printed
    assert printed.count("    output: results/") == 0
    assert snakemake(root, "-np", "--forceall", check=True)[0].count("    output: results/") == 10


def test_a_run_ends_with_where_to_read_and_lists_no_files_of_all(root):
    printed, _ = snakemake(root, "--forcerun", "fetch_task", "--", "download", check=True)
    assert "rule fetch_task" in printed and "localrule download" not in printed and "report.html" not in printed
    printed, _ = snakemake(root, check=True)
    assert "Read results/report/e2e/report.html" in printed
    assert "rule report_scale" in printed and "localrule all" not in printed


def test_a_dry_run_tells_of_uncommitted_code(root):
    """Once, and where numbers would come from it: a page may be drawn by code that no commit holds."""
    told = {}
    for name in ("dp/results/metrics.py", "dp/report/checklist.py"):
        code = root / name
        text = code.read_text()
        try:
            code.write_text(f"{text}\nEDITED = True\n")
            told[name], _ = snakemake(root, "-n", check=True)
        finally:
            code.write_text(text)
    of_numbers, of_the_page = told.values()
    words = "The report will refuse these numbers, so no job will be started. Code differs from the commit"
    assert of_numbers.count(words) == of_numbers.count("will refuse") == 1
    assert counts(of_the_page)["report_scale"] == 1 and "will refuse" not in of_the_page


def test_the_list_is_what_a_person_may_ask_for(root):
    printed, _ = snakemake(root, "--list", check=True)
    lines = [line for line in printed.splitlines() if not line.startswith("Using workflow")]
    listed = {line.partition(" ")[0] for line in lines}
    commands = {name.replace("-", "_") for name in MAKING}
    assert len(listed) < 25 and [line for line in lines if not re.search(r"^\w+ \(.+\)$", line)] == []
    assert all(any(rule == name or rule.startswith(f"{name}_") for rule in listed) for name in commands)


def test_a_claim_that_there_is_none_of_names_the_nearest(root):
    printed, status = snakemake(root, "-n", "--", "claim_A_t5_small_lm_fixed_cx")
    assert status and "the nearest valid name is 'A_t5_small_lm_fixed_cb'" in printed


def test_summary_and_report(root):
    printed, _ = snakemake(root, "--summary", check=True)
    lines = [line.split("\t") for line in printed.splitlines() if line.startswith("results/")]
    assert lines and {line[4] for line in lines} == {"ok"} and {line[5] for line in lines} == {"no update"}
    snakemake(root, "--report", "page.html", check=True)
    assert "accuracy_by_variant" in (root / "page.html").read_text()


def test_what_is_asked_to_be_made_again_and_how_far(root):
    assert planned(root, "--forcerun", "train_run") == {
        "train_run": 2, "evaluate_run": 2, "report_scale": 1, "all": 1, "total": 6}  # fmt: skip
    kept = root.with_name("kept")
    (root / "results/train").rename(kept)
    (root / "results/evaluate").rename(root.with_name("kept_evaluate"))
    try:
        assert planned(root, "--until", "train_run") == {"train_run": 2, "total": 2}
        assert planned(root, "--omit-from", "evaluate_run") == {"train_run": 2, "total": 2}
        assert planned(root, "--", "evaluate")["evaluate_run"] == 3
        assert 0 < planned(root, "--batch", "evaluate=1/2", "--", "evaluate")["evaluate_run"] < 3
    finally:
        shutil.rmtree(root / "results/train", ignore_errors=True)
        shutil.rmtree(root / "results/evaluate", ignore_errors=True)
        kept.rename(root / "results/train")
        root.with_name("kept_evaluate").rename(root / "results/evaluate")


def test_nodes_that_share_no_files_are_refused_with_what_works(root):
    printed, status = snakemake(root, "-n", "--shared-fs-usage", "none")
    assert status and "storage plugins are not supported" in printed and "docs/cluster.md" in printed


def test_an_image_that_is_not_there_is_refused_with_how_to_make_it(root):
    printed, status = snakemake(root, "-n", "--sdm", "apptainer")
    assert status and "apptainer build workflow/environment.sif workflow/apptainer.def" in printed


@pytest.mark.parametrize(
    ("status_command", "config", "cores", "words"),
    [
        ("squeue", "MinJobAge = 60 sec", "8", "forgets an ended job after 60 s"),
        ("sacct", "MinJobAge = 300 sec", "8", "keeps no accounts"),
        ("squeue", None, "8", "`scontrol show config` failed"),
        ("squeue", "MinJobAge = 300 sec", "9", "the largest node here has 8 (sinfo)"),
        ("squeue", "MinJobAge = 60 sec", None, "forgets an ended job after 60 s"),
    ],
)
def test_a_cluster_where_a_call_would_wait_for_ever_is_refused(root, tmp_path, status_command, config, cores, words):
    told = f"printf 'AccountingStorageType = accounting_storage/none\\n{config}\\n'" if config else "exit 1"
    for name in ("sbatch", "squeue", "sacct", "scancel"):
        (tmp_path / name).write_text("#!/bin/sh\n")
    (tmp_path / "sinfo").write_text("#!/bin/sh\nprintf '4\\n8+\\n'\n")
    (tmp_path / "scontrol").write_text(f"#!/bin/sh\n{told}\n")
    for path in tmp_path.iterdir():
        path.chmod(0o755)
    groups = ["--cores", cores, "--groups", "report_scale=one"] if cores else ["--cores", "9"]
    printed, status = run(
        root, BIN / "snakemake", "--workflow-profile", "profiles/slurm", "--slurm-status-command", status_command,
        *groups, "--forcerun", "report_scale", check=False,
        PATH=f"{tmp_path}:{BIN}:{os.environ['PATH']}",
    )  # fmt: skip
    assert status and words in printed, printed
