"""`params.yaml` and its scale, read and checked against each other before any job starts."""

import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError, model_validator

from dp import yaml12
from dp.closed import Closed, Name, explain, nearest, once, read_yaml, validated
from dp.errors import UserError, shown
from dp.study.params import Init, Multitask, Params, Part, PromptOverride, Scale, Training
from dp.study.prediction_file import FACTORS, Predictions
from dp.study.prediction_file import check as check_predictions
from dp.study.prediction_file import read as read_predictions
from dp.study.protocols import BROKEN, in_force, is_pool
from dp.study.search import settings
from dp.study.variants import Baseline, Control, Prompted, Variant
from dp.tasks.model import Kind, source_kind

NO_FOLDER = (
    "folder: is not set; source 'folder' needs the path of the folder that holds the tasks' files: `folder=...` behind "
    "--config or --set, or in params.yaml"
)
UNION = "all"
"""Where other runs have a task, a multitask training has this."""


class Study(Closed):
    """`params.yaml` together with the scale that it names: everything a grid is made from."""

    params: Params
    scale_name: Name
    scale: Scale
    predictions: Predictions | None = None

    @property
    def source(self) -> Kind:
        """Of the scale's tasks, but of those that have another one only (`source_of`)."""
        return self.params.source or self.scale.source

    def source_of(self, task: str) -> Kind:
        return source_kind(task, self.source)

    @property
    def tasks(self) -> list[str]:
        """The scale's tasks of the source, or those of them that `params.yaml` names."""
        return self._named(self.scale.tasks[self.source])

    @property
    def part_of_tasks(self) -> str | None:
        """In words: which of the scale's tasks these are, where they are not all."""
        every = self.scale.tasks[self.source]
        without = [task for task in every if task not in self.tasks]
        return f"{len(self.tasks)} of {len(every)} tasks, without {', '.join(without)}" if without else None

    @property
    def whole(self) -> "Study":
        """The same with all tasks of the scale, for where its results lie: its folder may not be set."""
        params = self.params.model_copy(update={"tasks": None, "folder": self.params.folder or "."})
        return self.model_copy(update={"params": params})

    def _named(self, tasks: list[str]) -> list[str]:
        return [task for task in tasks if self.params.tasks is None or task in self.params.tasks]

    @property
    def models(self) -> list[str]:
        """The scale's backbones as tables call them: pre-training seeds of one model have one row."""
        return list(dict.fromkeys(map(self.params.model_of, self.scale.backbones)))

    def variants_on(self, backbone: str, regime: Part | None = None) -> list[str]:
        """The scale's variants, or a regime's, but those that the scale leaves out on this backbone."""
        left_out = self.scale.without.get(backbone, [])
        named = regime.variants if regime and regime.variants else self.scale.variants
        return [name for name in named if name not in left_out]

    def tasks_in(self, regime: Part) -> list[str]:
        return self._named(regime.tasks) if regime.tasks else self.tasks

    def definition(self, variant: str) -> Prompted | Baseline:
        """What a variant's runs are made by: its own definition, or that of the variant it controls."""
        found = self.params.variants[variant]
        return self.definition(found.control_of) if isinstance(found, Control) else found

    def is_control(self, variant: str) -> bool:
        """Whether a variant shows runs of another one under a changed condition."""
        return isinstance(self.params.variants[variant], Control)

    def is_majority(self, variant: str) -> bool:
        return self.definition(variant).is_majority

    @model_validator(mode="after")
    def agrees(self) -> "Study":
        _check_names(self)
        if self.source not in self.scale.tasks:
            raise ValueError(f"source: '{self.source}' has no tasks in this scale; it has {sorted(self.scale.tasks)}")
        _check_tasks(self)
        if not self.params.folder and any(self.source_of(task) == "folder" for task in self.tasks):
            raise ValueError(NO_FOLDER)
        _check_repeats(self)
        _check_protocol(self)
        _check_temperature(self)
        if UNION in self.tasks:
            raise ValueError(f"tasks: '{UNION}' is the name of the union of the tasks; rename that task")
        _check_regimes(self)
        for name in self.scale.overrides:
            training_of(self.scale, name)
            _check_init(self, name)
        for backbone in self.scale.backbones:
            for name in self.variants_on(backbone):
                _check_variant(self, backbone, name)
        _check_predictions(self)
        return self


