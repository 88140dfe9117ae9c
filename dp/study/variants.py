"""Variants as data: soft prompts, baselines, and controls of either (design section 4)."""

from typing import Annotated, Any, ClassVar, Literal

from pydantic import Discriminator, Field, PositiveInt, Tag

from dp.closed import Closed, Name
from dp.study.protocols import Switch


class LearnedBy(Closed):
    """The choice that another variant's run of the same task and seed ended with, frozen at its argmax."""

    learned_by: Name


class VariantFacts(Closed):
    """What every variant can be asked."""

    @property
    def choices(self) -> dict[str, str]:
        """Factor -> `task` or `instance`, for each that this variant learns to choose or weigh."""
        return {}

    @property
    def sources(self) -> dict[str, str]:
        """Factor -> the variant that learned its choice."""
        return {}

    @property
    def needs(self) -> list[str]:
        """Variants whose runs its own read."""
        return list(self.sources.values())


class Tuned(VariantFacts):
    """What every variant that is trained may say."""

    is_prompt: ClassVar[bool]
    """Whether it is a soft prompt, and no baseline."""

    head: Literal["verbalizer", "linear"] | None = Field(None, description="instead of the backbone's own head")
    switches: list[Switch] = Field([], description="switches on top of the protocol's")
    budget: PositiveInt = Field(
        1, description="times the scale's updates: a control with as many forward passes as a variant that draws"
    )

    @property
    def is_trained(self) -> bool:
        return True

    @property
    def is_majority(self) -> bool:
        """Whether it is the majority class: it reads no backbone, and nobody expects more than one class of it."""
        return False

    @property
    def has_pool(self) -> bool:
        """Whether it tunes several prompts."""
        return False

    @property
    def reads_features(self) -> bool:
        """Whether it reads the instance features by what it learns itself."""
        return "instance" in self.choices.values()


class Prompted(Tuned):
    """A soft prompt: position x length x representation.

    position: prefix (s = P), postfix (s = 0), an integer split s in 0..P, random, task, instance. length: fixed
    (prompt.length vectors), an integer, task, instance. representation: single, task_pool, instance_pool,
    residual or mixture (dp/prompts/representations.py).
    """

    is_prompt = True

    position: Literal["prefix", "postfix", "random", "task", "instance"] | Annotated[int, Field(ge=0)] | LearnedBy = (
        "prefix"
    )
    length: Literal["fixed", "task", "instance"] | PositiveInt | LearnedBy = "fixed"
    representation: Literal["single", "task_pool", "instance_pool", "residual", "mixture"] = "single"

    @property
    def choices(self) -> dict[str, str]:
        found = {"position": self.position, "length": self.length, "pool": self.representation.removesuffix("_pool")}
        return {factor: kind for factor, kind in found.items() if kind == "task" or kind == "instance"}

    @property
    def has_pool(self) -> bool:
        return self.representation in ("task_pool", "instance_pool", "mixture")

    @property
    def sources(self) -> dict[str, str]:
        found = {"position": self.position, "length": self.length}
        return {factor: kind.learned_by for factor, kind in found.items() if isinstance(kind, LearnedBy)}


class Baseline(Tuned):
    """majority and zero_shot are not trained; the others have their settings in the scale's `baselines`."""

    is_prompt = False

    baseline: Literal["majority", "zero_shot", "linear_probe", "finetune", "lora", "p_tuning_v2"]

    @property
    def is_trained(self) -> bool:
        return self.baseline not in ("majority", "zero_shot")

    @property
    def is_majority(self) -> bool:
        return self.baseline == "majority"

    @property
    def reads_features(self) -> bool:
        return self.baseline == "linear_probe"


class Control(VariantFacts):
    """Another variant's trained runs, evaluated under a changed condition."""

    control_of: Name
    instances: Literal["own", "shuffled"] = Field("own", description="shuffled: each row gets another row's choices")
    noise: bool = Field(False, description="draw the choices with Gumbel noise, as in training")

    @property
    def needs(self) -> list[str]:
        return [self.control_of]


def _kind(given: Any) -> str:
    """Which of the three a definition means, so that a mistake in it is explained as one of that kind."""
    keys = given.model_fields_set if isinstance(given, Closed) else given if isinstance(given, dict) else ()
    return "Baseline" if "baseline" in keys else "Control" if "control_of" in keys else "Prompted"


Variant = Annotated[
    Annotated[Prompted, Tag("Prompted")] | Annotated[Baseline, Tag("Baseline")] | Annotated[Control, Tag("Control")],
    Discriminator(_kind),
]
