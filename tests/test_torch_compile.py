"""Passes that torch compiles: what the passes are as they stand, for few shapes, and a word where that cannot be."""

import shutil
from functools import partial

import pytest
import torch
import torch._inductor.config
from conftest import FAMILIES, typed
from test_battery import STUDY, config_of, features_of, study_with
from torch._dynamo.utils import counters

from dp import files
from dp.classifier.backbone_input import read
from dp.classifier.classifier import classifier
from dp.data.batches import training_batches
from dp.errors import UserError
from dp.planning.costs import Counter
from dp.planning.levers import levers
from dp.study import grid
from dp.training import advance, compiled, loop
from dp.training.loop_config import TorchCompile
from dp.training.state import State

FEW = {"steps": 6, "batch_size": 8, "micro_batch_size": 4, "evaluate_every": 6, "checkpoint_every": 100,
       "optimizer": {"name": "adafactor", "lr": 0.03, "warmup_steps": 0}}  # fmt: skip
EIGHTS = {"mode": "default", "pad_to_multiple_of": 8}
WIDE = {"mode": "default", "pad_to_multiple_of": 64}


@pytest.fixture
def traced(monkeypatch):
    """torch.compile without its compiler: what it follows is run by torch's own kernels."""
    torch.compiler.reset()
    counters.clear()
    monkeypatch.setattr(torch, "compile", partial(torch.compile, backend="aot_eager"))


@pytest.fixture
def training(tiny, toy_split, tmp_path):
    """Train a variant for some updates: the facts, the losses, and the widths of the passes."""

    def train(family, variant, settings=EIGHTS, **changes):
        backbone, split = tiny(family), toy_split(family)
        rows = loop.Rows(split, features_of(backbone, split))
        config = typed(config_of(family, variant, **FEW | changes) | {"torch_compile": settings})
        model = classifier(config, backbone, [2], [], "cpu")
        model.fit_features(rows.features)
        folder = tmp_path / "run"
        folder.mkdir(exist_ok=True)
        facts = loop.train(model, rows, [rows], config, folder, "same")
        return facts, [line["loss"] for line in files.read_jsonl(folder / "steps.jsonl") if "loss" in line]

    return train


def as_they_stand(monkeypatch):
    """Passes of the very same widths, none of them compiled."""
    monkeypatch.setattr(advance, "compiled", lambda backbone, settings: partial(read, backbone))


def check_same(one, other, within):
    assert one[1] == pytest.approx(other[1], abs=within)
    for name, value in one[0]["tensors"].items():
        assert torch.allclose(value, other[0]["tensors"][name], atol=10 * within), name


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("variant", ["fixed", "adap_ins_all", "p-tuning-v2"])
def test_a_followed_pass_is_the_pass(training, traced, monkeypatch, family, variant):
    followed = training(family, variant, WIDE)
    as_they_stand(monkeypatch)
    check_same(followed, training(family, variant, WIDE), 1e-6)


@pytest.mark.skipif(not shutil.which("g++"), reason="torch.compile needs a C++ compiler, and there is no g++")
@pytest.mark.slow
@pytest.mark.parametrize(
    ("family", "variant"),
    [("seq2seq", "adap_ins_all"), ("causal", "adap_ins_all"), ("encoder", "p-tuning-v2"), ("masked", "p-tuning-v2")],
)
def test_a_compiled_pass_is_the_pass(training, monkeypatch, family, variant):
    of_torch = training(family, variant, WIDE)
    assert of_torch[0]["compiled"]["shapes"] == 1
    as_they_stand(monkeypatch)
    check_same(of_torch, training(family, variant, WIDE), 1e-4)


def test_rounded_widths_change_no_number_but_for_rounding(training, traced):
    check_same(training("seq2seq", "adap_ins_pos"), training("seq2seq", "adap_ins_pos", None), 1e-4)


