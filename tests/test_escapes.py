"""Text of others stays text: in a spreadsheet, Markdown, LaTeX, a page, a drawing and a terminal, under any locale."""

import contextlib
import csv
import io
import locale
import os
import re
import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import pytest
from conftest import ROOT
from rich.console import Console
from synthetic_results import change, planted, report, study_in, write_results

from dp import files, paths
from dp.closed import validated
from dp.commands import cli
from dp.errors import UserError, printable
from dp.escapes import cell, csv_rows, markdown
from dp.lineage import standings as status
from dp.lineage import status_text
from dp.report import latex
from dp.report.figures import style
from dp.results.table import to_csv
from dp.tasks import model

FORMULAS = ["=1+1", "+SUM(A1)", "-2+3", "@x", "\t=1", "\r=1", "\n=1", "=cmd|' /C calc'!A0", "-"]
FORMULAS += ["\uff1d1", "\uff0b1", "\uff0d1", "\uff20x"]  # full width
TEXTS = [*FORMULAS, *(f"'{one}" for one in FORMULAS), "''=1", "'", "it's", "'quoted'", "a;b", 'a"b', "a,b", "", "a\nb"]
NUMBERS = ["-0.5", "+3", "-12", "-1e-05", "-.5", "-2.5%", "70.10"]


@pytest.mark.parametrize("text", FORMULAS)
def test_no_cell_begins_a_formula(text):
    ((read,),) = list(csv.reader(io.StringIO(to_csv(["a"], [{"a": text}]), "")))[1:]
    assert read == f"'{text}".replace("\r", "\n")


@pytest.mark.parametrize("text", NUMBERS)
def test_a_negative_number_stays_one(text):
    assert cell(text) == text
    assert to_csv(["a"], [{"a": -0.5}]) == "a\n-0.500000\n" and to_csv(["a"], [{"a": -3}]) == "a\n-3\n"


def test_our_own_readers_read_what_was_written():
    written = io.StringIO(to_csv(["a", "b"], [{"a": text, "b": 1} for text in TEXTS]), "")
    assert [row["a"] for row in csv_rows(written)] == [text.replace("\r", "\n") for text in TEXTS]


@pytest.mark.parametrize("label", ["a;b", "=1", "<b>", "a b", "", "Ä", "a\n", "-x"])
def test_a_label_that_could_be_two_or_a_formula_is_refused_in_its_file(label):
    raw = model.read_yaml(ROOT / "dp/tasks/toy.yaml") | {"labels": [label]}
    with pytest.raises(UserError, match=r"toy.yaml: labels.0 = .* should match pattern"):
        validated(model.Task, raw, Path("toy.yaml"))


def test_every_label_of_a_task_comes_back_out_of_its_column(tmp_path, monkeypatch):
    study = study_in(tmp_path, monkeypatch, variants=["fixed"])
    write_results(study, planted)
    own = sorted({label for name in model.names() for label in model.load(name).labels} | {"2nd-hand"})
    for path in sorted(paths.EVALUATE.rglob("record.json")):
        change(path, lambda record: record | {"made": record["made"] | {"labels": own}})
    for row in csv_rows((report() / "results.csv").open(encoding="utf-8", newline="")):
        assert row["labels"].split(";") == sorted([*own, "single-seed"])
    change(path, lambda record: record | {"made": record["made"] | {"labels": ["a;b"]}})
    with pytest.raises(SystemExit):
        report()


def test_a_label_of_an_old_record_is_not_read_as_two(tmp_path, monkeypatch, capsys):
    study = study_in(tmp_path, monkeypatch, variants=["fixed"])
    write_results(study, planted)
    path = paths.evaluation("synthetic", "tiny-t5/full/alpha/fixed/seed0") / "record.json"
    change(path, lambda record: record | {"made": record["made"] | {"labels": ["a;b"]}})
    with pytest.raises(SystemExit):
        report()
    said = capsys.readouterr().err
    assert f"{path}: made.labels: 'a;b'" in said and "dp/tasks/alpha.yaml" in said


@pytest.mark.parametrize(
    ("text", "escaped"),
    [
        ("<script>alert(1)</script>", "&lt;script>alert(1)&lt;/script>"),
        ("<!-- x", "&lt;!-- x"),
        ("&lt;b&gt; AT&T", "&amp;lt;b&amp;gt; AT&T"),
        ("[a](javascript:1) ![i](u) [r]: u", r"[a\](javascript:1) \![i\](u) [r\]: u"),
        ("a|b `c` **d** ~~e~~ $f$ \\", r"a\|b \`c\` \*\*d\*\* \~\~e\~\~ \$f\$ \\"),
        ("_a_ b_c _", r"\_a\_ b_c \_"),
        ("one\n\n# two\r\n| three", r"one # two \| three"),
        ("# head", r"\# head"),
        ("> quote", r"\> quote"),
        ("- item", r"\- item"),
        ("1. item", r"1\. item"),
        ("12) item", r"12\) item"),
        ("-0.5 [-1.0, 0.2]", "-0.5 [-1.0, 0.2]"),
        ("adap_ins_pos, p < 0.05, 80 %", "adap_ins_pos, p < 0.05, 80 %"),
    ],
)
def test_markdown_stays_one_line_of_text(text, escaped):
    assert markdown(text) == escaped


