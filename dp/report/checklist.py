"""reproducibility.md: the questions of a reproducibility checklist, answered from the records of a scale alone."""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from math import fsum
from pathlib import Path
from statistics import median
from typing import Any

from dp.escapes import markdown as escaped
from dp.jobs.made import Made
from dp.report import markdown
from dp.results import steps
from dp.results.groups import by_cell, grouped
from dp.results.jobs import UNKNOWN, as_number, as_text, by_jobs, packages, said, surroundings
from dp.results.labels import spelled_out
from dp.results.runs import Run
from dp.results.table import Row
from dp.study.study import Study
from dp.training.trials import applied, best


def document(study: Study, table: list[Row], runs: list[Run], made: list[Made]) -> str:
    """The Markdown text, from the rows of results.csv, the runs and the records of all jobs."""
    sections = {
        "Which infrastructure was it run on?": _infrastructure(made),
        "Which code was run?": _code(made),
        "How long did it run, and with how much memory?": _cost(study, made),
        "How many parameters were tuned?": _trainable(study, made),
        "Which hyperparameters were used?": _hyperparameters(made),
        "Which seeds were used?": _seeds(made),
        "How were settings searched for?": _search(made),
        "Which data were used?": _data(made),
        "Which backbones were used?": _backbones(made),
        "Which split was used for what?": _splits(runs),
        "By which rule was a step selected, and out of how many?": _selection(runs),
        "Which runs collapsed or failed?": _trouble(runs, made),
        "What must a reader know of the numbers?": _labels(table),
    }
    head = (
        f"Answers about {len(runs):,} evaluations and all {len(made):,} jobs before this report, taken from the record "
        f"that each job wrote. Where a record holds no such fact, it says: {UNKNOWN}."
    )
    parts = [f"# Reproducibility of scale {study.scale_name}", head]
    for question, answer in sections.items():
        parts += [f"## {question}", *answer]
    return "\n\n".join(parts) + "\n"


def _infrastructure(made: list[Made]) -> list[str]:
    facts = {"host": "host", "device": "device", "CPU threads of a job": "threads",
             "processors of the machine": "processor_count", "platform": "platform", "Python": "python"}  # fmt: skip
    on_gpu = [job for job in made if job.said("with", "device") not in (None, "cpu")]
    rows = surroundings(made, facts) + surroundings(on_gpu, {"CUDA": "cuda"})
    return [markdown.table(["fact", "value", "jobs"], rows),
            markdown.table(["package", "version", "jobs"], packages(made))]  # fmt: skip


def _code(made: list[Made]) -> list[str]:
    def commit(job: Made) -> str | None:
        head, dirty = job.said("with", "commit"), job.said("with", "dirty")
        changes = {True: "with uncommitted changes", False: "without uncommitted changes"}.get(dirty)
        return f"{head} {changes or f'(uncommitted changes: {UNKNOWN})'}" if head else None

    digests = []
    for command, members in grouped(made, lambda job: job.command).items():
        digests += [[command, *line] for line in by_jobs(members, lambda job: job.code)]
    return [
        markdown.table(["commit", "jobs"], by_jobs(made, commit)),
        markdown.table(["command", "digest of the code it runs", "jobs"], digests),
        *_adopted(made),
    ]


def _adopted(made: list[Made]) -> list[str]:
    """What stands beside the records of artifacts that other code made."""
    of_kind = grouped((job.adoption for job in made if job.adoption), lambda one: (one.evidence.kind, str(one)))
    if not of_kind:
        return []
    rows = [[kind, f"{len(members):,}", said] for (kind, said), members in of_kind.items()]
    return ["Some results were made by other code, and adopted by this one:",
            markdown.table(["kind", "jobs", "evidence"], rows)]  # fmt: skip