def test_the_record_tells_of_few_shapes(training, traced, toy_split):
    facts, _ = training("causal", "fixed")
    split = toy_split("causal")
    lengths = [len(ids) for ids in split.ids]
    batches = training_batches(lengths, 8, 6, 0)
    widths = [max(lengths[row] for row in batch[at : at + 4]) for batch in batches for at in (0, 4)]
    rounded = {-(-width // 8) * 8 for width in widths}
    assert facts["compiled"]["shapes"] == len(rounded) < len(set(widths))
    assert counters["stats"]["unique_graphs"] == len(rounded)
    assert 0 < facts["compiled"]["first_passes_seconds"] <= facts["step_seconds"] + 0.1
    longest = [-(-max(lengths[row] for row in batch) // 8) * 8 for batch in batches]
    text = sum(lengths[row] for batch in batches for row in batch)
    assert facts["padding_share"] == pytest.approx(1 - text / sum(8 * width for width in longest), abs=1e-4)
    assert "compiled" not in training("causal", "fixed", None)[0]


@pytest.mark.parametrize(
    ("longest", "room", "width"), [(1, None, 8), (8, None, 8), (9, None, 16), (9, 12, 12), (12, 12, 12), (9, 20, 16)]
)
def test_a_width_is_a_multiple_or_what_the_backbone_admits(longest, room, width):
    config = typed(config_of("encoder", "fixed") | {"torch_compile": EIGHTS})
    assert config.batch_width(longest, room) == width
    assert typed(config_of("encoder", "fixed")).batch_width(longest, room) == longest


@pytest.mark.parametrize("variant", ["fixed", "p-tuning-v2"])
def test_a_table_of_positions_is_not_overrun(training, traced, variant):
    """A BERT of 256 positions, a prompt, and widths in multiples of 256."""
    facts, _ = training("encoder", variant, EIGHTS | {"pad_to_multiple_of": 256})
    assert facts["compiled"]["shapes"] == 1


def test_no_width_is_beyond_the_longest_input():
    config = typed(config_of("seq2seq", "fixed") | {"torch_compile": WIDE, "max_tokens": 40})
    assert (config.batch_width(9, None), config.batch_width(41, None)) == (40, 41)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a GPU")
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("variant", ["adap_ins_all", "p-tuning-v2"])
def test_cuda_graphs_of_two_widths_are_the_passes(tiny, toy_split, tmp_path, family, variant):
    found = []
    for settings in ({"mode": "reduce-overhead", "pad_to_multiple_of": 8}, None):
        backbone, split = tiny(family), toy_split(family)
        backbone.model.to("cuda")
        rows = loop.Rows(split, features_of(tiny(family), split))
        config = typed(config_of(family, variant, **FEW | {"steps": 12}) | {"torch_compile": settings})
        model = classifier(config, backbone, [2], [], "cuda")
        model.fit_features(rows.features)
        folder = tmp_path / str(settings is None)
        folder.mkdir()
        facts = loop.train(model, rows, [rows], config, folder, "same")
        found.append((facts, [line["loss"] for line in files.read_jsonl(folder / "steps.jsonl") if "loss" in line]))
    assert found[0][0]["compiled"]["shapes"] == 2
    check_same(*found, 1e-3)


def test_what_torch_cannot_follow_is_told(training, traced, monkeypatch):
    def broken(backbone, reading):
        torch._dynamo.graph_break()
        return read(backbone, reading)

    monkeypatch.setattr(compiled, "read", broken)
    with pytest.raises(UserError, match=r"torch cannot compile T5\w+ here .*; take torch_compile out of the scale"):
        training("seq2seq", "fixed")


def test_a_missing_compiler_is_told(training, monkeypatch, tmp_path):
    monkeypatch.setattr(torch._inductor.config.cpp, "cxx", ("no-such-compiler",))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    with pytest.raises(UserError, match=r"torch cannot compile LlamaForCausalLM here \(.*compiler"):
        training("causal", "fixed")


def test_runs_that_share_passes_compile_anew_for_fewer(tiny, toy_split, tmp_path, traced):
    """Three runs, then, where one ended, two: a shape more for each width."""
    backbone, split = tiny("seq2seq"), toy_split("seq2seq")
    rows, begun = loop.Rows(split, None), {}
    for seed, steps in ((0, 4), (1, 2), (2, 4)):
        config = typed(config_of("seq2seq", "fixed", seed, **FEW | {"steps": steps}) | {"torch_compile": WIDE})
        model, folder = classifier(config, backbone, [2], [], "cpu"), tmp_path / str(seed)
        folder.mkdir()

        def begin(clock, stop, model=model, config=config, folder=folder):
            return loop.updates(model, rows, [rows], config, folder, State(folder, "same"), stop, clock, shown="")

        begun[folder] = begin
    passes = advance.Passes(backbone, torch_compile=TorchCompile())
    made = advance.together(begun, passes, [], lambda *given: None)
    assert [facts["steps"] for facts in made.values()] == [4, 2, 4]
    assert {shape[0] for shape, _ in passes.shapes} == {12, 8} and passes.facts()["compiled"]["shapes"] == 2
    assert counters["stats"]["unique_graphs"] == 2


def test_passes_in_parts_are_not_compiled():
    assert advance.Passes(None, 2, TorchCompile()).facts() == {"parts_of_a_pass": 2}


def test_what_only_reads_the_backbone_is_compiled():
    study = study_with(torch_compile=TorchCompile())
    says = {
        variant: "torch_compile" in grid.training_config(study, grid.Cell("seq2seq", "full", "toy", variant, 0))
        for variant in STUDY.scale.variants
    }
    assert {name for name, said in says.items() if not said} == {"finetune", "lora", "linear-probe"}
    assert says["fixed"] and says["adap_ins_pos"] and says["p-tuning-v2"]
    plain = grid.training_config(STUDY, grid.Cell("seq2seq", "full", "toy", "fixed", 0))
    assert "torch_compile" not in plain


def test_the_plan_knows_it():
    """A graph takes a layer's launches away; rounding up to multiples of 64 adds 31.5 positions a row."""
    graphs = TorchCompile(mode="reduce-overhead", pad_to_multiple_of=64)
    cells = [grid.Cell("seq2seq", "full", "toy", "fixed", 0)]
    plain, graph, default = (
        Counter(study_with(torch_compile=given)).cost(cells)["seq2seq"].work
        for given in (None, graphs, graphs.model_copy(update={"mode": "default"}))
    )
    assert plain.layers == default.layers > graph.layers and graph.flops == default.flops > plain.flops
    told = {lever.done: lever.hours for lever in levers(study_with(torch_compile=graphs), cells)}
    assert told["no pass compiled"] == pytest.approx(levers(STUDY, cells)[0].hours)
    assert "each pass one CUDA graph, without compiling it" in {lever.done for lever in levers(STUDY, cells)}
