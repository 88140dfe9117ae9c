"""Every fact of reproducibility.md, compared with the records as a script reads them that knows only their files."""

import csv
import json
import re
from collections import Counter
from math import fsum
from pathlib import Path
from statistics import median

import pytest
from small_project import Project
from synthetic_results import change, predictions, study_in, write_results

from dp.commands import cli
from dp.report import checklist
from dp.results import jobs, runs, table
from dp.study import grid
from dp.study.study import load

UNKNOWN = "the records do not say"
VARIANTS = ["majority", "fixed", "finetune", "adap_ins_vec", "adap_ins_vec-shuffled"]
TRAINED = ["fixed", "finetune", "adap_ins_vec"]
ADAMW = {"optimizer": {"name": "adamw", "lr": 0.001, "schedule": "linear"}}
REGIMES = {"full": TRAINED, "fewshot-k3-s0": ["fixed"], "fewshot-k3-s4": ["fixed"]}


def page(study):
    found = runs.read(study)
    return checklist.document(study, table.rows(study, found), found, jobs.read(study))


def parsed(text):
    """Question -> (its tables as lists of dictionaries, its other lines)."""
    sections = {}
    for block in re.split(r"^## ", text, flags=re.MULTILINE)[1:]:
        question, _, body = block.partition("\n")
        tables, words = [], []
        for part in body.strip().split("\n\n"):
            if not part.startswith("| "):
                words.append(part)
                continue
            head, _, *rows = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in part.splitlines()]
            tables.append([dict(zip(head, row, strict=True)) for row in rows])
        sections[question] = tables, words
    return sections


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """A small trained scale: full and few-shot, a search, an override, a control; with its records, read as JSON."""
    root = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        space = {"lr_factor": {"low": 0.1, "high": 2.0}, "pool": [2, 3]}
        project = Project(
            root, VARIANTS, seeds=[0, 7], overrides={"finetune": ADAMW},
            regimes=[{"kind": "full"}, {"kind": "fewshot", "k": [3], "sample_seeds": [0, 4], "variants": ["fixed"]}],
            search={"method": "random", "trials": 2, "seed": 8, "space": space}, rows={"seed": 6, "train": 50},
        )  # fmt: skip
        project.prepare()
        trainings = grid.needed_trainings(project.study)
        for cell in sorted(trainings, key=lambda cell: cell.trial is None):
            if cell.trial is None:
                cli.main(["choose", "--variant", cell.variant_path])
            project.train(cell.run)
        for cell in grid.cells(project.study):
            project.evaluate(cell.run)
        study = load(root, {"scale": "small", "allow_dirty": True})
        project.text = page(study)
        project.sections = parsed(project.text)
        project.records = {
            path.parent.relative_to(root / "results").as_posix(): json.loads(path.read_text())
            for path in sorted((root / "results").rglob("record.json"))
        }
    return project


def of(project, command, variant=None, trials=None):
    """Records of a command, of one variant, of trials alone or of none."""
    return [
        record
        for folder, record in project.records.items()
        if record["command"] == command
        and (variant is None or folder.split("/")[5] == variant)
        and (trials is None or ("/trial" in folder) == trials)
    ]


def test_the_project_holds_what_these_tests_are_about(project):
    counts = Counter(record["command"] for record in project.records.values())
    assert counts == {"fetch-task": 1, "fetch-backbone": 1, "tokenize": 1, "features": 1, "choose": 5, "train": 20,
                      "evaluate": 13}  # fmt: skip
    assert "13 evaluations and all 42 jobs" in project.text


def test_infrastructure(project):
    facts, packages = project.sections["Which infrastructure was it run on?"][0]
    (first, *_) = project.records.values()
    found = {(row["fact"], row["value"]): row["jobs"] for row in facts}
    for fact, key in (("host", "host"), ("device", "device"), ("processors of the machine", "processor_count"),
                      ("platform", "platform"), ("Python", "python")):  # fmt: skip
        assert found.pop((fact, str(first["with"][key]))) == "42 of 42"
    threads = Counter(record["with"]["threads"] for record in project.records.values())
    for value, count in threads.items():
        jobs_of = found.pop(("CPU threads of a job", UNKNOWN if value is None else str(value)))
        assert jobs_of.startswith(f"{count} of 42")
    assert found == {}
    installed = {name: version or "not installed" for name, version in first["with"]["packages"].items()}
    assert [(row["package"], row["version"], row["jobs"]) for row in packages] == [
        (name, version, "42 of 42") for name, version in sorted(installed.items())
    ]


