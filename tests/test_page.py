import base64
import hashlib
import json
import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace

import pytest
from report_page import HOSTILE, claims, found_in, full, page_in, row_of, with_rows
from small_project import small_study
from synthetic_results import change

from dp import files
from dp.report import findings
from dp.report.page import build, curves, lineage, tables, verdict
from dp.results import comparisons, jobs, runs, steps

VOID = {"meta", "link", "img", "input", "br", "rect"}


class Reader(HTMLParser):
    """Elements as (tag, attributes, text below it), in order."""

    def __init__(self, text):
        super().__init__()
        self.found, self.open = [], []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        one = SimpleNamespace(tag=tag, of=dict(attrs), text="", inside=[other.tag for other in self.open])
        self.found.append(one)
        if tag not in VOID:
            self.open.append(one)

    def handle_startendtag(self, tag, attrs):
        self.found.append(SimpleNamespace(tag=tag, of=dict(attrs), text="", inside=[]))

    def handle_endtag(self, tag):
        assert self.open and self.open[-1].tag == tag, f"</{tag}> closes {self.open[-1].tag}"
        self.open.pop()

    def handle_data(self, data):
        for one in self.open:
            one.text += data

    def all(self, *tags):
        return [one for one in self.found if one.tag in tags]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """(findings, path, text, elements, embedded data) of a page with every table."""
    with pytest.MonkeyPatch.context() as patch:
        found, path = page_in(tmp_path_factory.mktemp("report"), patch)
    text = path.read_text(encoding="utf-8")
    read = Reader(text)
    assert not read.open
    (data,) = [one.text for one in read.all("script") if one.of.get("id") == "data"]
    return SimpleNamespace(found=found, path=path, text=text, read=read, data=json.loads(data), raw=data)


def shown(read, name):
    """(line, texts) of every row of one of the page's tables."""
    start = next(n for n, one in enumerate(read.found) if one.of.get("id") == f"{name}-table")
    rows = []
    for one in read.found[start + 1 :]:
        if one.tag == "table":
            break
        if one.tag == "tr" and "data-line" in one.of:
            rows.append((int(one.of["data-line"]), []))
        elif one.tag == "td" and rows:
            rows[-1][1].append(one.text)
    return rows


def test_the_same_rows_make_the_same_bytes(tmp_path, monkeypatch):
    found, folder, made = found_in(tmp_path, monkeypatch)
    first = build.document(full(found), folder, made)
    steps._read.cache_clear()
    assert build.document(full(found), folder, jobs.read(found.study)) == first
    assert str(tmp_path) not in first


def test_nothing_in_the_page_leads_out_of_it(built):
    for one in built.read.found:
        for key in ("src", "href", "action", "srcset", "data", "xlink:href", "poster"):
            value = one.of.get(key)
            if value is None or value.startswith(("#", "data:")):
                continue
            assert one.tag == "a" and not re.match(r"[a-z]+:|//", value), (one.tag, value)
            assert (built.path.parent / value).is_file(), value
        assert not [key for key in one.of if key.startswith("on") or key == "style"], one.of
    style = next(one.text for one in built.read.all("style"))
    assert "url(" not in style and "@import" not in style


def test_the_policy_allows_these_very_scripts_and_styles(built):
    policy = next(one.of["content"] for one in built.read.all("meta")
                  if one.of.get("http-equiv") == "Content-Security-Policy")  # fmt: skip
    rules = dict(rule.strip().split(" ", 1) for rule in policy.split(";"))
    assert rules["default-src"] == rules["connect-src"] == "'none'"
    assert "unsafe" not in policy and "http" not in policy

    def digest(text):
        return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"

    (script,) = [one.text for one in built.read.all("script") if "type" not in one.of]
    (style,) = [one.text for one in built.read.all("style")]
    assert rules["script-src"] == digest(script)
    assert rules["style-src"] == digest(style)
    assert not re.search(r"innerHTML|outerHTML|insertAdjacent|document\.write|eval\(|Function\(|setTimeout\(", script)


