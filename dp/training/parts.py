"""A pass in parts, where the memory does not hold it whole: the same mathematics, one part of the rows at a time.

Forward without a graph; then, once the loss says what gradient the states have, part by part again with one. So the
memory of a part is enough, draws and sums of a micro-batch stay as they are, and a third more is computed.
"""

import torch
from torch import Tensor

from dp.backbones.backbone import Backbone
from dp.classifier.backbone_input import BackboneInput, flowing, read, taken


class Parts:
    """The pass of one reading. `state` [B, H] is for the loss; `trace_back` once its gradient is there."""

    def __init__(self, backbone: Backbone, reading: BackboneInput, count: int) -> None:
        """count: of parts, at most."""
        rows = len(reading.sequence.embeds)
        size = -(-rows // count)
        self.backbone, self.reading = backbone, reading
        self.slices = [slice(start, start + size) for start in range(0, rows, size)]
        with torch.no_grad():
            states = [read(backbone, taken(reading, part)) for part in self.slices]
        self.state = torch.cat(states).requires_grad_()

    def trace_back(self) -> None:
        """Add to what is tuned the gradient that `state` has got."""
        assert self.state.grad is not None
        moved = [value for value in flowing(self.reading) if value.requires_grad]
        gradients: list[list[Tensor]] = [[] for _ in moved]
        for part in self.slices:
            cut = taken(self.reading, part, apart=True)
            read(self.backbone, cut).backward(self.state.grad[part])
            leaves = [value for value in flowing(cut) if value.requires_grad]
            for found, leaf in zip(gradients, leaves, strict=True):
                found.append(torch.zeros_like(leaf) if leaf.grad is None else leaf.grad)
        if moved:
            torch.autograd.backward(moved, [torch.cat(found) for found in gradients])
