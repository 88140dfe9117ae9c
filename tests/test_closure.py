"""The code closure of a command is what its compute module really imports (design section 2: staleness of one run)."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys

import pytest
from conftest import ROOT

from dp.commands.cli import MAKING
from dp.jobs.closure import closure, has_no_say

WORKFLOW_TOOLS = ["datasets", "snakemake", "dvc"]
TRAINING_PATH = ["tokenize", "features", "train", "evaluate"]
LOADED = """
import builtins, importlib, json, sys
for name in {blocked}:
    sys.modules[name] = None
imported, original = {{}}, builtins.__import__

def noting(name, globals=None, locals=None, fromlist=(), level=0):
    module = original(name, globals, locals, fromlist, level)
    names = [name, *(f"{{name}}.{{one}}" for one in fromlist or ())]
    imported.setdefault((globals or {{}}).get("__name__"), []).extend(one for one in names if one in sys.modules)
    return module

def noting_a_name(name, package=None):
    imported.setdefault(sys._getframe(1).f_globals["__name__"], []).append(name)
    return by_name(name, package)

by_name = importlib.import_module
builtins.__import__, importlib.import_module = noting, noting_a_name
importlib.import_module("dp.compute.{module}")
of_dp = {{str(by): [one for one in names if one.split(".")[0] == "dp"] for by, names in imported.items()}}
print(json.dumps(of_dp))
"""
CLOSURES = """
import json
from dp.commands.cli import MAKING
from dp.jobs.closure import closure
print(json.dumps({name: [str(path) for path in closure(name)] for name in MAKING}))
"""


def python(code, folder=ROOT):
    """What a fresh interpreter prints, as JSON; `dp` is the one in `folder`."""
    env = os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def loaded(command):
    """The `dp` modules that importing what computes runs in a fresh process, but for what has no say and its imports.

    Training has no workflow tool in reach.
    """
    module = command.replace("-", "_")
    imported = python(LOADED.format(blocked=WORKFLOW_TOOLS if command in TRAINING_PATH else [], module=module))
    found, todo = set(), [f"dp.compute.{module}"]
    while todo:
        name = todo.pop()
        if name not in found and not has_no_say(name, command):
            found.add(name)
            todo += [*imported.get(name, []), *([name.rpartition(".")[0]] if "." in name else [])]
    return found


def static(command):
    return {".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in closure(command)}


@pytest.mark.parametrize("command", MAKING)
def test_the_closure_is_what_computing_imports(command):
    """And tokenize, features, train and evaluate import where datasets, Snakemake and DVC are not installed."""
    assert static(command) == loaded(command)


@pytest.fixture
def package(tmp_path):
    """A copy of `dp` to change, with a module that nobody imports."""
    shutil.copytree(ROOT / "dp", tmp_path / "dp", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "dp/results/newcomer.py").write_text("VALUE = 1\n")
    return tmp_path


def using(path, package):
    """Commands whose closure holds a file."""
    return {command for command, files in python(CLOSURES, package).items() if path in files}


@pytest.mark.parametrize(
    "statement",
    [
        "from dp.results import newcomer",
        "from dp.results.newcomer import VALUE",
        "import dp.results.newcomer",
        "import dp.results.newcomer as other",
    ],
)
@pytest.mark.parametrize("importer", ["dp/results/metrics.py", "dp/classifier/scoring.py", "dp/results/table.py"])
def test_an_import_inside_a_function_reaches_exactly_the_commands_that_can_run_it(package, importer, statement):
    assert using("dp/results/newcomer.py", package) == set()
    expected = using(importer, package)
    with (package / importer).open("a") as file:
        file.write(f"\n\ndef late():\n    {statement}\n")
    assert using("dp/results/newcomer.py", package) == expected


def test_who_uses_the_metrics():
    """Training selects by accuracy of its own predictions: an edit to the reported metrics makes no training stale."""
    users = {command for command in MAKING if "dp.results.metrics" in static(command)}
    assert users == {"evaluate"}


def test_every_command_has_what_computes_it_and_its_packages():
    for command in MAKING:
        assert {"dp", "dp.compute", f"dp.compute.{command.replace('-', '_')}"} <= static(command)
        assert all((ROOT / path).is_file() for path in closure(command))


@pytest.mark.parametrize("command", MAKING)
def test_what_starts_records_or_explains_a_job_is_in_no_closure(command):
    """Nor is it imported by what is: not even by a module that has no say, once it is named in one that has."""
    rooms = {".".join(name.split(".")[:2]) for name in static(command)}
    assert not rooms & {"dp.commands", "dp.worker", "dp.lineage", "dp.planning"}
    assert not [name for name in static(command) if has_no_say(name, command)]


# What has no say, as the modules of a closure import it; a report reads records and the study itself.
WITHOUT_SAY = {
    "fetch-task": {"dp.closed", "dp.errors", "dp.yaml12"},
    "fetch-backbone": {"dp.closed", "dp.errors", "dp.yaml12", "dp.progress"},
    "tokenize": {"dp.closed", "dp.errors"},
    "features": {"dp.closed", "dp.errors", "dp.progress"},
    "train": {"dp.closed", "dp.errors", "dp.progress"},
    "choose": {"dp.errors"},
    "evaluate": {"dp.closed", "dp.errors", "dp.progress"},
}


@pytest.mark.parametrize("command", WITHOUT_SAY)
def test_what_computes_imports_without_say_only_what_is_meant_to_be(command):
    """A module of the resolver or of recording that one of these imports would decide bytes, and nothing would say."""
    of_closure = set(closure(command))
    named = {name for path, node in imports() if path in of_closure for name in names_in(node)}
    assert {name for name in named if has_no_say(name, command) and module(name)} == WITHOUT_SAY[command]


def names_in(node):
    """Absolute names in an import statement, of modules and of what is taken from them."""
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    return [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]


def module(name):
    return ROOT.joinpath(*name.split(".")).with_suffix(".py").is_file()


DIGESTS = """
import json
from dp.jobs.closure import code_digest
print(json.dumps({name: code_digest(name) for name in ("train", "report", "fetch-task")}))
"""


def test_what_was_scanned_is_kept_and_a_damaged_or_foreign_cache_is_no_harm(package):
    first = python(DIGESTS, package)
    (cache,) = (package / ".cache/dp/code").glob("*.json")
    assert python(DIGESTS, package) == first and len(json.loads(cache.read_text())) > 100
    for damage in ("{", "[]", '{"a": 1}', '{"a": ["b"]}'):
        cache.write_text(damage)
        assert python(DIGESTS, package) == first
    with (package / "dp/training/loop.py").open("a") as file:
        file.write("\nVALUE = 1\n")
    changed = python(DIGESTS, package)
    assert changed["train"] != first["train"] and changed["fetch-task"] == first["fetch-task"]


def imports():
    """(file, statement) of every import statement in `dp`."""
    for path in (ROOT / "dp").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import | ast.ImportFrom):
                yield path.relative_to(ROOT), node


def importing(package):
    """Files of `dp` that name a package in an import statement."""
    statements = ((path, ast.unparse(node).split()[1]) for path, node in imports())
    return {path for path, name in statements if name.split(".")[0] == package}


@pytest.mark.parametrize("package", ["datasets", "huggingface_hub", "gguf"])
def test_the_training_path_names_no_package_that_only_fetching_needs(package):
    for command in TRAINING_PATH:
        assert not importing(package) & set(closure(command)), command


def test_dp_knows_nothing_of_the_workflow_tools():
    """But for what reads or brings what dvc.lock recorded at a revision, and imports DVC when it is called."""
    assert not importing("snakemake")
    assert sorted(map(str, importing("dvc"))) == ["dp/lineage/sites.py", "dp/lineage/snapshots.py"]


def test_dp_imports_in_no_way_that_the_closure_cannot_see():
    """No relative import, and no module named at run time but the command itself, and figures and tables by name."""
    assert not [path for path, node in imports() if isinstance(node, ast.ImportFrom) and node.level]
    at_run_time = re.compile(r"import_module\(|run_module\(|spec_from_file")
    texts = {path.relative_to(ROOT).as_posix(): path.read_text() for path in (ROOT / "dp").rglob("*.py")}
    dynamic = {name for name, text in texts.items() if at_run_time.search(text)}
    by_name = {"dp/report/figures/all_figures.py", "dp/report/tables/all_tables.py"}
    assert dynamic == {"dp/commands/cli.py", "dp/jobs/scan.py", *by_name}
    assert all(name.rpartition("/")[0].replace("/", ".") in texts[name] for name in by_name)
