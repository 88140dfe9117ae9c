"""What makes the price of a scale: its hours on an assumed H100, and those with one thing done otherwise."""

from typing import NamedTuple

from dp.jobs.job import Cell
from dp.planning import speeds
from dp.planning.costs import Cost, Counter
from dp.planning.estimate import changed, stopped_at_once
from dp.study.study import Study
from dp.training.loop_config import TorchCompile


class Lever(NamedTuple):
    """hours: of an assumed H100 (`speeds.of_an_h100`), all else as the scale has it."""

    done: str
    hours: float


def levers(study: Study, cells: list[Cell]) -> list[Lever]:
    """The scale as it is, with all its steps; then a line for each thing that could be done otherwise.

    cells: the evaluated ones that are counted.
    """
    scale, dtype = study.scale, study.scale.compute.dtype
    found = [Lever("as it is, all steps made", _hours(study, cells, dtype))]
    other = "float32" if dtype == "bfloat16" else "bfloat16"
    found.append(Lever(f"the backbone in {other}", _hours(study, cells, other)))
    switches = study.params.protocols[scale.protocol]
    if "padded_inputs" not in switches:
        protocols = study.params.protocols | {scale.protocol: [*switches, "padded_inputs"]}
        padded = study.model_copy(update={"params": study.params.model_copy(update={"protocols": protocols})})
        found.append(Lever(f"every input padded to {scale.max_tokens} tokens", _hours(padded, cells, dtype)))
    for estimator, done in (("exact", "every candidate tried for each row"), ("straight_through", "one of them tried")):
        if estimator != scale.choice.estimator:
            choice = scale.choice.model_copy(update={"estimator": estimator})
            found.append(Lever(done, _hours(changed(study, choice=choice), cells, dtype)))
    batch, micro = scale.training.batch_size, scale.training.micro_batch_size
    for other_size in {8, batch} - {micro}:
        if batch % other_size == 0:
            budget = scale.training.model_copy(update={"micro_batch_size": other_size})
            found.append(
                Lever(f"micro-batches of {other_size} rows", _hours(changed(study, training=budget), cells, dtype))
            )
    seeds = len(scale.seeds)
    sharing = dict.fromkeys(scale.backbones, seeds)
    if scale.together != sharing and seeds > 1:
        found.append(Lever(f"the {seeds} seeds of a variant in shared passes, on every backbone",
                           _hours(changed(study, together=sharing), cells, dtype)))  # fmt: skip
    if scale.together:
        found.append(Lever("every run in passes of its own", _hours(changed(study, together={}), cells, dtype)))
    if scale.torch_compile:
        found.append(Lever("no pass compiled", _hours(changed(study, torch_compile=None), cells, dtype)))
    else:
        graphs = TorchCompile(mode="reduce-overhead")
        found.append(Lever("each pass one CUDA graph, without compiling it",
                           _hours(changed(study, torch_compile=graphs), cells, dtype)))  # fmt: skip
    if shortest := stopped_at_once(study):
        found.append(Lever("every training stopped as soon as its rule can", _hours(shortest, cells, dtype)))
    return found


def _hours(study: Study, cells: list[Cell], dtype: str) -> float:
    return speeds.of_an_h100(dtype).hours(sum(Counter(study).cost(cells).values(), Cost()))
