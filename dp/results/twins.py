"""Variants of a scale that differ in switches alone."""

from typing import Any

from dp.results.groups import grouped
from dp.results.runs import Run
from dp.study.grid import switches
from dp.study.study import Study, init_of, training_of


def twins(study: Study) -> dict[tuple[str, str], list[str]]:
    """(with, without) -> the switches that the first has in force and the second has not, sorted.

    Every pair of variants whose second one has a proper part of the switches of the first, and that are equal
    otherwise: definition, training budget and how the prompt begins. micro_batch_size may differ, since the gradients
    of micro-batches add up; only under update_every_micro_batch and clip_once_a_step does it mean anything. Controls
    train nothing, so they have none.
    """
    trained = [name for name in study.scale.variants if not study.is_control(name)]
    in_force = {name: set(switches(study, name)) for name in trained}
    alike = grouped(trained, lambda name: repr(_without_switches(study, name)))
    return {
        (one, other): sorted(in_force[one] - in_force[other])
        for group in alike.values()
        for one in group
        for other in group
        if in_force[one] > in_force[other]
    }


def paired(ones: list[Run], others: list[Run]) -> tuple[list[Run], list[Run]]:
    """The runs of either list whose backbone, sample of rows and seed the other has too, in the same order."""

    def drawn(run: Run) -> tuple[str, str, int]:
        return run.cell.backbone, run.cell.regime, run.cell.seed

    by_draw = {drawn(run): run for run in others}
    pairs = [(run, by_draw[drawn(run)]) for run in ones if drawn(run) in by_draw]
    return [run for run, _ in pairs], [run for _, run in pairs]


def _without_switches(study: Study, variant: str) -> tuple[dict[str, Any], ...]:
    definition = study.params.variants[variant].model_dump(exclude={"switches"})
    budget = training_of(study.scale, variant).model_dump(exclude={"micro_batch_size"})
    return definition, budget, init_of(study.scale, variant).model_dump()
