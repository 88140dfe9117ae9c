"""A backbone with what a variant tunes on it, scoring the classes of one task or of a union of tasks."""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from dp.backbones.attention import adopt
from dp.backbones.backbone import Backbone
from dp.backbones.lora import add_lora
from dp.classifier.backbone_input import BackboneInput, read
from dp.classifier.classifier_config import ClassifierConfig, Lora
from dp.data.batches import Batch
from dp.errors import UserError
from dp.numerics import seeds
from dp.numerics.sequence import Sequence
from dp.prompts.choice import Moment
from dp.prompts.every_layer import Prefix
from dp.prompts.prompt import Choices, SoftPrompt, build
from dp.prompts.prompt_config import LayerPrefix


class LinearHead(nn.Module):
    """A linear head on the backbone's pooled state, tuned with the prompt.

    One output per class of each task; a task's outputs stand together, in the order of the tasks."""

    def __init__(self, hidden: int, classes: list[int], seed: int) -> None:
        super().__init__()
        self.starts: Tensor
        generator = seeds.generator(seed, "head initialisation")
        self.weight = nn.Parameter(torch.randn(sum(classes), hidden, generator=generator) * 0.02)
        self.bias = nn.Parameter(torch.zeros(sum(classes)))
        starts = torch.tensor([sum(classes[:task]) for task in range(len(classes))])
        self.register_buffer("starts", starts, persistent=False)

    def forward(self, state: Tensor, outputs: Tensor, tasks: Tensor) -> Tensor:
        """Scores [B, C] of state [B, H] for rows of tasks [B]; -inf where outputs [B, C] is -1, a class they lack."""
        columns = self.starts[tasks][:, None] + torch.arange(outputs.shape[1], device=outputs.device)
        scores = nn.functional.linear(state, self.weight, self.bias)
        known = outputs >= 0
        return scores.gather(1, columns.where(known, 0)).masked_fill(~known, -torch.inf)


class Tuning(NamedTuple):
    """What a variant tunes. `head` None is the verbalizer."""

    prompt: SoftPrompt | None = None
    prefix: Prefix | None = None
    head: LinearHead | None = None


