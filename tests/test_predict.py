"""What was tuned, put to use: against the predictions of the run's own evaluation, and against peft."""

import csv
import json
import re
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from small_project import Project, in_a_clean_tree, reseal

from dp import files, paths
from dp.commands import common
from dp.commands.cli import main
from dp.errors import UserError
from dp.inference import Predictor, adapter, given
from dp.study import grid

BACKBONES = ["tiny-t5", "tiny-llama", "tiny-bert", "tiny-encoder"]
DEFINED = {
    "raw": {"position": "instance", "switches": ["raw_feature"]},
    "padded": {"position": "instance", "switches": ["padded_feature", "padded_inputs"]},
    "drawn": {"position": "instance", "switches": ["gumbel_at_evaluation"]},
}
VARIANTS = ["fixed", "postfix", "adap_pos", "adap_ins_pos", "adap_ins_length", "adap_ins_vec", "adap_vec", "residual",
            "smop", "lora", "p-tuning-v2", "finetune", "linear-probe", "raw", "padded", "drawn"]  # fmt: skip
"""One of each kind: where it stands, how long it is, what it says, what it reads; and the baselines."""
CHANGES = {
    "backbones": BACKBONES,
    "tasks": {"made_up": ["toy", "toy_choice"]},
    "regimes": [
        {"kind": "full", "tasks": ["toy"]},
        {"kind": "full", "tasks": ["toy_choice"], "variants": ["fixed"]},
        {"kind": "multitask", "variants": ["fixed", "adap_pos", "adap_vec"]},
    ],
}
EVERYWHERE = {"fixed", "adap_vec", "residual", "lora"}
EXPORTED = {"causal": EVERYWHERE | {"p-tuning-v2"}, "seq2seq": EVERYWHERE, "encoder": EVERYWHERE}
"""What peft has, of the variants above, where the backbone scores label words."""


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    root = tmp_path_factory.mktemp("project")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(root)
        patch.delenv(common.SETTINGS_VARIABLE, raising=False)
        in_a_clean_tree(patch)
        made = Project(root, VARIANTS, DEFINED, **CHANGES)
        made.prepare()
        for backbone in BACKBONES:
            main(["features", "--backbone", backbone, "--task", "toy", "--pooling", "padded_mean"])
        for cell in grid.needed_trainings(made.study):
            made.train(cell.run)
        yield made


@pytest.fixture
def here(project, monkeypatch):
    monkeypatch.chdir(project.root)
    monkeypatch.delenv(common.SETTINGS_VARIABLE, raising=False)
    return project


def rows_of(task):
    return [row["fields"] for row in files.read_jsonl(paths.task_rows(task, "made_up") / "validation.jsonl")]


def folder_of(project, cell):
    return paths.train_run("small", grid.training(project.study, cell).run)


@pytest.mark.parametrize("backbone", BACKBONES)
def test_predictions_are_those_of_the_evaluation_whatever_the_batch(here, backbone):
    for cell in grid.cells(here.study):
        if cell.backbone != backbone or cell.variant == "drawn":
            continue
        expected = here.evaluate(cell.run)
        tuned = Predictor.load(folder_of(here, cell), cell.task if cell.parsed_regime.is_union else None)
        for size in (None, 1, 7):
            found = tuned.predict(rows_of(cell.task), size)
            assert [one.label for one in found] == [tuned.task.label_names[row["prediction"]] for row in expected], cell
            assert [(one.split, one.length) for one in found] == [(row["split"], row["length"]) for row in expected]
            scores = torch.tensor([row["scores"] for row in expected])
            probabilities = torch.tensor([list(one.probabilities.values()) for one in found])
            assert torch.allclose(probabilities, scores.softmax(1), atol=2e-6), cell
            for one, row in zip(found, expected, strict=True):
                assert (one.pool is None) == (row["pool"] is None)
                assert one.pool is None or one.pool == pytest.approx(row["pool"], abs=6e-5)


RUN = "tiny-llama/full/toy/adap_ins_pos/seed0"