def head_of(study: Study, backbone: str, variant: str) -> str:
    """The head of a variant's runs on a backbone: its own, or the backbone's."""
    definition = study.definition(variant)
    if isinstance(definition, Baseline) and definition.baseline == "linear_probe":
        return "linear"
    return definition.head or study.params.backbones[backbone].head


def learned_factors(study: Study, variant: str) -> set[str]:
    """Which of split, length and pool a variant's runs learned to choose."""
    return {FACTORS[what] for what in study.definition(variant).choices}


def training_of(scale: Scale, variant: str) -> Training:
    """The scale's training budget with the variant's overrides merged in, validated."""
    changes = {key: value for key, value in scale.overrides.get(variant, {}).items() if key != "prompt"}
    if "stop" in changes:
        raise ValueError(
            f"overrides.{variant}.stop: the stopping rule is the scale's, equal for every variant; take it out"
        )
    merged = _merge(scale.training.model_dump(), changes)
    try:
        return Training.model_validate(merged)
    except ValidationError as error:
        raise ValueError(f"overrides.{variant}.{explain(error, Training)}") from None


def init_of(scale: Scale, variant: str) -> Init:
    """How the variant's prompt begins: prompt.init with its overrides merged in, validated."""
    changes = scale.overrides.get(variant, {}).get("prompt", {})
    merged = _merge({"init": scale.prompt.init.model_dump()}, changes) if isinstance(changes, dict) else changes
    try:
        return PromptOverride.model_validate(merged).init
    except ValidationError as error:
        raise ValueError(f"overrides.{variant}.prompt.{explain(error, PromptOverride)}") from None


def length_of(study: Study, variant: Variant) -> int:
    """P of a soft prompt."""
    own = variant.length if isinstance(variant, Prompted) else None
    return own if isinstance(own, int) else study.scale.prompt.length


def load(root: Path = Path(), settings: dict[str, Any] | None = None) -> Study:
    """Read and check `params.yaml` and its scale. `settings` replaces top-level keys (`--config`, `--set`).

    Raises UserError naming file, key, value and what is allowed.
    """
    catalogue = load_catalogue(root, settings)
    params, (scale, scale_path) = catalogue.params, _scale(root, catalogue.params)
    predicted = read_predictions(root / scale.predictions) if scale.predictions else None
    parts = {"params": params, "scale_name": params.scale, "scale": scale, "predictions": predicted}
    return validated(Study, parts, scale_path)


@dataclass(frozen=True)
class Catalogue:
    """What downloads depend on: `params.yaml` alone. Its scale is read for the source of rows, where none is named."""

    params: Params
    root: Path

    def source_of(self, task: str) -> Kind:
        return source_kind(task, self.source)

    @property
    def source(self) -> Kind:
        """Raises UserError where the scale does not load."""
        return self.params.source or _scale(self.root, self.params)[0].source


def load_catalogue(root: Path = Path(), settings: dict[str, Any] | None = None) -> Catalogue:
    """`params.yaml` without its grid; otherwise as `load`."""
    path = root / "params.yaml"
    return Catalogue(validated(Params, read_yaml(path) | (settings or {}), path), root)


def _scale(root: Path, params: Params) -> tuple[Scale, Path]:
    folder = root / "workflow" / "scales"
    path = folder / f"{params.scale}.yaml"
    if not path.is_file():
        known = sorted(p.stem for p in folder.glob("*.yaml"))
        raise UserError(
            f"{root / 'params.yaml'}: scale: '{params.scale}' has no file {path}; the scales are {known}"
            f"{nearest(params.scale, known)}."
        )
    return validated(Scale, read_yaml(path), path), path


