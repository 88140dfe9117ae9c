"""What a scale, or a part of it, costs: jobs, work, disk and download, by backbone."""

from collections.abc import Iterable
from dataclasses import dataclass, field, fields, replace
from functools import cache, partial

from dp.classifier.classifier_config import ClassifierConfig
from dp.jobs.job import Cell, Job
from dp.planning.row_lengths import inputs_of
from dp.planning.shapes import Downloads, Shape, downloads_of, shape_of, wheel
from dp.planning.work import Work, featuring, loading, scoring, selections, texts_of, tuned, updates
from dp.study import grid
from dp.study.study import Study
from dp.tasks.model import HubRows, PackageRows, load
from dp.training.loop_config import LoopConfig
from dp.training.state import MOST_STEPS

STEP_BYTES = 200
"""Of a line of steps.jsonl in recorded runs: 190 to 350."""
CHOICE_BYTES = 3
"""What each candidate of a split or a length adds to it."""
PREDICTION_BYTES = 200
"""Of a line of predictions.jsonl in recorded runs: 195 to 230."""
ROW_BYTES = 160
"""Of a row of rows.json."""
TEXT_BYTES = 5.0
"""Of a token in a task's canonical rows, whose texts are not truncated."""
FILES_BYTES = 16_000
"""record.json, config.json, metrics.json, checksums and the log of one job."""
TOKENIZER_BYTES = 2_500_000


@dataclass(frozen=True)
class Cost:
    """Counts, work of the device, and bytes; costs add up."""

    trainings: int = 0
    evaluations: int = 0
    others: int = 0  # downloads, tokenizations, features, choices of a search
    work: Work = field(default_factory=Work)
    device_jobs: int = 0
    joined: int = 0  # trainings that another one's job makes too
    shared: float = 0.0  # backbones, rows, tokens, features
    models: float = 0.0  # tuned.safetensors of fine-tuned runs: whole models
    runs: float = 0.0  # tuned.safetensors of the others, logs of steps, predictions, records
    downloads: Downloads = frozenset()

    def __add__(self, other: "Cost") -> "Cost":
        sums = {one.name: getattr(self, one.name) + getattr(other, one.name)
                for one in fields(Cost) if one.name != "downloads"}  # fmt: skip
        return Cost(**sums, downloads=self.downloads | other.downloads)

    @property
    def jobs(self) -> int:
        return self.trainings + self.evaluations + self.others - self.joined

    @property
    def download(self) -> float:
        """Bytes; what several read, such as one wheel, comes once."""
        return sum(size for _, size in self.downloads)

    @property
    def disk(self) -> float:
        return self.shared + self.models + self.runs


