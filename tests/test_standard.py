"""The instance feature, standardised over the training rows: fitted there, kept with the run, used at evaluation."""

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from small_project import Project
from synthetic_results import reseal

from dp import files, paths
from dp.data import tokens
from dp.data.few_shot import rows_of
from dp.data.regime import Regime
from dp.prompts.choice import Standard

VARIANTS = ["fixed", "adap_pos", "adap_ins_pos", "adap_ins_vec", "adap_ins_vec-shuffled", "adap_ins_pos-frozen",
            "linear-probe"]  # fmt: skip
REGIMES = [{"kind": "full"}, {"kind": "fewshot", "k": [4], "variants": ["adap_ins_vec", "adap_ins_vec-shuffled"]},
           {"kind": "multitask", "variants": ["adap_ins_vec", "adap_ins_vec-shuffled"]}]  # fmt: skip
STATISTICS = ("prompt.standard.mean", "prompt.standard.scale")
RAW = {"position": "prefix", "representation": "instance_pool", "switches": ["raw_feature"]}


def test_fit_is_the_mean_and_the_deviation_of_the_rows_that_are_there():
    features = torch.randn(50, 6, generator=torch.Generator().manual_seed(0)) * torch.tensor([1, 5, 0.01, 3, 1, 1]) + 2
    standard = Standard(6)
    assert torch.equal(standard(features), features), "before it is fitted it changes nothing"
    standard.fit(features)
    numbers = features.numpy().astype(np.float64)
    np.testing.assert_allclose(standard.mean, numbers.mean(0), rtol=1e-5)
    np.testing.assert_allclose(standard.scale, numbers.std(0) * 6**0.5, rtol=1e-4)
    other = torch.randn(3, 6, generator=torch.Generator().manual_seed(1))
    expected = (other.numpy() - numbers.mean(0)) / numbers.std(0) / 6**0.5
    np.testing.assert_allclose(standard(other), expected, rtol=1e-3, atol=1e-4)
    assert not any(value.requires_grad for value in standard.parameters())
    standard.fit(features[:1])
    assert torch.equal(standard(features[:1]), torch.zeros(1, 6)), "one row: nothing varies"