def settings_of(words: Iterable[str], option: str) -> dict[str, Any]:
    """Key -> value of `key=value` words, values in YAML. Raises UserError naming the option (`--set`) and the word."""
    found = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise UserError(f"{option} {shown(word)}: write it as key=value, for example {option} scale=smoke.")
        found[key] = yaml12.parse(value, f"{option} {shown(word)}")
    return found


def _check_names(study: Study) -> None:
    params, scale = study.params, study.scale
    catalogues: list[tuple[str, list[str], dict[str, Any]]] = [
        ("backbones", scale.backbones, params.backbones),
        ("variants", scale.variants, params.variants),
        ("overrides", list(scale.overrides), params.variants),
        ("protocol", [scale.protocol], params.protocols),
        ("without", list(scale.without), params.backbones),
        ("together", list(scale.together), params.backbones),
        ("without", [name for names in scale.without.values() for name in names], params.variants),
    ]
    for key, names, known in catalogues:
        for name in names:
            if name not in known:
                raise ValueError(f"{key}: '{name}' is not defined in params.yaml{nearest(name, known)}")


def _check_tasks(study: Study) -> None:
    """Tasks that `params.yaml` names are the scale's; a union of some of them would be another training."""
    if study.params.tasks is None:
        return
    known = study.scale.tasks[study.source]
    once("params.yaml's tasks", study.params.tasks)
    for task in study.params.tasks:
        if task not in known:
            raise ValueError(f"params.yaml's tasks: '{task}' is not in this scale's tasks{nearest(task, known)}")
    if any(isinstance(regime, Multitask) for regime in study.scale.regimes):
        raise ValueError(
            "params.yaml's tasks: this scale trains on the union of its tasks, so it takes all; leave it null"
        )


def _check_regimes(study: Study) -> None:
    """Every part of the grid lies within the scale, and holds the variants that its own ones need."""
    scale, unions = study.scale, []
    tasks = scale.tasks[study.source]
    for number, regime in enumerate(scale.regimes):
        where = f"regimes.{number}"
        for key, names, known in (("tasks", regime.tasks, tasks), ("variants", regime.variants, scale.variants)):
            for name in names or []:
                if name not in known:
                    raise ValueError(f"{where}.{key}: '{name}' is not in this scale's {key}{nearest(name, known)}")
        for variant in regime.variants or []:
            for other in study.params.variants[variant].needs:
                if other not in regime.variants:  # type: ignore[operator]
                    raise ValueError(f"{where}.variants: '{variant}' needs runs of '{other}'; add it there")
        if isinstance(regime, Multitask):
            unions += regime.names
            if len(study.tasks_in(regime)) < 2:
                raise ValueError(f"{where}: multitask needs at least two tasks, and has {study.tasks_in(regime)}")
    for key, names, parts in (
        ("tasks", study.tasks, [regime.tasks for regime in scale.regimes]),
        ("variants", scale.variants, [regime.variants for regime in scale.regimes]),
    ):
        used = {name for part in parts for name in part or names}
        for name in names:
            if name not in used:
                raise ValueError(
                    f"{key}: '{name}' is in no regime, so it would never run; add it to one or take it out"
                )
    for name in unions:
        if unions.count(name) > 1:
            raise ValueError(f"regimes: '{name}' stands there twice; give each union a `name` of its own")


def _check_protocol(study: Study) -> None:
    protocol = study.params.protocols[study.scale.protocol]
    for switch in BROKEN:
        if switch in protocol:
            raise ValueError(
                f"protocols.{study.scale.protocol}: {switch} breaks choices on purpose; name it in a variant"
            )


