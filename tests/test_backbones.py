"""States, word scores, gates, prefixes and LoRA of every family, against independent computations."""

import contextlib
import copy

import pytest
import torch
from peft import LoraConfig, PrefixTuningConfig, get_peft_model
from torch.nn import functional
from torch.nn.functional import pad
from transformers import (
    AttentionInterface,
    AttentionMaskInterface,
    PreTrainedModel,
    RobertaConfig,
    RobertaForMaskedLM,
)

from dp.backbones import attention
from dp.backbones.definition import RandomSource
from dp.backbones.families import FAMILIES, load
from dp.backbones.lora import add_lora
from dp.errors import UserError
from dp.numerics.sequence import Sequence
from dp.worlds import made_up, random_weights

SHAPE = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
         "initializer_range": 0.25}  # fmt: skip
SHAPES = {
    "t5": {"d_model": 32, "d_kv": 8, "d_ff": 48, "num_layers": 2, "num_decoder_layers": 2, "num_heads": 4,
           "feed_forward_proj": "gated-gelu", "tie_word_embeddings": False},
    "llama": SHAPE | {"num_key_value_heads": 2, "max_position_embeddings": 64, "tie_word_embeddings": True},
    "bert": SHAPE | {"max_position_embeddings": 64},
}  # fmt: skip
# name -> (architecture, family, head)
BACKBONES = {
    "t5": ("t5", "seq2seq", "verbalizer"),
    "llama": ("llama", "causal", "verbalizer"),
    "bert": ("bert", "encoder", "verbalizer"),
    "minilm": ("bert", "encoder", "linear"),
    "roberta": ("roberta", "encoder", "verbalizer"),
}
LENGTHS = (9, 6, 8)
each = pytest.mark.parametrize("name", BACKBONES)


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """Architecture -> folder. Biases and norms are no zeros and ones, so that leaving one out shows."""
    made = {}
    for architecture in ("t5", "llama", "bert", "roberta"):
        folder = tmp_path_factory.mktemp(architecture)
        family = FAMILIES[BACKBONES[architecture][1]]
        tokenizer = random_weights.words_tokenizer(family, made_up.WORDS)
        tokenizer.save_pretrained(folder)
        if architecture == "roberta":
            torch.manual_seed(0)
            config = RobertaConfig(**SHAPE, vocab_size=len(tokenizer), pad_token_id=1, max_position_embeddings=66)
            model = RobertaForMaskedLM(config)
        else:
            source = {"kind": "random", "architecture": architecture, "shape": SHAPES[architecture]}
            source = RandomSource.model_validate(source | {"tokenizer": {"kind": "words"}})
            model = random_weights.model(family, source, tokenizer)
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            for parameter in model.parameters():
                if parameter.dim() == 1:
                    parameter += 0.3 * torch.randn(parameter.shape, generator=generator)
        model.save_pretrained(folder)
        made[architecture] = folder
    return made


@pytest.fixture
def make(folders):
    """Load a fresh backbone by name."""

    def loaded(name, dtype="float32"):
        architecture, family, head = BACKBONES[name]
        return load(folders[architecture], family, head, dtype)

    return loaded


def head_of(name):
    return BACKBONES[name][2]


def text_ids(lengths=LENGTHS):
    ids = torch.randint(5, 30, (len(lengths), max(lengths)), generator=torch.Generator().manual_seed(2))
    mask = (torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]).long()
    return ids * mask, mask


def sequence_of(backbone, gate=None, lengths=LENGTHS, front=3):
    """Text whose positions 1 .. front are prompt vectors (drawn like the words), right-padded."""
    ids, mask = text_ids(lengths)
    text = mask.clone()
    text[:, 1 : 1 + front] = 0
    return Sequence(backbone.embed(ids), mask, text, gate)


def holes(start=2):
    """A gate that drops other vectors in every row; in the last row all of them."""
    gate = torch.ones(3, max(LENGTHS))
    gate[0, start] = gate[1, start - 1] = gate[1, start + 1] = 0
    gate[2, start - 1 : start + 2] = 0
    return gate


def prefixes_of(backbone, length=3, batch=3):
    heads, size = backbone.key_value_shape
    generator = torch.Generator().manual_seed(3)
    return {
        module: tuple(torch.randn(1, heads, length, size, generator=generator).expand(batch, -1, -1, -1) for _ in "kv")
        for module in backbone.self_attentions
    }  # fmt: skip