def test_no_page_of_a_report_has_raw_html_or_another_column(tmp_path, monkeypatch):
    odd = "<script>x</script>|`a` [b](javascript:c)\n\n# d"
    study = study_in(tmp_path, monkeypatch, description=odd)
    write_results(study, planted)
    for path in sorted(paths.EVALUATE.rglob("record.json")):
        change(path, lambda record: record | {"made": record["made"] | {"labels": [odd]},
                                              "with": record["with"] | {"platform": odd}})  # fmt: skip
    folder = report()
    for path in sorted(folder.rglob("*.md")):
        text = path.read_text(encoding="utf-8")
        assert "<script" not in text and not re.search(r"(?<!\\)\]\(javascript", text) and "\n# d" not in text, path
        for block in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
            assert len({len(re.findall(r"(?<!\\)\|", line)) for line in block.splitlines()}) == 1, (path, block)
    assert "&lt;script>x&lt;/script>" in (folder / "results.md").read_text()
    assert "<script>x" not in (folder / "report.html").read_text()
    for path in (folder / "figures").glob("*.svg"):
        ElementTree.parse(path)


def test_latex_has_no_line_of_its_own():
    assert latex.tex("a\n\nb\\input{c}") == "a b\\textbackslash{}input\\{c\\}"


@pytest.mark.parametrize("text", ["$x$", "$\\frac$", "costs $5 and $6", "a_b^c", "<b>&amp;", "\\$"])
def test_a_drawing_shows_text_as_it_is(tmp_path, text):
    data = tmp_path / "odd.csv"
    files.write_text(data, to_csv(["a"], [{"a": text}]))
    style.save(data, lambda rows: style.only_words(rows[0]["a"]))
    drawing = ElementTree.parse(data.with_suffix(".svg"))
    assert text in "".join(drawing.getroot().itertext())


def test_a_terminal_shows_markup_and_escapes_as_they_are(tmp_path, monkeypatch, capsys):
    assert printable("a\x1b[31mb\x07\r\u202e\nü[red]") == "a\\x1b[31mb\\x07\\r\\u202e\nü[red]"
    odd = "[red]no[/] [/bold] :smile: \x1b[31mred"
    study = study_in(tmp_path, monkeypatch, variants=["fixed"])
    write_results(study, planted)
    folder = paths.evaluation("synthetic", "tiny-t5/full/alpha/fixed/seed0")
    (folder / "record.json").unlink()
    mark = {"command": "evaluate", "pid": 1, "host": "h", "started": 0.0, "state": "failed", "error": odd}
    files.write_json(paths.state(folder), mark)
    training = folder.parent / "seed0"
    shown = odd.replace("\x1b", "\\x1b")
    for command in (["audit"], ["status"], ["why", str(training / "metrics.json")]):
        with contextlib.suppress(SystemExit):
            cli.main([*command, "--set", "scale=synthetic"])
        said = capsys.readouterr()
        assert shown in said.out.replace("\n", " ") and "\x1b" not in said.out + said.err, command
    with Console(width=200, file=io.StringIO(), force_terminal=True).capture():
        status_text.live(study, list(status.Survey(study).standings().values()), 0.0)


def test_the_page_and_the_drawings_know_no_locale(tmp_path, monkeypatch):
    script = "".join(path.read_text() for path in (ROOT / "dp/report/page").glob("*.js"))
    assert not re.search(r"toLocale|Intl\.|localeCompare", script)
    data = tmp_path / "numbers.csv"
    files.write_text(data, to_csv(["a"], [{"a": value} for value in (1234.5, 2345.25)]))

    def draw(rows):
        figure = matplotlib.figure.Figure()
        figure.subplots().plot([float(row["a"]) for row in rows])
        return figure

    before = [path.read_bytes() for path in style.save(data, draw)]
    monkeypatch.setitem(matplotlib.rcParams, "axes.formatter.use_locale", True)
    monkeypatch.setattr(
        locale, "localeconv", lambda: {"decimal_point": ",", "thousands_sep": ".", "grouping": [3, 3, 0]}
    )
    assert [path.read_bytes() for path in style.save(data, draw)] == before


WRITE = """
import locale, sys
from pathlib import Path
from dp import files
from dp.results.table import to_csv
from dp.report.figures import optimism, style
print(locale.setlocale(locale.LC_ALL, ""))
row = dict.fromkeys(optimism.COLUMNS, "") | {"backbone": "b", "regime": "full", "task": "t", "variant": "v"}
row |= {"rows": "selection", "best": 0.1234, "last": 0.1, "chosen": 0.11}
data = Path(sys.argv[1])
files.write_text(data, to_csv(optimism.COLUMNS, [row]))
style.save(data, optimism.draw)
"""


def _german(folder):
    """LOCPATH with de_DE.UTF-8, made here where the machine has its source."""
    made = subprocess.run(["localedef", "-i", "de_DE", "-f", "UTF-8", str(folder / "de_DE.UTF-8")], capture_output=True)
    return made.returncode in (0, 1) and (folder / "de_DE.UTF-8").is_dir()


def test_a_report_is_the_same_under_a_locale_with_decimal_commas(tmp_path, monkeypatch):
    try:
        there = _german(tmp_path)
    except FileNotFoundError:
        there = False
    if not there:
        pytest.skip("no localedef with de_DE here")
    script = tmp_path / "write.py"
    script.write_text(WRITE)
    made = []
    for name in ("C.UTF-8", "de_DE.UTF-8"):
        data = tmp_path / name.replace(".", "") / "optimism.csv"
        data.parent.mkdir()
        environment = os.environ | {"LC_ALL": name, "LOCPATH": str(tmp_path) if name.startswith("de") else ""}
        command = [sys.executable, str(script), str(data)]
        said = subprocess.run(command, env=environment | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
        assert said.returncode == 0, said.stderr
        assert said.stdout.strip().endswith(name)
        made.append([data.with_suffix(kind).read_bytes() for kind in (".csv", ".svg", ".png")])
    assert made[0] == made[1]