def _check_init(study: Study, name: str) -> None:
    """An override of the prompt's beginning must be one that decides something."""
    init_of(study.scale, name)
    if "prompt" not in study.scale.overrides[name]:
        return
    variant, where = study.params.variants[name], f"overrides.{name}.prompt"
    own = [] if isinstance(variant, Control) else variant.switches
    switches = in_force(study.params.protocols[study.scale.protocol], own, variant.model_dump())
    finetunes = isinstance(variant, Baseline) and variant.baseline == "finetune"
    if not isinstance(variant, Prompted) and not (finetunes and "prompt_beside_finetuning" in switches):
        raise ValueError(f"{where}: '{name}' has no prompt of its own; leave it out")
    if isinstance(variant, Prompted) and "uniform_pools" in switches and is_pool(variant.representation):
        raise ValueError(f"{where}.init: the switch uniform_pools decides it; leave out one of the two")


def _check_temperature(study: Study) -> None:
    scale = study.scale
    forced = "straight_through" in study.params.protocols[scale.protocol]
    if scale.search and scale.search.space.anneal and not forced and scale.choice.estimator != "straight_through":
        raise ValueError(
            f"search.space.anneal: the temperature is straight_through's, and choice.estimator is "
            f"{scale.choice.estimator}; leave it out, or choose that estimator"
        )


def _check_repeats(study: Study) -> None:
    """What stands twice would be run once and counted twice."""
    scale = study.scale
    lists: dict[str, list[Any]] = {
        "backbones": scale.backbones,
        f"tasks.{study.source}": study.tasks,
        "variants": scale.variants,
        "seeds": scale.seeds,
    }
    for key, names in lists.items():
        once(key, names)
    for backbone in scale.backbones:
        model = study.params.model_of(backbone)
        first = next(name for name in scale.backbones if study.params.model_of(name) == model)
        if set(scale.without.get(backbone, [])) != set(scale.without.get(first, [])):
            raise ValueError(
                f"without: '{first}' and '{backbone}' are pre-training seeds of '{model}', which have one row: leave "
                "the same variants out on both"
            )
    seen = set()
    for regime in scale.regimes:
        runs = itertools.product(regime.names, study.tasks_in(regime), regime.variants or scale.variants)
        for name, task, variant in runs:
            if (name, task, variant) in seen:
                raise ValueError(f"regimes: '{name}' has {variant} on {task} twice; take one out")
            seen.add((name, task, variant))
    known = {UNION, *(task for tasks in scale.tasks.values() for task in tasks)}
    for task in scale.baselines.p_tuning_v2.lengths:
        if task not in known:
            hint = nearest(task, known)
            raise ValueError(f"baselines.p_tuning_v2.lengths: '{task}' is no task of this scale{hint}")


def _check_predictions(study: Study) -> None:
    if study.predictions is None:
        return
    evaluated = {
        (name, task, variant)
        for backbone in study.scale.backbones
        for regime in study.scale.regimes
        for name in regime.names
        for task in study.tasks_in(regime)
        for variant in study.variants_on(backbone, regime)
    }
    null = study.predictions.null_task
    for backbone, regime in itertools.product(study.scale.backbones, study.scale.regimes):
        there = study.variants_on(backbone, regime) if null.regime in regime.names else []
        if null.task in study.tasks_in(regime) and there and null.against not in there:
            raise ValueError(
                f"{study.scale.predictions}: null_task.against: '{null.against}' is not run on backbone '{backbone}', "
                "so nothing there could be compared with it"
            )
    on = {variant for _, _, variant in evaluated}
    try:
        check_predictions(study.predictions, evaluated, {variant: learned_factors(study, variant) for variant in on})
    except ValueError as error:
        raise ValueError(f"{study.scale.predictions}: {error}") from None


