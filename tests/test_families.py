"""Tiny models of many architectures: those admitted read embeddings as ids; what cannot work is said at fetch."""

import functools
import json
import math
import subprocess
import sys
from typing import get_args

import pytest
import torch
import transformers
from conftest import ROOT
from records import record

from dp import files, paths
from dp.backbones.capabilities import capabilities
from dp.backbones.definition import BackboneEntry
from dp.backbones.families import FAMILIES, load
from dp.backbones.names import ARCHITECTURES, Family
from dp.closed import validated
from dp.errors import UserError
from dp.numerics.sequence import Sequence
from dp.planning.shapes import shape
from dp.prompts.initial import initial_vectors
from dp.prompts.prompt_config import Init
from dp.sources import weights as fetch
from dp.study import needs
from dp.study.grid import backbone_config
from dp.study.study import load as load_study
from dp.worlds import made_up, random_weights

H = 32
LLAMA = {"hidden_size": H, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
         "num_key_value_heads": 2, "initializer_range": 0.25}  # fmt: skip
GEMMA = LLAMA | {"head_dim": 8}
T5 = {"d_model": H, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_decoder_layers": 2, "num_heads": 4,
      "decoder_start_token_id": 0}  # fmt: skip
BERT = {key: value for key, value in LLAMA.items() if key != "num_key_value_heads"} | {"max_position_embeddings": 66}
ROBERTA = BERT | {"pad_token_id": 1}
# name -> (family, architecture in transformers, keywords of its config)
ADMITTED = {
    "t5": ("seq2seq", "T5", "ForConditionalGeneration", T5),
    "t5-v1.1": ("seq2seq", "T5", "ForConditionalGeneration",
                T5 | {"feed_forward_proj": "gated-gelu", "tie_word_embeddings": False}),
    "mt5": ("seq2seq", "MT5", "ForConditionalGeneration", T5),
    "umt5": ("seq2seq", "UMT5", "ForConditionalGeneration", T5),
    "llama": ("causal", "Llama", "ForCausalLM", LLAMA | {"tie_word_embeddings": True}),
    "mistral": ("causal", "Mistral", "ForCausalLM", LLAMA),
    "qwen2": ("causal", "Qwen2", "ForCausalLM", LLAMA),
    "qwen3": ("causal", "Qwen3", "ForCausalLM", GEMMA),
    "smollm3": ("causal", "SmolLM3", "ForCausalLM", LLAMA),
    "gemma": ("causal", "Gemma", "ForCausalLM", GEMMA),
    "gemma2": ("causal", "Gemma2", "ForCausalLM", GEMMA),
    "gemma3": ("causal", "Gemma3", "ForCausalLM", GEMMA),
    "granite": ("causal", "Granite", "ForCausalLM", LLAMA | {"embedding_multiplier": 12.0, "logits_scaling": 8.0}),
    "phi3": ("causal", "Phi3", "ForCausalLM", LLAMA),
    "bert": ("encoder", "Bert", "ForMaskedLM", BERT),
    "roberta": ("encoder", "Roberta", "ForMaskedLM", ROBERTA),
    "xlm-roberta": ("encoder", "XLMRoberta", "ForMaskedLM", ROBERTA),
    "camembert": ("encoder", "Camembert", "ForMaskedLM", ROBERTA),
}  # fmt: skip
REFUSED = {
    "gpt2": ("causal", "GPT2", "LMHeadModel", {"n_embd": H, "n_layer": 2, "n_head": 4}),
    "neox": ("causal", "GPTNeoX", "ForCausalLM", BERT),
    "opt": ("causal", "OPT", "ForCausalLM",
            {"hidden_size": H, "ffn_dim": 48, "num_hidden_layers": 2, "num_attention_heads": 4}),
    "bart": ("seq2seq", "Bart", "ForConditionalGeneration",
             {"d_model": H, "encoder_layers": 1, "decoder_layers": 1, "encoder_attention_heads": 4,
              "decoder_attention_heads": 4, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48}),
}  # fmt: skip
LACKS = {"gemma2": {"lengths", "prefixes"}, "granite": {"word scores"}, "phi3": {"lora"}}
VARIANTS = ["majority", "zero-shot", "finetune", "lora", "p-tuning-v2", "fixed", "adap_length", "adap_all"]


@pytest.fixture(scope="session")
def folder_of(tmp_path_factory):
    """Name -> a checkpoint's folder, as someone publishes it. Biases and norms are no zeros and ones."""

    @functools.cache
    def make(name, **changes):
        family, architecture, kind, shape = (ADMITTED | REFUSED)[name]
        folder = tmp_path_factory.mktemp(name)
        tokenizer = random_weights.words_tokenizer(FAMILIES[family], made_up.WORDS)
        tokenizer.save_pretrained(folder)
        special = {f"{key}_token_id": getattr(tokenizer, f"{key}_token_id") for key in ("pad", "eos", "bos")}
        config = getattr(transformers, "Gemma3TextConfig" if name == "gemma3" else f"{architecture}Config")
        torch.manual_seed(0)
        keywords = special | {"vocab_size": len(tokenizer)} | shape | changes
        model = getattr(transformers, f"{architecture}{kind}")(config(**keywords))
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() == 1:
                    parameter += 0.3 * torch.randn(parameter.shape)
        model.save_pretrained(folder)
        return folder

    return make