def test_every_result_is_readable_without_a_script(built):
    rows = shown(built.read, "results")
    assert [line for line, _ in rows] == list(range(2, len(built.found.results) + 2))
    for (_, texts), row in zip(rows, built.found.results, strict=True):
        assert texts[:2] == [row["variant"], row["task"]]
        assert f"{100 * row['mean']:.2f}" in texts
        assert f"[{100 * row['low']:.2f}, {100 * row['high']:.2f}]" in texts
    on_beta = row_of(built.found, variant="fixed", task="beta", regime="full", metric="accuracy")
    texts = dict(rows)[2 + built.found.results.index(on_beta)]
    assert "↓ 2 of 2 collapsed" in texts
    baseline = row_of(built.found, variant="majority", task="beta", metric="accuracy")
    assert "by design" in dict(rows)[2 + built.found.results.index(baseline)]


def test_other_tables_show_their_rows(built):
    (line, texts), = shown(built.read, "comparisons")  # fmt: skip
    assert line == 2
    assert {"adap_pos", "fixed", "+14.00", "[5.00, 20.00]", "0.0004", "0.0012", "sign flip"} <= set(texts)
    (_, texts), = shown(built.read, "aggregates")  # fmt: skip
    assert {"alpha, beta", "78.00", "0.97", "[0.90, 1.00]"} <= set(texts)
    (_, texts), = shown(built.read, "optimism")  # fmt: skip
    assert {"selection", "80.00", "70.00", "75.00", "+10.00", "+5.00"} <= set(texts)
    (_, texts), = shown(built.read, "prices")  # fmt: skip
    assert {"dropout, rotation", "70.00", "75.00"} <= set(texts)
    claimed = shown(built.read, "claims")
    signs = ["✓ reproduced", "✗ differs", "? unclear", "↓ collapsed", "– not run", "– not comparable", "– not run"]
    assert [texts[0] for _, texts in claimed] == signs
    assert {"71.00", "96.50", "[95.00, 98.00]", "+25.50", "0.50"} <= set(claimed[1][1])


def test_cost_has_one_row_for_each_trained_cell_and_leads_to_its_line(built):
    trained = [row for row in built.found.results if row["steps"]]
    cells = {(row["variant"], row["task"], row["regime"], row["k"]) for row in trained}
    rows = shown(built.read, "cost")
    assert len(rows) == len(cells) < len(trained)
    for line, texts in rows:
        row = built.found.results[line - 2]
        assert texts[:2] == [row["variant"], row["task"]] and row["metric"] == "accuracy"
        assert f"{row['seconds']:.1f}" in texts


def test_a_report_without_the_other_tables_says_so(tmp_path, monkeypatch):
    empty = {name: [] for name in ("claims", "comparisons", "aggregates", "optimism", "prices")}
    _, path = page_in(tmp_path, monkeypatch, lambda found: with_rows(found, **empty))
    text = path.read_text()
    for words in ("no claims of the paper", "holds no comparisons", "There is nothing to judge"):
        assert words in text
    assert 'id="claims-table"' not in text


