"""The house that the next person finds: names, pages, versions and checks that agree with each other."""

import ast
import re
import tomllib
from collections import Counter
from pathlib import Path

import pytest
import yaml
from conftest import ROOT

import dp

MODULES = sorted(path for path in (ROOT / "dp").rglob("*.py") if path.name != "__init__.py")
# A figure and a table of the report are called by what they show, and what stands in a file is called so too.
SHARED = {"cost.py"}


def test_no_two_files_of_a_name_but_commands_that_are_computed():
    """`dp/compute/train.py` computes what `dp train` asks for; nothing else is named twice."""
    counts = Counter(path.name for path in MODULES)
    assert {name for name, count in counts.items() if count > 1} == SHARED


def test_no_two_classes_of_a_name():
    classes = Counter(node.name for path in MODULES for node in ast.parse(path.read_text()).body
                      if isinstance(node, ast.ClassDef))  # fmt: skip
    assert [name for name, count in classes.items() if count > 1] == []


def test_every_room_has_its_line_in_the_page_for_those_who_carry_on():
    rooms = {path.parent.name for path in (ROOT / "dp").glob("*/__init__.py")}
    named = re.findall(r"^\| \**(`[^|]*`)\** \|", (ROOT / "docs/develop.md").read_text(), re.M)
    assert set(re.findall(r"`(\w+)`", " ".join(named))) >= rooms


def test_one_version_everywhere():
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    cited = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    released = re.findall(r"^## (\d\S*)", (ROOT / "docs/changelog.md").read_text(), re.M)
    assert {project["version"], cited["version"], released[0]} == {dp.__version__}
    assert project["license"] == cited["license"]


def test_pre_commit_runs_what_ci_runs_before_its_tests():
    steps = re.findall(
        r"^step (ruff .*|mypy .*|lint-imports.*|snakemake .*|mkdocs .*)$", (ROOT / ".ci/run").read_text(), re.M
    )
    hooks = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())["repos"][0]["hooks"]
    entries = [hook["entry"].replace(" --force-exclude", "") for hook in hooks]
    assert steps == [entry for entry in entries if not entry.startswith("pytest")] and len(steps) == 6
    assert {hook["language"] for hook in hooks} == {"system"}, "no other tool than those that CI installs"


@pytest.mark.parametrize("page", [*sorted(ROOT.glob("docs/*.md")), ROOT / "README.md"], ids=lambda path: path.name)
def test_links_between_pages_lead_somewhere(page):
    targets = re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", page.read_text())
    here = [target for target in targets if "://" not in target]
    assert not [target for target in here if not (page.parent / target).exists()]


def test_the_readme_or_a_page_that_it_names_leads_to_every_page():
    linked = {"README.md"}
    for name in ("README.md", *(f"docs/{path.name}" for path in ROOT.glob("docs/*.md"))):
        text = (ROOT / name).read_text()
        linked |= {Path(target).name for target in re.findall(r"\]\(([^)#:]+?\.md)", text)}
    assert {path.name for path in ROOT.glob("docs/*.md")} <= linked
