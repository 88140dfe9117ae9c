"""The grid: which runs a scale asks for, and the resolved configuration of each one."""

from dataclasses import replace
from typing import Any

from dp.errors import UserError
from dp.jobs.job import Cell
from dp.prompts.released import RANDOM_RANGE
from dp.study import protocols, search
from dp.study.params import Multitask, Part
from dp.study.study import NO_FOLDER, UNION, Catalogue, Study, head_of, init_of, length_of, training_of
from dp.study.variants import Baseline, Control, Prompted
from dp.training.trials import applied


def regimes(study: Study) -> list[tuple[str, Part]]:
    """(regime as it is spelled, part of the grid), in the scale's order."""
    return [(name, regime) for regime in study.scale.regimes for name in regime.names]


def cells(study: Study) -> list[Cell]:
    """All evaluated runs of the scale. What draws nothing (majority, zero-shot) has one run, under seed 0."""
    return [
        Cell(backbone, name, task, variant, seed)
        for backbone in study.scale.backbones
        for name, regime in regimes(study)
        for task in study.tasks_in(regime)
        for variant in study.variants_on(backbone, regime)
        for seed in (study.scale.seeds if is_trained(study, variant) else [0])
    ]


def training(study: Study, cell: Cell) -> Cell | None:
    """The training that an evaluated cell shows: of the controlled variant, of the union of tasks, or its own."""
    if not is_trained(study, cell.variant):
        return None
    definition = study.params.variants[cell.variant]
    if isinstance(definition, Control):
        cell = replace(cell, variant=definition.control_of)
    return replace(cell, task=UNION) if cell.parsed_regime.is_union else cell


def trainings(study: Study) -> list[Cell]:
    """All trained runs of the scale that are evaluated."""
    return list(dict.fromkeys(found for cell in cells(study) if (found := training(study, cell))))


def trials(study: Study, cell: Cell) -> list[Cell]:
    """The trials of a training's variant; none without a search."""
    plan = study.scale.search
    return [replace(cell, seed=plan.seed, trial=trial) for trial in range(plan.trials)] if plan else []


def sources(study: Study, cell: Cell) -> dict[str, Cell]:
    """Factor -> the training whose frozen choice this one starts from. A trial starts from the first training seed."""
    others = study.params.variants[cell.variant].sources
    seed = cell.seed if cell.trial is None else study.scale.seeds[0]
    return {factor: replace(cell, variant=other, seed=seed, trial=None) for factor, other in others.items()}


def needed_trainings(study: Study) -> list[Cell]:
    """Every training that the scale runs: those that are evaluated and, under a search, their trials."""
    found = trainings(study)
    tried = {cell.variant_path: cell for cell in found}
    return found + [trial for cell in tried.values() for trial in trials(study, cell)]


def together(study: Study, cell: Cell) -> list[Cell]:
    """The trainings that one job makes, this one among them: of its variant, some seeds or some trials, in their order.

    Alone is what does not only read the backbone, and what has several starts.
    """
    scale = study.scale
    size = scale.together.get(cell.backbone, 1)
    if size == 1 or not only_reads(study, cell.variant) or training_of(scale, _trained_as(study, cell)).starts > 1:
        return [cell]
    seeds = [replace(cell, seed=seed) for seed in scale.seeds]
    every = seeds if cell.trial is None else trials(study, cell)
    first = every.index(cell) // size * size
    return every[first : first + size]


def only_reads(study: Study, variant: str) -> bool:
    """Whether a variant's trainings pass a frozen backbone again and again, and draw no dropout in it."""
    definition = study.definition(variant)
    baseline = definition.baseline if isinstance(definition, Baseline) else None
    return baseline in (None, "p_tuning_v2") and "dropout" not in switches(study, variant)


def tasks_of(study: Study, cell: Cell) -> list[str]:
    """The tasks whose rows a training reads."""
    return study.tasks_in(_union(study, cell.regime)) if cell.task == UNION else [cell.task]


def is_trained(study: Study, variant: str) -> bool:
    """Whether a variant's numbers come from trained runs, its own or those it controls."""
    return study.definition(variant).is_trained


def needs_features(study: Study, variant: str) -> bool:
    """Whether runs of a variant read the cached instance features."""
    definition = study.definition(variant)
    return definition.reads_features or "instance" in learned(study, definition).values()


def learned(study: Study, definition: Prompted | Baseline) -> dict[str, str]:
    """Factor -> `task` or `instance`, for each choice that another variant learned and this one keeps frozen."""
    return {factor: study.params.variants[other].choices[factor] for factor, other in definition.sources.items()}


