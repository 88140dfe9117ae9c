"""A small scale over this project's catalogues: a checked study, or a folder in which commands are called by hand."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT

from dp import files, paths
from dp.closed import validated
from dp.commands import cli, common
from dp.jobs import record
from dp.study import grid
from dp.study.params import Params, Scale
from dp.study.study import Study

SCALE: dict[str, Any] = {
    "description": "a test's",
    "backbones": ["tiny-t5"],
    "source": "made_up",
    "tasks": {"made_up": ["toy"]},
    "regimes": [{"kind": "full"}],
    "variants": ["fixed"],
    "seeds": [0],
    "max_tokens": 32,
    "prompt": {"length": 4, "pool": 3, "bottleneck": 6},
    "training": {"steps": 4, "batch_size": 8, "micro_batch_size": 4, "evaluate_every": 2, "checkpoint_every": 4,
                 "optimizer": {"warmup_steps": 0}},
    "evaluation_batch_size": 8,
    "compute": {"device": "cpu"},
}  # fmt: skip


def params_with(defined: dict[str, Any]) -> dict[str, Any]:
    """`params.yaml` with further variants, or other definitions of its own."""
    raw = yaml.safe_load((ROOT / "params.yaml").read_text())
    return raw | {"scale": "small", "variants": raw["variants"] | defined}


def small_study(variants: list[str], defined: dict[str, Any] | None = None, **changes: Any) -> Study:
    """The study of the small scale over `variants`, of `some_tasks` where named. Raises UserError as `load` does."""
    part = {"tasks": named} if (named := changes.pop("some_tasks", None)) is not None else {}
    params = validated(Params, params_with(defined or {}) | part, Path("params.yaml"))
    scale = validated(Scale, SCALE | {"variants": variants} | changes, Path("small.yaml"))
    return validated(Study, {"params": params, "scale_name": "small", "scale": scale}, Path("small.yaml"))


class Project:
    """The small scale in a folder; calls work in the current directory, which must be that folder."""

    def __init__(self, root: Path, variants: list[str], defined: dict[str, Any] | None = None, **changes: Any) -> None:
        self.root = root
        self.study = small_study(variants, defined, **changes)
        (root / "workflow" / "scales").mkdir(parents=True)
        (root / "params.yaml").write_text(yaml.safe_dump(params_with(defined or {})))
        scale = SCALE | {"variants": variants} | changes
        (root / "workflow" / "scales" / "small.yaml").write_text(yaml.safe_dump(scale))

    def prepare(self) -> None:
        """Everything that trainings read."""
        for task in self.study.tasks:
            cli.main(["fetch-task", "--task", task])
        for backbone in self.study.scale.backbones:
            cli.main(["fetch-backbone", "--backbone", backbone])
            for task in self.study.tasks:
                cli.main(["tokenize", "--backbone", backbone, "--task", task])
                cli.main(["features", "--backbone", backbone, "--task", task])

    def train(self, run: str) -> Path:
        cli.main(["train", "--run", run])
        return self.root / paths.train_run("small", run)

    def evaluate(self, run: str) -> list[dict[str, Any]]:
        """The predictions."""
        cli.main(["evaluate", "--run", run])
        return files.read_jsonl(self.root / paths.evaluation("small", run) / "predictions.jsonl")


@contextmanager
def made(root: Path, variants: list[str]) -> Iterator[Project]:
    """Within the block: the small scale and its report in `root`, as their jobs made them from a clean tree."""
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.delenv(common.SETTINGS_VARIABLE, raising=False)
        in_a_clean_tree(patch)
        project = Project(root, variants)
        project.prepare()
        for cell in grid.needed_trainings(project.study):
            project.train(cell.run)
        for cell in grid.cells(project.study):
            project.evaluate(cell.run)
        cli.main(["report"])
        yield project


def in_a_clean_tree(patch: pytest.MonkeyPatch) -> None:
    """Records name a commit, whatever the state of the tree that is tested."""
    patch.setattr(record, "commit", lambda *root: {"commit": "c" * 40, "dirty": False})


def reseal(path: Path) -> None:
    """Let the record vouch for a file, or for itself, as one of another version of the code would."""
    folder = next(one for one in path.parents if (one / "record.json").is_file())
    found = {key: value for key, value in files.read_json(folder / "record.json").items() if key != "seal"}
    if path.name != "record.json":
        found["made"]["outputs"][path.relative_to(folder).as_posix()] = files.sha256(path)
    files.write_json(folder / "record.json", record.sealed(found))
