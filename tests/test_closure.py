"""The code closure of a command is what the command really imports (design section 2: staleness of one run)."""

import ast
import json
import os
import re
import shutil
import subprocess
import sys

import pytest
from conftest import ROOT

from dp.commands.cli import COMMANDS
from dp.jobs.closure import closure

# Modules of a closure that importing the command does not load: command -> what is imported inside a function.
IMPORTED_LATE = {
    "train": {"dp.backbones.lora"},
    "evaluate": {"dp.backbones.lora"},
    "fetch-backbone": {"dp.numerics.devices", "dp.worlds.pretraining", "dp.backbones.lora"},
}
WORKFLOW_TOOLS = ["datasets", "snakemake", "dvc"]
TRAINING_PATH = ["tokenize", "features", "train", "evaluate"]
LOADED = """
import importlib, json, sys
for name in {blocked}:
    sys.modules[name] = None
importlib.import_module("dp.commands.cli")
importlib.import_module("dp.commands.{module}")
print(json.dumps(sorted(name for name in sys.modules if name.split(".")[0] == "dp")))
"""
CLOSURES = """
import json
from dp.commands.cli import COMMANDS
from dp.lineage.closure import closure
print(json.dumps({name: [str(path) for path in closure(name)] for name in COMMANDS}))
"""


def python(code, folder=ROOT):
    """What a fresh interpreter prints, as JSON; `dp` is the one in `folder`."""
    env = os.environ | {"PYTHONPATH": str(folder), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, env=env, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def loaded(command):
    """The `dp` modules that a fresh process holds after importing a command; training has no workflow tool in reach."""
    blocked = WORKFLOW_TOOLS if command in TRAINING_PATH else []
    return set(python(LOADED.format(blocked=blocked, module=command.replace("-", "_"))))


def static(command):
    return {".".join(path.with_suffix("").parts).removesuffix(".__init__") for path in closure(command)}


PRINTING = {"dp.commands.cli", "dp.escapes"}
"""What the command line prints with is part of no closure, unless a command imports it."""


@pytest.mark.parametrize("command", COMMANDS)
def test_the_closure_is_what_the_command_imports(command):
    """And tokenize, features, train and evaluate import where datasets, Snakemake and DVC are not installed."""
    late = IMPORTED_LATE.get(command, set())
    named = static(command)
    assert named == (loaded(command) - (PRINTING - named)) | late


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
    users = {command for command in COMMANDS if "dp.results.metrics" in static(command)}
    assert users == {"evaluate"}


def test_every_command_has_itself_and_its_packages():
    for command in COMMANDS:
        own = f"dp.commands.{command.replace('-', '_')}"
        assert {"dp", "dp.commands", own} <= static(command)
        assert all((ROOT / path).is_file() for path in closure(command))


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
    """But for one function that reads what dvc.lock recorded at a revision, and imports DVC when it is called."""
    assert not importing("snakemake")
    assert [str(path) for path in importing("dvc")] == ["dp/lineage/snapshots.py"]


def test_dp_imports_in_no_way_that_the_closure_cannot_see():
    """No relative import, and no module named at run time but the command itself."""
    assert not [path for path, node in imports() if isinstance(node, ast.ImportFrom) and node.level]
    at_run_time = re.compile(r"import_module\(|run_module\(|spec_from_file")
    texts = {path.relative_to(ROOT).as_posix(): path.read_text() for path in (ROOT / "dp").rglob("*.py")}
    dynamic = {name for name, text in texts.items() if at_run_time.search(text)}
    assert dynamic == {"dp/commands/cli.py"}