def pooling(study: Study, variant: str) -> str:
    """Which instance feature a variant reads: masked_mean, or padded_mean under the switch padded_feature."""
    return "padded_mean" if "padded_feature" in switches(study, variant) else "masked_mean"


def switches(study: Study, variant: str) -> list[str]:
    """The protocol's switches in force for a variant, with its own."""
    definition = study.params.variants[variant]
    if isinstance(definition, Control):
        extra = ["gumbel_at_evaluation"] if definition.noise else []
        return sorted({*switches(study, definition.control_of), *extra})
    own = definition.switches
    return protocols.in_force(study.params.protocols[study.scale.protocol], own, definition.model_dump())


def rows_config(study: Study | Catalogue, task: str) -> dict[str, Any]:
    """What decides the canonical rows of a task. Raises UserError where its folder is not set."""
    source = study.source_of(task)
    if source == "folder" and not study.params.folder:
        raise UserError(f"Task '{task}': {NO_FOLDER}.")
    return {"task": task, "source": source, "folder": study.params.folder if source == "folder" else None}


def backbone_config(study: Study | Catalogue, backbone: str) -> dict[str, Any]:
    """What decides the files of a backbone."""
    return study.params.backbones[backbone].model_dump(exclude={"seed_of"})


def backbone_threads(study: Study, backbone: str) -> int:
    """CPU threads of the job that gets a backbone: of its pre-training, where it has one."""
    source = study.params.backbones[backbone].source
    return source.pretraining.threads if source.kind == "planted" else 1


def tokens_config(study: Study, backbone: str, task: str) -> dict[str, Any]:
    """What decides the token ids of a task under a backbone, and its three splits."""
    as_released = "truncate_as_released" in study.params.protocols[study.scale.protocol]
    return {
        "backbone": backbone,
        "family": study.params.backbones[backbone].family,
        "head": study.params.backbones[backbone].head,
        "task": task,
        "source": study.source_of(task),
        "rows": study.scale.rows.model_dump(),
        "max_tokens": study.scale.max_tokens,
    } | ({"truncate_as_released": True} if as_released else {})


def features_config(study: Study, backbone: str, task: str, pooling: str) -> dict[str, Any]:
    """What decides the cached instance features."""
    return {
        "backbone": backbone,
        "head": study.params.backbones[backbone].head,
        "task": task,
        "pooling": pooling,
        "width": study.scale.max_tokens if pooling == "padded_mean" else None,
        "compute": study.scale.compute.model_dump(),
        "batch_size": study.scale.evaluation_batch_size,
    }


def run_config(study: Study, cell: Cell) -> dict[str, Any]:
    """The resolved configuration of one run: everything that decides its bytes besides its input files and the code.

    Without a search, or for a trial, it is final; otherwise the values that the search chose are merged in by the job.
    """
    scale, definition, own = study.scale, study.definition(cell.variant), study.params.variants[cell.variant]
    in_force = switches(study, cell.variant)
    trained = is_trained(study, cell.variant)
    config: dict[str, Any] = {
        "scale": study.scale_name,
        "backbone": cell.backbone,
        "family": study.params.backbones[cell.backbone].family,
        "backbone_head": study.params.backbones[cell.backbone].head,
        "head": head_of(study, cell.backbone, cell.variant),
        "random_weights": study.params.backbones[cell.backbone].source.kind == "random",
        "regime": cell.regime,
        "multitask": _multitask(study, cell.regime) if cell.parsed_regime.is_union and trained else None,
        "task": cell.task,
        "source": study.source if cell.task == UNION else study.source_of(cell.task),
        "variant": cell.variant,
        "definition": definition.model_dump(exclude={"budget"}),
        "learned": learned(study, definition),
        "control": own.model_dump() if isinstance(own, Control) else None,
        "seed": cell.seed,
        "protocol": scale.protocol,
        "switches": in_force,
        "max_tokens": scale.max_tokens,
        "prompt": _prompt(study, cell, definition, in_force),
        "choice": _choice(study, in_force) if search.applies("anneal", definition) else None,
        "baseline": _baseline(study, cell, definition),
        "training": _training(study, cell, in_force) if trained else None,
        "search": _search(study, definition) if trained else None,
        "trial": None,
        "evaluation_batch_size": scale.evaluation_batch_size,
        "compute": scale.compute.model_dump(),
    }
    if not scale.keep_models and config["definition"].get("baseline") == "finetune" and config["prompt"] is None:
        config["keep_model"] = False
    if cell.trial is not None:
        assert scale.search is not None
        setting = search.settings(scale.search, definition, cell.variant)[cell.trial]
        config = applied(config, setting) | {"trial": setting, "search": None}
    return config