def _check_variant(study: Study, backbone: str, name: str) -> None:
    """Raises ValueError where a variant cannot run on a backbone, with the reason and a remedy."""
    variant, own_head = study.params.variants[name], study.params.backbones[backbone].head
    where, leave = f"variants.{name} on backbone '{backbone}'", f"put it under without.{backbone}"
    needed = {"control_of": variant.control_of} if isinstance(variant, Control) else variant.sources
    for key, other in needed.items():
        if other not in study.variants_on(backbone):
            raise ValueError(f"{where}: {key} needs runs of '{other}', which this scale does not have; add it")
    if isinstance(variant, Control):
        return _check_control(study, name, variant)
    if "truncate_as_released" in variant.switches:
        raise ValueError(
            f"variants.{name}.switches: truncate_as_released decides the tokens of a task, which all variants share; "
            "name it in a protocol"
        )
    _check_broken(name, variant)
    if not variant.is_trained and variant.budget > 1:
        raise ValueError(f"variants.{name}.budget: nothing is trained; leave it out")
    if isinstance(variant, Baseline) and variant.head and variant.baseline in ("majority", "linear_probe"):
        raise ValueError(f"variants.{name}.head: means nothing to baseline {variant.baseline}; leave it out")
    if isinstance(variant, Baseline) and variant.baseline == "zero_shot" and "linear" in (own_head, variant.head):
        raise ValueError(f"{where}: a linear head is untrained, so there is nothing to evaluate at zero shot; {leave}")
    if variant.head == "verbalizer" and own_head == "linear":
        raise ValueError(f"{where}: head verbalizer needs a backbone whose own head is the verbalizer; {leave}")
    if isinstance(variant, Prompted):
        _check_prompt(study, name, variant)
        if init_of(study.scale, name).kind == "label_words" and own_head == "linear":
            raise ValueError(f"{where}: prompt.init label_words needs a verbalizer, and its head is linear; {leave}")
    if study.scale.search and variant.is_trained:
        try:
            settings(study.scale.search, variant, name)
        except UserError as error:
            raise ValueError(str(error)) from None


def _check_broken(name: str, variant: Prompted | Baseline) -> None:
    """What breaks a choice on purpose needs one, drawn by a policy or, of a feature, made for each instance."""
    drawn = {kind for factor, kind in variant.choices.items() if factor != "pool"}
    for switch in BROKEN:
        if switch in variant.switches and not (
            "instance" in variant.choices.values() if "feature" in switch else drawn
        ):
            raise ValueError(f"variants.{name}.switches: {switch} breaks a choice, and this variant makes none")


def _check_prompt(study: Study, name: str, variant: Prompted) -> None:
    length = length_of(study, variant)
    if isinstance(variant.position, int) and variant.position > length:
        raise ValueError(f"variants.{name}.position: split {variant.position} is outside 0..{length}")
    for factor, other in variant.sources.items():
        source = study.params.variants.get(other)
        if source is None or factor not in source.choices:
            raise ValueError(f"variants.{name}.{factor}.learned_by: '{other}' does not learn a {factor}")
        if length_of(study, source) != length:
            raise ValueError(f"variants.{name}.{factor}.learned_by: '{other}' has another prompt length than {length}")
        if name in _needs(study, other):
            raise ValueError(f"variants.{name}.{factor}.learned_by: '{other}' needs '{name}' itself; break the circle")


def _check_control(study: Study, name: str, control: Control) -> None:
    target = study.params.variants.get(control.control_of)
    choices = target.choices if target else {}
    if control.instances == "own" and not control.noise:
        raise ValueError(f"variants.{name}: says neither instances: shuffled nor noise: true, so it controls nothing")
    if control.instances == "shuffled" and "instance" not in choices.values():
        raise ValueError(f"variants.{name}: '{control.control_of}' chooses nothing per instance, so nothing to shuffle")
    if control.noise and not {"position", "length"} & set(choices):
        raise ValueError(f"variants.{name}: '{control.control_of}' draws no choice in training, so it has no noise")


def _needs(study: Study, name: str) -> set[str]:
    """A variant and all whose runs its training reads."""
    found: set[str] = set()
    todo = [name]
    while todo:
        one = todo.pop()
        if one not in found:
            found.add(one)
            variant = study.params.variants.get(one)
            todo += variant.needs if variant else []
    return found


def _merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        nested = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = _merge(base[key], value) if nested else value
    return merged
