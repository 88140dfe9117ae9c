"""dvc.lock: what DVC recorded of each stage."""

from pathlib import Path
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError

from dp import yaml12
from dp.closed import explain
from dp.errors import UserError

LOCK = Path("dvc.lock")


class _Out(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)
    path: str
    nfiles: int = 1


class _Stage(BaseModel):
    model_config = ConfigDict(extra="allow", strict=True)
    cmd: str
    outs: list[_Out] = []


class _DvcLock(BaseModel):
    """What is read here, of much that DVC writes."""

    model_config = ConfigDict(extra="allow", strict=True)
    stages: dict[str, _Stage] = {}


def parse(text: bytes, where: str) -> dict[str, Any]:
    """Stage -> its `cmd` and `outs` (`path`, `nfiles`); none where nothing was recorded.

    Raises UserError where the text is not what DVC writes.
    """
    try:
        return _DvcLock.model_validate(yaml12.parse(text, where) or {}).model_dump()["stages"]
    except ValidationError as error:
        raise UserError(f"{where}: is not what DVC writes: {explain(error, _DvcLock)}.") from None
