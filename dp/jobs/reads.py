"""What the job of an artifact reads, as small files that stand for all of it and as one digest of their content."""

from collections.abc import Mapping
from pathlib import Path

from dp import files
from dp.jobs.artifacts import Artifact
from dp.jobs.project import project_digest
from dp.jobs.record import SUMS


def read_by(artifact: Artifact, asked: Mapping[Path, Artifact]) -> list[str]:
    """Files of other artifacts: digests of what is read, and the records that are read for their facts."""
    if artifact.command == "report":
        return [f"{folder}/record.json" for folder in artifact.upstream]
    records = [folder for folder in artifact.upstream if asked[folder].command == "train"]
    return [f"{folder}/{SUMS}" for folder in artifact.upstream] + [f"{folder}/record.json" for folder in records]


def digest_of(artifact: Artifact, asked: Mapping[Path, Artifact]) -> str:
    """One digest of what these files and those of the project say, whatever their time stamps; "" for what is gone."""
    made = {name: _sha256(Path(name)) for name in read_by(artifact, asked)}
    return files.digest(made | {name: project_digest(name) for name in artifact.project})


def _sha256(path: Path) -> str:
    try:
        return files.sha256(path)
    except FileNotFoundError:
        return ""