def training_config(study: Study, cell: Cell) -> dict[str, Any]:
    """As `run_config`, of a run as it is trained: with whose passes it shares and how they are compiled, if so."""
    config, beside, compiling = run_config(study, cell), together(study, cell), study.scale.torch_compile
    if len(beside) > 1:
        config["together"] = [one.run.rpartition("/")[2] for one in beside]
    if compiling and only_reads(study, cell.variant):
        config["torch_compile"] = compiling.model_dump()
    return config


def _union(study: Study, name: str) -> Multitask:
    return next(part for part in study.scale.regimes if isinstance(part, Multitask) and name in part.names)


def _multitask(study: Study, name: str) -> dict[str, Any]:
    regime = _union(study, name)
    return {"alpha": regime.alpha, "cap": regime.cap, "tasks": study.tasks_in(regime)}


def _baseline(study: Study, cell: Cell, definition: Prompted | Baseline) -> dict[str, Any] | None:
    if not isinstance(definition, Baseline):
        return None
    match definition.baseline:
        case "p_tuning_v2":
            settings, task = study.scale.baselines.p_tuning_v2, UNION if cell.parsed_regime.is_union else cell.task
            return {"length": settings.lengths.get(task, settings.length), "init_std": settings.init_std}
        case "lora":
            return study.scale.baselines.lora.model_dump()
    return None


def _trained_as(study: Study, cell: Cell) -> str:
    """The variant that a cell's runs are trained as: its own, or the one it controls."""
    variant = study.params.variants[cell.variant]
    return variant.control_of if isinstance(variant, Control) else cell.variant


def _training(study: Study, cell: Cell, in_force: list[str]) -> dict[str, Any]:
    budget = training_of(study.scale, _trained_as(study, cell)).model_dump()
    if budget["starts"] == 1:
        budget = {key: value for key, value in budget.items() if key not in ("starts", "start_steps")}
    if budget["stop"] is None:
        del budget["stop"]
    times = study.definition(cell.variant).budget
    budget["updates_per_step"] = 1  # the temperature goes by the nominal steps of paper.md section 1
    if "update_every_micro_batch" in in_force:
        parts = budget["updates_per_step"] = budget["batch_size"] // budget["micro_batch_size"]
        budget["batch_size"] = budget["micro_batch_size"]
        times *= parts
    for key in ("steps", "start_steps", "evaluate_every", "checkpoint_every"):  # as many looks as any other
        if key in budget:
            budget[key] *= times
    if "stop" in budget:
        budget["stop"]["after"] *= times
    if _tunes_prompt_too(study.definition(cell.variant), in_force):
        budget["prompt_optimizer"] = study.scale.training.optimizer.model_dump()
    return budget


def _tunes_prompt_too(definition: Prompted | Baseline, in_force: list[str]) -> bool:
    finetunes = isinstance(definition, Baseline) and definition.baseline == "finetune"
    return finetunes and "prompt_beside_finetuning" in in_force


def _prompt(study: Study, cell: Cell, definition: Prompted | Baseline, in_force: list[str]) -> dict[str, Any] | None:
    """The settings of a soft prompt that its definition reads."""
    if isinstance(definition, Baseline) and not _tunes_prompt_too(definition, in_force):
        return None
    init = init_of(study.scale, _trained_as(study, cell)).model_dump()
    representation = definition.representation if isinstance(definition, Prompted) else "single"
    if "uniform_pools" in in_force and protocols.is_pool(representation):
        init |= {"kind": "uniform", "bound": RANDOM_RANGE}
    found = study.scale.prompt.model_dump() | {"length": length_of(study, definition), "init": init}
    if not definition.has_pool:
        del found["pool"]
    if representation != "residual":
        del found["bottleneck"]
    return found


def _choice(study: Study, in_force: list[str]) -> dict[str, Any]:
    forced = {"estimator": "straight_through"} if "straight_through" in in_force else {}
    return study.scale.choice.model_dump() | forced


def _search(study: Study, definition: Prompted | Baseline) -> dict[str, Any] | None:
    """The search with the axes that mean something to a definition."""
    if study.scale.search is None:
        return None
    plan = study.scale.search.model_dump()
    space = {axis: values for axis, values in plan["space"].items() if search.applies(axis, definition)}
    return plan | {"space": space}