def test_a_row_leads_to_the_runs_that_it_is_made_from(built):
    row = row_of(built.found, variant="adap_ins_pos", task="beta", regime="fewshot", metric="accuracy")
    line = 2 + built.found.results.index(row)
    start = next(n for n, one in enumerate(built.read.found) if one.of.get("id") == "results-table")
    tr = next(one for one in built.read.found[start:] if one.of.get("data-line") == str(line))
    (number,) = tr.of["data-cells"].split()
    cell, words = built.data["cells"][int(number)], built.data["strings"]
    at = [words[n] for n in cell["at"]]
    assert at == [f"tiny-t5/fewshot-k8-s{s}/beta/adap_ins_pos" for s in (0, 1)]
    assert [words[n] for n in cell["metrics"]] == ["accuracy", "macro_f1"]
    assert [one[4] for one in cell["runs"]] == row["runs"].split(";")
    assert [(at[one[0]], one[2]) for one in cell["runs"]] == [(folder, f"seed{n}") for folder in at for n in (0, 1)]
    assert [one[9] for one in cell["runs"]] == pytest.approx([90, 92, 90, 92])
    assert [one[6:9] for one in cell["runs"]] == [[80, 120, 10.0], [80, 120, 11.0]] * 2
    below = [built.data["jobs"][number]["folder"] for number in cell["below"][0]]
    assert "results/tokenize/synthetic/tiny-t5/beta/tokens" in below
    assert "results/download/backbones/tiny-t5" in below
    assert f"commit {'c' * 40}, clean tree" in built.data["surroundings"][cell["with"][0][0]]


def test_a_comparison_leads_to_the_cells_of_both(built):
    rows = [(n, one) for n, one in enumerate(built.read.found) if one.tag == "tr" and "data-line" in one.of]
    tr = next(one for n, one in rows if _table_before(built.read, n) == "comparisons-table")
    words = built.data["strings"]
    names = [words[built.data["cells"][int(n)]["at"][0]] for n in tr.of["data-cells"].split()]
    assert names == ["tiny-t5/full/beta/adap_pos", "tiny-t5/full/beta/fixed"]


def _table_before(read, n):
    return next((one.of["id"] for one in reversed(read.found[:n]) if one.tag == "table" and "id" in one.of), None)


def test_the_command_names_the_source_and_the_folder_that_were_set(built):
    assert built.data["command"] == "snakemake --cores all --config scale=synthetic --"
    params = SimpleNamespace(source="folder", folder="/data/super glue", tasks=None)
    study = SimpleNamespace(scale_name="paper", params=params)
    command = "snakemake --cores all --config scale=paper source=folder 'folder=/data/super glue'"
    assert lineage._command(study) == f"{command} --"
    params.tasks = ("cb", "wic")
    assert lineage._command(study) == f"{command} 'tasks=[cb,wic]' --"


def test_settings_name_what_most_of_the_scale_has_otherwise(tmp_path, monkeypatch):
    found, _, made = found_in(tmp_path, monkeypatch, overrides={"fixed": {"optimizer": {"lr": 0.7}}})
    data = lineage.data(found, made).data

    def settings(name):
        (cell,) = [one for one in data["cells"] if data["strings"][one["at"][0]] == name]
        return [data["strings"][n] for n in cell["settings"]]

    assert "training.optimizer.lr: 0.7 (mostly 0.3)" in settings("tiny-t5/full/alpha/fixed")
    assert not [text for text in settings("tiny-t5/full/alpha/adap_pos") if "mostly" in text]
    assert "position: task" in settings("tiny-t5/full/alpha/adap_pos")


def test_curves_have_a_line_for_each_run_and_the_step_that_it_picked(built):
    words = built.data["strings"]
    (cell,) = [one for one in built.data["cells"] if words[one["at"][0]] == "tiny-t5/full/alpha/adap_pos"]
    assert [[built.data["steps"][n], values] for n, values in cell["curve"]["accuracy"]] == [
        [[40, 80, 120], [50, 80, 70]]
    ] * 2
    assert cell["curve"]["picked"] == [[80, 80], [80, 80]]
    steps, losses = built.data["steps"][cell["curve"]["loss"][0]], cell["curve"]["loss"][1]
    assert len(steps) == 30 and steps[0] == 4 and steps[-1] == 120
    assert losses[0] == pytest.approx(sum(2 / step for step in range(1, 5)) / 4 + 0.5, rel=0.01)
    (baseline,) = [one for one in built.data["cells"] if words[one["at"][0]] == "tiny-t5/full/alpha/majority"]
    assert baseline["curve"] is None


