"""What a classifier, and whatever puts rows through it, reads of a run's configuration."""

from typing import Annotated

from pydantic import Field, PositiveInt

from dp.backbones.names import Family
from dp.closed import Settings
from dp.numerics.compute import Compute
from dp.prompts.prompt_config import Factors, LayerPrefix, PromptConfig


class Lora(Settings):
    """LoRA (Hu et al. 2021) on the query and value projections."""

    rank: PositiveInt = 8
    alpha: Annotated[float, Field(gt=0)] = 16.0
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0


class Method(Factors):
    """A prompt, or the baseline of that name."""

    baseline: str | None = None


class ClassifierConfig(PromptConfig):
    """baseline: the settings of one that has any. backbone, task, variant: what errors name."""

    definition: Method
    baseline: LayerPrefix | Lora | None
    head: str
    family: Family
    backbone_head: str
    backbone: str
    task: str
    variant: str
    max_tokens: int
    evaluation_batch_size: int
    compute: Compute

    @property
    def input_width(self) -> int | None:
        """Positions that inputs are padded to (padded_inputs); None: each batch to its own longest row."""
        return self.max_tokens if "padded_inputs" in self.switches else None
