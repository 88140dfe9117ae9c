"""What a learned choice is worth: another row's choice, a noisy one, and one kept frozen under a new prompt."""

import shutil
from collections import Counter

import pytest
import torch
from conftest import FAMILIES, typed
from safetensors.torch import load_file, save_file
from small_project import Project
from synthetic_results import reseal
from test_battery import config_of, features_of

from dp import files, paths
from dp.classifier.classifier import classifier
from dp.classifier.scoring import score
from dp.data.batches import collate
from dp.numerics.seeds import other_row
from dp.prompts.choice import Moment

FULL = "tiny-t5/full/toy"
VARIANTS = ["adap_pos", "adap_pos-frozen", "adap_pos-noise", "adap_pos_ins_vec-staged",
            "adap_ins_pos", "adap_ins_pos-frozen", "adap_ins_pos-shuffled", "adap_ins_pos-noise",
            "adap_ins_vec", "adap_ins_vec-shuffled", "adap_ins_length", "adap_ins_length-shuffled"]  # fmt: skip


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A project with every training and evaluation of VARIANTS, and the predictions by variant."""
    root = tmp_path_factory.mktemp("controls")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        project = Project(root, VARIANTS)
        project.prepare()
        for name in VARIANTS:
            if not name.endswith(("-shuffled", "-noise")):
                folder = project.train(f"{FULL}/{name}/seed0")
                if not name.endswith("-frozen"):
                    _spread(folder)
        project.predictions = {name: project.evaluate(f"{FULL}/{name}/seed0") for name in VARIANTS}
    return project


def _spread(run):
    """Let the rows choose differently: centre the features, of which four steps made one choice, and scale them."""
    features = load_file(paths.features("small", "tiny-t5", "toy", "masked_mean") / "features.safetensors")
    tensors = load_file(run / "tuned.safetensors")
    for name in [name for name in tensors if name.endswith("logits.weight")]:
        read = (features["validation"] - tensors["prompt.standard.mean"]) / tensors["prompt.standard.scale"]
        tensors[name] *= 0.1 if "representation" in name else 20
        tensors[name.replace("weight", "bias")] = -tensors[name] @ read.mean(0)
    save_file(tensors, run / "tuned.safetensors")
    reseal(run)


def tuned(root, variant):
    return load_file(root / paths.train_run("small", f"{FULL}/{variant}/seed0") / "tuned.safetensors")


def record(root, variant):
    return files.read_json(root / paths.train_run("small", f"{FULL}/{variant}/seed0") / "record.json")


def steps(root, variant):
    log = files.read_jsonl(root / paths.train_run("small", f"{FULL}/{variant}/seed0") / "steps.jsonl")
    return [line for line in log if "loss" in line]


# Shuffled


@pytest.mark.parametrize("count", [2, 3, 10, 41])
@pytest.mark.parametrize("seed", [0, 1])
def test_every_row_gets_another_rows_choice_in_one_cycle(count, seed):
    other = other_row(count, seed, "shuffled instances").tolist()
    seen = [0]
    while len(seen) < count:
        seen.append(other[seen[-1]])
    assert sorted(seen) == list(range(count)) and other[seen[-1]] == 0


def test_the_cycle_is_drawn_by_the_seed():
    assert torch.equal(other_row(41, 0, "shuffled instances"), other_row(41, 0, "shuffled instances"))
    assert not torch.equal(other_row(41, 0, "shuffled instances"), other_row(41, 1, "shuffled instances"))
    assert other_row(41, 0, "shuffled instances").tolist() != [*range(1, 41), 0], "neighbours in the file may be alike"


def test_shuffled_rows_have_the_choices_of_other_rows(built):
    own, other = (built.predictions[name] for name in ("adap_ins_vec", "adap_ins_vec-shuffled"))
    weights = [tuple(row["pool"]) for row in own]
    assert len(set(weights)) == len(own) == 40, "every row has a choice of its own"
    home = [weights.index(tuple(row["pool"])) for row in other]
    assert sorted(home) == list(range(40)) and all(home[row] != row for row in range(40))
    assert [row["id"] for row in own] == [row["id"] for row in other]
    assert all(own[row]["scores"] != other[row]["scores"] for row in range(40))


@pytest.mark.parametrize(("variant", "key"), [("adap_ins_pos", "split"), ("adap_ins_length", "length")])
def test_shuffling_keeps_how_often_each_choice_is_made_and_changes_scores_where_the_choice_differs(built, variant, key):
    own, other = (built.predictions[name] for name in (variant, f"{variant}-shuffled"))
    assert Counter(row[key] for row in own) == Counter(row[key] for row in other)
    moved = [row for row in range(40) if own[row][key] != other[row][key]]
    assert moved, "the rows choose differently"
    for row in range(40):
        assert (own[row]["scores"] != other[row]["scores"]) == (row in moved)


def test_a_control_shows_the_training_of_what_it_controls(built, capsys, monkeypatch):
    for control, target in (("adap_ins_pos-shuffled", "adap_ins_pos"), ("adap_pos-noise", "adap_pos")):
        inputs = files.read_json(built.root / paths.evaluation("small", f"{FULL}/{control}/seed0") / "record.json")
        name = f"results/train/small/{FULL}/{target}/seed0/tuned.safetensors"
        assert inputs["used"]["inputs"][name] == record(built.root, target)["made"]["outputs"]["tuned.safetensors"]
        assert not (built.root / paths.train_run("small", f"{FULL}/{control}")).exists()
        monkeypatch.chdir(built.root)
        with pytest.raises(SystemExit):
            built.train(f"{FULL}/{control}/seed0")
        assert "scale 'small' has no such run" in capsys.readouterr().err


# Noise


def test_noise_draws_the_same_choices_again(built, monkeypatch):
    monkeypatch.chdir(built.root)
    for variant in ("adap_pos", "adap_ins_pos"):
        own, noisy = (built.predictions[name] for name in (variant, f"{variant}-noise"))
        assert [row["split"] for row in own] != [row["split"] for row in noisy]
        assert len({row["split"] for row in noisy}) > 1
        assert built.evaluate(f"{FULL}/{variant}-noise/seed0") == noisy


@pytest.mark.parametrize("variant", ["adap_pos", "adap_ins_pos"])
def test_noise_draws_each_choice_with_its_probability(tiny, toy_split, variant):
    """Over many draws the splits have the shares softmax(logits); without noise there is one, the argmax."""
    backbone, split = tiny("seq2seq"), toy_split("seq2seq")
    config, features = config_of("seq2seq", variant) | {"evaluation_batch_size": 4}, features_of(backbone, split)
    model = classifier(typed(config), backbone, [2], [], "cpu")
    shares = torch.tensor([0.4, 0.1, 0.05, 0.25, 0.2])
    with torch.no_grad():
        for name, value in model.kept().items():
            if name.startswith("prompt.position"):
                value.copy_(torch.zeros_like(value) if name.endswith("weight") else shares.log().view_as(value))
    _, chosen = score(model, split, features, typed(config), 0)
    assert set(chosen.split.tolist()) == {0}
    noisy = config | {"switches": ["gumbel_at_evaluation"]}
    draws = torch.cat([score(model, split, features, typed(noisy), step)[1].split for step in range(40)])
    found = torch.bincount(draws, minlength=5) / len(draws)
    # 40 x 24 draws of instances, or 40 x 6 of batches.
    assert (found - shares).abs().max() < (0.05 if variant == "adap_ins_pos" else 0.08), found


# Frozen: two stages


@pytest.mark.parametrize(
    ("variant", "source"),
    [("adap_pos-frozen", "adap_pos"), ("adap_ins_pos-frozen", "adap_ins_pos"), ("adap_pos_ins_vec-staged", "adap_pos")],
)
def test_a_kept_choice_is_exactly_the_sources(built, variant, source):
    mine, theirs = tuned(built.root, variant), tuned(built.root, source)
    kept = {name for name in theirs if name.startswith("prompt.position.policy.")}
    assert kept and kept == {name for name in mine if name.startswith("prompt.position.policy.")}
    assert all(torch.equal(mine[name], theirs[name]) for name in kept)
    splits = [[row["split"] for row in built.predictions[name]] for name in (variant, source)]
    assert splits[0] == splits[1]
    made = record(built.root, variant)["made"]
    statistics = {name for name in mine if name.startswith("prompt.standard.")}
    assert len(statistics) == (2 if "ins" in variant else 0)
    assert all(torch.equal(mine[name], theirs[name]) for name in statistics & theirs.keys())
    trained = mine.keys() - kept - statistics
    assert made["trainable_parameters"] == sum(mine[name].numel() for name in trained)
    assert made["steps_before"] == 4 and record(built.root, source)["made"]["steps_before"] == 0
    inputs, outputs = record(built.root, variant)["used"]["inputs"], record(built.root, source)["made"]["outputs"]
    assert inputs[f"results/train/small/{FULL}/{source}/seed0/tuned.safetensors"] == outputs["tuned.safetensors"]


@pytest.mark.parametrize("variant", ["adap_pos-frozen", "adap_pos_ins_vec-staged"])
def test_training_takes_the_kept_choice_too(built, variant):
    best = int(tuned(built.root, "adap_pos")["prompt.position.policy.logits.logits"].argmax())
    alone = [8 if split == best else 0 for split in range(5)]
    assert [line["splits"] for line in steps(built.root, variant)] == [alone] * 4
    assert [line["splits"] for line in steps(built.root, "adap_pos")] != [alone] * 4


def test_the_prompt_is_trained_from_scratch_under_the_kept_choice(built, tmp_path, monkeypatch):
    """Nothing but the source's policy reaches the second stage."""
    shutil.copytree(built.root, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    run, source = f"{FULL}/adap_pos-frozen/seed0", paths.train_run("small", f"{FULL}/adap_pos/seed0")
    expected, tensors = tuned(tmp_path, "adap_pos-frozen"), tuned(tmp_path, "adap_pos")
    tensors["prompt.representation.vectors"] += 1
    save_file(tensors, source / "tuned.safetensors")
    reseal(source)
    built.train(run)
    assert all(torch.equal(value, expected[name]) for name, value in tuned(tmp_path, "adap_pos-frozen").items())
    tensors["prompt.position.policy.logits.logits"] *= -1
    save_file(tensors, source / "tuned.safetensors")
    reseal(source)
    built.train(run)
    retrained, name = tuned(tmp_path, "adap_pos-frozen"), "prompt.representation.vectors"
    assert not torch.equal(retrained[name], expected[name])


def test_a_second_stage_waits_for_the_first(tmp_path, monkeypatch, capsys, built):
    shutil.copytree(built.root, tmp_path, dirs_exist_ok=True)
    shutil.rmtree(tmp_path / paths.train_run("small", f"{FULL}/adap_pos/seed0"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit):
        built.train(f"{FULL}/adap_pos_ins_vec-staged/seed0")
    assert f"results/train/small/{FULL}/adap_pos/seed0 has no record.json" in capsys.readouterr().err


@pytest.mark.parametrize("family", FAMILIES)
def test_a_frozen_choice_gets_no_gradient_and_the_prompt_does(tiny, toy_split, family):
    backbone, split = tiny(family), toy_split(family)
    model = classifier(typed(config_of(family, "adap_ins_pos-frozen")), backbone, [2], [], "cpu")
    batch = collate(split, [0, 1, 2, 3], features_of(backbone, split))
    scores, _ = model(batch, Moment(0, 0, 0, batch.rows, training=True, draws=True))
    torch.nn.functional.cross_entropy(scores, batch.labels).backward()
    moved = {name for name, value in model.kept().items() if value.grad is not None and value.grad.any()}
    assert moved and not any("policy" in name for name in moved)
    assert not any("policy" in name for name in model.trained())
