"""One prompt for several tasks: what they share, what each keeps for itself, and that none sees another's classes."""

import shutil
from dataclasses import replace

import pytest
import torch
import yaml
from conftest import FAMILIES, typed
from safetensors.torch import load_file
from small_project import Project
from test_battery import config_of, features_of
from torch.nn import functional

from dp import files, paths
from dp.classifier.classifier import classifier
from dp.classifier.scoring import score
from dp.compute import train as training
from dp.data.batches import collate, mixing_shares, training_batches
from dp.data.tokens import Split, union
from dp.prompts.choice import Moment
from dp.prompts.estimators import objective
from dp.study import grid, resolve
from dp.tasks import model as tasks
from dp.training import loop

CLASSES = [2, 3]
MIXTURE = {"alpha": 0.5, "cap": None, "tasks": ["toy", "second"]}


@pytest.fixture
def two(tiny, toy_split):
    """Splits of two small tasks of a family, the second with three classes, and the backbone."""

    def make(family):
        backbone, toy = tiny(family), toy_split(family)
        other = toy_split(family, "validation", 12)
        words = [0, 1, 2] if family == "encoder" else _words(backbone)
        outputs = torch.tensor(words).expand(len(other), -1)
        rows = [row | {"label": number % 3} for number, row in enumerate(other.rows)]
        second = Split(other.ids, outputs, other.tails, other.answers, rows, other.tasks)
        return backbone, [toy, second]

    return make


def _words(backbone):
    return backbone.tokenizer.convert_tokens_to_ids(["maybe", "no", "yes"])


def build(family, variant, backbone, estimator="straight_through", **settings):
    config = config_of(family, variant, **settings) | {"regime": "multitask", "task": "all", "multitask": MIXTURE}
    if config["choice"]:
        config["choice"]["estimator"] = estimator
    return config, classifier(typed(config), backbone, CLASSES, [], "cpu")


def numbered(splits):
    return [replace(split, tasks=torch.full_like(split.tasks, number)) for number, split in enumerate(splits)]


def rows_of(backbone, splits):
    """The union to train on and each task to select by, with features."""
    features = [features_of(backbone, split) for split in splits]
    selection = [loop.Rows(*pair) for pair in zip(numbered(splits), features, strict=True)]
    return loop.Rows(union(splits), torch.cat(features)), selection


def batch_of(backbone, splits, numbers):
    whole = rows_of(backbone, splits)[0]
    return collate(whole.split, numbers, whole.features)


def moment(batch, step=0, training=True):
    return Moment(0, step, 0, batch.rows, training, draws=training)


def loss_of(model, batch, estimator="straight_through"):
    whole = batch.repeated(model.copies)
    scores, choices = model(whole, replace(moment(whole), copies=model.copies))
    losses = functional.cross_entropy(scores, whole.labels, reduction="none").view(model.copies, -1)
    log_prob = choices.log_prob if choices else None
    return objective(estimator, losses, None if log_prob is None else log_prob.view_as(losses)).mean()


# The mixture


def test_shares_grow_with_a_power_of_the_capped_size():
    assert mixing_shares([300, 100], 1.0, None) == [0.75, 0.25]
    assert mixing_shares([900, 100], 0.5, None) == [0.75, 0.25]
    assert mixing_shares([900, 100], 0.0, None) == [0.5, 0.5]
    assert mixing_shares([900, 100], 1.0, 300) == [0.75, 0.25]
    assert mixing_shares([90000, 400, 100], 0.5, 1600) == pytest.approx([4 / 7, 2 / 7, 1 / 7])
    with pytest.raises(ValueError, match=r"a task has no rows: \[3, 0\]"):
        mixing_shares([3, 0], 0.5, None)