def test_a_curve_of_many_steps_keeps_its_ends_and_its_picked_step(tmp_path):
    log = [
        {"step": step, "selection": {"accuracy": step / 1000, "by_task": [0.1, step / 2000]}} for step in range(1, 401)
    ]
    log += [{"step": step, "loss": float(step)} for step in range(1, 40_001)]
    files.write_jsonl(tmp_path / "steps.jsonl", log)
    cell = SimpleNamespace(task="b")
    trained = {"made": {"selected_step": 123}, "asked": {"multitask": {"tasks": ["a", "b"]}}}
    curve = curves.of([SimpleNamespace(training=tmp_path, trained=trained, cell=cell)] * 20, list)
    at, values = curve["accuracy"][0]
    assert len(at) == 5 and (at[0], at[-1]) == (1, 400)
    assert values == [round(round(step / 20, 2), 1) for step in at]
    assert curve["picked"][0] == [123, 6.15]
    assert curve["loss"][0][-1] == 40_000
    assert curve["loss"][1][-1] == pytest.approx(39_333, rel=0.005), "the mean over the last 1,334 steps"


def test_nothing_judged_is_said_with_the_reasons():
    row = {"kind": "cell", "verdict": "not run", "reason": "no such backbone"}
    other = {"kind": "cell", "verdict": "not comparable", "reason": "other rows"}
    found = verdict.of_claims([row] * 148 + [other] * 2)
    assert found.headline == (
        "None of the paper's 150 cells can be judged here, because 148 were not run (no such backbone), 2 are not "
        "comparable (other rows)."
    )
    assert [(tile.verdict, tile.count) for tile in found.tiles] == [("not run", 148), ("not comparable", 2)]
    assert not found.judged
    average = row | {"kind": "average"}
    assert verdict.of_claims([row, average]).headline == (
        "None of the paper's 2 cells can be judged here, because none was run (no such backbone)."
    )


def test_a_verdict_counts_what_was_judged(built):
    found = verdict.of_claims(claims(built.found))
    assert found.headline == (
        "Of the paper's 6 cells 4 can be judged here: 1 reproduced, 1 differs, 1 unclear, 1 collapsed."
    )
    assert found.details[0] == (
        "The other 2 cannot: 1 were not run (this scale has no such backbone), 1 are not comparable (this scale has no "
        "such backbone)."
    )
    assert found.details[1] == "Of 1 further claims (gains): 1 not run."
    assert sum(tile.count for tile in found.tiles) == 7
    ends = [(tile.start, tile.start + tile.width) for tile in found.tiles]
    assert ends[0][0] == 0 and ends[-1][1] == pytest.approx(1000, abs=0.1)
    assert all(a[1] == pytest.approx(b[0], abs=0.02) for a, b in pairwise(ends))


def test_predictions_are_the_verdict_where_there_are_any():
    def row(name, **more):
        about = {"variant": "adap_pos", "task": "null", "against": "fixed", "margin": 0.02, "broken": ""}
        return {"verdict": name} | about | more

    rows = [row("holds")] * 3 + [row("unclear"), row("fails", broken="yes")]
    found = verdict.of_predictions(rows, [row("holds"), row("fails")])
    said = "Of 4 predicted cells 3 hold, 0 fail and 1 are unclear; of 1 broken on purpose 1 fail, as they must."
    assert found.headline == said
    assert (
        "1 of 2 trained variants are as good as fixed and not better (within 2 points); fails: adap_pos."
        in found.details[1]
    )
    calm = verdict.of_predictions([row("holds")], [row("holds")])
    assert calm.headline == "Of 1 predicted cells 1 hold, 0 fail and 0 are unclear."
    assert calm.details[1].startswith("On null, where nothing dynamic can help, 1 of 1 trained variants are as good")