def test_code(project):
    commits, digests = project.sections["Which code was run?"][0]
    (first, *_) = project.records.values()
    dirty = {True: "with uncommitted changes", False: "without uncommitted changes"}
    if first["with"]["commit"]:
        assert commits == [{"commit": f"{first['with']['commit']} {dirty[first['with']['dirty']]}", "jobs": "42 of 42"}]
    found = {row["command"]: (row["digest of the code it runs"], row["jobs"]) for row in digests}
    expected = {record["command"]: record["used"]["code"]["digest"] for record in project.records.values()}
    assert found == {
        command: (digest, f"{len(of(project, command))} of {len(of(project, command))}")
        for command, digest in expected.items()
    }


def spent(records):
    seconds = [record["made"]["wall_seconds"] for record in records]
    return {"jobs": str(len(records)), "total, s": f"{fsum(seconds):,.2f}", "median, s": f"{median(seconds):,.2f}",
            "peak memory, MiB": f"{max(record['made']['peak_memory_mib'] for record in records):,}",
            "GPU peak, MiB": "no GPU"}  # fmt: skip


def test_time_and_memory(project):
    by_command, by_variant = project.sections["How long did it run, and with how much memory?"][0]
    commands = ("fetch-task", "fetch-backbone", "tokenize", "features", "choose", "train", "evaluate")
    expected = [{"command": command} | spent(of(project, command)) for command in commands]
    expected.append({"command": "all"} | spent(list(project.records.values())))
    assert sorted(by_command, key=str) == sorted(expected, key=str)
    assert by_variant == [
        {"backbone": "tiny-t5", "variant": variant, "command": command} | spent(of(project, command, variant))
        for variant in VARIANTS
        for command in ("train", "evaluate")
        if of(project, command, variant)
    ]


def test_trainable_parameters(project):
    (rows,) = project.sections["How many parameters were tuned?"][0]
    assert [row["variant"] for row in rows] == TRAINED
    for row in rows:
        counts = {record["made"]["trainable_parameters"] for record in of(project, "train", row["variant"])}
        assert row["trainable parameters (each count that occurs)"] == ", ".join(f"{n:,}" for n in sorted(counts))
    pools = {record["made"]["trainable_parameters"] for record in of(project, "train", "adap_ins_vec")}
    assert len(pools) == 2, "the search tries pools of two sizes"


def test_hyperparameters(project):
    """What each run was trained with stands in its config.json, after the search."""
    (rows,) = project.sections["Which hyperparameters were used?"][0]
    configs = {}
    for path in sorted((project.root / "results/train").rglob("seed*/config.json")):
        configs[path.parts[-3], path.parts[-2], path.parts[-5]] = json.loads(path.read_text())
    assert len(configs) == 10
    found = {row["parameter"]: row for row in rows}
    assert found["training.steps"] == {"parameter": "training.steps", "value": "4", "elsewhere": ""}
    assert found["training.batch_size"]["value"] == "8"
    assert found["training.optimizer.name"] == {"parameter": "training.optimizer.name", "value": "adafactor",
                                                "elsewhere": "adamw (finetune)"}  # fmt: skip
    rates = Counter(
        (json.dumps(one["training"]["optimizer"]["lr"]), variant) for (variant, _, _), one in configs.items()
    )
    said = found["training.optimizer.lr"]
    listed = {said["value"], *re.findall(r"(\d[\d.e-]*) \(", said["elsewhere"])}
    assert listed == {rate for rate, _ in rates}
    for (rate, variant), count in rates.items():
        if rate != said["value"]:
            all_runs = 6 if variant == "fixed" else 2
            share = "" if count == all_runs else f" in {count} of {all_runs} runs"
            assert re.search(rf"(^|; ){re.escape(rate)} \([^)]*{variant}{share}[,)]", said["elsewhere"])
    pools = Counter(one["prompt"]["pool"] for (variant, _, _), one in configs.items() if variant == "adap_ins_vec")
    assert found["prompt.pool"]["value"] == str(min(pools, key=lambda size: (-pools[size], str(size))))
    assert found["prompt.length"]["value"] == "4" and "seed" not in found and "backbone" not in found
    keys = {key for one in configs.values() for key in flat(one)}
    ignored = {"scale", "backbone", "family", "backbone_head", "random_weights", "regime", "task", "source", "variant",
               "definition", "learned", "control", "seed", "search", "trial", "multitask"}  # fmt: skip
    assert set(found) == {key for key in keys if key.split(".")[0] not in ignored}


