"""The committed copies of results: that of demo is what code and parameters at hand make, and says when it is not."""

import shutil

import pytest
from conftest import ROOT

from dp import files, paths
from dp.commands import cli
from dp.jobs import closure, project
from dp.jobs.record import sealed
from dp.lineage import published
from dp.study.resolve import jobs
from dp.study.study import load

FOLDER = published.folder_of("demo")


@pytest.fixture
def here(tmp_path, monkeypatch):
    """Parameters and a copy that is current, to be changed; the code is the project's own."""
    for name in ("params.yaml", "workflow/scales", "workflow/predictions", "docs/demo", "dp"):
        target = tmp_path / name
        target.parent.mkdir(parents=True, exist_ok=True)
        (shutil.copy if (ROOT / name).is_file() else shutil.copytree)(ROOT / name, target)
    monkeypatch.chdir(tmp_path)
    _make_current()
    return tmp_path


def _make_current():
    """The committed record as if this code and these parameters had made it."""
    study, path = load(settings={"scale": "demo"}), FOLDER / "record.json"
    record = {key: value for key, value in files.read_json(path).items() if key != "seal"}
    record["asked"] = jobs(study)[paths.report("demo")].asked
    record["used"]["code"]["modules"] = closure.modules("report")
    record["used"]["inputs"] = {name: project.project_digest(name) for name in project.project_files("report")}
    families = {(job.command, job.family) for job in jobs(study).values()}
    code = {command: sorted(closure.code_digest(*one) for one in families if one[0] == command)
            for command in record["made"]["code"]}  # fmt: skip
    record["made"] |= {"parameters": published.parameters(study), "code": code}
    record["made"]["outputs"] |= {name: files.sha256(FOLDER / name) for name in published.FILES["demo"]}
    files.write_json(path, sealed(record))


def found(**settings):
    return list(published.problems(load(settings={"scale": "demo", **settings})))


def test_the_committed_results_are_what_this_code_and_these_parameters_make(monkeypatch):
    monkeypatch.chdir(ROOT)
    assert found() == [], published.remedy("demo")


COPIES = sorted(path.parent for path in (ROOT / "docs").rglob("record.json"))


@pytest.mark.parametrize("copy", COPIES, ids=lambda path: path.relative_to(ROOT / "docs").as_posix())
def test_what_takes_hours_is_what_its_record_says_under_these_parameters(copy, monkeypatch):
    """Its code may be older: the record names it, and `publish --check` compares."""
    monkeypatch.chdir(ROOT)
    asked = files.read_json(copy / "record.json")["asked"]
    part = asked.get("tasks")
    study = load(settings={"scale": asked["scale"], "tasks": part, "folder": "."})
    assert ROOT / published.folder_of(asked["scale"], part) == copy
    assert list(published.problems(study, of_code=False)) == [], published.remedy(asked["scale"], part)


def test_a_part_of_a_scale_has_a_copy_of_its_own(here, monkeypatch, capsys):
    """Made as the remedy says; what was published of other parts stays."""
    other = here / "docs/text/sst2_val_resplit+wic"
    shutil.copytree(ROOT / "docs/text/sst2_val_resplit+wic", other)
    shutil.copytree(other, here / "results/report/text")
    before = {path.name: path.read_bytes() for path in other.iterdir() if path.is_file()}
    asked = files.read_json(other / "record.json")["asked"]
    monkeypatch.setattr(published, "problems", lambda *given, **how: iter(()))
    for part in ("cb", "sst2_val_resplit+wic"):
        tasks = f"tasks=[{part.replace('+', ', ')}]"
        cli.main(["publish", "--set", "scale=text", "--set", "folder=.", "--set", tasks])
        assert f"docs/text/{part} now holds the results of scale 'text'" in capsys.readouterr().out
    assert files.read_json(here / "docs/text/cb/record.json")["asked"] == asked
    assert {name: (other / name).read_bytes() for name in before if name != "record.json"}.items() <= before.items()
    assert "'tasks=[cb,rte]'" in published.remedy("text", ["cb", "rte"])


def test_the_committed_copy_is_small_and_holds_nothing_else(here):
    there = {path.relative_to(FOLDER).as_posix() for path in FOLDER.rglob("*") if path.is_file()}
    assert there == {*published.FILES["demo"], "record.json"}
    assert sum(path.stat().st_size for path in FOLDER.rglob("*")) < 1_000_000