LABEL = HOSTILE.replace(";", "")
"""As far as a label gets: with the separator of labels in it a record is refused (test_escapes.py)."""


def test_hostile_text_stays_text(tmp_path, monkeypatch):
    def labelled(record):
        return record | {"made": record["made"] | {"labels": [LABEL]}}

    found, folder, made = found_in(tmp_path, monkeypatch, description=f"A scale {HOSTILE}")
    for path in sorted(Path("results/evaluate").rglob("record.json")):
        change(path, labelled)
    found = full(findings.find(found.study, runs.read(found.study)))
    for row in found.claims:
        row |= {"claim": HOSTILE, "reason": HOSTILE, "variant": HOSTILE}
    text = build.document(found, folder, made)
    read = Reader(text)
    assert not [one for one in read.found if "onerror" in one.of]
    assert len(read.all("script")) == 2
    assert any(HOSTILE in one.text for one in read.all("p"))
    assert any(one.text == HOSTILE for one in read.all("td"))
    (data,) = [one.text for one in read.all("script") if one.of.get("id") == "data"]
    assert not set("<>&\u2028") & set(data)
    json.loads(data)


def test_a_drawing_that_is_too_large_is_shown_as_its_picture(tmp_path, monkeypatch):
    _, folder, _ = found_in(tmp_path, monkeypatch)
    assert build._figure(folder / "figures", "learning_curves")["source"].startswith("data:image/svg+xml;base64,")
    monkeypatch.setattr(build, "LARGEST_SVG", 100)
    one = build._figure(folder / "figures", "learning_curves")
    kind, _, content = one["source"].partition(";base64,")
    assert kind == "data:image/png"
    assert base64.b64decode(content) == (folder / "figures" / "learning_curves.png").read_bytes()
    assert "selection picked" in one["about"]


def test_the_page_is_a_document_that_a_screen_reader_can_follow(built):
    read = built.read
    assert [one.of.get("lang") for one in read.all("html")] == ["en"]
    assert len(read.all("h1")) == 1
    assert [len(read.all(tag)) for tag in ("main", "header", "nav")] == [1, 1, 1]
    ids = [one.of["id"] for one in read.found if "id" in one.of]
    assert len(ids) == len(set(ids))
    for one in read.found:
        for key in ("aria-labelledby", "for"):
            assert key not in one.of or one.of[key] in [*ids, "lineage-title", "zoom-title"], one.of
        if one.tag == "a" and one.of["href"].startswith("#"):
            assert one.of["href"][1:] in ids
    assert len(read.all("caption")) == len(read.all("table"))
    assert all(one.of.get("scope") in ("col", "row") for one in read.all("th"))
    assert all(one.of.get("alt") for one in read.all("img"))
    levels = [int(one.tag[1]) for one in read.all("h1", "h2", "h3", "h4")]
    assert all(after <= before + 1 for before, after in pairwise(levels))


@pytest.mark.parametrize("theme", [0, 1])
def test_text_stands_out_from_what_is_behind_it(theme):
    style = (build.HERE / "page.css").read_text()
    pairs = re.findall(r"--([\w-]+): light-dark\((#[0-9a-f]{6}), (#[0-9a-f]{6})\)", style)
    colours = {name: both[theme] for name, *both in pairs}
    assert len(colours) == len(re.findall(r"--[\w-]+: light-dark", style)) > 10

    def luminance(colour):
        parts = [int(colour[n : n + 2], 16) / 255 for n in (1, 3, 5)]
        linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
        return sum(share * part for share, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))

    def contrast(one, other):
        high, low = sorted((luminance(colours[one]), luminance(colours[other])), reverse=True)
        return (high + 0.05) / (low + 0.05)

    tones = ("good", "bad", "open", "low", "none")
    wanted = [(text, back) for text in ("ink", "muted", "link", *tones) for back in ("page", "card")]
    wanted += [(tone, f"{tone}-back") for tone in tones] + [("ink", "bad-back")]
    low = {pair: contrast(*pair) for pair in wanted if contrast(*pair) < 4.5}
    assert not low