def close(ours, theirs, rtol=1e-4, atol=2e-5):
    torch.testing.assert_close(ours, theirs, rtol=rtol, atol=atol)


# States and scores


def own_logits(backbone, ids, answers=()):
    """The transformers model's own full-vocabulary logits of one unpadded row, where the class scores are read."""
    if backbone.family == "seq2seq":
        start = [backbone.model.config.decoder_start_token_id, backbone.tokenizer.convert_tokens_to_ids("<extra_id_0>")]
        decoder = torch.tensor([[*start, *answers]])
        return backbone.model(input_ids=ids, decoder_input_ids=decoder).logits[0, -1]
    return backbone.model(input_ids=ids).logits[0, -1 if backbone.family == "causal" else -2]


@pytest.mark.parametrize("name", [name for name in BACKBONES if head_of(name) == "verbalizer"])
def test_word_scores_are_the_models_own_logits(make, name):
    backbone = make(name)
    ids, mask = text_ids()
    answers = torch.tensor([[6, 7], [8, -1], [-1, -1]]) if name == "t5" else None
    with torch.no_grad():
        state = backbone.state(Sequence(backbone.embed(ids), mask, mask), "verbalizer", answers)
        outputs = torch.tensor([[5, 9, 31], [31, 0, -1], [12, -1, 7]])
        scores = backbone.word_scores(state, outputs)
        assert scores.dtype == state.dtype == torch.float32
        for row, length in enumerate(LENGTHS):
            read = () if answers is None else [piece for piece in answers[row].tolist() if piece >= 0]
            logits = own_logits(backbone, ids[row : row + 1, :length], read)
            expected = torch.where(outputs[row] < 0, float("-inf"), logits[outputs[row].clamp(min=0)])
            close(scores[row], expected)


def test_a_linear_head_reads_the_mean_of_the_text(make):
    backbone = make("minilm")
    ids, mask = text_ids()
    text = mask.clone()
    text[:, 1:3] = 0
    state = backbone.state(Sequence(backbone.embed(ids), mask, text), "linear")
    for row, length in enumerate(LENGTHS):
        states = backbone.model(input_ids=ids[row : row + 1, :length]).last_hidden_state[0]
        close(state[row], states[[0, *range(3, length)]].mean(0))
    assert not hasattr(backbone.model, "cls") and backbone.model.pooler is None
    with pytest.raises(UserError, match="head: linear"):
        backbone.word_scores(state, torch.tensor([[5, 6]] * 3))


def test_mask_is_the_last_text_but_one_wherever_the_prompt_stands(make):
    backbone = make("bert")
    ids, mask = text_ids((6, 6))
    text = torch.tensor([[1, 1, 0, 0, 1, 1], [0, 1, 1, 1, 1, 0]])
    sequence = Sequence(backbone.embed(ids), mask, text)
    state, hidden = backbone.state(sequence, "verbalizer"), backbone.hidden(sequence)
    assert torch.equal(state, torch.stack([hidden[0, 4], hidden[1, 3]]))


def test_a_causal_state_is_the_last_visible_one(make):
    """A dropped prompt vector behind the text is not the answer position."""
    backbone = make("llama")
    gate = torch.ones(3, 9)
    gate[0, 7:] = gate[1, 5] = 0
    sequence = sequence_of(backbone, gate)
    hidden = backbone.hidden(sequence)
    assert torch.equal(backbone.state(sequence, "verbalizer"), hidden[[0, 1, 2], [6, 4, 7]])


def test_what_callers_ask_of_a_backbone(make):
    facts = {}
    for name in BACKBONES:
        backbone = make(name)
        facts[name] = (backbone.hidden_size, backbone.max_positions, backbone.key_value_shape,
                       len(backbone.self_attentions), backbone.projections)  # fmt: skip
        assert not backbone.model.training and not any(p.requires_grad for p in backbone.model.parameters())
    bert = (32, 64, (4, 8), 2, ("query", "value"))
    assert facts == {
        "t5": (32, None, (4, 8), 4, ("q", "v")),
        "llama": (32, None, (2, 8), 2, ("q_proj", "v_proj")),
        "bert": bert, "minilm": bert, "roberta": bert,
    }  # fmt: skip


