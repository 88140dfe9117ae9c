"""predictions.md: predicted beside measured, the null task, and learned beside planted."""

from collections.abc import Iterable
from operator import itemgetter

from dp.escapes import markdown as escaped
from dp.report import markdown
from dp.report.findings import Findings
from dp.report.markdown import Marked
from dp.results import null_task, predicted
from dp.results.groups import grouped
from dp.results.labels import spelled_out
from dp.results.predicted import OVERFLOWED
from dp.results.table import OVERFLOW, Row

HOW_TO_READ = """\
Numbers are percentages: mean [95 % interval] (predicted range) verdict; means and intervals are those of `results.csv`,
but sample seeds of few-shot stay apart. A prediction *holds* where the whole interval lies inside the range, *fails*
where it lies wholly outside, and is *unclear* otherwise: the runs are too few for their spread. `docs/predictions.md`
says why, and what the tests below are."""


def document(found: Findings, figures: Iterable[str]) -> str:
    """The Markdown text, from the rows of predictions.csv, null_task.csv and planted_choices.csv."""
    study, verdicts, null = found.study, found.predictions, found.null_task
    assert study.predictions
    task = study.predictions.null_task
    parts = [f"# Predictions of scale {study.scale_name}", _headline(verdicts, null), HOW_TO_READ]
    parts += ["\n".join(f"- {escaped(text)}." for text in spelled_out(verdicts))]
    sections = grouped(verdicts, itemgetter("backbone", "regime"))
    for (backbone, regime), rows in sections.items():
        parts += [f"## {backbone}, {regime}", _measured(rows)]
    for name, meaning in WORTH_A_LIST.items():
        listed = [row for row in verdicts if row["verdict"] == name and not row["broken"]]
        if name == OVERFLOWED and not listed:
            continue
        parts += [f"## {meaning}", "\n".join(map(_reason, listed)) or "Nothing."]
    title = f"Null task: is every variant as good as {task.against}, and none better, on {task.task}, {task.regime}?"
    parts += [f"## {title}", _null(null)]
    if broken := [row for row in verdicts if row["broken"]]:
        parts += ["## Broken on purpose", BROKEN, "\n".join(map(_judged, broken))]
    parts += ["## Learned against planted", CHOICES, _choices(found.planted_choices)]
    parts += [f"## {name}\n\n![{name}](figures/{name}.png)" for name in figures]
    return "\n\n".join(parts) + "\n"


WORTH_A_LIST = {"fails": "What fails", "unclear": "What is unclear", OVERFLOWED: "What ended in an overflow"}


def _headline(verdicts: list[Row], null: list[Row]) -> str:
    said = predicted.in_words(verdicts)
    intact = [row for row in verdicts if not row["broken"]]
    width = sum(row["predicted_high"] - row["predicted_low"] for row in intact) / len(intact)
    return (
        f"**{said[0].upper()}{said[1:]}{f'; {null_task.in_words(null)}' if null else ''}.** "
        f"The ranges are {100 * width:.0f} points wide on average. Were every true mean at an end of its range, about "
        f"{0.025 * len(intact):.1f} cells would be called failing by chance."
    )


def _measured(rows: list[Row]) -> str:
    tasks, lines = markdown.by_variant(
        rows, lambda row: Marked(f"{markdown.percent(row)} ({_range(row)}) {_marked(row)}")
    )
    return markdown.table(["variant", *tasks], lines, "l" + "r" * len(tasks))


def _marked(row: Row) -> Marked:
    return Marked(row["verdict"] if row["verdict"] == "holds" else f"**{row['verdict']}**")


def _range(row: Row) -> str:
    return f"predicted {100 * row['predicted_low']:.4g} to {100 * row['predicted_high']:.4g}"


def _reason(row: Row) -> str:
    where = f"{row['variant']} on {row['task']} ({row['backbone']}, {row['regime']})"
    return f"- {where}: {markdown.percent(row)}, {_range(row)} because {escaped(row['because']).rstrip('.')}."


BROKEN = (
    "Predicted to do what the intact variant does: a report that does not fail them could find nothing else either."
)


def _judged(row: Row) -> str:
    return f"- **{row['verdict']}**: {_reason(row)[2:]}"


def _null(rows: list[Row]) -> str:
    head = ["backbone", "variant", "runs", "mean", "difference", "better: p", "p, Holm", "same: p", "verdict"]
    lines = []
    for row in rows:
        numbers = [OVERFLOW, "", "", "", ""] if row["p"] is None else [
            f"{100 * row['mean']:.1f}",
            f"{100 * row['difference']:+.1f} [{100 * row['low']:+.1f}, {100 * row['high']:+.1f}]",
            *(f"{row[key]:.3f}" for key in ("p", "p_holm", "p_equivalent")),
        ]  # fmt: skip
        lines.append([row["backbone"], row["variant"], str(row["seeds"]), *numbers, _marked(row)])
    return markdown.table(head, lines, "llrrrrrrl")


CHOICES = """\
Total variation distance, 0 to 1, between what was chosen for one question (or task) and for another: the mean over
pairs and runs, with its 95 % interval over runs (or pre-trained backbones) where they differ, and how many runs are
above 0.8. *Planted* says whether the variant was predicted to tell them apart; the other variants that learn the factor
stand beside it."""


def _choices(rows: list[Row]) -> str:
    head, lines = ["backbone", "regime", "task", "factor", "variant", "planted", "distance", "runs above 0.8"], []
    for row in rows:
        interval = "" if row["low"] is None else f" [{row['low']:.2f}, {row['high']:.2f}]"
        lines.append([row["backbone"], row["regime"], row["task"], row["factor"], row["variant"], row["planted"],
                      f"{row['mean']:.2f}{interval}", f"{row['agree'] * row['seeds']:.0f}/{row['seeds']}"])  # fmt: skip
    return markdown.table(head, lines, "llllllrr")