def _cost(study: Study, made: list[Made]) -> list[str]:
    by_command = [[command, *_spent(members)] for command, members in grouped(made, lambda job: job.command).items()]
    by_command.append(["all", *_spent(made)])
    rows = [
        [backbone, variant, command, *_spent(of_command)]
        for (backbone, variant), members in _by_variant(study, made).items()
        for command in ("train", "evaluate")
        if (of_command := _of(command, members))
    ]
    head = ["jobs", "total, s", "median, s", "peak memory, MiB", "GPU peak, MiB"]
    return ["Wall time; the largest memory of any job.", markdown.table(["command", *head], by_command),
            markdown.table(["backbone", "variant", "command", *head], rows)]  # fmt: skip


def _spent(members: list[Made]) -> list[str]:
    seconds = _known(members, "wall_seconds")
    memory, gpu = _known(members, "peak_memory_mib"), _known(members, "gpu_peak_memory_mib")
    no_gpu = all(job.said("with", "device") == "cpu" for job in members)
    return [
        f"{len(members):,}",
        f"{fsum(seconds):,.2f}" if seconds else UNKNOWN,
        f"{median(seconds):,.2f}" if seconds else UNKNOWN,
        f"{max(memory):,}" if memory else UNKNOWN,
        f"{max(gpu):,}" if gpu else "no GPU" if no_gpu else UNKNOWN,
    ]


def _known(members: list[Made], fact: str) -> list[Any]:
    return [value for job in members if (value := job.said("made", fact)) is not None]


def _trainable(study: Study, made: list[Made]) -> list[str]:
    trained = _of("train", made)
    if not trained:
        return ["No variant of this scale is trained."]
    rows = []
    for (backbone, variant), members in _by_variant(study, trained).items():
        counts = sorted(set(_known(members, "trainable_parameters")))
        rows.append([backbone, variant, ", ".join(f"{count:,}" for count in counts) or UNKNOWN])
    return [markdown.table(["backbone", "variant", "trainable parameters (each count that occurs)"], rows)]


NOT_SETTINGS = ("scale", "backbone", "family", "backbone_head", "random_weights", "regime", "task", "source", "variant",
                "definition", "learned", "control", "seed", "search", "trial")  # fmt: skip


def _hyperparameters(made: list[Made]) -> list[str]:
    """A parameter's most frequent value, and the variants that had another."""
    trained = _plain(made)
    if not trained:
        return ["No variant of this scale is trained."]
    found: dict[str, list[tuple[str, str]]] = defaultdict(list)
    for job in trained:
        for key, value in flat({key: one for key, one in _resolved(job).items() if key not in NOT_SETTINGS}):
            found[key].append((as_text(value), job.said("asked", "variant")))
    rows = []
    for key, pairs in found.items():
        (usual, _), *others = sorted(Counter(value for value, _ in pairs).items(), key=lambda one: (-one[1], one[0]))
        runs = Counter(variant for _, variant in pairs)
        named = [f"{value} ({', '.join(_share(pairs, value, runs))})" for value, _ in others]
        rows.append([key, usual, "; ".join(named)])
    words = (
        "As resolved for each training, with what a search chose for it; a variant that has no such parameter is not "
        "counted."
    )
    return [words, markdown.table(["parameter", "value", "elsewhere"], rows)]


def _share(pairs: list[tuple[str, str]], value: str, runs: Counter[str]) -> list[str]:
    """The variants with a value, and how many of their runs where not all."""
    count = Counter(variant for one, variant in pairs if one == value)
    return [name if n == runs[name] else f"{name} in {n:,} of {runs[name]:,} runs" for name, n in count.items()]


def _resolved(job: Made) -> dict[str, Any]:
    asked, setting = job.said("asked"), job.said("made", "setting")
    return applied(asked, setting) if asked.get("search") and setting else asked