@pytest.mark.parametrize("constant", [0.0, 0.1, -7.3])
def test_a_coordinate_that_never_varies_is_only_centred(constant):
    features = torch.randn(300, 2, generator=torch.Generator().manual_seed(0))
    features[:, 1] = constant
    standard = Standard(2)
    standard.fit(features)
    assert standard.scale[1].item() == pytest.approx(2**0.5) and standard.scale[0].item() != pytest.approx(2**0.5)
    assert standard(torch.tensor([[0.0, constant + 0.5]]))[0, 1].item() == pytest.approx(0.5 / 2**0.5, abs=1e-5)


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A project with every training over two tasks, and the predictions by run."""
    root = tmp_path_factory.mktemp("standard")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        project = Project(root, [*VARIANTS, "raw"], tasks={"made_up": ["toy", "toy_choice"]}, regimes=REGIMES,
                          defined={"raw": RAW})  # fmt: skip
        project.prepare()
        runs = [f"full/toy/{name}" for name in [*VARIANTS, "raw"] if not name.endswith("shuffled")]
        runs += ["fewshot-k4-s0/toy/adap_ins_vec", "multitask/all/adap_ins_vec"]
        for run in runs:
            project.train(f"tiny-t5/{run}/seed0")
        runs[-1:] = ["multitask/toy/adap_ins_vec", "multitask/toy_choice/adap_ins_vec"]
        runs += [f"{run}-shuffled" for run in runs if run.endswith("toy/adap_ins_vec")]
        project.predictions = {run: project.evaluate(f"tiny-t5/{run}/seed0") for run in runs}
    return project


def tuned(built, run):
    return load_file(built.root / paths.train_run("small", f"tiny-t5/{run}/seed0") / "tuned.safetensors")


def features(built, task, split="train"):
    folder = built.root / paths.features("small", "tiny-t5", task, "masked_mean")
    return load_file(folder / "features.safetensors")[split].numpy().astype(np.float64)


def unit(read):
    """[H]: the deviations, times sqrt(H)."""
    return read.std(0) * read.shape[1] ** 0.5


def rows_read(built, run):
    """[R, H], the features of all rows that a run trained on."""
    if run.startswith("multitask"):
        return np.concatenate([features(built, task) for task in ("toy", "toy_choice")])
    if run.startswith("fewshot"):
        splits, _ = tokens.load(built.root / paths.tokens("small", "tiny-t5", "toy"))
        numbers = rows_of(Regime("fewshot", 4, 0), splits)[0]
        assert len(numbers) == 8
        return features(built, "toy")[numbers]
    return features(built, "toy")


RUNS = ["full/toy/adap_ins_pos", "full/toy/adap_ins_vec", "full/toy/adap_ins_pos-frozen",
        "fewshot-k4-s0/toy/adap_ins_vec", "multitask/all/adap_ins_vec"]  # fmt: skip


@pytest.mark.parametrize("run", RUNS)
def test_a_run_keeps_the_statistics_of_its_own_training_rows(built, run):
    tensors, read = tuned(built, run), rows_read(built, run)
    np.testing.assert_allclose(tensors[STATISTICS[0]], read.mean(0), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(tensors[STATISTICS[1]], unit(read), rtol=1e-3, atol=1e-5)
    record = files.read_json(built.root / paths.train_run("small", f"tiny-t5/{run}/seed0") / "record.json")
    frozen = {name for name in tensors if run.endswith("frozen") and ".policy." in name} | set(STATISTICS)
    own = sum(value.numel() for name, value in tensors.items() if name not in frozen)
    assert record["made"]["trainable_parameters"] == own


def test_what_reads_no_instance_or_reads_it_raw_keeps_no_statistics(built):
    for run in ("full/toy/fixed", "full/toy/adap_pos", "full/toy/linear-probe", "full/toy/raw"):
        assert not [name for name in tuned(built, run) if "standard" in name], run


@pytest.mark.parametrize(("run", "trained", "task"), [
    ("full/toy/adap_ins_vec", "full/toy/adap_ins_vec", "toy"),
    ("full/toy/raw", "full/toy/raw", "toy"),
    ("fewshot-k4-s0/toy/adap_ins_vec", "fewshot-k4-s0/toy/adap_ins_vec", "toy"),
    ("multitask/toy/adap_ins_vec", "multitask/all/adap_ins_vec", "toy"),
    ("multitask/toy_choice/adap_ins_vec", "multitask/all/adap_ins_vec", "toy_choice"),
])  # fmt: skip
def test_an_evaluation_standardises_by_the_training_rows(built, run, trained, task):
    """The pool's weights by hand, softmax of W (h - mean) / deviation + b; by the reported rows they would differ."""
    tensors = {name: value.numpy().astype(np.float64) for name, value in tuned(built, trained).items()}
    reported = features(built, task, "validation")
    found = np.array([row["pool"] for row in built.predictions[run]])

    def weights(mean, deviation):
        scores = ((reported - mean) / deviation) @ tensors["prompt.representation.logits.weight"].T
        scores += tensors["prompt.representation.logits.bias"]
        exponentials = np.exp(scores - scores.max(1, keepdims=True))
        return exponentials / exponentials.sum(1, keepdims=True)

    read = rows_read(built, trained)
    statistics = (0.0, 1.0) if run.endswith("raw") else (read.mean(0), unit(read))
    np.testing.assert_allclose(found, weights(*statistics), atol=2e-3)
    assert np.abs(found - weights(reported.mean(0), unit(reported))).max() > 0.02
    assert run.endswith("raw") or np.abs(found - weights(0.0, 1.0)).max() > 0.02


def test_what_is_stored_is_what_an_evaluation_uses(built, monkeypatch):
    """Other statistics in the file give other choices, so they are neither fitted again nor left at 0 and 1."""
    monkeypatch.chdir(built.root)
    run = "full/toy/adap_ins_vec"
    path = paths.train_run("small", f"tiny-t5/{run}/seed0") / "tuned.safetensors"
    before, tensors = path.read_bytes(), tuned(built, run)
    try:
        save_file(tensors | {STATISTICS[0]: tensors[STATISTICS[0]] + 1}, path)
        reseal(path.parent)
        other = built.evaluate(f"tiny-t5/{run}/seed0")
    finally:
        path.write_bytes(before)
        reseal(path.parent)
    assert [row["pool"] for row in other] != [row["pool"] for row in built.predictions[run]]
    again = built.evaluate(f"tiny-t5/{run}/seed0")
    assert again == built.predictions[run]
