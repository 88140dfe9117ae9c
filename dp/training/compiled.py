"""A training's passes through its frozen backbone, compiled for each shape that they have (design section 16)."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from dp.backbones.backbone import Backbone
from dp.classifier.backbone_input import BackboneInput, read
from dp.errors import UserError, shown
from dp.sources.cache import cache
from dp.training.loop_config import TorchCompile

SHAPES = 1000
"""More than a training has; past torch's own limit of 8 a pass would not be compiled."""
FOLDER = "TORCHINDUCTOR_CACHE_DIR"


def compiled(backbone: Backbone, settings: TorchCompile) -> Callable[[BackboneInput], Tensor]:
    """What reads as `read` does: [B, H], float32, compiled whole, forward and backward.

    Called, it raises as `told_of`.
    """
    from torch._dynamo import config as dynamo  # two seconds of imports, for who compiles
    from torch._inductor import config as inductor
    from torch._inductor.runtime.cache_dir_utils import default_cache_dir

    # What is compiled is kept for the next job, and not in torch's default folder, which others could write to.
    if os.environ.get(FOLDER) in (None, default_cache_dir()):
        os.environ[FOLDER] = str(cache().absolute() / "compiled")
    inductor.compile_threads = torch.get_num_threads()

    def of_backbone(reading: BackboneInput) -> Tensor:
        return read(backbone, reading)

    mode = None if settings.mode == "default" else settings.mode
    fast: Callable[[BackboneInput], Tensor] = torch.compile(of_backbone, fullgraph=True, dynamic=False, mode=mode)

    def compiled_read(reading: BackboneInput) -> Tensor:
        # A mask also where no row is padded: else such a batch would be one more to compile.
        reading = reading._replace(sequence=reading.sequence._replace(padded=True))
        torch.compiler.cudagraph_mark_step_begin()
        with told_of(backbone), dynamo.patch(recompile_limit=SHAPES, accumulated_recompile_limit=SHAPES):
            # The next pass of a CUDA graph writes where this one's result lies.
            return fast(reading).clone()

    return compiled_read


@contextmanager
def told_of(backbone: Backbone) -> Iterator[None]:
    """Raises UserError where torch.compile cannot follow the backbone within it, or finds no compiler."""
    from torch._dynamo.exc import TorchDynamoException
    from torch._inductor.exc import InductorError

    try:
        yield
    except (TorchDynamoException, InductorError) as error:
        said = str(error).strip().partition("\n")[0]
        raise UserError(
            f"torch_compile: torch cannot compile {type(backbone.model).__name__} here ({shown(said)}); "
            "take torch_compile out of the scale file."
        ) from error