@pytest.mark.parametrize(("alpha", "cap"), [(1.0, None), (0.5, None), (0.0, None), (1.0, 40)])
def test_batches_hold_each_task_in_its_share_and_every_row_of_a_task_equally(alpha, cap):
    homes = [0] * 90 + [1] * 10 + [2] * 40
    lengths = [5 + row % 20 for row in range(140)]
    planned = training_batches(lengths, 8, 30 * 17, 0, homes, alpha, cap)  # whole windows of 140 // 8 batches
    assert all(len(batch) == 8 for batch in planned)
    drawn = torch.tensor([row for batch in planned for row in batch])
    found = torch.bincount(torch.tensor(homes)[drawn], minlength=3) / len(drawn)
    assert found.tolist() == pytest.approx(mixing_shares([90, 10, 40], alpha, cap), abs=0.02)
    for members in (range(90), range(90, 100), range(100, 140)):
        counts = torch.bincount(drawn, minlength=140)[list(members)]
        assert counts.max() - counts.min() <= 1, "each task has epochs of its own"
    assert planned == training_batches(lengths, 8, 30 * 17, 0, homes, alpha, cap)


@pytest.mark.parametrize(("alpha", "cap", "share"), [(1.0, None, 1 / 3), (1.0, 12, 1 / 2), (0.0, None, 1 / 2)])
@pytest.mark.parametrize("family", FAMILIES)
def test_the_loop_mixes_the_tasks_as_configured(two, tmp_path, monkeypatch, family, alpha, cap, share):
    backbone, splits = two(family)
    config, model = build(family, "fixed", backbone, steps=20, evaluate_every=20)
    config["multitask"] = MIXTURE | {"alpha": alpha, "cap": cap}
    seen, original = [], loop.collate

    def collate(split, rows, *rest):
        seen.append(original(split, rows, *rest))
        return seen[-1]

    monkeypatch.setattr(loop, "collate", collate)
    made = loop.train(model, *rows_of(backbone, splits), typed(config), tmp_path, "identity")
    homes = torch.cat([batch.tasks for batch in seen])
    assert len(homes) == 20 * 8 and made["train_rows"] == 36
    assert homes.float().mean().item() == pytest.approx(share, abs=0.08), "of 24 rows and 12"
    for batch in seen:
        known = batch.outputs >= 0
        assert known.sum(1).tolist() == [CLASSES[task] for task in batch.tasks]
        assert known[range(len(batch.rows)), batch.labels].all()
    log = files.read_jsonl(tmp_path / "steps.jsonl")
    assert all(0 < line["loss"] < 1e4 for line in log if "loss" in line)


# What a row's scores are made of


@pytest.mark.parametrize("family", FAMILIES)
def test_a_row_is_scored_over_its_own_classes_as_if_it_were_alone(two, family):
    backbone, splits = two(family)
    config, model = build(family, "adap_ins_pos", backbone)
    whole, selection = rows_of(backbone, splits)
    scores, _ = score(model, whole.split, whole.features, typed(config), 0)
    start = 0
    for number, (split, features) in enumerate(selection):
        mine = scores[start : start + len(split)]
        alone, _ = score(model, split, features, typed(config), 0)
        assert alone.shape == (len(split), CLASSES[number])
        torch.testing.assert_close(mine[:, : CLASSES[number]], alone, rtol=1e-4, atol=1e-5)
        assert (mine[:, CLASSES[number] :] == -torch.inf).all() and alone.isfinite().all()
        start += len(split)


