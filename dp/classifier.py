"""A backbone with (or without) a soft prompt that scores the label words of one task."""

from typing import Any

import torch
from torch import Tensor, nn

from dp.backbones.load import Backbone
from dp.data.batches import Batch
from dp.prompts.choice import Moment
from dp.prompts.prompt import SoftPrompt, build


class Classifier:
    """Joins the two seams: the prompt knows nothing of the task, the backbone nothing of the prompt."""

    def __init__(self, backbone: Backbone, prompt: SoftPrompt | None, words: list[int], device: str) -> None:
        self.backbone, self.prompt, self.device = backbone, prompt, device
        self.words = torch.tensor(words, device=device)

    def __call__(self, batch: Batch, moment: Moment) -> tuple[Tensor, Tensor | None]:
        """Scores [B, C] and the chosen split [B] (None without a prompt)."""
        embeds = self.backbone.embed(batch.ids)
        if self.prompt is None:
            return self.backbone.scores(embeds, batch.mask, self.words), None
        composed, chosen = self.prompt(embeds, batch.mask, self.backbone.tail, batch.features, moment)
        return self.backbone.scores(composed.embeds, composed.mask, self.words), chosen.candidate

    @property
    def prompt_length(self) -> int:
        return 0 if self.prompt is None else self.prompt.position.vectors

    @property
    def tuned(self) -> nn.Module:
        """The module whose parameters are trained and saved: the prompt, or the whole backbone."""
        return self.backbone.model if self.prompt is None else self.prompt


def classifier(config: dict[str, Any], backbone: Backbone, words: list[int], device: str) -> Classifier:
    """The untrained classifier of a resolved run configuration (dp.grid.run_config)."""
    if baseline := config["definition"].get("baseline"):
        backbone.model.requires_grad_(baseline == "finetune")
        return Classifier(backbone, None, words, device)
    vocabulary = backbone.model.get_input_embeddings().weight.cpu()
    prompt = build(config["definition"], config["prompt"], vocabulary, config["seed"])
    return Classifier(backbone, prompt.to(device), words, device)