def flat(value, prefix=""):
    for key, one in value.items():
        if isinstance(one, dict):
            yield from flat(one, f"{prefix}{key}.")
        elif one is not None:
            yield prefix + key


def test_seeds(project):
    (rows,) = project.sections["Which seeds were used?"][0]
    weights = of(project, "fetch-backbone")[0]["made"]["seed"]
    toy = of(project, "fetch-task")[0]["made"]["seed"]
    assert [tuple(row.values()) for row in rows] == [
        ("training", "0", "5 of 10"),
        ("training", "7", "5 of 10"),
        ("trials of the search", "8", "10 of 10"),
        ("settings drawn by the search", "8", "5 of 5"),
        ("few-shot sample", "0", "2 of 4"),
        ("few-shot sample", "4", "2 of 4"),
        ("split of train, and rows drawn from a split", "6", "1 of 1"),
        ("rows of a made-up task", str(toy), "1 of 1"),
        ("weights of a random or planted backbone", str(weights), "1 of 1"),
    ]


def test_search(project):
    (plan, chosen), words = project.sections["How were settings searched for?"]
    assert {row["search"]: (row["value"], row["searches"]) for row in plan} == {
        "method": ("random", "5 of 5"),
        "trials of each variant": ("2", "5 of 5"),
        "seed": ("8", "5 of 5"),
        "values of lr_factor": ('{"high": 2.0, "low": 0.1}', "5 of 5"),
        "values of pool": ("[2, 3]", "5 of 5"),
        "values of anneal": (UNKNOWN, "5 of 5"),
    }
    assert words[0].startswith("In 5 of 5 searches the chosen trial is the one with the highest accuracy")
    expected = {}
    for regime, variants in REGIMES.items():
        for variant in variants:
            record = project.records[f"train/small/tiny-t5/{regime}/toy/{variant}/choice"]["made"]
            expected[regime, variant] = (str(record["chosen"]), json.dumps(record["setting"]))
    assert {(row["regime"], row["variant"]): (row["trial"], row["setting"]) for row in chosen} == expected


def test_data(project):
    origin, source_files, splits = project.sections["Which data were used?"][0]
    made = of(project, "fetch-task")[0]["made"]
    counts = [f"{split} {made['rows'][split]} ({' / '.join(map(str, made['label_counts'][split]))})"
              for split in ("train", "validation")]  # fmt: skip
    assert origin == [{"task": "toy", "version": "2", "source": "made_up", "revision": "",
                       "rows (of each class)": "; ".join(counts)}]  # fmt: skip
    assert source_files == [{"task": "toy", "source file": "none: the project makes it", "sha256": ""}]
    tokens = of(project, "tokenize")[0]["made"]
    assert splits == [
        {"backbone": "tiny-t5", "task": "toy", "split": split, "rows used": str(tokens["rows"][split]),
         "rows there are": str(tokens["available"][split]),
         "of each class": " / ".join(map(str, tokens["label_counts"][split])),
         "inputs cut": str(tokens["truncated"][split])}
        for split in ("selection", "train", "validation")
    ]  # fmt: skip
    assert tokens["rows"]["train"] == 50 < tokens["available"]["train"]


def test_backbones(project):
    (row,), source_files = project.sections["Which backbones were used?"][0]
    made = of(project, "fetch-backbone")[0]["made"]
    assert row == {"backbone": "tiny-t5", "source": "random", "revision": "", "parameters": f"{made['parameters']:,}",
                   "family": "seq2seq", "stored as": "float32",
                   "sha256 of model.safetensors": made["outputs"]["model.safetensors"],
                   "frozen": "frozen in fixed, adap_ins_vec; tuned in finetune"}  # fmt: skip
    assert source_files[0]["source file"] == "none: the project makes it"