def test_the_command_takes_rows_in_three_ways(here, tmp_path, capsys):
    row = rows_of("toy")[0]
    fields = list(row)
    main(["predict", "--run", RUN, *(part for name in fields for part in ("--field", f"{name}={row[name]}"))])
    by_field = json.loads(capsys.readouterr().out)
    with (tmp_path / "rows.csv").open("w", newline="") as file:
        table = csv.DictWriter(file, ["id", *fields])
        table.writeheader()
        table.writerows({"id": f"row-{n}"} | one for n, one in enumerate(rows_of("toy")[:5]))
    main(["predict", "--run", RUN, "--file", str(tmp_path / "rows.csv"), "--out", str(tmp_path / "found.jsonl")])
    by_table = files.read_jsonl(tmp_path / "found.jsonl")
    assert [one["id"] for one in by_table] == [f"row-{n}" for n in range(5)]
    assert by_table[0].pop("probabilities") == pytest.approx(by_field.pop("probabilities"), rel=1e-5)
    assert by_table[0] | {"id": 1} == by_field
    capsys.readouterr()
    main(["predict", "--run", RUN, "--file", str(tmp_path / "rows.csv"), "--out", str(tmp_path / "found.csv")])
    with (tmp_path / "found.csv").open(newline="") as file:
        written = list(csv.DictReader(file))
    assert [one["label"] for one in written] == [one["label"] for one in by_table]
    assert float(written[1]["p(same)"]) == by_table[1]["probabilities"]["same"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--run", RUN], "Give rows in one of three ways"),
        (["--run", RUN, "--text", "a", "--field", "b=c"], "Give rows in one of three ways"),
        (["--run", RUN, "--field", "nothing=a"], "row 1: there is no field 'nothing'"),
        (["--run", RUN, "--field", "no equals sign"], "must be NAME=TEXT"),
        (["--run", RUN, "--text", "a", "--batch-size", "0"], "--batch-size: must be 1 or more"),
        (["--run", RUN, "--text", "a", "--out", "found.txt"], r"must end in .csv or .jsonl"),
        (["--run", RUN, "--file", "rows.xlsx"], "its format is unknown"),
        (["--run", RUN, "--file", "absent.csv"], "absent.csv cannot be read"),
        (["--run", RUN, "--file", "params.yaml/rows.csv"], "cannot be read"),
        (["--run", RUN, "--text", "a", "--out", "params.yaml/found.csv"], "params.yaml is no folder"),
        (["--run", RUN, "--text", "a", "--device", "cuda"], "device: is cuda, but torch finds no GPU"),
        (["--run", RUN.replace("seed0", "seed1"), "--text", "a"], "has no such run; the nearest"),
        (["--run", "results/train/small/gone/seed0", "--text", "a"], "gone/seed0 holds no record.json: no training"),
        (["--run", "tiny-t5/multitask/toy/adap_pos/seed0", "--text", "a"], "--task: the run serves toy, toy_choice"),
    ],
)
def test_what_cannot_be_predicted_is_said(here, capsys, monkeypatch, arguments, message):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(SystemExit) as stop:
        main(["predict", *arguments])
    assert stop.value.code == 2 and re.search(message, capsys.readouterr().err)


def test_nothing_is_predicted_with_what_was_changed_since(here, tmp_path):
    project = Path(shutil.copytree(here.root, tmp_path / "copy"))
    run = project / paths.train_run("small", RUN)
    (project / paths.backbone("tiny-llama") / "config.json").write_text("{}")
    with pytest.raises(UserError, match="is not the file that the run was trained on"):
        Predictor.load(run)
    (run / "tuned.safetensors").write_bytes(b"")
    with pytest.raises(UserError, match="its bytes differ from its record"):
        Predictor.load(run)
    alone = Path(shutil.copytree(here.root / paths.train_run("small", RUN), tmp_path / "alone"))
    with pytest.raises(UserError, match="lies in no project"):
        Predictor.load(alone)


@pytest.mark.parametrize("text", ["", "  \n", "a\0b", "a\ud800b"])
def test_a_row_that_training_would_refuse_is_refused(here, text):
    tuned = Predictor.load(paths.train_run("small", RUN))
    rows = rows_of("toy")[:2]
    with pytest.raises(UserError, match=r"row 3: .*(nothing stands in|is no text)"):
        tuned.predict([*rows, dict.fromkeys(rows[0], text)])


def test_a_prediction_does_not_depend_on_its_neighbours(here):
    tuned = Predictor.load(paths.train_run("small", "tiny-llama/full/toy/drawn/seed0"))
    row = rows_of("toy")[0]
    found = tuned.predict([row] * 40)
    assert {one.split for one in found} == {found[0].split}
    assert len({row["split"] for row in here.evaluate("tiny-llama/full/toy/drawn/seed0")}) > 1, "it draws"


def test_threads_wait_for_one_another(here):
    """P-tuning v2's prefixes and a learned length's gates belong to one pass, whoever makes another meanwhile."""
    rows = rows_of("toy") * 4
    variants = ("p-tuning-v2", "adap_ins_length", "fixed")
    runs = [folder_of(here, grid.Cell("tiny-t5", "full", "toy", variant, 0)) for variant in variants]
    predictors = [Predictor.load(run) for run in runs]
    expected = [one.predict(rows) for one in predictors]
    with ThreadPoolExecutor(len(predictors)) as pool:
        for _ in range(3):
            assert list(pool.map(lambda one: one.predict(rows), predictors)) == expected


def test_results_may_lie_elsewhere(here, tmp_path):
    project = Path(shutil.copytree(here.root, tmp_path / "copy"))
    (project / "results").rename(tmp_path / "store")
    (project / "results").symlink_to(tmp_path / "store")
    Predictor.load(project / paths.train_run("small", RUN))