def definition(name, folder, head="verbalizer"):
    family = (ADMITTED | REFUSED)[name][0]
    return BackboneEntry.model_validate(
        {"family": family, "head": head, "source": {"kind": "folder", "path": str(folder)}}
    )


# A family is one file and its name


def test_the_names_are_those_of_the_families():
    assert get_args(Family) == tuple(FAMILIES) == tuple(ARCHITECTURES)
    for name, family in FAMILIES.items():
        assert (family.family, family.__module__) == (name, f"dp.backbones.{name}")


def test_parameters_and_tasks_need_no_more_than_the_names():
    code = "import sys, dp.study.study, dp.tasks.model; print({'torch', 'transformers'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("family", FAMILIES)
def test_random_weights_are_of_the_family(family):
    source = {"kind": "random", "shape": {}, "tokenizer": {"kind": "words"}}
    for architecture in (*ARCHITECTURES.values(), "lama"):
        definition = {"family": family, "source": source | {"architecture": architecture}}
        if architecture == ARCHITECTURES[family]:
            validated(BackboneEntry, definition, ROOT)
        else:
            with pytest.raises(UserError, match=f"{family} has weights drawn as '\\w+', not as '{architecture}'"):
                validated(BackboneEntry, definition, ROOT)


# What the embedding module makes of ids (Gemma: sqrt(H) times its table)


@pytest.mark.parametrize("name", ADMITTED)
def test_embeddings_pass_as_the_ids_they_come_from(folder_of, name):
    """The model's own states of ids, for text and for initial prompt vectors in front of it."""
    family = ADMITTED[name][0]
    backbone = load(folder_of(name), family)
    reader = backbone.model.encoder if family == "seq2seq" else backbone.model.base_model
    words = [9, 4, 17, 30]
    init = Init(kind="label_words", common=40)
    vectors = initial_vectors(4, init, backbone.vocabulary, words, 0)
    assert vectors.dtype == torch.float32 and backbone.vocabulary.shape == (backbone.model.config.vocab_size, H)
    text = torch.tensor([[7, 21, 12, 33, 5]])
    embeds = torch.cat([vectors[None], backbone.embed(text)], dim=1)
    ones = torch.ones(1, 9, dtype=torch.long)
    with torch.no_grad():
        own = reader(input_ids=torch.cat([torch.tensor([words]), text], dim=1), attention_mask=ones).last_hidden_state
        torch.testing.assert_close(backbone.hidden(Sequence(embeds, ones, ones)), own, rtol=1e-4, atol=1e-5)
    table = backbone.model.get_input_embeddings().weight[words].float()
    scale = math.sqrt(H) if name.startswith("gemma") else 1.0
    torch.testing.assert_close(vectors, table * scale)


@pytest.mark.parametrize("name", [name for name in ADMITTED if "word scores" not in LACKS.get(name, ())])
def test_word_scores_are_the_models_own_logits(folder_of, name):
    """With a cap on the logits (Gemma 2), a scale of the decoder's output (T5) or none (mT5)."""
    family = ADMITTED[name][0]
    backbone = load(folder_of(name), family)
    ids, words = torch.tensor([[7, 21, 12, 33, 5]]), torch.tensor([[9, 4, -1]])
    ones = torch.ones_like(ids)
    with torch.no_grad():
        if family == "seq2seq":
            logits = backbone.model(input_ids=ids, decoder_input_ids=backbone.decoder_ids).logits[0, -1]
        else:
            logits = backbone.model(input_ids=ids).logits[0, -1 if family == "causal" else -2]
        scores = backbone.word_scores(backbone.state(Sequence(backbone.embed(ids), ones, ones), "verbalizer"), words)
    torch.testing.assert_close(scores[0, :2], logits[[9, 4]], rtol=1e-4, atol=1e-5)
    assert scores[0, 2] == -math.inf


# What a backbone can do is known when it is fetched


@pytest.mark.parametrize("head", ["verbalizer", "linear"])
@pytest.mark.parametrize("name", ADMITTED)
def test_what_a_backbone_lacks(folder_of, name, head):
    family, *_ = ADMITTED[name]
    found = capabilities(folder_of(name), family, head)
    assert set(found["lacks"]) == LACKS.get(name, set()) - ({"word scores"} if head == "linear" else set())
    limits = {"bert": 66, "roberta": 64, "xlm-roberta": 64, "camembert": 64}
    assert found["max_positions"] == limits.get(name)


@pytest.mark.parametrize("name", [name for name in ADMITTED if name not in ("t5-v1.1", "mt5")])  # untied when published
def test_a_plan_counts_every_architecture(folder_of, name):
    folder, family = folder_of(name), ADMITTED[name][0]
    own, backbone = shape(files.read_json(folder / "config.json"), family), load(folder, family)
    assert own.parameters == sum(parameter.numel() for parameter in backbone.model.parameters())
    assert own.prefix == 2 * math.prod(backbone.key_value_shape) * len(backbone.self_attentions)
    assert (own.attention, own.hidden) == (pytest.approx(2 * H), H), "two layers as wide as the model"