class Classifier:
    """Joins the two seams: the prompt knows nothing of the task, the backbone nothing of the prompt."""

    def __init__(
        self, backbone: Backbone, tuning: Tuning, adapters: nn.ModuleList, probes: bool, dropout: bool, device: str
    ) -> None:
        self.backbone, self.adapters, self.probes, self.dropout = backbone, adapters, probes, dropout
        self.prompt, self.prefix, self.head = tuning
        self.device = device
        for module in tuning:
            if module is not None:
                module.to(device)

    def __call__(self, batch: Batch, moment: Moment) -> tuple[Tensor, Choices | None]:
        """Scores [B, C], float32, and what the prompt chose (None without one)."""
        reading, choices = self.backbone_input(batch, moment)
        return self.scores(read(self.backbone, reading) if reading else None, batch), choices

    def backbone_input(self, batch: Batch, moment: Moment) -> tuple[BackboneInput | None, Choices | None]:
        """What the backbone is to read, and what the prompt chose; None for the first where a probe needs no pass."""
        if self.probes:
            return None, None
        self._prepare(moment)
        embeds, choices = self.backbone.embed(batch.ids), None
        sequence = Sequence(embeds, batch.mask, batch.mask)
        if self.prompt:
            sequence, choices = self.prompt(embeds, batch.mask, batch.tails, batch.features, batch.tasks, moment)
        sequence = sequence._replace(padded=batch.padded)
        prefix = self.prefix(len(embeds)) if self.prefix else None
        return BackboneInput(sequence, "linear" if self.head else "verbalizer", batch.answers, prefix), choices

    def scores(self, state: Tensor | None, batch: Batch) -> Tensor:
        """Scores [B, C] of what the backbone has read: state [B, H], or None of a probe, which takes the features."""
        if state is None:
            assert batch.features is not None and self.head is not None
            return self.head(batch.features, batch.outputs, batch.tasks)
        if self.head:
            return self.head(state, batch.outputs, batch.tasks)
        return self.backbone.word_scores(state, batch.outputs)

    @property
    def prompt_length(self) -> int:
        """Vectors that stand beside the text, in its sequence or in every layer."""
        if self.prefix:
            return self.prefix.vectors.shape[3]
        return self.prompt.position.vectors if self.prompt else 0

    @property
    def longest_text(self) -> int | None:
        """Tokens that fit into the backbone's positions beside the prompt; None: any number."""
        limit = self.backbone.max_positions
        return None if limit is None else limit - self.prompt_length

    @property
    def copies(self) -> int:
        """Forward passes that one training row takes: candidates that its choices are tried with."""
        return self.prompt.copies if self.prompt else 1

    def fit_features(self, features: Tensor | None) -> None:
        """features: [R, H], of the training rows, where the variant reads any."""
        if self.prompt and self.prompt.standard and features is not None:
            self.prompt.standard.fit(features)

    def check_lengths(self, longest: int) -> None:
        """Raises UserError where the longest input and the prompt do not fit into the backbone's positions."""
        if self.longest_text is not None and longest > self.longest_text:
            raise UserError(
                f"The longest input ({longest} tokens) and the prompt take {longest + self.prompt_length} positions, "
                f"and the backbone has {self.backbone.max_positions}; lower max_tokens or prompt.length in the scale "
                "file."
            )

    def kept(self) -> dict[str, nn.Parameter]:
        """What tuned.safetensors holds: prompt, prefix and head in full, and what is trained of the backbone."""
        found: dict[str, nn.Parameter] = {}
        for name, module in (("prompt", self.prompt), ("prefix", self.prefix), ("head", self.head)):
            if module is not None:
                found |= {f"{name}.{key}": value for key, value in module.named_parameters()}
        own = self.backbone.model.named_parameters()
        return found | {f"backbone.{key}": value for key, value in own if value.requires_grad}

    def trained(self) -> dict[str, nn.Parameter]:
        """The parameters that an optimizer moves, by name."""
        return {name: value for name, value in self.kept().items() if value.requires_grad}

    def _prepare(self, moment: Moment) -> None:
        """Dropout on in training where the protocol or an adapter wants it, from a seed of this very pass."""
        self.backbone.model.train(moment.training and self.dropout)
        self.adapters.train(moment.training)
        if moment.training and (self.dropout or len(self.adapters)):
            torch.manual_seed(seeds.derive(moment.seed, "dropout", moment.step, moment.number))


def classifier(
    config: ClassifierConfig, backbone: Backbone, classes: list[int], words: list[int], device: str
) -> Classifier:
    """The untrained classifier of a run.

    classes: the number of classes of each task. words: vocabulary ids of all label words, for the initialisation.
    """
    seed, baseline = config.seed, config.definition.baseline
    backbone.model.requires_grad_(baseline == "finetune")
    adopt(backbone.model)
    prompt = prefix = None
    adapters = nn.ModuleList()
    if config.prompt:
        # Fine-tuning that has one (prompt_beside_finetuning) tunes no embeddings.
        backbone.model.get_input_embeddings().requires_grad_(False)
        prompt = build(config, backbone.vocabulary, words, len(classes))
    match config.baseline:
        case LayerPrefix(length=length, init_std=std):
            heads, dim = backbone.key_value_shape
            prefix = Prefix(len(backbone.self_attentions), length, heads, dim, std, seed)
        case Lora(rank=rank, alpha=alpha, dropout=dropout):
            adapters = add_lora(backbone, rank, alpha, dropout, seeds.derive(seed, "adapter initialisation"))
    head = LinearHead(backbone.hidden_size, classes, seed) if config.head == "linear" else None
    return Classifier(backbone, Tuning(prompt, prefix, head), adapters, probes=baseline == "linear_probe",
                      dropout="dropout" in config.switches, device=device)  # fmt: skip
