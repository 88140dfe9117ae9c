"""LoRA: a low-rank update of every query and value projection, as a baseline of the prompts (design section 4)."""

import torch
from torch import nn

from dp.backbones.backbone import Backbone


def add_lora(backbone: Backbone, rank: int, alpha: float, dropout: float, generator_seed: int) -> nn.ModuleList:
    """Put W x + (alpha / rank) B A dropout(x) where the backbone's `projections` have W x (Hu et al. 2021, 4.1).

    A is drawn uniformly from generator_seed and the global generator is left as it
    was; B starts at 0, so the backbone's states do not change. A and B are float32 and the only parameters that require
    a gradient. Returns the dropouts, switched off: put them in training mode around a training step.
    """
    from peft import LoraConfig, inject_adapter_in_model  # takes seconds to import, and no other variant needs it

    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,  # type: ignore[arg-type]  # any number will do
        lora_dropout=dropout,
        target_modules=list(backbone.projections),
    )
    with torch.random.fork_rng(devices=[]):  # peft draws on the CPU, whatever the device
        torch.manual_seed(generator_seed)
        inject_adapter_in_model(config, backbone.model)
    backbone.model.eval()
    for parameter in backbone.model.parameters():
        if parameter.requires_grad:
            parameter.data = parameter.data.float()
    return nn.ModuleList(module.lora_dropout for module in backbone.model.modules() if hasattr(module, "lora_dropout"))