def test_splits(project):
    (rows,), words = project.sections["Which split was used for what?"]
    assert words == ["The split called selection: 0.1 of train, carved with seed 6."]
    expected = []
    for regime in REGIMES:
        counts = project.records[f"train/small/tiny-t5/{regime}/toy/fixed/seed0"]["made"]["label_counts"]["toy"]
        said = {name: f"{name}: {sum(one)} ({' / '.join(map(str, one))})" for name, one in counts.items()}
        n = project.records[f"evaluate/small/tiny-t5/{regime}/toy/fixed/seed0"]["made"]["n"]
        expected.append({"backbone": "tiny-t5", "regime": regime, "task": "toy", "trained on": said["train"],
                         "selected by": said["selection"], "reported on": f"validation: {n}"})  # fmt: skip
    assert rows == expected
    assert rows[1]["trained on"] == "train: 6 (3 / 3)"


def test_selection(project):
    (rules, looks), _ = project.sections["By which rule was a step selected, and out of how many?"]
    rule = of(project, "train")[0]["made"]["selection"]["rule"]
    assert rules == [{"rule": rule, "trainings": "10"}]
    assert looks == [
        {"backbone": "tiny-t5", "regime": regime, "variant": variant, "trainings": "2", "looks of each": "2",
         "at split": "selection", "settings tried": "2"}
        for regime, variants in REGIMES.items() for variant in variants
    ]  # fmt: skip


def test_collapsed_runs(project):
    tables, words = project.sections["Which runs collapsed or failed?"]
    assert words[0].startswith("How jobs ended: complete: 42 of 42 jobs.")
    expected, total = {}, 0
    for path in (project.root / "results/evaluate").rglob("metrics.json"):
        found = json.loads(path.read_text())
        if found["collapsed"]:
            total += 1
            expected.setdefault((path.parts[-5], path.parts[-3]), []).append(path.parts[-2])
    assert words[1] == f"Collapsed, majority baselines among them: {total} of 13 evaluations."
    listed = {(row["regime"], row["variant"]): row["collapsed runs"] for row in tables[0]}
    assert listed == {
        (regime, variant): f"{len(seeds)} of {1 if variant == 'majority' else 2} ({', '.join(sorted(seeds))})"
        for (regime, variant), seeds in expected.items()
    }
    majority = next(row for row in tables[0] if row["variant"] == "majority")
    assert re.fullmatch(r"class \d is predicted throughout", majority["because"])


def test_labels_in_words(project):
    (_, words) = project.sections["What must a reader know of the numbers?"]
    labels = {label for record in of(project, "evaluate") for label in record["made"]["labels"]}
    assert labels >= {"made-up", "random-weights", "subset"}
    for label in labels:
        assert f"- {label}: " in words[0]


def test_the_same_records_make_the_same_bytes(project, monkeypatch):
    monkeypatch.chdir(project.root)
    assert page(load(project.root, {"scale": "small", "allow_dirty": True})) == project.text


# What is unusual, on synthetic records

EVALUATION = Path("results/evaluate/synthetic/tiny-t5/full/alpha/fixed/seed0/record.json")
TRAINING = Path("results/train/synthetic/tiny-t5/full/alpha/fixed/seed0/record.json")


@pytest.fixture
def study(tmp_path, monkeypatch):
    found = study_in(tmp_path, monkeypatch, variants=["majority", "fixed"])
    write_results(found, lambda cell: predictions(0.8))
    return found


def altered(path, section, **facts):
    def changed(record):
        record[section] |= facts
        return record

    change(path, changed)


def dropped(path, section, *names):
    def changed(record):
        for name in names:
            del record[section][name]
        return record

    change(path, changed)


