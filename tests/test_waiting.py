"""An update waits once for its device. A GPU's stand-in is torch's `meta`: tensors of a device that is not the host's.

What goes between it and the host, and every answer that depends on its data, passes a dispatch mode that counts.
"""

import math

import pytest
import torch
from conftest import TINY, typed
from test_battery import VARIANTS, config_of, features_of
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from dp.backbones import attention
from dp.classifier.classifier import classifier
from dp.numerics import tensors
from dp.training import loop
from dp.training.state import Best, State

SHORT = {"steps": 2, "batch_size": 4, "micro_batch_size": 4, "checkpoint_every": 100, "evaluate_every": 100}
aten = torch.ops.aten
DEPENDS_ON_DATA = {aten.nonzero.default, aten.masked_select.default, aten._unique2.default, aten.bincount.default}


class Waits(TorchDispatchMode):
    """What makes the host wait for the stand-in, by name. It is told that every number is 1."""

    def __init__(self):
        super().__init__()
        self.found = []

    def __torch_dispatch__(self, function, types, arguments=(), keywords=None):
        keywords = keywords or {}
        there = any(isinstance(leaf, torch.Tensor) and leaf.is_meta for leaf in tree_leaves((arguments, keywords)))
        if function is aten._local_scalar_dense.default and there:
            self.found.append("item")
            return torch.ones((), dtype=arguments[0].dtype).item()
        if function in DEPENDS_ON_DATA and there:
            self.found.append(str(function))
        if function is aten._to_copy.default:
            target = torch.device(keywords.get("device") or arguments[0].device)
            if there and target.type == "cpu":
                self.found.append("to the host")
                return torch.ones_like(arguments[0], device="cpu", dtype=keywords.get("dtype"))
            if not there and target.type == "meta" and not keywords.get("non_blocking"):
                self.found.append("from the host")
        if function is aten.copy_.default and arguments[0].is_meta != arguments[1].is_meta:
            self.found.append("copy_")
        return function(*arguments, **keywords)


@pytest.fixture
def waits(tiny, toy_split, tmp_path, monkeypatch):
    """By update of a short run: what it waited for."""

    def counted(family, variant, whole=False, estimator=None, **changes):
        backbone, split = tiny(family), toy_split(family)
        if whole:  # rows of one length, none of which is padded
            split.ids[:] = [ids[-6:] for ids in split.ids]
        config = config_of(family, variant, **SHORT) | changes
        if estimator and config["choice"]:
            config["choice"]["estimator"] = estimator
        features = features_of(backbone, split)
        model = classifier(typed(config), backbone, [2], [], "cpu")
        model.fit_features(features)
        assert backbone.model.config._attn_implementation == attention.NAME
        send_away(model)
        mode, counts = Waits(), []

        def log(state, line):
            counts.append(mode.found[:])
            mode.found.clear()

        monkeypatch.setattr(State, "log", log)
        monkeypatch.setattr(State, "finish", lambda state, path: tmp_path / "none.jsonl")
        monkeypatch.setattr(loop, "_select", lambda *_: Best(1, 1.0, 1.0, {}))
        (tmp_path / "none.jsonl").write_text("")
        monkeypatch.setattr(loop.files, "read_jsonl", lambda _: [])
        rows = loop.Rows(split, features)
        with mode:
            loop.train(model, rows, [rows], typed(config), tmp_path / "run", "identity")
        assert len(counts) == 2
        return counts

    return counted


def send_away(model):
    """All that is the device's."""
    for module in (model.backbone.model, model.prompt, model.prefix, model.head):
        if module is not None:
            module.to("meta")
    for name, value in vars(model.backbone).items():
        if isinstance(value, torch.Tensor):
            setattr(model.backbone, name, value.to("meta"))
    model.device = "meta"


def once(counts):
    """The first update makes the optimizer's states."""
    first, second = counts
    assert [name for name in first if name != "from the host"] == second == ["to the host"], counts


OF_EACH_KIND = ["finetune", "lora", "p-tuning-v2", "fixed", "adap_length", "adap_ins_all"]


@pytest.mark.parametrize(
    ("family", "variant"),
    [("seq2seq", variant) for variant in VARIANTS]
    + [(family, variant) for family in sorted(TINY.keys() - {"seq2seq"}) for variant in OF_EACH_KIND],
)
def test_an_update_waits_once(waits, family, variant):
    once(waits(family, variant))


@pytest.mark.parametrize("family", list(TINY))
@pytest.mark.parametrize("variant", ["fixed", "adap_length", "p-tuning-v2"])
def test_also_where_nothing_is_padded(waits, family, variant):
    once(waits(family, variant, whole=True))


@pytest.mark.parametrize("estimator", ["straight_through", "reinforce", "exact", "marginal"])
@pytest.mark.parametrize("variant", ["adap_all", "adap_ins_pos"])
def test_however_choices_are_learned(waits, estimator, variant):
    once(waits("seq2seq", variant, estimator=estimator))


@pytest.mark.parametrize("switches", [["fillers", "straight_through"], ["dropout"], ["padded_inputs"], ["rotation"]])
def test_under_switches(waits, switches):
    once(waits("seq2seq", "adap_length", estimator="straight_through", switches=switches))


def test_the_count_sees_what_waits(waits, monkeypatch):
    """Each of these was in the loop once, or could be."""
    original = loop.expected_losses

    def waiting(ask):
        def losses(scores, choices, *arguments):
            expected = original(scores, choices, *arguments)
            ask(expected, choices)
            return expected

        return losses

    asked = [
        (lambda expected, _: expected.sum().item(), "item"),
        (lambda _, choices: choices.split.tolist(), "to the host"),
        (lambda expected, _: bool(expected.isfinite().all()), "item"),
        (lambda expected, _: torch.tensor([1.0]).to(expected.device), "from the host"),
    ]
    for ask, name in asked:
        monkeypatch.setattr(loop, "expected_losses", waiting(ask))
        with pytest.raises(AssertionError):
            once(counts := waits("seq2seq", "adap_pos"))
        assert [update.count(name) - (name == "to the host") for update in counts[1:]] == [1]


def test_a_mask_that_is_not_told_of_padding_asks(waits, monkeypatch):
    monkeypatch.setattr("dp.classifier.classifier.Sequence._replace", lambda sequence, **_: sequence)
    with pytest.raises(AssertionError):
        once(waits("causal", "fixed"))


def test_what_goes_to_a_gpu_is_pinned_first(monkeypatch):
    """CUDA waits for pageable memory, whatever it is asked."""
    calls = []
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda value: calls.append("pinned") or value)
    monkeypatch.setattr(torch.Tensor, "to", lambda value, *place, **how: calls.append((place, how)) or value)
    tensors.sent(torch.ones(2), "cuda:0")
    assert calls == ["pinned", (("cuda:0",), {"non_blocking": True})]


def test_what_is_fetched_is_what_was_there():
    parts = {"loss": torch.tensor([0.1, 1e-30, float("nan")]), "counts": torch.tensor([2**40 + 1, 0]),
             "finite": torch.tensor([True, False]), "half": torch.tensor([1.5], dtype=torch.bfloat16)}  # fmt: skip
    found = tensors.fetched(parts)
    assert found["loss"][:2] == [torch.tensor(0.1).item(), torch.tensor(1e-30).item()]
    assert math.isnan(found["loss"][2])
    assert found["counts"] == [2**40 + 1, 0] and found["finite"] == [1.0, 0.0] and found["half"] == [1.5]