@pytest.mark.parametrize("name", REFUSED)
def test_other_layouts_are_refused_when_fetched(folder_of, tmp_path, name):
    with pytest.raises(UserError, match=r"A model of the kind '\w+' cannot be used as a \w+ backbone.*Choose one like"):
        fetch.fetch(definition(name, folder_of(name)), tmp_path / "out")


def test_a_position_table_that_no_text_fits_into(folder_of, tmp_path):
    with pytest.raises(UserError, match=r"'bert' with 4 positions cannot be used"):
        fetch.fetch(definition("bert", folder_of("bert", max_position_embeddings=4)), tmp_path / "out")


def test_the_record_says_what_a_backbone_lacks(folder_of, tmp_path):
    facts = fetch.fetch(definition("gemma2", folder_of("gemma2")), tmp_path / "out")
    assert set(facts["lacks"]) == {"lengths", "prefixes"} and all("softcap" in why for why in facts["lacks"].values())
    assert facts["max_positions"] is None
    json.dumps(facts, allow_nan=False)


# What a scale needs of it


@pytest.fixture
def study(tmp_path, monkeypatch):
    """The smoke scale; the record of one backbone says what the test wants."""

    def make(backbone="tiny-t5", lacks=None, max_positions=None, **made):
        found = load_study(ROOT, {"scale": "smoke"})
        changes = {"variants": VARIANTS, "backbones": [backbone]}
        found = found.model_copy(update={"scale": found.scale.model_copy(update=changes)})
        monkeypatch.chdir(tmp_path)
        facts = {"lacks": dict.fromkeys(lacks or (), "for a reason"), "max_positions": max_positions} | made
        asked = backbone_config(found, backbone)
        files.write_json(paths.backbone(backbone) / "record.json", record("fetch-backbone", asked, **facts))
        return found

    return make


@pytest.mark.parametrize(
    ("lacks", "message"),
    [
        ("lengths", r"need it: adap_length, adap_all\. All others work: put these under without\.tiny-t5 in workflow"),
        ("prefixes", r"need it: p-tuning-v2\. "),
        ("lora", r"need it: lora\. "),
        ("word scores", r"need it: zero-shot, finetune, lora, p-tuning-v2, fixed and 2 more\..*head: linear"),
    ],
)  # fmt: skip
def test_a_scale_that_needs_more_is_refused_before_its_rows_are_read(study, lacks, message):
    smoke = study(lacks=[lacks])
    for check in (needs.check_fetched, lambda smoke: needs.check(smoke, "tiny-t5")):
        with pytest.raises(UserError, match=rf"cannot do {lacks} \(for a reason\), and .*{message}"):
            check(smoke)


def test_what_works_is_not_refused(study):
    smoke = study(lacks=[])
    needs.check_fetched(smoke)
    left = [name for name in smoke.scale.variants if needs.needed(smoke, "tiny-t5", name) & {"lengths", "prefixes"}]
    assert left == ["p-tuning-v2", "adap_length", "adap_all"]
    without = smoke.model_copy(update={"scale": smoke.scale.model_copy(update={"without": {"tiny-t5": left}})})
    study(lacks=["lengths", "prefixes"])
    needs.check_fetched(without)
    assert needs.needed(smoke, "tiny-t5", "majority") == set()


def test_another_scale_makes_no_download_stale_and_a_stale_record_decides_nothing(study):
    smoke = study(lacks=["lora"])
    asked = json.loads(json.dumps(backbone_config(smoke, "tiny-t5")))
    assert not {"lacks", "max_positions", "scale", "variants"} & set(asked)
    stale = record("fetch-backbone", asked | {"head": "linear"}, lacks={"lora": "for a reason"}, max_positions=None)
    files.write_json(paths.backbone("tiny-t5") / "record.json", stale)
    needs.check_fetched(smoke)
    files.write_json(paths.backbone("tiny-t5") / "record.json", record("fetch-backbone", asked))
    needs.check_fetched(smoke)
    with pytest.raises(UserError, match=r"earlier version.*fetch-backbone --backbone tiny-t5"):
        needs.check(smoke, "tiny-t5")


def test_inputs_that_a_position_table_has_no_place_for(study):
    smoke = study("tiny-bert", max_positions=40)
    needs.check_positions(smoke, "tiny-bert", "toy", 20)  # and the 20 vectors of p-tuning-v2
    with pytest.raises(
        UserError, match=r"21 tokens .*'p-tuning-v2' adds 20 .* has 40 positions\. Set .* to 20 or less"
    ):
        needs.check_positions(smoke, "tiny-bert", "toy", 21)
    with pytest.raises(UserError, match=r"'tiny-bert' has 10 positions\. Shorten the prompt"):
        needs.check_positions(study("tiny-bert", max_positions=10), "tiny-bert", "toy", 5)
    needs.check_positions(study("tiny-bert", max_positions=None), "tiny-bert", "toy", 10**6)
