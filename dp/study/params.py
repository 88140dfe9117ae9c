"""The closed models of `params.yaml` and of a scale file; dp/study/study.py checks one against the other."""

import json
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt, model_validator

from dp.backbones.definition import BackboneEntry
from dp.classifier.classifier_config import Lora
from dp.closed import Closed, Name
from dp.data.limits import RowLimits
from dp.data.regime import Regime
from dp.numerics.compute import Compute
from dp.prompts.prompt_config import Choice, Init, LayerPrefix, Prompt
from dp.study.protocols import Switch
from dp.study.search import Search
from dp.study.variants import Variant
from dp.tasks.model import Kind
from dp.training.loop_config import Budget, TorchCompile

# Scales (design section 9)


class Part(Closed):
    """What every regime may say: the part of the scale's grid that it stands for."""

    tasks: Annotated[list[Name], Field(min_length=1)] | None = Field(None, description="null: all tasks of the scale")
    variants: Annotated[list[Name], Field(min_length=1)] | None = Field(None, description="null: all of the scale")


class Full(Part):
    kind: Literal["full"]

    @property
    def names(self) -> list[str]:
        return [str(Regime("full"))]


class FewShot(Part):
    kind: Literal["fewshot"]
    k: list[PositiveInt] = Field(min_length=1, description="examples per label")
    sample_seeds: list[Annotated[int, Field(ge=0)]] = Field([0], min_length=1)

    @property
    def names(self) -> list[str]:
        return [str(Regime("fewshot", k, seed)) for k in self.k for seed in self.sample_seeds]


class Multitask(Part):
    """One prompt for the union of the tasks; a row comes from a task of n rows in proportion to min(n, cap)^alpha."""

    kind: Literal["multitask"]
    name: Name | None = Field(None, description="tells several unions apart: the regime is called multitask-<name>")
    alpha: Annotated[float, Field(ge=0, le=1)] = 0.5
    cap: PositiveInt | None = None

    @property
    def names(self) -> list[str]:
        return [str(Regime("multitask", name=self.name))]


class PromptOverride(Closed):
    """What an override may say of a variant's prompt."""

    init: Init


class PTuningV2(LayerPrefix):
    """P-tuning v2 (Liu et al. 2021): a key/value prefix in every layer."""

    lengths: dict[Name, PositiveInt] = Field({}, description="task -> length, where it is another")


class Baselines(Closed):
    p_tuning_v2: PTuningV2 = PTuningV2()
    lora: Lora = Lora()


class Training(Budget):
    @model_validator(mode="after")
    def whole_micro_batches(self) -> "Training":
        if self.batch_size % self.micro_batch_size:
            raise ValueError(
                f"batch_size {self.batch_size} must be a multiple of micro_batch_size {self.micro_batch_size}"
            )
        if self.starts > 1 and self.start_steps >= self.steps:
            raise ValueError(f"start_steps {self.start_steps} must be below steps {self.steps}, of which it is a part")
        if self.stop:
            least = max(self.optimizer.warmup_steps, self.start_steps if self.starts > 1 else 0)
            if not least <= self.stop.after < self.steps:
                raise ValueError(
                    f"stop.after {self.stop.after} must be at least {least}, the end of warm-up and of the starts, and "
                    f"below steps {self.steps}"
                )
        return self


class Scale(Closed):
    """One named grid: backbones x tasks x regimes x variants x seeds, and the budget of each run."""

    description: str
    backbones: list[Name] = Field(min_length=1)
    tasks: dict[Kind, list[Name]] = Field(
        min_length=1, description="task source -> tasks; params.yaml's `source` chooses"
    )
    source: Kind = Field(description="the source unless params.yaml names one")
    regimes: list[Annotated[Full | FewShot | Multitask, Field(discriminator="kind")]] = Field(
        min_length=1, description="several entries of one kind add up, each with its own tasks and variants"
    )
    variants: list[Name] = Field(min_length=1)
    without: dict[Name, list[Name]] = Field({}, description="backbone -> variants that are not run on it")
    seeds: list[Annotated[int, Field(ge=0)]] = Field(min_length=1)
    protocol: Name = Field("controlled", description="one of params.yaml's protocols")
    rows: RowLimits = RowLimits()
    max_tokens: PositiveInt = Field(480, description="T, text tokens of an input; the prompt comes on top")
    prompt: Prompt = Prompt()
    choice: Choice = Choice()
    baselines: Baselines = Baselines()
    training: Training = Training()
    search: Search | None = Field(None, description="null: one setting, no search")
    evaluation_batch_size: PositiveInt = Field(
        16, description="rows of max_tokens tokens in a forward pass; of shorter rows as many more"
    )
    compute: Compute = Compute()
    keep_models: bool = Field(
        True, description="of fine-tuned runs the whole model; false: its scores of the reported rows alone"
    )
    together: dict[Name, PositiveInt] = Field(
        {}, description="backbone -> seeds of a variant, or trials of it, that one job trains in shared passes"
    )
    torch_compile: TorchCompile | None = Field(None, description="null: passes are made as they stand")
    overrides: dict[Name, dict[str, Any]] = Field(
        {}, description="variant -> changes for it alone: of `training`, and under `prompt` of prompt.init"
    )
    predictions: str | None = Field(None, description="a file of predicted results (docs/predictions.md)")


class Params(Closed):
    """`params.yaml`."""

    scale: Name
    source: Kind | None = None
    folder: str | None = Field(
        None, description="the folder of the tasks' files (SuperGLUE: <Task>/{train,val}.jsonl), for source: folder"
    )
    tasks: list[Name] | None = Field(
        None, min_length=1, description="some of the scale's tasks, for a part of its grid; null: all of them"
    )
    allow_dirty: bool = Field(
        False, strict=False, description="admit numbers made from a dirty tree, labelled dirty-tree"
    )  # Snakemake hands `--config allow_dirty=true` over as a word
    curves: Literal["tensorboard"] | None = Field(
        None, description="while Snakemake trains, event files below results/logs for those who watch curves there"
    )
    protocols: dict[Name, list[Switch]]
    backbones: dict[Name, BackboneEntry]
    variants: dict[Name, Variant]

    def model_of(self, backbone: str) -> str:
        """What tables call a backbone: the model that it is a pre-training seed of, or its own name."""
        return self.backbones[backbone].seed_of or backbone

    @model_validator(mode="after")
    def seeds_are_alike(self) -> "Params":
        first: dict[str, str] = {}
        for name, entry in self.backbones.items():
            model = entry.seed_of
            if model is None:
                continue
            if model in self.backbones:
                raise ValueError(f"backbones.{name}.seed_of: '{model}' is a backbone itself; choose another name")
            other = first.setdefault(model, name)
            for key in ("family", "head"):
                if getattr(self.backbones[other], key) != getattr(entry, key):
                    raise ValueError(f"backbones.{name}: has another {key} than '{other}', another seed of '{model}'")
            one, two = (self.backbones[of].source.model_dump() for of in (other, name))
            if name != other and one == two:
                raise ValueError(f"backbones.{name}: is the same as '{other}', and no other seed of '{model}'")
            if ("seed" in one or "seed" in two) and one | {"seed": 0} != two | {"seed": 0}:
                raise ValueError(f"backbones.{name}.source: differs from '{other}' in more than the seed of '{model}'")
        return self


def schema() -> str:
    """JSON schema of both files, as kept in `workflow/params.schema.json`."""
    schemas = {"params.yaml": Params.model_json_schema(), "workflow/scales/*.yaml": Scale.model_json_schema()}
    return json.dumps(schemas, indent=2, sort_keys=True) + "\n"