@pytest.mark.parametrize("family", FAMILIES)
def test_an_absent_class_adds_nothing_to_the_loss_and_its_gradient_is_finite(two, family):
    backbone, splits = two(family)
    _, model = build(family, "fixed", backbone)
    mixed, alone = batch_of(backbone, splits, [0, 1, 2, 3]), collate(splits[0], [0, 1, 2, 3])
    losses, gradients = [], []
    for batch in (mixed, alone):
        loss = loss_of(model, batch)
        model.prompt.zero_grad()
        loss.backward()
        losses.append(loss.item())
        gradients.append(model.prompt.representation.vectors.grad.clone())
    assert mixed.outputs.shape[1] == 3 and alone.outputs.shape[1] == 2
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    assert gradients[0].isfinite().all() and gradients[0].any()
    torch.testing.assert_close(*gradients, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("variant", ["fixed", "linear-probe"])
def test_a_linear_head_has_rows_of_its_own_for_each_task(two, variant):
    backbone, splits = two("encoder")
    _, model = build("encoder", variant, backbone)
    assert model.head.weight.shape[0] == model.head.bias.shape[0] == 5
    for numbers, moved in (([0, 1, 2], [0, 1]), ([24, 25, 26], [2, 3, 4]), ([0, 24], [0, 1, 2, 3, 4])):
        model.head.zero_grad()
        loss_of(model, batch_of(backbone, splits, numbers)).backward()
        for gradient in (model.head.weight.grad.abs().sum(1), model.head.bias.grad):
            assert gradient.nonzero().flatten().tolist() == moved
    with torch.no_grad():
        model.head.weight.zero_()
        model.head.bias.copy_(torch.arange(5.0))
    scores, _ = model(batch_of(backbone, splits, [0, 24]), moment(batch_of(backbone, splits, [0, 24])))
    assert scores.tolist() == [[0, 1, -torch.inf], [2, 3, 4]]


def test_another_tasks_head_gives_other_scores(two):
    backbone, splits = two("encoder")
    config, model = build("encoder", "fixed", backbone)
    right, wrong = (score(model, replace(splits[0], tasks=torch.full((24,), task)), None, typed(config), 0)[0]
                    for task in (0, 1))  # fmt: skip
    assert not torch.isclose(right, wrong).any()


# What is shared and what is not


@pytest.mark.parametrize(("variant", "part"), [
    ("adap_pos", "position.policy"), ("adap_length", "length.policy"), ("adap_vec", "representation"),
])  # fmt: skip
@pytest.mark.parametrize("estimator", ["straight_through", "exact"])
@pytest.mark.parametrize("family", FAMILIES)
def test_a_task_learns_a_choice_of_its_own(two, family, variant, part, estimator):
    backbone, splits = two(family)
    _, model = build(family, variant, backbone, estimator)
    logits = model.kept()[f"prompt.{part}.logits.logits"]
    assert logits.shape[0] == 2
    for numbers, moved in (([0, 1, 2], [0]), ([24, 25, 26], [1]), ([0, 24], [0, 1])):
        logits.grad = None
        loss_of(model, batch_of(backbone, splits, numbers), estimator).backward()
        assert logits.grad.abs().sum(1).nonzero().flatten().tolist() == moved


def test_each_row_follows_its_tasks_choice(two):
    backbone, splits = two("seq2seq")
    config, model = build("seq2seq", "adap_all", backbone)
    with torch.no_grad():
        for name, picked in (("position.policy", (1, 3)), ("length.policy", (4, 2)), ("representation", (2, 0))):
            logits = model.kept()[f"prompt.{name}.logits.logits"]
            logits.zero_()[[0, 1], picked] = 50
    mixed = batch_of(backbone, splits, [25, 0, 24, 1])
    for learning in (False, True):
        _, choices = model(mixed, moment(mixed, training=learning))
        assert choices.split.tolist() == [3, 1, 3, 1]
        assert choices.length.tolist() == [2, 4, 2, 4]
        assert choices.pool.argmax(1).tolist() == [0, 2, 0, 2]
    found = score(model, rows_of(backbone, splits)[0].split, None, typed(config), 0)[1].split
    assert found.tolist() == [1] * 24 + [3] * 12


def test_tasks_draw_apart_and_the_rows_of_a_task_together(two):
    backbone, splits = two("seq2seq")
    _, model = build("seq2seq", "adap_pos", backbone)
    mixed = batch_of(backbone, splits, [0, 24, 1, 25])
    drawn = [model(mixed, moment(mixed, step))[1].split.tolist() for step in range(30)]
    assert all(splits[0] == splits[2] and splits[1] == splits[3] for splits in drawn)
    assert 2 < sum(splits[0] == splits[1] for splits in drawn) < 15, "five splits agree by chance in one draw of five"


@pytest.mark.parametrize("estimator", ["straight_through", "exact"])
@pytest.mark.parametrize("family", FAMILIES)
def test_instance_nets_are_shared_by_the_tasks(two, family, estimator):
    backbone, splits = two(family)
    _, model = build(family, "adap_ins_all", backbone, estimator)
    alone = classifier(typed(config_of(family, "adap_ins_all")), backbone, [2], [], "cpu")
    nets = {name: value for name, value in model.kept().items() if ".logits." in name}
    assert {name: value.shape for name, value in nets.items()} == {name: alone.kept()[name].shape for name in nets}
    for numbers in ([0, 1, 2], [24, 25, 26]):
        model.prompt.zero_grad()
        loss_of(model, batch_of(backbone, splits, numbers), estimator).backward()
        assert all(value.grad.any() for value in nets.values())


def test_the_parameters_of_a_union_are_one_prompt_and_a_row_per_task(two):
    backbone, _ = two("encoder")
    for variant, more in (("fixed", 0), ("adap_pos", 5), ("adap_ins_pos", 0), ("adap_all", 5 + 5 + 3)):
        _, both = build("encoder", variant, backbone)
        alone = classifier(typed(config_of("encoder", variant)), backbone, [2], [], "cpu")
        sizes = [sum(value.numel() for value in model.kept().values()) for model in (both, alone)]
        assert sizes[0] - sizes[1] == more + 3 * (backbone.hidden_size + 1), "and the head's three rows"


# Selection


def test_selection_is_by_the_mean_over_tasks(two, tmp_path, monkeypatch):
    """Step 2 is better on more rows (24 of 36), step 4 on the mean of the tasks."""
    backbone, splits = two("seq2seq")
    right = {2: (20, 0), 4: (14, 9), 6: (0, 10), 8: (20, 0)}

    def fake(model, split, features, config, step):
        count = right[step][int(split.tasks[0])]
        gold = torch.tensor([row["label"] for row in split.rows])
        predicted = torch.where(torch.arange(len(split)) < count, gold, (gold + 1) % split.outputs.shape[1])
        return functional.one_hot(predicted, split.outputs.shape[1]).float(), None

    monkeypatch.setattr(loop, "score", fake)
    config, model = build("seq2seq", "fixed", backbone, evaluate_every=2)
    made = loop.train(model, *rows_of(backbone, splits), typed(config), tmp_path, "identity")
    assert made["selected_step"] == 4
    assert made["selection"]["accuracy"] == pytest.approx((14 / 24 + 9 / 12) / 2)
    assert made["selection"]["rows"] == 36
    log = [line for line in files.read_jsonl(tmp_path / "steps.jsonl") if "selection" in line]
    assert [line["selection"]["by_task"] for line in log] == [
        pytest.approx([a / 24, b / 12]) for a, b in right.values()]  # fmt: skip


# The commands

SECOND = {"name": "toy-three", "version": 1, "description": "The toy rows, with a third class that no row has.",
          "label_names": ["different", "same", "neither"],
          "sources": {"made_up": {"kind": "yes_no", "seed": 5}}}  # fmt: skip
EXPECTED = {"train": {"rows": 40, "label_counts": [20, 20, 0]}, "validation": {"rows": 24, "label_counts": [12, 12, 0]}}
VARIANTS = ["majority", "fixed", "adap_pos", "adap_pos-frozen", "adap_ins_pos", "adap_ins_pos-shuffled"]
BACKBONES = ["tiny-t5", "tiny-encoder"]


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A project with every union training of VARIANTS over toy and a second task, and all predictions."""
    root = tmp_path_factory.mktemp("multitask")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.setattr(tasks, "FOLDER", _task_folder(root / "tasks"))
        tasks.load.cache_clear()
        project = Project(root, VARIANTS, backbones=BACKBONES, tasks={"made_up": ["toy", "toy-three"]},
                          regimes=[{"kind": "multitask"}])  # fmt: skip
        project.prepare()
        for cell in grid.needed_trainings(project.study):
            project.train(cell.run)
        project.predictions = {cell.run: project.evaluate(cell.run) for cell in grid.cells(project.study)}
        yield project
    tasks.load.cache_clear()


def _task_folder(folder):
    shutil.copytree(tasks.FOLDER, folder, ignore=shutil.ignore_patterns("*.py", "__pycache__"))
    toy = yaml.safe_load((folder / "toy.yaml").read_text())
    for template in toy["templates"].values():
        template["words"] = [*template["words"], template["words"][0].replace("no", "maybe")]
    (folder / "toy-three.yaml").write_text(yaml.safe_dump(toy | SECOND | {"expected": EXPECTED}))
    return folder


def test_one_training_serves_every_task(built):
    trained = built.root / "results/train/small/tiny-t5/multitask"
    assert {path.name for path in trained.iterdir()} == {"all"}
    assert {path.name for path in (trained / "all").iterdir()} == {
        "fixed",
        "adap_pos",
        "adap_pos-frozen",
        "adap_ins_pos",
    }
    made = files.read_json(trained / "all/adap_pos/seed0/record.json")["made"]
    assert made["classes"] == [2, 3]
    assert made["label_counts"]["toy-three"]["train"] == [18, 18, 0]
    assert made["train_rows"] == sum(sum(counts["train"]) for counts in made["label_counts"].values())
    for run, predictions in built.predictions.items():
        task = run.split("/")[2]
        assert len(predictions) == {"toy": 40, "toy-three": 24}[task]
        assert {len(row["scores"]) for row in predictions} == {{"toy": 2, "toy-three": 3}[task]}
        inputs = files.read_json(built.root / paths.evaluation("small", run) / "record.json")["used"]["inputs"]
        read = {name.split("/")[5] for name in inputs if name.startswith("results/train")}
        assert read == (set() if "majority" in run else {"all"})


@pytest.mark.parametrize("backbone", BACKBONES)
def test_the_commands_evaluate_a_task_with_its_own_choice_and_head(built, backbone, monkeypatch):
    """The predictions equal those of the classifier asked by hand, with the task's own number."""
    monkeypatch.chdir(built.root)
    for variant in ("adap_pos", "adap_ins_pos"):
        folder = paths.train_run("small", f"{backbone}/multitask/all/{variant}/seed0")
        tuned, config = load_file(folder / "tuned.safetensors"), files.read_json(folder / "config.json")
        source = grid.Cell(backbone, "multitask", "all", variant, 0)
        job = resolve.training_job(built.study, source)
        read = training.TrainingConfig.model_validate(config)
        whole, *_ = training.rows_of_run(job.all("tokens"), job.all("features"), read)
        assert whole.split.tasks.bincount().tolist() == [86, 36]
        for number, task in enumerate(("toy", "toy-three")):
            predictions = built.predictions[f"{backbone}/multitask/{task}/{variant}/seed0"]
            if variant == "adap_pos":
                best = int(tuned["prompt.position.policy.logits.logits"][number].argmax())
                assert {row["split"] for row in predictions} == {best}
            splits, _ = training.tokens.load(paths.tokens("small", backbone, task))
            model = _load(built.study, backbone, config, tuned)
            reported = splits["validation"]
            reported = replace(reported, tasks=torch.full_like(reported.tasks, number))
            features = load_file(paths.features("small", backbone, task, "masked_mean") / "features.safetensors")
            scores, _ = score(model, reported, features["validation"], typed(config), 4)
            found = torch.tensor([row["scores"] for row in predictions])
            torch.testing.assert_close(found, scores, rtol=0, atol=2e-6)


def _load(study, backbone, config, tuned):
    definition = study.params.backbones[backbone]
    bare = training.load(paths.backbone(backbone), definition.family, definition.head)
    model = classifier(typed(config), bare, [2, 3], [], "cpu")
    with torch.no_grad():
        for name, value in model.kept().items():
            value.copy_(tuned[name])
    return model


def test_a_union_reads_each_rows_own_features(built, monkeypatch):
    monkeypatch.chdir(built.root)
    job = resolve.training_job(built.study, grid.Cell("tiny-t5", "multitask", "all", "adap_ins_pos", 0))
    config = training.TrainingConfig.model_validate(job.asked)
    whole, selection, facts, _ = training.rows_of_run(job.all("tokens"), job.all("features"), config)
    assert [fact["task"] for fact in facts] == ["toy", "toy-three"]
    backbone = training.load(job.the("backbone"), "seq2seq")
    torch.testing.assert_close(whole.features, features_of(backbone, whole.split), rtol=1e-4, atol=1e-5)
    for number, rows in enumerate(selection):
        assert set(rows.split.tasks.tolist()) == {number}
        torch.testing.assert_close(rows.features, features_of(backbone, rows.split), rtol=1e-4, atol=1e-5)


def test_a_kept_choice_is_kept_for_every_task(built):
    root = built.root / "results/train/small/tiny-t5/multitask/all"
    name = "prompt.position.policy.logits.logits"
    source, kept = (load_file(root / variant / "seed0/tuned.safetensors")[name]
                    for variant in ("adap_pos", "adap_pos-frozen"))  # fmt: skip
    assert source.shape == (2, 5) and torch.equal(source, kept)
