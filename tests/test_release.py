"""What others ask of a release: a valid citation, what the workflow catalog reads, a site with no broken link."""

import re
import shutil
import subprocess
import sys

import pytest
import yaml
from conftest import ROOT

PUBLISHED = sorted(path.relative_to(ROOT / "docs") for path in (ROOT / "docs").glob("*/**/*") if path.is_file())


def called(module, *arguments, folder=ROOT):
    """Its exit status and all that it printed."""
    command = [sys.executable, "-m", module, *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr


def test_the_citation_keeps_to_its_schema(tmp_path):
    check = ("check_jsonschema", "--builtin-schema", "vendor.citation-file-format")
    assert called(*check, ROOT / "CITATION.cff")[0] == 0
    wrong = tmp_path / "CITATION.cff"
    wrong.write_text((ROOT / "CITATION.cff").read_text().replace("license: Apache-2.0", "licence: Apache-2.0"))
    status, printed = called(*check, wrong)
    assert status == 1 and "'licence' was unexpected" in printed


def test_the_catalog_finds_what_it_reads():
    """As its documentation (source/docs/about/adding_workflows.md of its repository) and its crawler say."""
    readme = (ROOT / "README.md").read_text().lower()
    assert "snakemake" in readme and "workflow" in readme
    assert list((ROOT / "workflow/rules").glob("*.smk"))
    usage = yaml.safe_load((ROOT / ".snakemake-workflow-catalog.yml").read_text())["usage"]
    assert usage == {"software-stack-deployment": {"conda": True}, "report": True}
    named = re.findall(r"`([\w./-]+\.(?:md|yaml|json)|[\w/]+/)`", (ROOT / "config/README.md").read_text())
    assert len(named) >= 5 and all((ROOT / name).exists() for name in named)


def test_the_workflow_where_the_catalog_looks_is_that_of_the_root():
    status, printed = called(
        "snakemake", "-n", "--snakefile", "workflow/Snakefile", "--config", "scale=smoke", "--forceall"
    )
    assert status == 0 and re.search(r"^report_scale +1$", printed, re.M), printed


@pytest.fixture
def sources(tmp_path):
    """What the site is made from, in a folder of its own."""
    pytest.importorskip("material", reason="the extra `docs` is not installed")
    for name in ("docs", ".ci", "benchmarks"):
        shutil.copytree(ROOT / name, tmp_path / name)
    for name in ("mkdocs.yml", "README.md"):
        shutil.copy(ROOT / name, tmp_path)
    return tmp_path


def test_the_site_has_every_page_and_file_and_needs_no_other_host(sources):
    with (sources / "docs/develop.md").open("a") as page:
        page.write("\n[the pages' settings](../mkdocs.yml)\n")
    status, printed = called("mkdocs", "build", folder=sources)
    assert status == 0, printed
    site = sources / "site"
    pages = [path.relative_to(sources / "docs") for path in (sources / "docs").rglob("*.md")]
    assert not [page for page in pages if not (site / page.with_suffix(".html")).is_file()]
    assert not [path for path in PUBLISHED if path.suffix != ".md" and not (site / path).is_file()]
    assert 'href="planted.html"' in (site / "index.html").read_text(), "the README is the first page"
    assert 'href="benchmarks.html"' in (site / "planning.html").read_text() and (site / "benchmarks.html").is_file()
    assert (site / "source/mkdocs.yml").is_file()
    loaded = re.compile(r"<(?:link|script|img|iframe)\b[^>]*?(?:src|href)=\"?(?:https?:)?//[^>]*")
    assert not [found for path in site.rglob("*.html") for found in loaded.findall(path.read_text())]


@pytest.mark.parametrize(
    ("page", "text", "complaint"),
    [
        ("README.md", "[gone](docs/gone.md)", "contains a link 'gone.md'"),
        ("README.md", "[gone](docs/planted.md#gone)", "does not contain an anchor '#gone'"),
        ("docs/why.md", "[gone](../gone.yaml)", "contains a link '../gone.yaml'"),
        ("docs/new.md", "# Of no question", 'not included in the "nav"'),
    ],
)
def test_the_site_is_not_built_with_a_link_that_leads_nowhere(sources, page, text, complaint):
    with (sources / page).open("a") as file:
        file.write(f"\n{text}\n")
    status, printed = called("mkdocs", "build", folder=sources)
    assert status != 0 and complaint in printed


def test_every_published_file_is_named_by_the_page_of_what_is_published():
    named = set(re.findall(r"\]\(([^)]+)\)", (ROOT / "docs/published.md").read_text()))
    assert not [path for path in PUBLISHED if str(path) not in named]
