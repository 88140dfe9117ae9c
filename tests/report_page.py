"""A synthetic report as a page, with the rows that other parts of the report add."""

from types import SimpleNamespace

from synthetic_results import predictions, study_in, write_results

from dp import files, paths
from dp.report import findings
from dp.report.page import build
from dp.results import jobs, runs
from dp.study.contents import report_files

HOSTILE = """<script>window.hacked = 1</script>"><img src=x onerror="window.hacked = 2"></script>'&amp;\u2028"""
DRAWING = """<svg xmlns="http://www.w3.org/2000/svg" width="{0}" height="120" viewBox="0 0 {0} 120">
<script>parent.hacked = 3</script><style>h1 {{display: none}}</style><rect id="data" width="40" height="60"/></svg>"""
"""A figure as any other, with things in it that must not reach the page."""
ACCURACY = {"majority": 0.60, "fixed": 0.61, "adap_pos": 0.75, "adap_ins_pos": 0.9}


def lines_of(cell):
    """Another accuracy for each task and seed; `fixed` sits at the majority rate on beta."""
    if cell.variant == "majority":
        return [line | {"prediction": 0} for line in predictions(1.0)]
    on_alpha = 0.06 if cell.task == "alpha" else 0.0
    return predictions(ACCURACY[cell.variant] + on_alpha + 0.02 * cell.seed, cell.seed, lambda i: i % 5)


def found_in(root, monkeypatch, **changes):
    """(findings, folder with figures, jobs) of a scale of two tasks, two seeds and four variants."""
    scale = {"seeds": [0, 1], "variants": list(ACCURACY), "regimes": [{"kind": "full", "variants": list(ACCURACY)},
             {"kind": "fewshot", "k": [8], "sample_seeds": [0, 1], "variants": ["fixed", "adap_ins_pos"]}]}  # fmt: skip
    study = study_in(root, monkeypatch, **(scale | changes))
    write_results(study, lines_of, metric_names=("accuracy", "macro_f1"))
    folder = paths.report(study.scale_name)
    for number, name in enumerate(report_files(study)):
        files.write_text(folder / name, DRAWING.format(100 + 50 * number) if name.endswith(".svg") else name)
    return findings.find(study, runs.read(study)), folder, jobs.read(study)


def with_rows(found, **rows):
    """The findings with other rows of claims, comparisons, aggregates, optimism or prices."""
    return SimpleNamespace(**(vars(found) | rows))


def row_of(found, **values):
    (row,) = [row for row in found.results if all(row[key] == value for key, value in values.items())]
    return row


def claims(found):
    """One claim for each verdict; those that were judged name the runs of a row of results.csv."""
    made_from = row_of(found, task="alpha", variant="adap_ins_pos", regime="full", metric="accuracy")
    verdicts = ("reproduced", "differs", "unclear", "collapsed", "not run", "not comparable", "not run")
    return [
        {"claim": f"claim {n}", "table": "A_position" if n % 2 else "C_prompt", "kind": "cell" if n < 6 else "gain",
         "backbone": "T5-LM-Base", "variant": "adap_ins_pos", "task": "alpha" if n < 4 else "beta", "regime": "full",
         "k": None, "protocol": "controlled", "metric": "accuracy", "value": 70.0 + n,
         "ours": 96.5 if n < 4 else None, "low": 95.0 if n < 4 else None, "high": 98.0 if n < 4 else None,
         "difference": 26.5 - n if n < 4 else None, "tolerance": 0.5, "seeds": 2 if n < 4 else 0, "verdict": verdict,
         "reason": "this scale has no such backbone" if n >= 4 else "", "paper_collapsed": "no", "labels": "",
         "runs": made_from["runs"] if n < 4 else ""}
        for n, verdict in enumerate(verdicts)
    ]  # fmt: skip


def comparison(found):
    of = {"task": "beta", "regime": "full", "metric": "accuracy"}
    one, base = row_of(found, variant="adap_pos", **of), row_of(found, variant="fixed", **of)
    return {key: one[key] for key in ("backbone", "regime", "k", "task", "variant", "n", "seeds", "labels")} | {
        "against": "fixed", "difference": one["mean"] - base["mean"], "low": 0.05, "high": 0.2, "p": 0.00041,
        "p_holm": 0.0012, "test": "sign flip", "runs": f"{one['runs']};{base['runs']}"}  # fmt: skip


def full(found):
    """Every table that the page has, but predictions."""
    one = comparison(found)
    where = {key: one[key] for key in ("backbone", "regime", "k", "variant", "labels", "runs", "seeds")}
    aggregate = where | {"against": "fixed", "tasks": "alpha;beta", "mean": 0.78, "mean_low": 0.7, "mean_high": 0.8,
                         "iqm": 0.77, "iqm_low": 0.7, "iqm_high": 0.8, "improvement": 0.97, "improvement_low": 0.9,
                         "improvement_high": 1.0}  # fmt: skip
    optimism = where | {"task": "beta", "rows": "selection", "evaluations": 3, "best": 0.8, "last": 0.7,
                        "chosen": 0.75, "best_minus_last": 0.1, "best_minus_chosen": 0.05, "low": 0.0,
                        "high": 0.1}  # fmt: skip
    price = one | {"switches": "dropout;rotation", "with": 0.7, "without": 0.75}
    return with_rows(found, claims=claims(found), comparisons=[one], aggregates=[aggregate], optimism=[optimism],
                     prices=[price])  # fmt: skip


def page_in(root, monkeypatch, found_of=full, **changes):
    """(findings, the page's path); the page lies where a report's would."""
    found, folder, made = found_in(root, monkeypatch, **changes)
    shown = found_of(found)
    path = root / folder / "report.html"
    path.write_text(build.document(shown, folder, made), encoding="utf-8", newline="\n")
    return shown, path