def test_mixed_machines_are_counted(study):
    packages = json.loads(EVALUATION.read_text())["with"]["packages"] | {"torch": "9.9.9", "peft": None}
    altered(EVALUATION, "with", device="NVIDIA H100", cuda="12.8", python="3.99.0", packages=packages)
    altered(EVALUATION, "made", gpu_peak_memory_mib=4321)
    facts, installed = parsed(page(study))["Which infrastructure was it run on?"][0]
    rows = [(row["fact"], row["value"], row["jobs"]) for row in facts]
    total = 2 + 1 + 2 + 2 + 4
    rest = f"{total - 1} of {total}: evaluate, fetch-backbone, fetch-task, tokenize, train"
    assert ("device", "cpu", rest) in rows and ("device", "NVIDIA H100", f"1 of {total}: evaluate") in rows
    assert ("CUDA", "12.8", "1 of 1") in rows
    assert [row for row in rows if row[0] == "Python"][1] == ("Python", "3.99.0", f"1 of {total}: evaluate")
    found = [(row["package"], row["version"], row["jobs"]) for row in installed]
    assert ("torch", "9.9.9", f"1 of {total}: evaluate") in found
    assert ("peft", "not installed", f"1 of {total}: evaluate") in found
    by_command, by_variant = parsed(page(study))["How long did it run, and with how much memory?"][0]
    assert {row["command"]: row["GPU peak, MiB"] for row in by_command} == {
        "fetch-task": "no GPU", "fetch-backbone": "no GPU", "tokenize": "no GPU", "train": "no GPU",
        "evaluate": "4,321", "all": "4,321"}  # fmt: skip
    assert [row["GPU peak, MiB"] for row in by_variant] == ["no GPU", "no GPU", "4,321"]


def test_mixed_code_is_counted(study):
    altered(TRAINING, "with", commit="d" * 40)
    altered(TRAINING, "used", code={"digest": "e" * 64, "modules": {}})
    commits, digests = parsed(page(study))["Which code was run?"][0]
    clean = "without uncommitted changes"
    assert [tuple(row.values()) for row in commits] == [
        (f"{'c' * 40} {clean}", "10 of 11: evaluate, fetch-backbone, fetch-task, tokenize, train"),
        (f"{'d' * 40} {clean}", "1 of 11: train"),
    ]
    assert ("train", "e" * 64, "1 of 2") in [tuple(row.values()) for row in digests]


def test_what_no_record_says_is_not_guessed(study):
    """Synthetic records lack most facts of a training; this one lacks those of its machine, too."""
    dropped(EVALUATION, "with", "platform", "threads")
    dropped(EVALUATION, "made", "peak_memory_mib")
    dropped(TRAINING, "made", "gpu_peak_memory_mib", "peak_memory_mib")
    altered(TRAINING, "with", device="NVIDIA H100")
    found = parsed(page(study))
    facts, _ = found["Which infrastructure was it run on?"][0]
    assert {"fact": "platform", "value": UNKNOWN, "jobs": "1 of 11: evaluate"} in facts
    assert {"fact": "CUDA", "value": UNKNOWN, "jobs": "1 of 1"} in facts
    _, by_variant = found["How long did it run, and with how much memory?"][0]
    assert by_variant[1]["jobs"] == "2" and by_variant[1]["total, s"] == "25.00"
    assert by_variant[1]["GPU peak, MiB"] == UNKNOWN
    (rows,), _ = found["Which split was used for what?"]
    assert {(row["trained on"], row["selected by"], row["reported on"]) for row in rows} == {
        (f"train: {UNKNOWN}", f"selection: {UNKNOWN}", "validation: 100")}  # fmt: skip
    assert found["Which split was used for what?"][1] == [f"The split called selection: {UNKNOWN}."]
    (rules, looks), _ = found["By which rule was a step selected, and out of how many?"]
    assert rules == [{"rule": UNKNOWN, "trainings": "2"}]
    assert {row["looks of each"] for row in looks} == {"3"}
    (row,), source_files = found["Which backbones were used?"][0]
    assert (row["source"], row["revision"], row["parameters"], row["frozen"]) == (UNKNOWN, UNKNOWN, UNKNOWN,
                                                                                 f"{UNKNOWN} in fixed")  # fmt: skip
    assert source_files[0]["source file"] == UNKNOWN