def test_columns_that_are_empty_throughout_are_left_out(tmp_path, monkeypatch):
    found, *_ = found_in(tmp_path, monkeypatch, regimes=[{"kind": "full"}])
    views = tables.views(full(found), lambda row: [])
    assert "k" not in [column.title for column in views["results"].columns]


def test_what_is_one_value_throughout_is_said_once_and_takes_no_column():
    columns = [tables.Column(name, tables.plain(name)) for name in ("backbone", "variant", "metric")]
    rows = [(n, {"backbone": "t5", "variant": name, "metric": ""}) for n, name in enumerate(("fixed", "adap_pos"), 2)]
    view = tables._view("x", "X", "x.csv", "About.", columns, rows, lambda row: [0])
    assert [column.title for column in view.columns] == ["variant"]
    assert view.about == "About. Throughout: backbone t5."
    assert [[text for text, _ in texts] for _, _, texts in view.rows] == [["fixed"], ["adap_pos"]]
    one = tables._view("x", "X", "x.csv", "About.", columns, rows[:1], lambda row: [0])
    assert [column.title for column in one.columns] == ["backbone", "variant"]


def trained(collapsed, steps=10, metric="accuracy"):
    return {"metric": metric, "steps": steps, "collapsed": collapsed}


def test_collapse_is_said_of_what_was_trained_alone():
    assert verdict.of_collapse([trained("1/1", steps=0), trained("0/3"), trained("2/3", metric="f1a")]) is None
    assert verdict.of_collapse([trained("1/3"), trained("0/3")]).startswith("Of 2 trained numbers 1 hold a collapsed")
    assert verdict.of_collapse([trained("1/3"), trained("3/3")]).startswith("Of 2 trained numbers 2 hold a collapsed")
    assert verdict.of_collapse([trained("3/3"), trained("1/1")]).startswith(
        "All of the 2 trained numbers are collapsed"
    )


def test_backbones_that_a_scale_lacks_are_one_reason():
    rows = [{"kind": "cell", "verdict": "not run", "reason": f"the scale has no backbone {name}"} for name in "abca"]
    assert "because none was run (the scale has no backbone a, b, c)." in verdict.of_claims(rows).headline
    rows[0]["reason"] = "evaluations are missing"
    assert "no backbone b; and 2 more" in verdict.of_claims(rows).headline


def test_whether_a_dynamic_prompt_helps_is_said_first():
    """Controls, broken variants and what learns no choice are not counted, nor is what has no number."""
    names = ["fixed", "lora", "adap_pos", "adap_ins_pos", "adap_ins_vec", "adap_ins_pos-shuffled"]
    broken = {"position": "instance", "switches": ["backwards"]}
    study = small_study([*names, "turned"], {"turned": broken})

    def row(variant, difference, p, half=0.03):
        limits = {"low": difference - half, "high": difference + half} if half else {"low": None, "high": None}
        return {"variant": variant, "difference": difference, "p_holm": p} | limits

    others = [row("lora", -0.5, 0.0), row("adap_ins_pos-shuffled", 0.6, 0.0), row("turned", -0.7, 0.0)]
    assert comparisons.in_words(study, others) is None
    own = [row("adap_pos", 0.04, 0.01), row("adap_ins_pos", -0.012, 0.05), row("adap_ins_vec", -0.1, 0.04, half=None)]
    none = {"variant": "adap_pos", "difference": None, "p_holm": None, "low": None, "high": None}
    assert comparisons.in_words(study, [*others, *own, none]) == (
        "Of 3 comparisons of a dynamic prompt with fixed 1 are better and 1 worse (p < 0.05 after Holm's correction). "
        "The differences go from -10.0 to +4.0 points; their 95 % intervals from -4.2 to +7.0."
    )
