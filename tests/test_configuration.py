"""A run's configuration is typed in parts, each beside what reads it; `asked` stays what it was."""

import json

import pytest
from conftest import ROOT
from pydantic import ValidationError

from dp.commands.making import ARGUMENTS
from dp.compute.evaluate import EvaluationConfig
from dp.compute.features import FeaturesConfig
from dp.compute.tokenize import TokensConfig
from dp.compute.train import TrainingConfig
from dp.jobs.closure import closure
from dp.study import resolve
from dp.study.study import load

KINDS = {"train": TrainingConfig, "evaluate": EvaluationConfig, "features": FeaturesConfig, "tokenize": TokensConfig}
READERS = {
    "dp/prompts/prompt_config.py": {"train", "evaluate"},
    "dp/classifier/classifier_config.py": {"train", "evaluate"},
    "dp/training/loop_config.py": {"train"},
    "dp/data/limits.py": {"tokenize"},
    "dp/data/regime.py": {"train", "evaluate", "report"},
    "dp/numerics/compute.py": {"train", "evaluate", "features", "fetch-backbone"},
}


@pytest.mark.parametrize("scale", ["smoke", "demo", "methods-smollm2", "paper-released"])
def test_what_is_asked_is_read_as_it_stands(scale):
    """Every value that a part names is in it unchanged, 0.3 and 2 as they are, from memory and from a file."""
    study, seen = load(ROOT, {"scale": scale, "folder": "any"}), set()
    for job in resolve.jobs(study).values():
        if kind := KINDS.get(job.command):
            seen.add(job.command)
            asked = job.asked | ({"family": "causal"} if kind is FeaturesConfig else {})  # which it is told beside it
            config = kind.model_validate(asked)
            assert config == kind.model_validate(json.loads(json.dumps(asked)))
            _stands(config.model_dump(exclude_unset=True), asked)
    assert seen >= {"train", "evaluate", "tokenize"}


def _stands(read, asked):
    for key, value in read.items():
        if isinstance(value, dict):
            _stands(value, asked[key])
        elif isinstance(value, frozenset):
            assert sorted(value) == sorted(asked[key])
        else:
            assert value == asked[key] and type(value) is type(asked[key]), key


def test_a_part_is_in_the_closure_of_what_reads_it_alone():
    closures = {command: {path.as_posix() for path in closure(command)} for command in ARGUMENTS}
    found = {part: {command for command, files in closures.items() if part in files} for part in READERS}
    assert found == READERS


def test_a_part_is_frozen_and_names_what_it_lacks():
    asked = next(job.asked for job in resolve.jobs(load(ROOT, {"scale": "smoke"})).values() if job.command == "train")
    config = TrainingConfig.model_validate(asked | {"a key of another part": 1})
    with pytest.raises(ValidationError, match="frozen"):
        config.seed = 1
    with pytest.raises(ValidationError, match=r"training\.steps\s+Field required|training\.updates_per_step"):
        TrainingConfig.model_validate(asked | {"training": {"steps": 4}})