def test_sources_with_files_and_revisions(study):
    task, weights = Path("results/download/tasks/alpha/made_up/record.json"), Path("results/download/backbones/tiny-t5")
    altered(task, "made", source="hub", repo="aps/super_glue", revision="main", commit="f" * 40,
            files={"b.parquet": "2" * 64, "a.parquet": "1" * 64}, rows={"train": 1234, "validation": 5},
            label_counts={"train": [1000, 234], "validation": [5, 0]})  # fmt: skip
    altered(weights / "record.json", "made", source="package", package="some-model==1.0", files={"x|y.bin": "3" * 64},
            parameters=1234567)  # fmt: skip
    found = parsed(page(study))
    origin, listed, _ = found["Which data were used?"][0]
    assert origin[0] | {"version": ""} == {
        "task": "alpha", "version": "", "source": "hub: aps/super_glue", "revision": f"main, commit {'f' * 40}",
        "rows (of each class)": "train 1,234 (1,000 / 234); validation 5 (5 / 0)"}  # fmt: skip
    assert [tuple(row.values()) for row in listed][:2] == [
        ("alpha", "a.parquet", "1" * 64),
        ("alpha", "b.parquet", "2" * 64),
    ]
    (row,), listed = found["Which backbones were used?"][0]
    assert (row["source"], row["revision"], row["parameters"]) == ("package: some-model==1.0", "", "1,234,567")
    assert listed == [{"backbone": "tiny-t5", "source file": "x\\|y.bin", "sha256": "3" * 64}]


def test_selecting_on_the_reported_split_is_said(study):
    def released(record):
        record["asked"]["switches"] = ["select_on_reported"]
        record["made"]["label_counts"] = {"alpha": {"train": [40, 40], "selection": [60, 40]}}
        return record

    change(TRAINING, released)
    found = parsed(page(study))
    (rows,), _ = found["Which split was used for what?"]
    assert rows[0]["selected by"] == "validation: 100 (60 / 40)" and rows[0]["trained on"] == "train: 80 (40 / 40)"
    (_, looks), _ = found["By which rule was a step selected, and out of how many?"]
    assert looks[0]["at split"] == "validation; selection"


def test_a_job_that_did_not_complete_is_counted(study):
    altered(TRAINING, "made", status="cut short")
    assert parsed(page(study))["Which runs collapsed or failed?"][1][0].startswith(
        "How jobs ended: complete: 10 of 11 jobs; cut short: 1 of 11 jobs."
    )


def test_a_union_is_shown_by_its_tasks(tmp_path, monkeypatch):
    study = study_in(tmp_path, monkeypatch, variants=["fixed"], regimes=[{"kind": "multitask", "alpha": 0.25}])
    write_results(study, lambda cell: predictions(0.8))
    counts = {task: {"train": [n, n], "selection": [1, n]} for task, n in (("alpha", 3), ("beta", 5))}
    altered(Path("results/train/synthetic/tiny-t5/multitask/all/fixed/seed0/record.json"), "made", label_counts=counts)
    found = parsed(page(study))
    (rows,), _ = found["Which split was used for what?"]
    assert [(row["task"], row["trained on"], row["selected by"]) for row in rows] == [
        ("alpha", "train: 6 (3 / 3)", "selection: 4 (1 / 3)"),
        ("beta", "train: 10 (5 / 5)", "selection: 6 (1 / 5)"),
    ]
    (_, looks), _ = found["By which rule was a step selected, and out of how many?"]
    assert [(row["trainings"], row["looks of each"]) for row in looks] == [("1", "3")]
    (rows,) = found["Which hyperparameters were used?"][0]
    said = {row["parameter"]: row["value"] for row in rows}
    assert said["multitask.alpha"] == "0.25" and said["multitask.tasks"] == '["alpha", "beta"]'


def test_without_trained_variants(tmp_path, monkeypatch):
    study = study_in(tmp_path, monkeypatch, variants=["majority"])
    write_results(study, lambda cell: predictions(0.8))
    found = parsed(page(study))
    for question in ("How many parameters were tuned?", "Which hyperparameters were used?",
                     "By which rule was a step selected, and out of how many?"):  # fmt: skip
        assert found[question][1][0].startswith("No variant of this scale is trained")
    assert found["Which backbones were used?"][0][0][0]["frozen"] == "no training"


def test_the_page_is_part_of_the_report_and_what_it_reads_of_its_record(study):
    cli.main(["report", "--set", "scale=synthetic"])
    folder = Path("results/report/synthetic")
    assert (folder / "reproducibility.md").read_text() == page(study)
    record = json.loads((folder / "record.json").read_text())
    assert "reproducibility.md" in record["made"]["outputs"]
    below = {path for path in Path("results").rglob("record.json") if not path.is_relative_to(folder)}
    assert {Path(name) for name in record["used"]["inputs"] if name.endswith("record.json")} == below
    assert len(below) == 11
    with (folder / "results.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 4
