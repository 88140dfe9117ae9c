"""One environment: pyproject.toml bounds it, requirements.lock pins it, environment.yml repeats the pins."""

import ast
import re
import sys
import tomllib
from importlib import metadata

import pytest
import yaml
from conftest import ROOT
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCK = (ROOT / "requirements.lock").read_text().splitlines()
CONDA = yaml.safe_load((ROOT / "environment.yml").read_text())
# Declared, and imported by no module: who needs it instead.
NOT_IMPORTED = {
    "accelerate": "transformers imports it to read GGUF",
    "gguf": "transformers imports it to read GGUF",
    "sentencepiece": "transformers imports it to read T5's vocabulary file",
    "protobuf": "transformers imports it to convert that file",
    "snakemake": "a command; the Snakefile imports it",
    "pip": "a command: `python -m pip download`",
}
# Imported, and declared through another package.
COMES_WITH = {"pyarrow": "datasets", "markupsafe": "jinja2", "packaging": "pytest", "PIL": "matplotlib"}


def requirements(extra=None):
    """Canonical name -> Requirement of the project's own list or of one extra."""
    listed = PROJECT["optional-dependencies"][extra] if extra else PROJECT["dependencies"]
    found = [Requirement(line) for line in listed]
    return {canonicalize_name(r.name): r for r in found if r.name != PROJECT["name"]}


EXTRAS = (None, "test", "remotes", "curves", "cluster", "docs", "dev")
DIRECT = {name: one for extra in EXTRAS for name, one in requirements(extra).items()}


def pins(lines):
    return {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}


def locked():
    return pins(line for line in LOCK if not line.startswith("#"))


def imported(folder):
    """Third-party top-level modules that the files of a folder import, and where."""
    found = {}
    paths = sorted((ROOT / folder).rglob("*.py"))
    own = {path.stem for path in (*paths, *(ROOT / "benchmarks").glob("*.py"))} | {"dp"}  # tests import benchmarks too
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            names = [node.module] if isinstance(node, ast.ImportFrom) and not node.level else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for top in {name.split(".")[0] for name in names} - sys.stdlib_module_names:
                if folder == "dp" or top not in own:
                    found.setdefault(top, str(path.relative_to(ROOT)))
    return {module: path for module, path in found.items() if module != "dp"}


def distributions(module):
    """Canonical names of the installed packages that bring a module."""
    return {canonicalize_name(name) for name in metadata.packages_distributions().get(module, [])}


@pytest.mark.parametrize("name", sorted(set(DIRECT) - {"pip"}))
def test_the_lock_pins_every_direct_dependency_within_its_bounds(name):
    assert DIRECT[name].specifier.contains(locked()[name]), f"{DIRECT[name]} does not admit {locked()[name]}"


def test_the_lock_holds_pins_only():
    """No host, no path, no local version: a line is name==version."""
    for line in LOCK:
        assert line.startswith("#") or re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line), line
    assert "://" not in "".join(LOCK)
    assert PROJECT["name"] not in locked()
    assert not [name for name in locked() if name.startswith(("nvidia", "triton", "cuda"))]


def test_torch_is_the_tested_release():
    assert locked()["torch"] == "2.13.0"


def test_conda_makes_the_same_environment():
    *conda, pip = CONDA["dependencies"]
    assert pins(pip["pip"]) == locked()
    assert conda == [f"python{PROJECT['requires-python']}", str(requirements()["pip"])]
    assert CONDA["name"] == PROJECT["name"]


def test_every_tool_means_the_same_python():
    tools = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]
    assert PROJECT["requires-python"] == f">={tools['mypy']['python_version']}"


def test_runtime_imports_only_runtime_dependencies():
    declared = set(requirements())
    for module, path in imported("dp").items():
        packages = distributions(module) | {COMES_WITH.get(module)}
        assert packages & declared, f"{path} imports {module}, which pyproject.toml's dependencies do not bring"


@pytest.mark.parametrize("folder", ["tests", "benchmarks"])
def test_tests_and_benchmarks_import_only_declared_dependencies(folder):
    declared = set(requirements()) | set(requirements("test"))
    for module, path in imported(folder).items():
        packages = distributions(module) | {COMES_WITH.get(module)}
        assert packages & declared, f"{path} imports {module}, which pyproject.toml does not bring for tests"


def test_no_dependency_is_idle():
    """Every runtime dependency is imported by `dp`, or stands above with its reason; and no reason is out of date."""
    used = {name for module in imported("dp") for name in distributions(module)}
    assert set(requirements()) - used == set(NOT_IMPORTED)
