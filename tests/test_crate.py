"""`dp export`: the crate answers, by itself, what its profile says one must be able to ask, and as the records do.

The questions are those of ResearchObject/workflow-run-crate:docs/requirements.md, by their numbers.
"""

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

import pytest
import yaml
from built_project import jobs, run, snakemake
from conftest import ROOT
from rocrate.rocrate import ROCrate
from small_project import Project
from synthetic_results import change, planted, report, study_in, write_results

from dp import files, paths
from dp.commands import cli
from dp.errors import UserError
from dp.lineage import crate_actions
from dp.lineage.crate import export
from dp.study import resolve
from dp.study.contents import FIGURES
from dp.study.study import load

NEVER_COPIED = {"model.safetensors", "tokens.safetensors", "rows.json", "features.safetensors", "train.jsonl",
                "validation.jsonl", "tokenizer.json", "tokenizer_config.json"}  # fmt: skip
START, END = "2025-12-31T23:00:00+00:00", "2031-01-01T00:00:00+00:00"


class Handed:
    """An exported crate, read again by the library, and the folder of results that it came from."""

    def __init__(self, root, study):
        self.root, self.study, self.out = root, study, root / "handed"
        export(study, self.out)
        self.crate = ROCrate(self.out)
        self.graph = files.read_json(self.out / "ro-crate-metadata.json")["@graph"]
        self.folders = [folder.as_posix() for folder in resolve.jobs(study)]

    def record(self, folder):
        return json.loads((self.root / folder / "record.json").read_text())


def synthetic(root, monkeypatch):
    """Synthetic results of which one evaluation came first, on a GPU at another commit, and one last."""
    study = study_in(root, monkeypatch)
    write_results(study, planted)
    for n, folder in enumerate(sorted((root / "results/evaluate").rglob("record.json"))):
        change(folder, lambda record, n=n: _measured(record, n))
    report()
    return study


def _measured(record, n):
    record["made"] |= {"wall_seconds": 1.25 + n, "peak_memory_mib": 200 + n}
    if n == 2:
        record["made"] |= {"gpu_peak_memory_mib": 512, "started": START}
        record["with"] |= {"device": "NVIDIA H100", "cuda": "13.0", "commit": "d" * 40}
        record["with"]["packages"] = record["with"]["packages"] | {"torch": "2.13.0+cu130"}
    if n == 3:
        record["made"]["started"] = END
    return record


def trained(root, monkeypatch):
    """Two variants, really trained; the working tree may be dirty."""
    small = Project(root, ["majority", "fixed", "adap_ins_pos"])
    monkeypatch.chdir(root)
    small.prepare()
    for variant in ("fixed", "adap_ins_pos"):
        small.train(f"tiny-t5/full/toy/{variant}/seed0")
    for variant in ("majority", "fixed", "adap_ins_pos"):
        small.evaluate(f"tiny-t5/full/toy/{variant}/seed0")
    cli.main(["report", "--set", "allow_dirty=true"])
    return load(Path(), {"allow_dirty": True})


@pytest.fixture(scope="module", params=[synthetic, trained], ids=lambda make: make.__name__)
def handed(request, tmp_path_factory):
    with pytest.MonkeyPatch.context() as monkeypatch:
        root = tmp_path_factory.mktemp(request.param.__name__)
        yield Handed(root, request.param(root, monkeypatch))


@pytest.fixture(scope="module")
def untouched(tmp_path_factory):
    with pytest.MonkeyPatch.context() as monkeypatch:
        root = tmp_path_factory.mktemp("untouched")
        synthetic(root, monkeypatch)
    return root