@pytest.mark.parametrize("name", ["bert", "minilm", "roberta"])
def test_the_position_table_is_used_to_its_end_and_not_beyond(make, name):
    backbone = make(name)
    sequence = sequence_of(backbone, torch.ones(1, 64), lengths=(64,))
    close(backbone.hidden(sequence), backbone.hidden(sequence._replace(gate=None)))
    with pytest.raises((IndexError, RuntimeError)):
        backbone.hidden(sequence_of(backbone, torch.ones(1, 65), lengths=(65,)))


# Padding, gates


@each
@pytest.mark.parametrize("case", ["plain", "gate", "learned gate", "prefix", "gate and prefix"])
def test_padding_changes_nothing(make, name, case):
    backbone = make(name)
    sequence = sequence_of(backbone, holes() if "gate" in case else None)
    if case == "learned gate":
        sequence.gate.requires_grad_()
    for more in (0, 2):
        padded = Sequence(*(None if part is None else widened(part, more) for part in sequence))
        states = state_of(backbone, padded, head_of(name), "prefix" in case)
        for row, length in enumerate(LENGTHS):
            alone = Sequence(*(None if part is None else part[row : row + 1, :length] for part in sequence))
            close(states[row], state_of(backbone, alone, head_of(name), "prefix" in case)[0])


def widened(part, more):
    return pad(part, (0, 0, 0, more) if part.dim() == 3 else (0, more), value=0.5 if part.dim() == 3 else 0)


def state_of(backbone, sequence, head, prefix):
    with attention.prefixed(backbone, prefixes_of(backbone, batch=len(sequence.embeds)) if prefix else {}):
        return backbone.state(sequence, head)


@each
def test_a_gate_of_ones_is_no_gate(make, name):
    backbone = make(name)
    plain = backbone.state(sequence_of(backbone), head_of(name))
    gate = torch.ones(3, 9)
    close(backbone.state(sequence_of(backbone, gate), head_of(name)), plain)
    close(backbone.state(sequence_of(backbone, gate.requires_grad_()), head_of(name)), plain)


@each
@pytest.mark.parametrize("learned", [False, True])
@pytest.mark.parametrize("prefix", [False, True])
def test_a_dropped_vector_is_not_there(make, name, learned, prefix):
    """The sequence equals the one without it."""
    backbone = make(name)
    sequence = sequence_of(backbone, holes().requires_grad_(learned))
    states = state_of(backbone, sequence, head_of(name), prefix)
    for row, length in enumerate(LENGTHS):
        kept = sequence.gate[row, :length] > 0.5
        one = [part[row : row + 1, :length] for part in sequence[:3]]
        alone = Sequence(*(part[:, kept] for part in one))
        close(states[row], state_of(backbone, alone, head_of(name), prefix)[0])


def louder_keys(backbone, factor):
    with torch.no_grad():
        for module in backbone.self_attentions:
            projection = next(child for key, child in module.named_children() if key in ("k", "k_proj", "key"))
            projection.weight *= factor


@each
def test_without_gradients_a_learned_gate_is_an_exact_mask(make, name):
    backbone = make(name)
    louder_keys(backbone, 1000)
    learned = sequence_of(backbone, holes().requires_grad_())
    with torch.no_grad():
        state = backbone.state(learned, head_of(name))
    assert torch.equal(state, backbone.state(learned._replace(gate=holes()), head_of(name)))


@pytest.mark.parametrize("learned", [False, True])
def test_a_causal_prompt_that_is_dropped_from_the_start_gives_no_nan(make, learned):
    backbone = make("llama")
    ids, mask = text_ids()
    gate = torch.ones(3, 9)
    gate[0, :2] = gate[1, :1] = gate[2, :4] = 0
    embeds = backbone.embed(ids).requires_grad_()
    gate.requires_grad_(learned)
    sequence = Sequence(embeds, mask, mask, gate)
    hidden = backbone.hidden(sequence)
    hidden.square().sum().backward()
    assert hidden.isfinite().all() and embeds.grad.isfinite().all()
    assert not learned or gate.grad.isfinite().all()
    alone = backbone.hidden(Sequence(embeds[2:, 4:8], mask[2:, 4:8], mask[2:, 4:8]))
    close(hidden[2:, 4:8], alone)


