"""What the training loop reads of a run's configuration."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from dp.classifier.classifier_config import ClassifierConfig
from dp.closed import Configuration, Settings
from dp.numerics import seeds


class Optimizer(Settings):
    name: Literal["adafactor", "adamw"] = "adafactor"
    lr: Annotated[float, Field(gt=0)] = 0.3
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    schedule: Literal["constant", "linear"] = "constant"
    warmup_steps: Annotated[int, Field(ge=0)] = 500
    clip_norm: Annotated[float, Field(gt=0)] = 1.0


class Stop(Settings):
    """When a run ends before its steps are done: equal for every variant (dp/training/stopping.py)."""

    patience: PositiveInt
    "looks at the selection rows, one after another, of which none is better than the best before"
    after: PositiveInt
    "updates that every run makes, whatever its looks say: beyond warm-up, and the start_steps of several starts"


class Budget(Settings):
    steps: PositiveInt = 20000
    batch_size: PositiveInt = 32
    micro_batch_size: PositiveInt = 8
    "rows per forward pass; gradients add up to batch_size rows"
    evaluate_every: PositiveInt = 500
    checkpoint_every: PositiveInt = 500
    starts: PositiveInt = 1
    "begun with other draws each; the one that is ahead on the selection rows after start_steps goes on"
    start_steps: PositiveInt = 500
    stop: Stop | None = None
    "null: every run makes all its steps"
    optimizer: Optimizer = Optimizer()


class RunBudget(Budget):
    """A run's own. prompt_optimizer: of a prompt that is tuned beside the backbone (prompt_beside_finetuning)."""

    updates_per_step: PositiveInt
    prompt_optimizer: Optimizer | None = None

    @property
    def updates_of_other_starts(self) -> int:
        """Updates of the starts that do not go on."""
        return (self.starts - 1) * self.start_steps

    def looks_after(self, update: int) -> bool:
        """Whether there is an evaluation on the selection rows after so many updates, the last ones apart."""
        return update % self.evaluate_every == 0 or (self.starts > 1 and update == self.start_steps)


class TorchCompile(Settings):
    """Trainings' passes compiled for each shape; what trains in the backbone or draws its dropout stays as it is."""

    mode: Literal["default", "reduce-overhead"] = "default"
    "of torch.compile; reduce-overhead: one CUDA graph a pass, on a GPU"
    pad_to_multiple_of: PositiveInt = 32
    "that the widths of training batches are rounded up to, so that few shapes are compiled"


class Mixing(Configuration):
    """A row of a union comes from a task of n rows in proportion to min(n, cap)^alpha."""

    alpha: float = 1.0
    cap: int | None = None


class LoopConfig(ClassifierConfig):
    """multitask: None for one task alone. together: of one variant, the runs that share passes with this one, itself
    among them (dp/training/advance.py)."""

    training: RunBudget
    multitask: Mixing | None
    together: list[str] = Field(["alone"], min_length=1)
    torch_compile: TorchCompile | None = None

    @property
    def batch_order(self) -> int:
        """The seed of the order in which short and long batches come: one for all that share passes, which are padded
        to the widest of them."""
        return self.seed if len(self.together) == 1 else seeds.derive(0, "batch order", *self.together)

    def batch_width(self, longest: int, room: int | None) -> int:
        """Tokens of a training batch whose longest row has `longest`. room: that the backbone admits; None: any."""
        if self.input_width or self.torch_compile is None:
            return self.input_width or longest
        multiple = self.torch_compile.pad_to_multiple_of
        width = min(-(-longest // multiple) * multiple, max(longest, self.max_tokens))
        return width if room is None else max(longest, min(width, room))