class Counter:
    """Costs of a study's cells; what many runs share is counted once for a set of them."""

    def __init__(self, study: Study) -> None:
        self.study = study
        self.shapes: dict[str, Shape] = {
            name: shape_of(name, study.params.backbones[name]) for name in study.scale.backbones
        }
        self.inputs = cache(partial(inputs_of, study))  # of a backbone and a task
        self._of_training, self._of_evaluation = cache(self._training), cache(self._evaluation)

    def of_job(self, job: Job) -> Cost:
        """Of features, a training (of all that share its passes, where it is the one that makes them) or an evaluation,
        by itself.
        """
        if job.command == "features":
            return self._features(job.asked["backbone"], job.asked["task"], job.asked["pooling"])
        assert job.cell is not None
        if job.command == "evaluate":
            return self._of_evaluation(job.cell)
        return sum((self._of_training(one) for one in grid.together(self.study, job.cell)), Cost())

    def cost(self, evaluated: Iterable[Cell]) -> dict[str, Cost]:
        """Backbone -> cost of these evaluations and of all that they need. Rows of the tasks, which backbones share,
        are not in it: see `rows`.
        """
        cells = list(evaluated)
        trained = needed(self.study, cells)
        return {name: self._of(name, [c for c in cells if c.backbone == name],
                               [c for c in trained if c.backbone == name])
                for name in self.study.scale.backbones if any(c.backbone == name for c in cells)}  # fmt: skip

    def rows(self, evaluated: Iterable[Cell]) -> Cost:
        """Of the rows of the tasks; tokens of the first backbone stand for their length."""
        total = Cost()
        tasks = {task: cell for cell in evaluated for task in grid.tasks_of(self.study, cell)}
        for task, cell in tasks.items():
            one = self.inputs(cell.backbone, task)
            text = sum(sum(rows) * one.tokens[split] for split, rows in one.counts.items()) * TEXT_BYTES
            total += Cost(others=1, shared=text, downloads=self._rows_from(task, text))
        return total

    def _rows_from(self, task: str, text: float) -> Downloads:
        """What a task's rows come in; `text`: their bytes, which stand for what is not known."""
        match getattr(load(task).sources, self.study.source_of(task)):
            case PackageRows(package=package):
                return wheel(package, text)
            case HubRows(repo=repo):
                return frozenset({(f"datasets/{repo} {task}", text)})
        return frozenset()

    def _of(self, backbone: str, evaluated: list[Cell], trained: list[Cell]) -> Cost:
        study, shape = self.study, self.shapes[backbone]
        total = Cost(others=1, shared=4.0 * shape.parameters + TOKENIZER_BYTES,
                     downloads=downloads_of(study.params.backbones[backbone], shape))  # fmt: skip
        tasks = dict.fromkeys(task for cell in (*evaluated, *trained) for task in grid.tasks_of(study, cell))
        for task in tasks:
            total += self._tokens(backbone, task)
        features = dict.fromkeys(
            (task, grid.pooling(study, cell.variant))
            for cell in (*evaluated, *trained)
            if grid.needs_features(study, cell.variant)
            for task in grid.tasks_of(study, cell)
        )
        for task, pooling in features:
            total += self._features(backbone, task, pooling)
        if study.scale.search:
            total += Cost(others=len({cell.variant_path for cell in trained if cell.trial is None}))
        seed = study.scale.seeds[0]  # all cost the same; trials need not
        for cell in trained:
            first = grid.together(study, cell)[0]
            total += self._of_training(replace(cell, seed=first.seed))
            total += Cost() if cell == first else Cost(joined=1, device_jobs=-1)
        for cell in evaluated:
            total += self._of_evaluation(replace(cell, seed=seed))
        return total

    def _tokens(self, backbone: str, task: str) -> Cost:
        one = self.inputs(backbone, task)
        ids = sum(sum(rows) * (4 * one.tokens[split] + ROW_BYTES) for split, rows in one.counts.items())
        return Cost(others=1, shared=ids + FILES_BYTES)

    def _features(self, backbone: str, task: str, pooling: str) -> Cost:
        one, scale, shape = self.inputs(backbone, task), self.study.scale, self.shapes[backbone]
        width = scale.max_tokens if pooling == "padded_mean" else None
        work = featuring(shape, one, scale.evaluation_batch_size * scale.max_tokens, width)
        stored = 4.0 * shape.hidden * sum(sum(rows) for rows in one.counts.values())
        return Cost(others=1, device_jobs=1, work=work, shared=stored + FILES_BYTES)

    def _training(self, cell: Cell) -> Cost:
        study, shape = self.study, self.shapes[cell.backbone]
        config = LoopConfig.model_validate(grid.training_config(study, cell))
        tasks = grid.tasks_of(study, cell)
        made = tuned(shape, config, [len(load(task).label_names) for task in tasks])
        texts = texts_of(cell, config, {task: self.inputs(cell.backbone, task) for task in tasks})
        work = updates(shape, config, made, texts.train, starts=True) + selections(shape, config, made, texts)
        work += loading(shape, config) * (1 / len(config.together))
        chosen = made.vectors + 1 if config.choice else 0
        steps = config.training.steps
        lines = steps // max(1, steps // MOST_STEPS)  # as dp/training/state.py thins a log
        logs = lines * (STEP_BYTES + CHOICE_BYTES * chosen) + FILES_BYTES
        whole = config.definition.baseline == "finetune"
        kept = 4.0 * made.kept
        if whole and not study.scale.keep_models and config.prompt is None:
            whole, kept = False, 0.0
        return Cost(trainings=1, device_jobs=1, work=work, models=kept if whole else 0.0,
                    runs=logs + (0.0 if whole else kept))  # fmt: skip

    def _evaluation(self, cell: Cell) -> Cost:
        study, shape = self.study, self.shapes[cell.backbone]
        config = ClassifierConfig.model_validate(grid.run_config(study, cell))
        made = tuned(shape, config, [len(load(cell.task).label_names)])
        one = self.inputs(cell.backbone, cell.task)
        rows, width = one.rows("validation", cell.parsed_regime), config.input_width or one.tokens["validation"]
        return Cost(evaluations=1, device_jobs=1, runs=float(rows * PREDICTION_BYTES + FILES_BYTES),
                    work=scoring(shape, config, made, rows, width) + loading(shape, config))  # fmt: skip


def needed(study: Study, evaluated: Iterable[Cell]) -> list[Cell]:
    """Every training that these evaluations need: theirs, those whose choices they take over, and trials."""
    found: dict[Cell, None] = {}
    todo = [training for cell in evaluated if (training := grid.training(study, cell))]
    while todo:
        cell = todo.pop(0)
        if cell in found:
            continue
        found[cell] = None
        todo += grid.sources(study, cell).values()
        if cell.trial is None:
            todo += grid.trials(study, cell)
    return list(found)