@each
def test_a_dropped_vector_is_invisible_however_high_its_score(make, name):
    """Keys that score tens above all others: at log(1e-9) some would take over the attention."""
    backbone = make(name)
    louder_keys(backbone, 8)
    sequence = sequence_of(backbone, holes())
    exact = backbone.state(sequence, head_of(name))
    close(backbone.state(sequence._replace(gate=holes().requires_grad_()), head_of(name)), exact, atol=1e-4)
    assert (backbone.state(sequence._replace(gate=None), head_of(name)) - exact).abs().max() > 0.01


# The gate's gradient and the prefix, against attention written out in float64


def written_out(gate, prefixes, length):
    """Attention where a key weighs gate * exp(score), prefix keys in front weigh exp(score), and a row without keys
    sees itself. Keys of another number than `length` are a decoder's own, which no gate weighs."""

    def attend(module, query, key, value, mask, position_bias=None, scaling=1.0, dropout=0.0, **rest):
        weights = torch.where(mask == 0, 1.0, 0.0).double()
        if key.shape[2] == length and gate is not None:
            weights = weights * gate[:, None, None, :]
            if query.shape[2] == length:
                weights = torch.where(weights.sum(3, keepdim=True) == 0, torch.eye(length).double(), weights)
        groups = query.shape[1] // key.shape[1]
        front_key, front_value = prefixes.get(module, (key[:, :, :0], value[:, :, :0]))
        key, value = torch.cat([front_key, key], 2), torch.cat([front_value, value], 2)
        front = front_key.shape[2]
        rows = []
        for head in range(query.shape[1]):
            scores = query[:, head] @ key[:, head // groups].transpose(1, 2) * scaling
            weight = torch.cat([weights.new_ones(*weights.shape[:1], query.shape[2], front), weights[:, 0]], 2)
            if position_bias is not None:
                scores = torch.cat([scores[..., :front], scores[..., front:] + position_bias[:, head]], 2)
            shifted = (scores - scores.amax(2, keepdim=True).detach()).exp() * weight
            rows.append(shifted / shifted.sum(2, keepdim=True) @ value[:, head // groups])
        return torch.stack(rows, 2), None

    return attend


@each
@pytest.mark.parametrize("case", ["gate", "gate from the start", "prefix", "gate and prefix"])
def test_gate_and_prefix_equal_attention_written_out(make, name, case):
    ours, theirs = make(name), make(name)
    theirs.model.double()
    start = 1 if "start" in case else 2
    gate = holes(start) if "gate" in case else None
    prefixes = prefixes_of(ours) if "prefix" in case else {}
    leaves = [leaf.clone().requires_grad_() for pair in prefixes.values() for leaf in pair]
    if gate is not None:
        leaves.append(gate.clone().requires_grad_())
    twins = [leaf.detach().double().requires_grad_() for leaf in leaves]
    direction = torch.randn(3, 32, generator=torch.Generator().manual_seed(4))

    def paired(backbone, tensors):
        return {
            module: (tensors[2 * n], tensors[2 * n + 1])
            for n, module in enumerate(backbone.self_attentions) if prefixes
        }  # fmt: skip

    sequence = sequence_of(ours, leaves[-1] if gate is not None else None)
    with attention.prefixed(ours, paired(ours, leaves)):
        state = ours.state(sequence, head_of(name))
    (state * direction).sum().backward()

    # Positions are counted by hand: the prefix first, then every visible vector; a dropped one repeats its neighbour's.
    length = sequence.present.shape[1]
    visible = sequence.present if gate is None else sequence.present * gate.long()
    places = torch.zeros(3, length, dtype=torch.long)
    for row in range(3):
        for column in range(length):
            places[row, column] = max(int(visible[row, : column + 1].sum()) - 1, 0) + (3 if prefixes else 0)
    if name == "roberta":
        places += 2
    attend = written_out(twins[-1] if gate is not None else None, paired(theirs, twins), length)
    AttentionInterface.register("written_out", attend)
    AttentionMaskInterface.register("written_out", attention.full_mask)
    for module in theirs.model.modules():
        if isinstance(module, PreTrainedModel):
            module.set_attn_implementation("written_out")
    embeds = sequence.embeds.detach().double()
    if name == "t5":
        decoder = theirs.decoder_ids.expand(3, -1)
        if gate is not None:
            first = theirs.model.encoder.block[0].layer[0].SelfAttention
            buckets = first._relative_position_bucket(
                places[:, None, :] - places[:, :, None],
                bidirectional=True,
                num_buckets=first.relative_attention_num_buckets,
                max_distance=first.relative_attention_max_distance,
            )
            first.compute_bias = lambda *_, **__: first.relative_attention_bias(buckets).permute(0, 3, 1, 2)
        out = theirs.model.encoder(inputs_embeds=embeds, attention_mask=sequence.present).last_hidden_state
        expected = theirs.model.decoder(
            input_ids=decoder, encoder_hidden_states=out, encoder_attention_mask=sequence.present, use_cache=False
        ).last_hidden_state[:, -1]
    else:
        out = theirs.model.base_model(
            inputs_embeds=embeds, attention_mask=sequence.present, position_ids=places
        ).last_hidden_state
        if name == "minilm":
            expected = torch.stack([out[row, sequence.text[row].bool()].mean(0) for row in range(3)])
        else:
            last = visible.long().mul(torch.arange(length)).argmax(1)
            expected = out[torch.arange(3), last if name == "llama" else last - 1]
    (expected * direction).sum().backward()

    close(state.double(), expected)
    for leaf, twin in zip(leaves, twins, strict=True):
        scale = twin.grad.abs().max()
        assert scale > 1e-3
        close(leaf.grad.double() / scale, twin.grad / scale, rtol=1e-3, atol=1e-5)


@each
def test_the_gates_gradient_is_the_finite_difference(make, name):
    backbone = make(name)
    backbone.model.double()
    gate = (0.6 + 0.4 * torch.rand(3, 9, generator=torch.Generator().manual_seed(5))).double().requires_grad_()
    sequence = sequence_of(backbone, gate)
    direction = torch.randn(sequence.embeds.shape, generator=torch.Generator().manual_seed(6)).double()

    def value(gate):
        hidden = backbone.hidden(sequence._replace(gate=gate))
        return (hidden * direction * sequence.present[..., None]).sum()

    (gradient,) = torch.autograd.grad(value(gate), gate)
    for row, column in ((0, 2), (1, 1), (2, 4)):
        step = torch.zeros(3, 9).double()
        step[row, column] = 1e-3
        slope = (value(gate + step) - value(gate - step)) / 2e-3
        close(gradient[row, column], slope.detach(), rtol=1e-3, atol=1e-5)


def test_a_bfloat16_backbone_takes_gates_and_prefixes(make):
    for name in BACKBONES:
        exact, rounded = make(name), make(name, "bfloat16")
        states = []
        for backbone in (exact, rounded):
            sequence = sequence_of(backbone, holes().requires_grad_())
            states.append(state_of(backbone, sequence, head_of(name), prefix=True))
            states[-1].square().sum().backward()
            assert sequence.gate.grad.isfinite().all()
        assert states[1].dtype == torch.float32
        close(states[1], states[0], rtol=0.15, atol=0.15 * states[0].abs().max().item())


# What is added to the scores


@each
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize("case", ["plain", "gate", "learned gate", "prefix", "learned gate and prefix"])
def test_what_layers_have_in_common_is_made_once_and_changes_no_bit(make, name, dtype, case, monkeypatch):
    """Held against what each layer makes for itself, differentiated by autograd."""
    backbone = make(name, dtype)
    attention.adopt(backbone.model)
    direction, original, made = torch.randn(3, 32, generator=torch.Generator().manual_seed(4)), attention.Terms.sum, []
    monkeypatch.setattr(attention.Terms, "sum", lambda terms: made.append(terms) or original(terms))

    def passed():
        made.clear()
        gate = holes().requires_grad_("learned" in case) if "gate" in case else None
        prefixes = prefixes_of(backbone) if "prefix" in case else {}
        leaves = [leaf.requires_grad_() for pair in prefixes.values() for leaf in pair]
        with attention.prefixed(backbone, prefixes) if prefixes else contextlib.nullcontext():
            state = backbone.state(sequence_of(backbone, gate), head_of(name))
        leaves += [gate] if "learned" in case else []
        if leaves:
            (state * direction).sum().backward()
        return [state, *(leaf.grad for leaf in leaves)], len(made)

    shared, count = passed()
    monkeypatch.setattr(attention, "_added", lambda terms: terms.sum())
    alone, by_layer = passed()
    # T5: in the encoder, in the decoder where that mask is not left out, and between them; two layers each.
    kinds = (2 if case == "plain" else 3) if name == "t5" else 1
    assert (count, by_layer) == (kinds, 2 * kinds)
    assert len(shared) == len(alone) and all(torch.equal(*pair) for pair in zip(shared, alone, strict=True))


def test_a_position_bias_that_learns_learns_from_every_layer(make, monkeypatch):
    found = []
    for own in (False, True):
        backbone = make("t5")
        attention.adopt(backbone.model)
        weight = backbone.self_attentions[0].relative_attention_bias.weight.requires_grad_()
        if own:
            monkeypatch.setattr(attention, "_added", lambda terms: terms.sum())
        backbone.state(sequence_of(backbone, holes()), "verbalizer").square().sum().backward()
        found.append(weight.grad)
    assert torch.equal(*found) and found[0].abs().max() > 0


# Nothing is left behind


def implementations(backbone):
    return {module.config._attn_implementation for module in backbone.model.modules() if hasattr(module, "config")}


@each
def test_the_plain_path_is_transformers_own(make, name, monkeypatch):
    backbone = make(name)
    monkeypatch.setitem(AttentionInterface._global_mapping, attention.NAME, None)
    sequence = sequence_of(backbone)
    base = backbone.model.encoder if name == "t5" else backbone.model.base_model
    own = base(inputs_embeds=sequence.embeds, attention_mask=sequence.present).last_hidden_state
    assert torch.equal(backbone.hidden(sequence), own)
    assert implementations(backbone) == {"sdpa"}


@each
@pytest.mark.parametrize("lengths", [LENGTHS, (9, 9, 9)], ids=["padded", "whole"])
def test_an_adopted_backbone_without_gates_is_transformers_own_to_the_bit(make, name, lengths, monkeypatch):
    """Also what it is masked by: nothing where nothing is padded, so that a GPU may take its fastest kernel."""
    own, adopted = make(name), make(name)
    attention.adopt(adopted.model)
    assert implementations(adopted) == {attention.NAME} and implementations(own) == {"sdpa"}
    original, given = functional.scaled_dot_product_attention, []

    def attend(query, key, value, attn_mask=None, is_causal=False, **rest):
        given.append((None if attn_mask is None else attn_mask.clone(), is_causal))
        return original(query, key, value, attn_mask=attn_mask, is_causal=is_causal, **rest)

    monkeypatch.setattr(functional, "scaled_dot_product_attention", attend)
    states = [backbone.state(sequence_of(backbone, lengths=lengths), head_of(name)) for backbone in (own, adopted)]
    assert torch.equal(*states)
    half = len(given) // 2
    for (mask, causal), (found, found_causal) in zip(given[:half], given[half:], strict=True):
        assert causal == found_causal and (mask is None) == (found is None)
        assert mask is None or (mask.dtype == found.dtype and torch.equal(mask, found))


@each
def test_an_adopted_backbone_attends_as_one_that_is_switched_for_a_pass(make, name):
    switched, adopted = make(name), make(name)
    attention.adopt(adopted.model)
    for gate, prefix in ((holes(), False), (holes().requires_grad_(), False), (None, True), (holes(), True)):
        states = [state_of(backbone, sequence_of(backbone, gate), head_of(name), prefix)
                  for backbone in (switched, adopted)]  # fmt: skip
        assert torch.equal(*states)
    assert implementations(switched) == {"sdpa"} and implementations(adopted) == {attention.NAME}


@each
def test_no_pass_of_an_adopted_backbone_sets_its_attention_anew(make, name, monkeypatch):
    backbone = make(name)
    attention.adopt(backbone.model)
    monkeypatch.setattr(PreTrainedModel, "set_attn_implementation", None)
    for gate, prefix in ((None, False), (holes().requires_grad_(), False), (holes(), True)):
        assert state_of(backbone, sequence_of(backbone, gate), head_of(name), prefix).isfinite().all()


@each
def test_a_model_that_attends_otherwise_is_not_adopted(make, name):
    backbone = make(name)
    backbone.model.set_attn_implementation("eager")
    before = implementations(backbone)
    assert "eager" in before
    attention.adopt(backbone.model)
    assert implementations(backbone) == before
    state_of(backbone, sequence_of(backbone, holes()), head_of(name), True)
    assert implementations(backbone) == before


@each
def test_gates_and_prefixes_leave_no_trace(make, name):
    backbone = make(name)
    head, gate = head_of(name), holes().requires_grad_()
    plain = backbone.state(sequence_of(backbone), head)
    gated = backbone.state(sequence_of(backbone, gate), head)
    outer, inner = prefixes_of(backbone), prefixes_of(backbone, length=1)
    with attention.prefixed(backbone, inner):
        short = backbone.state(sequence_of(backbone, gate), head)
    with attention.prefixed(backbone, outer):
        first = backbone.state(sequence_of(backbone, gate), head)
        with pytest.raises(ZeroDivisionError), attention.prefixed(backbone, inner):
            assert torch.equal(backbone.state(sequence_of(backbone, gate), head), short)
            raise ZeroDivisionError
        assert torch.equal(backbone.state(sequence_of(backbone, gate), head), first)
        assert not torch.equal(backbone.state(sequence_of(backbone), head), plain)
    wrong = sequence_of(backbone, gate)._replace(embeds=torch.zeros(3, 9, 5))
    with pytest.raises(RuntimeError):
        backbone.state(wrong, head)
    assert implementations(backbone) == {"sdpa"}
    assert torch.equal(backbone.state(sequence_of(backbone), head), plain)
    assert torch.equal(backbone.state(sequence_of(backbone, gate), head), gated)


def test_a_model_that_would_ignore_its_gate_is_refused(make, monkeypatch):
    backbone = make("llama")
    monkeypatch.setattr(type(backbone.model), "_can_set_attn_implementation", classmethod(lambda cls: False))
    attention.adopt(backbone.model)
    assert backbone.hidden(sequence_of(backbone)).isfinite().all()
    with pytest.raises(UserError, match="LlamaForCausalLM does not take another attention function"):
        backbone.hidden(sequence_of(backbone, holes()))
    assert implementations(backbone) == {"sdpa"}


# peft


def peft_prefix(name, model, heads, size, length=3):
    """peft's prefix tuning on a model, and its parameter as (key, value) leaves of every layer with a prefix."""
    task = {"llama": "CAUSAL_LM", "t5": "SEQ_2_SEQ_LM"}.get(name, "FEATURE_EXTRACTION")
    config = PrefixTuningConfig(task_type=task, num_virtual_tokens=length)
    tuned = get_peft_model(model, config).eval()
    weight = tuned.prompt_encoder["default"].embedding.weight
    with torch.no_grad():
        weight.copy_(torch.randn(weight.shape, generator=torch.Generator().manual_seed(7)))

    def leaves(flat):
        # [P, 2 layers heads d] -> per layer a key and a value [1, heads, P, d]
        parts = flat.detach().view(length, -1, heads, size).permute(1, 2, 0, 3)
        return [part[None].clone().requires_grad_() for part in parts]

    return tuned, weight, leaves


@each
def test_a_prefix_is_pefts_prefix_tuning(make, name):
    """peft gives an encoder-decoder's prefix to the decoder alone, the same one to every layer (two layers' parts are
    cut out of four), with the position bias of its distance: compared with one prefix and with bias 0."""
    ours, theirs = make(name), make(name)
    if name == "t5":
        for backbone in (ours, theirs):
            torch.nn.init.zeros_(backbone.model.decoder.block[0].layer[0].SelfAttention.relative_attention_bias.weight)
    heads, size = ours.key_value_shape
    model = theirs.model.base_model if ours.family == "encoder" else theirs.model
    tuned, weight, split = peft_prefix(name, model, heads, size)
    leaves = split(weight)
    used = [(leaves[0], leaves[1])] * 2 if name == "t5" else [(leaves[0], leaves[1]), (leaves[2], leaves[3])]
    pairs = {
        module: (key.expand(3, -1, -1, -1), value.expand(3, -1, -1, -1))
        for module, (key, value) in zip(ours.self_attentions[-2:], used, strict=True)
    }
    ids, mask = text_ids()
    with attention.prefixed(ours, pairs):
        state = ours.state(Sequence(ours.embed(ids), mask, mask), head_of(name))
    rows = torch.arange(3)
    if name == "t5":
        logits = tuned(input_ids=ids, attention_mask=mask, decoder_input_ids=ours.decoder_ids.expand(3, -1)).logits
        expected = logits[:, -1]
    elif name == "llama":
        expected = tuned(input_ids=ids, attention_mask=mask).logits[rows, mask.sum(1) - 1]
    else:
        # RoBERTa counts positions from the ids and would take id 1 for padding; the words begin at 5.
        filled = torch.where(mask.bool(), ids, 1) if name == "roberta" else ids
        states = tuned(input_ids=filled, attention_mask=mask).last_hidden_state
        expected = states[rows, mask.sum(1) - 2]
        if name == "minilm":
            expected = torch.stack([states[row, :length].mean(0) for row, length in enumerate(LENGTHS)])
    if ours.family != "encoder":
        state = ours.word_scores(state, torch.arange(expected.shape[1]).expand(3, -1))
    direction = torch.randn(expected.shape, generator=torch.Generator().manual_seed(8))
    (state * direction).sum().backward()
    (expected * direction).sum().backward()
    close(state, expected)
    for leaf, gradient in list(zip(leaves, split(weight.grad), strict=True))[: 2 if name == "t5" else 4]:
        scale = gradient.abs().max()
        assert scale > 1e-4
        close(leaf.grad / scale, gradient / scale, rtol=1e-3, atol=1e-5)


SETTINGS = {"rank": 3, "alpha": 12, "dropout": 0.0}


def adapters(backbone):
    return {name: p for name, p in backbone.model.named_parameters() if p.requires_grad}


@each
def test_lora_is_pefts(make, name):
    ours, theirs = make(name), make(name)
    sequence = sequence_of(ours, holes())
    before = ours.state(sequence, head_of(name))
    add_lora(ours, **SETTINGS, generator_seed=0)
    assert torch.equal(ours.state(sequence, head_of(name)), before)
    own = adapters(ours)
    layers = {"t5": 6}.get(name, 2)
    assert len(own) == layers * 2 * 2 and all(".lora_A." in key or ".lora_B." in key for key in own)
    generator = torch.Generator().manual_seed(9)
    with torch.no_grad():
        for parameter in own.values():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) / 4)
    config = LoraConfig(r=3, lora_alpha=12, lora_dropout=0.0, target_modules=list(ours.projections))
    tuned = get_peft_model(theirs.model, config).eval()
    for key, parameter in own.items():
        tuned.get_base_model().get_parameter(key).data.copy_(parameter.data)
    for backbone in (ours, theirs):
        backbone.state(sequence, head_of(name)).square().sum().backward()
    close(ours.state(sequence, head_of(name)), theirs.state(sequence, head_of(name)))
    assert (ours.state(sequence, head_of(name)) - before).abs().max() > 0.01
    for key, parameter in own.items():
        close(parameter.grad, tuned.get_base_model().get_parameter(key).grad, rtol=1e-3, atol=1e-4)


def test_lora_of_one_projection_by_hand(make):
    backbone, plain = make("bert"), make("bert")
    add_lora(backbone, **SETTINGS, generator_seed=0)
    query = backbone.self_attentions[1].query
    a, b = query.lora_A["default"].weight, query.lora_B["default"].weight
    assert a.shape == (3, 32) and b.shape == (32, 3) and not b.any()
    with torch.no_grad():
        b.normal_()
    x = torch.randn(2, 32)
    close(query(x), plain.self_attentions[1].query(x) + 12 / 3 * x @ a.T @ b.T)


@each
def test_lora_is_drawn_from_its_seed_alone(make, name):
    draws = []
    for outside, seed in ((0, 5), (1, 5), (0, 6)):
        torch.manual_seed(outside)
        state = torch.random.get_rng_state()
        backbone = make(name)
        add_lora(backbone, **SETTINGS, generator_seed=seed)
        assert torch.equal(torch.random.get_rng_state(), state)
        draws.append({key: value.detach().clone() for key, value in adapters(backbone).items()})
    first, again, other = draws
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert all(torch.equal(first[key], other[key]) == ("lora_B" in key) for key in first)


def test_loras_dropout_is_off_until_asked_for(make):
    backbone = make("t5", "bfloat16")
    dropouts = add_lora(backbone, **SETTINGS | {"dropout": 0.5}, generator_seed=0)
    assert {parameter.dtype for parameter in adapters(backbone).values()} == {torch.float32}
    with torch.no_grad():
        for parameter in adapters(backbone).values():
            parameter.normal_()
    sequence = sequence_of(backbone)

    def state():
        return backbone.state(sequence, "verbalizer")

    still = state()
    assert torch.equal(state(), still)
    dropouts.train()
    assert not torch.equal(state(), state())
    dropouts.eval()
    assert torch.equal(state(), still)
    assert copy.deepcopy(backbone.model).training is False