def test_a_table_is_read_as_it_was_drafted_from(tmp_path):
    (tmp_path / "rows.csv").write_text("id;statement\n1;a, b\n")
    assert given.read(tmp_path / "rows.csv") == [{"id": "1", "statement": "a, b"}]


def test_ids_are_texts_or_numbers(tmp_path):
    path = tmp_path / "rows.jsonl"
    no_id = "is neither a text nor"
    for line, message in (('{"id": [1]}', no_id), ('{"id": "\\ud800"}', no_id), ("[1]", "is no row"), ("", "no rows")):
        path.write_text(f"{line}\n" if line else "")
        with pytest.raises(UserError, match=message):
            given.read(path)


def test_a_task_that_says_something_else_now(here, tmp_path):
    project = Path(shutil.copytree(here.root, tmp_path / "copy"))
    tokens = project / paths.tokens("small", "tiny-llama", "toy")
    record = files.read_json(tokens / "record.json")
    record["used"]["inputs"]["dp/tasks/toy.yaml"] = "0" * 64
    files.write_json(tokens / "record.json", record)
    reseal(tokens / "record.json")
    with pytest.raises(UserError, match="is another than when the run was trained"):
        Predictor.load(project / paths.train_run("small", RUN))


# peft


@pytest.mark.parametrize("backbone", BACKBONES)
def test_an_adapter_scores_as_the_run_does_or_is_refused_with_the_reason(here, tmp_path, backbone):
    family = here.study.params.backbones[backbone].family
    exported = EXPORTED[family] if backbone != "tiny-encoder" else set()
    for variant in VARIANTS:
        run, out = paths.train_run("small", f"{backbone}/full/toy/{variant}/seed0"), tmp_path / variant
        if variant in exported:
            rows, difference = adapter.export(run, out)
            assert rows == 32 and difference < 1e-5, (variant, difference)
            assert sorted(path.name for path in out.iterdir()) == [
                "README.md", "adapter_config.json", "adapter_model.safetensors",
            ]  # fmt: skip
            with pytest.raises(UserError, match="is there already"):
                adapter.export(run, out)
        else:
            with pytest.raises(UserError, match=f"^{variant} .*so it cannot be expressed there"):
                adapter.export(run, out)
            assert not out.exists()


@pytest.mark.parametrize("backbone", BACKBONES[:3])
@pytest.mark.parametrize("variant", ["fixed", "lora"])
def test_a_stranger_gets_the_scores_by_the_card_alone(here, tmp_path, monkeypatch, backbone, variant):
    run = paths.train_run("small", f"{backbone}/full/toy/{variant}/seed0")
    adapter.export(run, tmp_path / "adapter")
    card = (tmp_path / "adapter" / "README.md").read_text()
    (code,) = re.findall(r"```python\n(.*?)```", card, flags=re.S)
    space = {}
    exec(code.replace("ADAPTER = ", "ADAPTER = ").replace('"."', repr(str(tmp_path / "adapter"))), space)
    tuned = Predictor.load(run)
    for row, prediction in zip(rows_of("toy")[:4], tuned.predict(rows_of("toy")[:4]), strict=True):
        scores = space["scores"](**row)
        assert list(scores) == tuned.task.label_names
        found = torch.tensor(list(scores.values())).softmax(0).tolist()
        assert found == pytest.approx(list(prediction.probabilities.values()), abs=1e-5)


def test_an_adapter_that_scores_otherwise_is_not_written(here, tmp_path, monkeypatch):
    run = paths.train_run("small", "tiny-llama/full/toy/fixed/seed0")
    vectors = adapter._vectors
    monkeypatch.setattr(adapter, "_vectors", lambda tuned: vectors(tuned) * 1.5)
    with pytest.raises(UserError, match="peft's scores differ from the run's by"):
        adapter.export(run, tmp_path / "adapter")
    assert list(tmp_path.iterdir()) == []


def test_what_was_tuned_in_another_dtype_is_held_against_peft_in_float32(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(common.SETTINGS_VARIABLE, raising=False)
    in_a_clean_tree(monkeypatch)
    made = Project(tmp_path, ["fixed"], backbones=["tiny-llama"], compute={"device": "cpu", "dtype": "bfloat16"})
    made.prepare()
    made.train("tiny-llama/full/toy/fixed/seed0")
    check = adapter.export(paths.train_run("small", "tiny-llama/full/toy/fixed/seed0"), tmp_path / "adapter")
    assert check.difference < 1e-5
    assert "The run computed in bfloat16" in (tmp_path / "adapter/README.md").read_text()
    (paths.task_rows("toy", "made_up") / "validation.jsonl").unlink()
    with pytest.raises(UserError, match="fetch-task --task toy"):
        adapter.export(paths.train_run("small", "tiny-llama/full/toy/fixed/seed0"), tmp_path / "other")
