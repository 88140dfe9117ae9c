"""Whatever stands in `params.yaml` and a scale: a study, or a refusal that a person understands."""

import json

import pytest
import yaml
from conftest import ROOT
from damage import edited, edits, is_repeated, spoiled, spoils, yaml_text, yaml_values
from fuzzing import check_refusal, counts, explore
from hypothesis import strategies as st

from dp.errors import UserError
from dp.study import grid, study
from dp.study.resolve import jobs

SCALES = ["smoke", "demo", "open", "methods-minilm", "t5-random"]
PARAMS = (ROOT / "params.yaml").read_bytes()
SCALE = {name: (ROOT / "workflow/scales" / f"{name}.yaml").read_bytes() for name in SCALES}
MOST = 100
"""Runs of a grid whose configurations are made, too."""


@pytest.fixture
def project(tmp_path):
    (tmp_path / "workflow/scales").mkdir(parents=True)
    (tmp_path / "workflow/predictions").symlink_to(ROOT / "workflow/predictions")
    return tmp_path


def loaded(root, name, params, scale):
    (root / "params.yaml").write_bytes(params)
    (root / f"workflow/scales/{name}.yaml").write_bytes(scale)
    return study.load(root, {"scale": name, "folder": "/data"})


def ending(root, name, params, scale, is_repeated=False):
    """How a load ends. What is accepted is finite, says the same again, and is a grid."""
    try:
        found = loaded(root, name, params, scale)
    except UserError as error:
        check_refusal(error, "params.yaml", f"{name}.yaml")
        return "refused"
    if is_repeated:
        raise AssertionError("a key that stands twice is accepted")
    said = found.model_dump(mode="json")
    try:
        json.dumps(said, allow_nan=False)
    except ValueError:
        raise AssertionError("a number that is not finite is accepted") from None
    again = [yaml_text(said[key]).encode() for key in ("params", "scale")]
    if loaded(root, name, *again) != found:
        raise AssertionError("what was accepted says something else when it is written and read again")
    if len(grid.cells(found)) < MOST:
        try:
            jobs(found)
        except UserError as error:
            check_refusal(error, *SCALES, "params.yaml", "dp/tasks")
            return "refused with its grid"
    return "accepted"


@counts(few=60, share=0.25)
def test_edited_parameters(project, cases):
    params = yaml.safe_load(PARAMS)
    drawn = st.sampled_from(SCALES).flatmap(
        lambda name: st.one_of(
            st.tuples(st.just(name), edits(params, yaml_values), st.just([])),
            st.tuples(st.just(name), st.just([]), edits(yaml.safe_load(SCALE[name]), yaml_values)),
        )
    )

    def property(case):
        name, of_params, of_scale = case
        new, scale = edited(params, of_params), edited(yaml.safe_load(SCALE[name]), of_scale)
        texts = [yaml_text(new), yaml_text(scale)]
        return ending(project, name, *(text.encode() for text in texts), is_repeated(new) or is_repeated(scale))

    explore(property, drawn, cases)


@counts(few=60, share=0.15)
def test_spoiled_parameters(project, cases):
    drawn = st.tuples(st.sampled_from(SCALES), st.booleans(), spoils())

    def property(case):
        name, is_scale, damage = case
        params, scale = PARAMS, SCALE[name]
        return ending(
            project, name, *((params, spoiled(scale, damage)) if is_scale else (spoiled(params, damage), scale))
        )

    explore(property, drawn, cases)
