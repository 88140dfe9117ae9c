"""The grid: which runs a scale asks for, and the resolved configuration of each one."""

from dataclasses import dataclass
from typing import Any

from dp.params import Baseline, FewShot, Full, Prompted, Study, training_of


@dataclass(frozen=True, order=True)
class Cell:
    """One number-producing run."""

    backbone: str
    regime: str
    task: str
    variant: str
    seed: int

    @property
    def run(self) -> str:
        """The path of the run below results/<phase>/<scale>/."""
        return f"{self.backbone}/{self.regime}/{self.task}/{self.variant}/seed{self.seed}"


def regime_names(study: Study) -> list[str]:
    """`full` and `fewshot-k<k>-s<sample seed>`, in the order of the scale file."""
    names = []
    for regime in study.scale.regimes:
        match regime:
            case Full():
                names.append("full")
            case FewShot(k=ks, sample_seeds=seeds):
                names += [f"fewshot-k{k}-s{seed}" for k in ks for seed in seeds]
    return names


def tasks(study: Study) -> list[str]:
    return study.scale.tasks[study.source]  # type: ignore[index]


def cells(study: Study) -> list[Cell]:
    """All runs of the scale. A baseline that draws nothing (majority, zero-shot) has one run, under seed 0."""
    found = []
    for backbone in study.scale.backbones:
        for regime in regime_names(study):
            for task in tasks(study):
                for variant in study.scale.variants:
                    seeds = study.scale.seeds if is_trained(study, variant) else [0]
                    found += [Cell(backbone, regime, task, variant, seed) for seed in seeds]
    return found


def is_trained(study: Study, variant: str) -> bool:
    definition = study.params.variants[variant]
    return not (isinstance(definition, Baseline) and definition.baseline in ("majority", "zero_shot"))


def needs_backbone(study: Study, variant: str) -> bool:
    definition = study.params.variants[variant]
    return not (isinstance(definition, Baseline) and definition.baseline == "majority")


def needs_features(study: Study, variant: str) -> bool:
    definition = study.params.variants[variant]
    return isinstance(definition, Prompted) and definition.position == "instance"


def cell_of(study: Study, run: str) -> Cell:
    """The cell of a run path. Raises KeyError where the grid has no such run."""
    return {cell.run: cell for cell in cells(study)}[run]


def rows_config(study: Study, task: str) -> dict[str, Any]:
    """What decides the canonical rows of a task."""
    folder = study.params.folder if study.source == "folder" else None
    return {"task": task, "source": study.source, "folder": folder}


def backbone_config(study: Study, backbone: str) -> dict[str, Any]:
    """What decides the files of a backbone."""
    return study.params.backbones[backbone].model_dump()


def tokens_config(study: Study, backbone: str, task: str) -> dict[str, Any]:
    """What decides the token ids of a task under a backbone, and its three splits."""
    return {
        "backbone": backbone,
        "family": study.params.backbones[backbone].family,
        "task": task,
        "source": study.source,
        "rows": study.scale.rows.model_dump(),
        "max_tokens": study.scale.max_tokens,
    }


def features_config(study: Study, backbone: str, task: str) -> dict[str, Any]:
    """What decides the cached instance features."""
    compute = study.scale.compute.model_dump()
    return {
        "backbone": backbone,
        "task": task,
        "pooling": "masked_mean",
        "compute": compute,
        "batch_size": study.scale.evaluation_batch_size,
    }


def run_config(study: Study, cell: Cell) -> dict[str, Any]:
    """The resolved configuration of one run: everything that decides its bytes besides its input files and the code."""
    scale = study.scale
    return {
        "scale": study.scale_name,
        "backbone": cell.backbone,
        "family": study.params.backbones[cell.backbone].family,
        "random_weights": study.params.backbones[cell.backbone].source.kind == "random",
        "regime": cell.regime,
        "task": cell.task,
        "source": study.source,
        "variant": cell.variant,
        "definition": study.params.variants[cell.variant].model_dump(),
        "seed": cell.seed,
        "protocol": scale.protocol,
        "prompt": scale.prompt.model_dump(),
        "choice": scale.choice.model_dump(),
        "training": training_of(scale, cell.variant).model_dump(),
        "evaluation_batch_size": scale.evaluation_batch_size,
        "compute": scale.compute.model_dump(),
    }


def report_config(study: Study) -> dict[str, Any]:
    """What decides the tables and figures besides the runs themselves."""
    return {"scale": study.scale_name, "source": study.source, "allow_dirty": study.params.allow_dirty,
            "runs": [cell.run for cell in cells(study)]}  # fmt: skip
