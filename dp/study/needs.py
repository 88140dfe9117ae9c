"""What the variants of a scale need of a backbone, held against what was found when it was fetched."""

import json
from typing import Any

from dp.errors import UserError
from dp.jobs import record
from dp.paths import backbone as folder_of
from dp.study import grid
from dp.study.study import UNION, Study, head_of, length_of
from dp.study.variants import LearnedBy, Prompted
from dp.tasks.model import load, template


def check_fetched(study: Study) -> None:
    """`check` of every backbone that is here as params.yaml wants it; the others are checked once they are."""
    for backbone in study.scale.backbones:
        folder, asked = folder_of(backbone), json.loads(json.dumps(grid.backbone_config(study, backbone)))
        if (folder / "record.json").is_file():
            found = record.read(folder)
            if found["asked"] == asked and "lacks" in found["made"]:
                check(study, backbone)


def check_tasks(study: Study) -> None:
    """Raises UserError for a task that there is none of, or that is not meant for a backbone's family."""
    for task in study.tasks:
        for backbone in study.scale.backbones:
            template(load(task), study.params.backbones[backbone].family)


def check(study: Study, backbone: str) -> None:
    """Raises UserError where a fetched backbone cannot do what some variants of the scale need: which, why, and how on.

    What it can do stands in its record and what is needed in the scale, so another scale makes no download stale.
    """
    for capability, why in _found(backbone)["lacks"].items():
        stopped = [name for name in study.variants_on(backbone) if capability in needed(study, backbone, name)]
        if stopped:
            linear = "give it `head: linear` in params.yaml, " if capability == "word scores" else ""
            raise UserError(
                f"Backbone '{backbone}' cannot do {capability} ({why}), and these variants need it: "
                f"{', '.join(stopped[:5])}{f' and {len(stopped) - 5} more' if len(stopped) > 5 else ''}. All others "
                f"work: put these under without.{backbone} in workflow/scales/{study.scale_name}.yaml, {linear}or "
                "choose another backbone."
            )


def needed(study: Study, backbone: str, variant: str) -> set[str]:
    """Of word scores, lengths, prefixes and lora, what the runs of a variant need beside plain text."""
    if study.is_majority(variant):
        return set()
    definition = study.definition(variant)
    found = {"word scores"} if head_of(study, backbone, variant) == "verbalizer" else set()
    if not isinstance(definition, Prompted):
        return found | {"p_tuning_v2": {"prefixes"}, "lora": {"lora"}}.get(definition.baseline, set())
    learned = isinstance(definition.length, LearnedBy) or definition.length in ("task", "instance")
    return found | ({"lengths"} if learned and "fillers" not in grid.switches(study, variant) else set())


def check_positions(study: Study, backbone: str, task: str, longest: int) -> None:
    """Raises UserError where the longest input of a task and a variant's prompt exceed the backbone's positions."""
    limit, scale = _found(backbone)["max_positions"], study.scale
    for variant in study.variants_on(backbone) if limit is not None else []:
        if study.is_majority(variant):
            continue
        switches, vectors = grid.switches(study, variant), _vectors(study, variant, task)
        prompted = (scale.max_tokens if "padded_inputs" in switches else longest) + vectors
        if max(prompted, scale.max_tokens if "padded_feature" in switches else 0) > limit:
            shorter = f"Set max_tokens in workflow/scales/{study.scale_name}.yaml to {limit - vectors} or less, shorten"
            raise UserError(
                f"Task '{task}' has inputs of {longest} tokens (max_tokens is {scale.max_tokens}), variant '{variant}' "
                f"adds {vectors} vectors, and backbone '{backbone}' has {limit} positions. "
                f"{shorter if limit > vectors else 'Shorten'} the prompt, or choose another backbone."
            )


def _found(backbone: str) -> dict[str, Any]:
    made: dict[str, Any] = record.read(folder_of(backbone))["made"]
    if "lacks" not in made:
        raise UserError(
            f"{folder_of(backbone)}: was fetched by an earlier version, which did not find out what the backbone can "
            f"do. Fetch it again: python -m dp fetch-backbone --backbone {backbone}"
        )
    return made


def _vectors(study: Study, variant: str, task: str) -> int:
    definition, settings = study.definition(variant), study.scale.baselines.p_tuning_v2
    if isinstance(definition, Prompted):
        return length_of(study, definition)
    if definition.baseline != "p_tuning_v2":
        return 0
    return max(settings.lengths.get(name, settings.length) for name in (task, UNION))