@pytest.fixture
def results(untouched, tmp_path, monkeypatch):
    """Synthetic results to spoil, in the current directory."""
    shutil.copytree(untouched, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return load(Path(), {"scale": "synthetic"})


# Questions to a crate, and to nothing else.


def many(entity, key):
    found = entity.get(key, [])
    return found if isinstance(found, list) else [found]


def kinds(entity):
    return entity.type if isinstance(entity.type, list) else [entity.type]


def action(crate, folder):
    """The execution that made a folder: that of which its record is a result."""
    record = crate.get(f"{folder}/record.json")
    (found,) = [a for a in crate.get_by_type("CreateAction") if record in many(a, "result") and a.id != "#run"]
    return found


def whole(crate):
    """The execution of the workflow."""
    (found,) = [a for a in crate.get_by_type("CreateAction") if a["instrument"] == crate.mainEntity]
    return found


def step(crate, folder):
    (control,) = [c for c in crate.get_by_type("ControlAction") if action(crate, folder) in many(c, "object")]
    return control["instrument"]


def images(crate, folder):
    """CQ1: which container images were used?"""
    return many(action(crate, folder), "containerImage")


def resources(crate, folder):
    """CQ2: how much memory, and time, did it use? name -> (value, unit)"""
    return {one["name"]: (one["value"], one["unitCode"].rsplit("/", 1)[1])
            for one in many(action(crate, folder), "resourceUsage")}  # fmt: skip


def hardware(crate, folder):
    """CQ2, its processor and architecture."""
    return {one["name"]: one["value"] for one in many(action(crate, folder), "additionalProperty")}


def configuration(crate):
    """CQ3: which configuration files did the run read?"""
    inputs = many(whole(crate), "object")
    return {one["name"]: one["sha256"] for one in inputs if "File" in kinds(one) and "exampleOfWork" not in one}


def environment(crate, folder):
    """CQ4: which environment file has this step, and what was installed when it ran?"""
    software = many(action(crate, folder)["instrument"], "softwareRequirements")
    return step(crate, folder)["buildInstructions"].id, {one["name"]: one["version"] for one in software}


def duration(crate, folder):
    """CQ5: how long does this component take?"""
    return _seconds(action(crate, folder))


def total(crate):
    """CQ6: how long does the workflow take?"""
    return whole(crate)["startTime"], whole(crate)["endTime"]


def status(crate, folder):
    """CQ7: was it successful?"""
    return action(crate, folder)["actionStatus"].rsplit("/", 1)[1]


def ends(crate):
    """CQ8: what goes into the overall workflow, and what comes out?"""
    values = {one["name"]: one["value"] for one in many(whole(crate), "object") if "PropertyValue" in kinds(one)}
    return values, {one["name"]: one["sha256"] for one in many(whole(crate), "result")}


def version(crate, folder):
    """CQ9: what is the version of the component's source, and is it a script?"""
    tool = action(crate, folder)["instrument"]
    return tool["softwareVersion"], tool["identifier"], tool["mainEntity"].id


def wrapper(crate, folder):
    """CQ10: which script wraps the component?"""
    return step(crate, folder)["isPartOf"].id


def parameters(crate, folder):
    """CQ11: with which parameters did the tool run? Those of the tool's own interface."""
    tool, found = action(crate, folder)["instrument"], {}
    for one in many(action(crate, folder), "object"):
        if "PropertyValue" in kinds(one):
            assert one["exampleOfWork"] in many(tool, "input") and one["exampleOfWork"]["name"] == one["name"]
            found[one["name"]] = one["value"]
    return found


def passed_on(crate, folder):
    """CQ11: which of them come from parameters of the workflow?"""
    own = many(crate.mainEntity, "input")
    return {c["targetParameter"]["name"] for c in many(step(crate, folder), "connection")
            if c["sourceParameter"] in own}  # fmt: skip


def inputs(crate, folder):
    """Name -> sha256 of the files that a tool read."""
    found = [one for one in many(action(crate, folder), "object") if "PropertyValue" not in kinds(one)]
    return {one["name"]: one["sha256"] for one in found}


def outputs(crate, folder):
    return {one["name"]: one["sha256"] for one in many(action(crate, folder), "result")}


def _seconds(execution):
    return _span(execution["startTime"], execution["endTime"])


def _span(start, end):
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds()


# Their answers, from the records.


def sha256(path):
    return hashlib.sha256(path.read_bytes()).hexdigest()


def flat(value, prefix=()):
    """(dotted key, value) of every leaf."""
    if isinstance(value, dict) and value:
        return [leaf for key, inner in value.items() for leaf in flat(inner, (*prefix, key))]
    return [(".".join(prefix), value)]


def test_cq1_there_was_no_container(handed):
    assert all(images(handed.crate, folder) == [] for folder in handed.folders)


def test_cq2_resources(handed):
    for folder in handed.folders:
        made = handed.record(folder)["made"]
        known = {"wall_seconds": "SEC", "peak_memory_mib": "MebiBYTE", "gpu_peak_memory_mib": "MebiBYTE"}
        expected = {key: (made[key], unit) for key, unit in known.items() if made[key] is not None}
        assert resources(handed.crate, folder) == expected
        where = {
            key: value for key, value in handed.record(folder)["with"].items() if key not in ("python", "packages")
        }
        assert hardware(handed.crate, folder) == {k: "null" if v is None else v for k, v in where.items()}


def test_cq3_configuration_files(handed):
    names = ["params.yaml", f"workflow/scales/{handed.study.scale_name}.yaml"]
    assert configuration(handed.crate) == {name: sha256(handed.root / name) for name in names}


def test_cq4_environment(handed):
    for folder in handed.folders:
        surroundings = handed.record(folder)["with"]
        installed = {name: version for name, version in surroundings["packages"].items() if version}
        expected = installed | {"python": surroundings["python"]}
        assert environment(handed.crate, folder) == ("environment.yml", expected)


def test_cq5_duration_of_a_component(handed):
    for folder in handed.folders:
        made = handed.record(folder)["made"]
        assert duration(handed.crate, folder) == pytest.approx(made["wall_seconds"], abs=0.001)
        assert action(handed.crate, folder)["startTime"] == made["started"]


def test_cq6_duration_of_the_workflow(handed):
    made = [handed.record(folder)["made"] for folder in handed.folders]
    spans = [(datetime.fromisoformat(one["started"]), timedelta(seconds=one["wall_seconds"])) for one in made]
    start, end = (datetime.fromisoformat(one) for one in total(handed.crate))
    assert start == min(started for started, _ in spans)
    assert abs(end - max(started + lasted for started, lasted in spans)) < timedelta(seconds=0.001)


def test_cq7_success(handed):
    assert {status(handed.crate, folder) for folder in handed.folders} == {"CompletedActionStatus"}
    assert whole(handed.crate)["actionStatus"].endswith("/CompletedActionStatus")


def test_cq8_inputs_and_outputs_of_the_workflow(handed):
    folder = handed.root / paths.report(handed.study.scale_name)
    values, made = ends(handed.crate)
    assert values == {"scale": handed.study.scale_name, "source": "made_up", "folder": "null",
                      "allow_dirty": handed.study.params.allow_dirty}  # fmt: skip
    held = {path for path in folder.rglob("*") if path.is_file()}
    assert made == {path.relative_to(handed.root).as_posix(): sha256(path) for path in held}


def test_cq9_version_of_the_source(handed):
    for folder in handed.folders:
        record = handed.record(folder)
        surroundings = record["with"]
        commit = surroundings["commit"] + ("-dirty" if surroundings["dirty"] else "")
        script = f"dp/compute/{record['command'].replace('-', '_')}.py"
        code = f"sha256:{record['used']['code']['digest']}"
        assert version(handed.crate, folder) == (commit, code, script)
        modules = many(action(handed.crate, folder)["instrument"], "hasPart")
        assert {one.id for one in modules} == set(record["used"]["code"]["modules"])


def test_cq10_wrapper(handed):
    rules = {"fetch-task": "download", "fetch-backbone": "download", "tokenize": "tokenize", "features": "tokenize",
             "train": "train", "evaluate": "evaluate", "report": "report"}  # fmt: skip
    for folder in handed.folders:
        assert wrapper(handed.crate, folder) == f"workflow/rules/{rules[handed.record(folder)['command']]}.smk"


def test_cq11_parameters(handed):
    for folder in handed.folders:
        asked = handed.record(folder)["asked"]
        told = parameters(handed.crate, folder)
        expected = dict(flat(asked))
        assert told.keys() == expected.keys()
        for key, value in expected.items():
            is_scalar = isinstance(value, str | int | float)
            assert (told[key] if is_scalar else json.loads(told[key])) == value, key
        assert passed_on(handed.crate, folder) == {"scale", "source", "folder", "allow_dirty"} & expected.keys()


def test_every_job_reads_and_makes_what_its_record_says(handed):
    for folder in handed.folders:
        record = handed.record(folder)
        made = {f"{folder}/{name}": digest for name, digest in record["made"]["outputs"].items()}
        assert outputs(handed.crate, folder) == made | {
            f"{folder}/record.json": sha256(handed.root / folder / "record.json")
        }
        assert inputs(handed.crate, folder) == record["used"]["inputs"]


def test_the_root_says_what_it_is(handed):
    root = handed.crate.root_dataset
    profiles = [f"https://w3id.org/ro/wfrun/{name}/0.5" for name in ("process", "workflow", "provenance")]
    assert [one.id for one in root["conformsTo"]] == [*profiles, "https://w3id.org/workflowhub/workflow-ro-crate/1.0"]
    assert handed.crate.version == "1.1"
    made = handed.record(paths.report(handed.study.scale_name))["made"]
    assert _span(made["started"], root["datePublished"]) == pytest.approx(made["wall_seconds"], abs=0.001)
    assert {one.id for one in root["mentions"]} == {one.id for one in handed.crate.get_by_type("CreateAction")}
    assert root["license"].id.endswith("Apache-2.0")
    assert {"File", "SoftwareSourceCode", "ComputationalWorkflow", "HowTo"} == set(handed.crate.mainEntity.type)
    assert (
        handed.crate.mainEntity["programmingLanguage"]["version"]
        == environment(handed.crate, handed.folders[-1])[1]["snakemake"]
    )


def test_the_profile_of_steps(handed):
    """Every tool is part of the workflow; a step stands behind those whose files it reads; one engine, all controls."""
    workflow = handed.crate.mainEntity
    steps = {one["name"]: one for one in many(workflow, "step")}
    tools = {action(handed.crate, folder)["instrument"].id for folder in handed.folders}
    assert {one.id for one in many(workflow, "hasPart")} == tools
    for one in steps.values():
        assert {tool["name"] for tool in many(one, "workExample")} == {f"dp {one['name']}"}
        for connection in many(one, "connection"):
            source = connection["sourceParameter"].id
            if source.startswith("#output/"):
                assert steps[source.split("/")[1]]["position"] < one["position"]
    makers = {folder: handed.record(folder)["command"] for folder in handed.folders}
    read = {
        (makers[folder], makers[maker])
        for folder in handed.folders
        for path in handed.record(folder)["used"]["inputs"]
        for maker in map(str, Path(path).parents)
        if maker in makers
    }
    ends = {(name, c["sourceParameter"].id) for name, one in steps.items() for c in many(one, "connection")}
    assert read == {(name, source.split("/")[1]) for name, source in ends if source.startswith("#output/")}
    (engine,) = handed.crate.get_by_type("OrganizeAction")
    assert engine["result"] == whole(handed.crate)
    assert len(many(engine, "object")) == len(handed.folders) == len(handed.crate.get_by_type("ControlAction"))


def test_every_reference_resolves(handed):
    ids = Counter(one["@id"] for one in handed.graph)
    assert set(ids.values()) == {1}
    elsewhere = {"https://w3id.org/ro/crate/1.1", "https://doi.org/10.1093/bioinformatics/bts480",
                 "https://snakemake.readthedocs.io"}  # fmt: skip
    for entity in handed.graph:
        for key, value in entity.items():
            for one in value if isinstance(value, list) else [value]:
                assert not isinstance(one, dict) or one["@id"] in ids.keys() | elsewhere, (entity["@id"], key, one)


def test_it_holds_what_it_lists_with_the_stated_bytes(handed):
    held = {path.relative_to(handed.out).as_posix(): path for path in handed.out.rglob("*") if path.is_file()}
    listed = {one["@id"]: one for one in handed.graph if "File" in one["@type"]}
    assert held.keys() - {"ro-crate-metadata.json"} == listed.keys()
    for name, entity in listed.items():
        assert (entity["sha256"], entity["contentSize"]) == (sha256(held[name]), str(held[name].stat().st_size))
    parts = next(one for one in handed.graph if one["@id"] == "./")["hasPart"]
    assert {one["@id"] for one in parts} == listed.keys()


def test_results_are_copied_and_what_belongs_to_others_is_not(handed):
    held = {path.relative_to(handed.out).as_posix() for path in (handed.out / "results").rglob("*") if path.is_file()}
    expected = set()
    for folder in handed.folders:
        names = handed.record(folder)["made"]["outputs"]
        expected |= {f"{folder}/{name}" for name in names if folder.split("/")[1] in ("train", "evaluate", "report")}
        expected.add(f"{folder}/record.json")
    assert held == expected
    assert not {Path(name).name for name in held} & NEVER_COPIED
    absent = {one["name"]: one for one in handed.graph if one["@id"].startswith("#not-included/")}
    weights = absent["results/download/backbones/tiny-t5/model.safetensors"]
    path = handed.root / weights["name"]
    assert (weights["sha256"], weights["contentSize"]) == (sha256(path), str(path.stat().st_size))


def test_it_holds_the_code_and_no_path_of_this_machine(handed):
    for name in (
        "Snakefile",
        "dp/commands/cli.py",
        "dp/tasks/boolq.yaml",
        "workflow/common.smk",
        "workflow/report/table.rst",
    ):
        assert (handed.out / name).read_bytes() == (ROOT / name).read_bytes()
    text = (handed.out / "ro-crate-metadata.json").read_text()
    assert str(handed.root) not in text and str(ROOT) not in text and str(Path.home()) + "/" not in text
    for entity in handed.graph:
        for value in entity.values():
            assert not (isinstance(value, str) and value.startswith(("/", "~"))), entity["@id"]


def test_the_same_results_give_the_same_bytes(handed):
    again = handed.root / "again"
    settings = ["--set", f"scale={handed.study.scale_name}", "--set", f"allow_dirty={handed.study.params.allow_dirty}"]
    command = [sys.executable, "-m", "dp", "export", "--out", str(again), *settings]
    surroundings = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo"}
    done = subprocess.run(command, cwd=handed.root, env=surroundings, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert f"{len(handed.folders)} jobs" in done.stdout
    one, two = (
        {p.relative_to(out): p.read_bytes() for p in out.rglob("*") if p.is_file()} for out in (handed.out, again)
    )
    assert one == two


def test_a_made_up_folder_of_sources_is_named_without_its_path(tmp_path, monkeypatch):
    study_in(tmp_path, monkeypatch, tasks={"made_up": ["alpha"], "folder": ["alpha"]})
    raw = yaml.safe_load(Path("params.yaml").read_text()) | {"source": "folder", "folder": "/home/someone/superglue"}
    Path("params.yaml").write_text(yaml.safe_dump(raw))
    study = load(Path(), {"scale": "synthetic"})
    write_results(study, planted)
    rows = paths.task_rows("alpha", "folder")
    change(rows / "record.json", lambda record: record | {
        "used": record["used"] | {"inputs": {"Alpha/train.jsonl": "a" * 64}},
        "made": record["made"] | {"source": "folder", "folder": "/home/someone/superglue"}})  # fmt: skip
    report()
    export(study, Path("handed"))
    assert "/home/someone" not in Path("handed/ro-crate-metadata.json").read_text()
    crate = ROCrate("handed")
    assert parameters(crate, rows)["folder"] == "superglue"
    assert inputs(crate, rows) == {"Alpha/train.jsonl": "a" * 64}
    assert "Alpha/train.jsonl" in {one["name"] for one in many(whole(crate), "object")}


def test_large_tuned_weights_are_named_only(results, monkeypatch):
    monkeypatch.setattr(crate_actions, "LARGEST_COPY", 10)
    export(results, Path("handed"))
    assert not list(Path("handed").rglob("tuned.safetensors"))
    trainings = [folder.as_posix() for folder, one in resolve.jobs(results).items() if one.command == "train"]
    for folder in trainings:
        assert outputs(ROCrate("handed"), folder)[f"{folder}/tuned.safetensors"] == sha256(
            Path(folder, "tuned.safetensors")
        )


RUN = "tiny-t5/full/alpha/fixed/seed0"


def _without_record():
    Path("results/train/synthetic", RUN, "record.json").unlink()


def _edited_output():
    Path("results/evaluate/synthetic", RUN, "predictions.jsonl").write_text("")


def _edited_record():
    path = Path("results/evaluate/synthetic", RUN, "record.json")
    path.write_text(path.read_text().replace('"n": 100', '"n": 101'))


def _other_code():
    code = {"digest": "0" * 64, "modules": {}}
    change(paths.report("synthetic") / "record.json", lambda record: record | {"used": record["used"] | {"code": code}})


def _trained_anew():
    change(Path("results/train/synthetic", RUN, "steps.jsonl"), lambda log: log[:-1])


def _other_parameters():
    path = Path("workflow/scales/synthetic.yaml")
    path.write_text(path.read_text().replace("batch_size: 8", "batch_size: 16"))


@pytest.mark.parametrize(
    ("spoil", "says"),
    [
        (_without_record, f"results/train/synthetic/{RUN} has no record.json"),
        (_edited_output, "predictions.jsonl: its bytes differ"),
        (_edited_record, "record.json: was edited"),
        (_other_code, "results/report/synthetic: code changed: "),
        (_trained_anew, f"results/evaluate/synthetic/{RUN}: input changed: results/train/synthetic/{RUN}/"),
        (_other_parameters, ": training."),
    ],
)
def test_what_is_incomplete_or_stale_is_refused(results, spoil, says):
    spoil()
    with pytest.raises(UserError, match="is not complete and current") as refused:
        export(load(Path(), {"scale": "synthetic"}), Path("handed"))
    assert says in str(refused.value)
    assert not Path("handed").exists()


def test_an_earlier_crate_is_replaced_and_nothing_else(results, monkeypatch):
    out = Path("crates/mine")
    export(results, out)
    before = sorted(out.rglob("*"))
    (out / "dp" / "commands" / "cli.py").write_text("changed")
    export(results, out)
    assert (
        sorted(out.rglob("*")) == before
        and (out / "dp" / "commands" / "cli.py").read_bytes() == (ROOT / "dp/commands/cli.py").read_bytes()
    )
    monkeypatch.setattr(ROCrate, "write", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        export(results, out)
    assert sorted(out.rglob("*")) == before and list(out.parent.iterdir()) == [out]


@pytest.mark.parametrize(
    ("made", "says"),
    [
        ({"notes.txt": ""}, "is no earlier crate"),
        ({"ro-crate-metadata.json": '{"@graph": [{"@id": "./", "hasPart": []}]}'}, "is no earlier crate"),
        ({"ro-crate-metadata.json": "[]"}, "is no earlier crate"),
    ],
)
def test_a_foreign_folder_is_refused(results, made, says):
    out = Path("mine")
    out.mkdir()
    for name, text in made.items():
        (out / name).write_text(text)
    with pytest.raises(UserError, match=says):
        export(results, out)
    assert {path.name: path.read_text() for path in out.iterdir()} == made


def test_a_file_beside_an_earlier_crate_is_not_lost(results):
    export(results, Path("mine"))
    Path("mine/results/notes.txt").write_text("keep me")
    with pytest.raises(UserError, match=r"holds mine/results/notes\.txt"):
        export(results, Path("mine"))
    assert Path("mine/results/notes.txt").read_text() == "keep me"


def test_the_command_writes_below_results_crate(results, capsys):
    cli.main(["export", "--set", "scale=synthetic"])
    assert Path("results-crate/synthetic/ro-crate-metadata.json").is_file()
    assert capsys.readouterr().out.startswith("results-crate/synthetic: ")


@pytest.mark.slow
def test_the_page_of_snakemake_shows_the_tables_and_figures(project):
    """And asking for it makes no job stale."""
    snakemake(project, "--report", "report.html", check=True)
    page = (project / "report.html").read_text()
    folder = project / "results/report/e2e"
    shown = [
        folder / "results.md",
        folder / "results.csv",
        folder / "report.html",
        *sorted(folder.glob("figures/*.svg")),
    ]
    assert len(shown) == 3 + len(FIGURES)
    for path in shown:
        name = re.escape(path.relative_to(project).as_posix())
        (encoded,) = re.findall(rf'"{name}": {{"name": .*?"data_uri": "data:[^"]*;base64,([^"]*)"', page)
        assert base64.b64decode(encoded) == path.read_bytes()
    assert page.count("metadata names that file's sha256") == len(FIGURES)  # their captions
    assert jobs(project, dry=True) == []


@pytest.mark.slow
def test_a_scale_made_by_snakemake_is_exported(project):
    run(project, sys.executable, "-m", "dp", "export")
    crate = ROCrate(project / "results-crate/e2e")
    records = list((project / "results").rglob("record.json"))
    assert len(crate.get_by_type("ControlAction")) == len(records)
    assert jobs(project, dry=True) == []
