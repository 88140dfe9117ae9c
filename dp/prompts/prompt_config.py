"""What a soft prompt reads of a run's configuration."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from dp.closed import Configuration, Settings


class Init(Settings):
    """Prompt initialisation.

    vocabulary: the first rows of the vocabulary table. sampled: rows drawn from its first `common` ones. label_words:
    the rows of the task's label words, then sampled ones (Lester et al. 2021). uniform: uniform(-bound, bound),
    absolute, whatever the size of the backbone's embeddings.
    """

    kind: Literal["vocabulary", "sampled", "label_words", "uniform"] = "vocabulary"
    bound: Annotated[float, Field(gt=0)] = 0.5
    common: PositiveInt = 5000


class Prompt(Settings):
    length: PositiveInt = 20
    "P, vectors"
    init: Init = Init()
    pool: PositiveInt = 4
    "K, prompts of a pool or mixture"
    bottleneck: PositiveInt = 400
    "width of the residual network"


class LayerPrefix(Settings):
    """A key/value prefix in every layer."""

    length: PositiveInt = 20
    init_std: Annotated[float, Field(gt=0)] = 1.0
    "standard deviation of the normal initialisation"


class Temperature(Settings):
    """tau(s) = max(start * exp(-rate / anneal * s (s + 1) / 2), floor), paper.md section 1."""

    start: Annotated[float, Field(gt=0)] = 1.0
    floor: Annotated[float, Field(gt=0)] = 0.5
    rate: Annotated[float, Field(ge=0)] = 3e-5
    anneal: Annotated[float, Field(gt=0)] = 10.0


class Choice(Settings):
    """How choices are learned (dp/prompts/estimators.py); under the switch straight_through, by that alone."""

    estimator: Literal["straight_through", "reinforce", "exact", "marginal"] = "marginal"
    samples: Annotated[int, Field(ge=2)] = 2
    "reinforce, marginal: candidates tried for each row"
    entropy: Annotated[float, Field(ge=0)] = 0.05
    "weight of the choices' entropy, linear to 0 over training; not with straight_through"
    temperature: Temperature = Temperature()
    "of straight_through"


class Factors(Configuration):
    """position x length x representation. What a definition does not say is as in the prompt `fixed`.

    The words are those of dp/study/variants.py; a dictionary says which other variant learned the choice.
    """

    position: str | int | dict[str, str] = "prefix"
    length: str | int | dict[str, str] = "fixed"
    representation: str = "single"


class PromptConfig(Configuration):
    """choice: None where nothing is chosen. learned: factor -> `task` or `instance`, for choices that another run
    learned and this one keeps frozen. switches: those in force.
    """

    definition: Factors
    prompt: Prompt | None
    choice: Choice | None
    learned: dict[str, str]
    switches: frozenset[str]
    seed: int

    @property
    def estimator(self) -> str:
        return self.choice.estimator if self.choice else "straight_through"

    @property
    def drawn(self) -> list[str]:
        """The factors, of position and length, that this run learns to choose."""
        if "frozen_choice" in self.switches:
            return []
        factors = {"position": self.definition.position, "length": self.definition.length}
        return [factor for factor, kind in factors.items() if kind in ("task", "instance")]

    def chosen_by(self, factor: str) -> str | None:
        """`task` or `instance`, where position or length is a choice, learned here or taken over."""
        kind = self.learned.get(factor, getattr(self.definition, factor))
        return kind if kind in ("task", "instance") else None