@pytest.mark.parametrize("name", published.FILES["demo"])
def test_an_edited_or_missing_file_is_named(here, name):
    path = FOLDER / name
    path.write_bytes(path.read_bytes() + b" ")
    assert found() == [f"{path} differs from its record.json"]
    path.unlink()
    assert found() == [f"{path} is missing"]


def test_an_edited_record_and_one_of_a_dirty_tree_are_refused(here):
    path = FOLDER / "record.json"
    record = files.read_json(path)
    record["with"]["dirty"] = True
    files.write_json(path, record)
    assert "was edited after the job wrote it" in found()[0]
    del record["seal"]
    files.write_json(path, sealed(record))
    assert found() == ["made from code without a commit"]


def test_other_parameters_make_it_outdated(here):
    scale = here / "workflow/scales/demo.yaml"
    scale.write_text(scale.read_text().replace(" steps: 100", " steps: 101"))
    assert found() == ["made under other parameters of its runs"]
    assert found(allow_dirty=True)[0] == "allow_dirty was false, is true"


@pytest.mark.parametrize("command", ["train", "fetch-backbone", "report"])
def test_other_code_makes_it_outdated(here, monkeypatch, command):
    """A module that only one command of the three reads, edited."""
    edited = {"train": "dp/training/loop.py", "fetch-backbone": "dp/worlds/pretraining.py"}.get(command)
    own = closure.modules

    def modules(name, family=None):
        known = own(name, family)
        changes = {edited or "dp/report/figures/style.py": "0"}
        return known | {path: digest for path, digest in changes.items() if path in known}

    monkeypatch.setattr(closure, "modules", modules)
    monkeypatch.setattr("dp.jobs.stale.modules", modules)
    expected = f"code of {command} changed"
    assert [one for one in found() if one.startswith(expected)], found()
    assert all(one.startswith("code of ") for one in found())


@pytest.mark.parametrize("name", ["dp/paper/cells.csv", "dp/report/page/page.css"])
def test_other_data_of_the_package_makes_it_outdated(here, name, monkeypatch):
    (here / name).write_text("edited")
    monkeypatch.setattr(project, "PACKAGE", here / "dp")
    assert found() == [f"{name} changed"]


def test_the_command_says_whether_the_copy_is_current(here, capsys):
    cli.main(["publish", "--check", "--set", "scale=demo"])
    assert capsys.readouterr().out == "docs/demo is current.\n"
    (FOLDER / "results.csv").write_text("")
    with pytest.raises(SystemExit) as stop:
        cli.main(["publish", "--check", "--set", "scale=demo"])
    assert stop.value.code == 2
    assert "snakemake --cores all --config scale=demo" in capsys.readouterr().err


def test_only_three_scales_are_published_and_only_from_a_report(here, capsys):
    for settings, said in ((["scale=smoke"], "its results are not published"), (["scale=demo"], "has no record.json")):
        with pytest.raises(SystemExit):
            cli.main(["publish", "--set", *settings])
        assert said in capsys.readouterr().err


def test_publishing_copies_the_report_and_removes_what_was_there(here):
    report = here / "results/report/demo"
    shutil.copytree(FOLDER, report)
    record = {key: value for key, value in files.read_json(FOLDER / "record.json").items() if key != "seal"}
    of_project = record["used"]["inputs"]
    of_jobs = {f"results/{kind}/{seed}": "0" * 64 for kind in ("evaluate", "train") for seed in range(5000)}
    used = {"inputs": of_project | of_jobs, "code": record["used"]["code"]}
    whole = sealed(record | {"used": used})
    files.write_json(report / "record.json", whole)
    (FOLDER / "results.csv").write_text("old")
    (FOLDER / "old.csv").write_text("old")
    cli.main(["publish", "--set", "scale=demo"])
    assert found() == []
    assert not (FOLDER / "old.csv").exists()
    short = files.read_json(FOLDER / "record.json")
    assert {key for key in whole if short[key] != whole[key]} == {"used", "seal"}
    jobs_files = {"files": 10_000, "digest": files.digest(of_jobs), "seal": whole["seal"]}
    assert short["used"] == used | {"inputs": of_project, "jobs": jobs_files}
    assert (FOLDER / "record.json").stat().st_size < 100_000 < (report / "record.json").stat().st_size