def flat(value: dict[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    """(dotted key, value) of each leaf; a part that is None means nothing to the run."""
    for key, one in value.items():
        if isinstance(one, dict):
            yield from flat(one, f"{prefix}{key}.")
        elif one is not None:
            yield prefix + key, one


def _seeds(made: list[Made]) -> list[str]:
    plain = _plain(made)
    made_up = [job for job in made if job.command == "fetch-task" and job.said("made", "source") == "made_up"]
    random = [job for job in made if job.said("made", "source") in ("random", "planted")]
    few = [job for job in plain if _sample(job) is not None]
    kinds: dict[str, tuple[list[Made], Callable[[Made], Any]]] = {
        "training": (plain, said("asked", "seed")),
        "trials of the search": (_trials(made), said("asked", "seed")),
        "settings drawn by the search": (_of("choose", made), said("asked", "seed")),
        "few-shot sample": (few, _sample),
        "split of train, and rows drawn from a split": (_of("tokenize", made), said("asked", "rows", "seed")),
        "rows of a made-up task": (made_up, said("made", "seed")),
        "weights of a random or planted backbone": (random, said("made", "seed")),
    }
    rows = [[name, *line] for name, (members, seed) in kinds.items() for line in by_jobs(members, seed)]
    return [markdown.table(["seed of", "value", "jobs"], rows)]


def _of(command: str, made: list[Made]) -> list[Made]:
    return [job for job in made if job.command == command]


def _plain(made: list[Made]) -> list[Made]:
    """Trainings that are no trial of a search."""
    return [job for job in _of("train", made) if job.cell and job.cell.trial is None]


def _trials(made: list[Made]) -> list[Made]:
    return [job for job in _of("train", made) if job.cell and job.cell.trial is not None]


def _sample(job: Made) -> int | None:
    return job.cell.parsed_regime.sample if job.cell else None


def _search(made: list[Made]) -> list[str]:
    chosen = _of("choose", made)
    if not chosen:
        return ["There was no search: every variant ran once per seed, with the parameters above."]
    trials = {job.folder: job for job in _trials(made)}
    keys = {"method": ["method"], "trials of each variant": ["trials"], "seed": ["seed"]}
    keys |= {f"values of {axis}": ["space", axis] for job in chosen for axis in job.said("asked", "space") or {}}
    rows = [[name, *line] for name, path in keys.items() for line in by_jobs(chosen, said("asked", *path))]
    best = sum(_is_best(job, trials) for job in chosen)
    words = (
        f"In {best:,} of {len(chosen):,} searches the chosen trial is the one with the highest accuracy on the rows it "
        "selected by (of equal ones that with the lowest loss, then the earliest)."
    )
    picked = [[*job.folder.parts[3:7], str(job.said("made", "chosen")), as_text(job.said("made", "setting"))]
              for job in chosen]  # fmt: skip
    return [
        markdown.table(["search", "value", "searches"], rows),
        words,
        markdown.table(["backbone", "regime", "task", "variant", "trial", "setting"], picked),
    ]


def _is_best(job: Made, trials: dict[Path, Made]) -> bool:
    """Whether the chosen trial has the highest selection accuracy, to judge by the records of all its trials."""
    tried = [
        trials[job.folder.with_name(f"trial{n}")].said("made", "selection") for n in range(job.said("made", "trials"))
    ]
    known = [one for one in tried if isinstance(one, dict)]  # accuracy None: the trial overflowed
    return len(known) == len(tried) and best(known) == job.said("made", "chosen")


def _data(made: list[Made]) -> list[str]:
    tasks = _of("fetch-task", made)
    origin = [
        [job.said("asked", "task"), as_text(job.said("asked", "version")), _origin(job), _pinned(job), _counts(job)]
        for job in tasks
    ]
    parts = [
        markdown.table(["task", "version", "source", "revision", "rows (of each class)"], origin),
        _source_files(tasks, "task"),
    ]
    rows = []
    for job in _of("tokenize", made):
        about = [job.said("asked", "backbone"), job.said("asked", "task")]
        for split in job.said("made", "rows") or {}:
            used, there, cut = (as_number(job.said("made", key, split)) for key in ("rows", "available", "truncated"))
            rows.append([*about, split, used, there, _classes(job.said("made", "label_counts", split)), cut])
    head = ["backbone", "task", "split", "rows used", "rows there are", "of each class", "inputs cut"]
    return [*parts, markdown.table(head, rows)]


def _origin(job: Made) -> str:
    """Where the bytes came from: the kind of source, and its name."""
    kind = job.said("made", "source")
    name = next((found for key in ("repo", "package", "folder") if (found := job.said("made", key))), None)
    return UNKNOWN if kind is None else f"{kind}: {name}" if name else str(kind)


def _pinned(job: Made) -> str:
    """Revision and commit of a hub's repository; other sources are pinned by the digests of their files."""
    revision, commit = job.said("made", "revision"), job.said("made", "commit")
    if job.said("made", "source") != "hub":
        return "" if job.said("made", "source") else UNKNOWN
    return f"{revision or UNKNOWN}, commit {commit}" if commit else UNKNOWN


def _counts(job: Made) -> str:
    rows = job.said("made", "rows") or {}
    return "; ".join(f"{split} {count:,} ({_classes(job.said('made', 'label_counts', split))})"
                     for split, count in rows.items()) or UNKNOWN  # fmt: skip


def _classes(counts: list[int] | None) -> str:
    return " / ".join(f"{count:,}" for count in counts) if counts else UNKNOWN


def _source_files(fetched: list[Made], what: str) -> str:
    rows = []
    for job in fetched:
        found = job.said("made", "files")
        own = job.folder.parts[3]
        rows += [[own, name, digest] for name, digest in sorted((found or {}).items())]
        rows += [[own, "none: the project makes it" if found == {} else UNKNOWN, ""]] if not found else []
    return markdown.table([what, "source file", "sha256"], rows)


def _backbones(made: list[Made]) -> list[str]:
    fetched = _of("fetch-backbone", made)
    trained = _of("train", made)
    rows = []
    for job in fetched:
        name = job.folder.parts[3]
        own = [one for one in trained if one.cell and one.cell.backbone == name]
        by_state = grouped(own, lambda one: one.said("made", "backbone_frozen"))
        words = [f"{word} in {', '.join(dict.fromkeys(one.said('asked', 'variant') for one in by_state[state]))}"
                 for state, word in FROZEN.items() if state in by_state]  # fmt: skip
        keys = [("asked", "family"), ("made", "dtype"), ("made", "outputs", "model.safetensors")]
        facts = [as_text(job.said(*path)) for path in keys]
        parameters = as_number(job.said("made", "parameters"))
        rows.append([name, _origin(job), _pinned(job), parameters, *facts, "; ".join(words) or "no training"])
    head = ["backbone", "source", "revision", "parameters", "family", "stored as", "sha256 of model.safetensors",
            "frozen"]  # fmt: skip
    return [markdown.table(head, rows), _source_files(fetched, "backbone")]


FROZEN = {True: "frozen", False: "tuned", None: UNKNOWN}


def _splits(runs: list[Run]) -> list[str]:
    rows = []
    for about, members in grouped(runs, lambda run: (run.cell.backbone, run.cell.regime, run.cell.task)).items():
        trained = [run for run in members if run.trained]
        rows.append([*about, _distinct(_rows_of(run, "train", "train") for run in trained),
                     _distinct(_rows_of(run, "selection", _selected_by(run)) for run in trained),
                     _distinct(f"{run.metrics['split']}: {run.metrics['n']:,}" for run in members)])  # fmt: skip
    carved = sorted({as_text(run.tokens["made"].get("selection_split")) for run in runs})
    return [
        f"The split called selection: {escaped('; '.join(carved))}.",
        markdown.table(["backbone", "regime", "task", "trained on", "selected by", "reported on"], rows),
    ]


def _rows_of(run: Run, role: str, split: str | None) -> str:
    """`train: 86 (43 / 43)`: the rows of the task itself."""
    assert run.trained
    counts = (run.trained["made"].get("label_counts") or {}).get(run.cell.task, {}).get(role)
    return f"{split or UNKNOWN}: {sum(counts):,} ({_classes(counts)})" if counts else f"{split or UNKNOWN}: {UNKNOWN}"


def _selected_by(run: Run) -> str | None:
    """The split whose rows picked the step: the reported one under the switch select_on_reported."""
    assert run.trained
    switches = run.trained["asked"].get("switches")
    if switches is None:
        return None
    return run.metrics["split"] if "select_on_reported" in switches else "selection"


def _selection(runs: list[Run]) -> list[str]:
    shown = list({run.training: run for run in runs if run.trained}.values())
    if not shown:
        return ["No variant of this scale is trained, so no step was selected."]
    rules = [as_text((run.trained["made"].get("selection") or {}).get("rule")) for run in shown if run.trained]
    rows = []
    for about, members in grouped(shown, lambda run: (run.cell.backbone, run.cell.regime, _own(run))).items():
        trials = _distinct(as_number(run.trained["made"].get("trials")) for run in members if run.trained)
        looks = _distinct(str(len(steps.evaluations(run))) for run in members)
        at = _distinct(_selected_by(run) or UNKNOWN for run in members)
        rows.append([*about, as_number(len(members)), looks, at, trials])
    head = ["backbone", "regime", "variant", "trainings", "looks of each", "at split", "settings tried"]
    return [
        markdown.table(["rule", "trainings"], [[rule, f"{count:,}"] for rule, count in sorted(Counter(rules).items())]),
        "Looks are the evaluations on the rows to select by that a training made, of which the rule took one.",
        markdown.table(head, rows),
    ]


def _own(run: Run) -> str:
    """The variant whose training a run shows: not a control's own."""
    assert run.trained
    return str(run.trained["asked"].get("variant", run.cell.variant))


def _trouble(runs: list[Run], made: list[Made]) -> list[str]:
    status = Counter(as_text(job.said("made", "status")) for job in made)
    words = "; ".join(f"{name}: {count:,} of {len(made):,} jobs" for name, count in sorted(status.items()))
    rows = []
    for key, members in by_cell(runs).items():
        found = [run for run in members if run.metrics["collapsed"]]
        if found:
            which = ", ".join(_draw(run) for run in found)
            rows.append([key.backbone, key.regime, key.task, key.variant,
                         f"{len(found):,} of {len(members):,} ({which})",
                         _distinct(as_text(run.metrics.get("collapsed_because")) for run in found)])  # fmt: skip
    collapsed = sum(bool(run.metrics["collapsed"]) for run in runs)
    head = ["backbone", "regime", "task", "variant", "collapsed runs", "because"]
    over = [[run.folder.as_posix(), run.overflow] for run in runs if run.overflow]
    return [
        f"How jobs ended: {words}. A failed job leaves no record, and there is no report before all have ended well.",
        f"Collapsed, majority baselines among them: {collapsed:,} of {len(runs):,} evaluations.",
        *([markdown.table(head, rows)] if rows else []),
        *([f"Ended in an overflow and in no number, and so in no mean, interval or comparison: {len(over):,} of "
           f"{len(runs):,} evaluations.", markdown.table(["evaluation", "because"], over)] if over else []),
    ]  # fmt: skip


def _draw(run: Run) -> str:
    """What tells it from the others of its cell."""
    seed = f"seed{run.cell.seed}"
    return seed if run.model == run.cell.backbone else f"{run.cell.backbone} {seed}"


def _labels(table: list[Row]) -> list[str]:
    return ["\n".join(f"- {escaped(text)}." for text in spelled_out(table)) or "No number carries a label."]


def _by_variant(study: Study, made: list[Made]) -> dict[tuple[str, str], list[Made]]:
    """Runs by backbone and variant, in the order of the scale."""
    groups = grouped((job for job in made if job.cell), lambda job: (job.cell.backbone, job.cell.variant))  # type: ignore[union-attr]
    backbones, variants = study.scale.backbones, study.scale.variants
    order = sorted(groups, key=lambda key: (backbones.index(key[0]), variants.index(key[1])))
    return {key: groups[key] for key in order}


def _distinct(texts: Iterable[str]) -> str:
    return "; ".join(dict.fromkeys(texts)) or "no training"
