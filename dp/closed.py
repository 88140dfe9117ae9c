"""Closed models: an unknown key is an error, and every mistake is named with file, key and remedy."""

import difflib
from collections.abc import Iterable
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dp import yaml12
from dp.errors import ECHO, MESSAGE, UserError, shown

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$", max_length=100)]
"""Becomes the name of a folder, or a part of a file's."""
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Package = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?==[A-Za-z0-9][A-Za-z0-9._+!-]*$")]
"""name==version, as pip takes it; no name begins with a dash."""
Repo = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9_]+([.-][A-Za-z0-9_]+)*(/[A-Za-z0-9_]+([.-][A-Za-z0-9_]+)*)?$", max_length=96)
]
"""owner/name on the hub, or a bare name, by the hub's own rules: neither .. nor --, no dot or dash at an end."""
M = TypeVar("M", bound=BaseModel)


class Closed(BaseModel):
    """Unknown keys are errors, values never change, nothing is taken for another kind of value, numbers are finite."""

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True, allow_inf_nan=False)


class Settings(Closed):
    """Parameters that what computes reads just as a scale has them: declared once, beside the code that reads them.

    A field is described by the string below it, which is in no digest of code.
    """

    model_config = ConfigDict(use_attribute_docstrings=True)


class Configuration(BaseModel):
    """What one consumer reads of a job's `asked`; keys that it does not name are for others."""

    model_config = ConfigDict(frozen=True, extra="ignore")


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file. Raises UserError where there is none."""
    try:
        value = yaml12.read(path)
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; run from the project's root, where params.yaml lies.") from None
    if value is None:
        raise UserError(
            f"{path} is empty: it must hold keys and values. `git checkout {path}` brings the last commit's."
        )
    if not isinstance(value, dict):
        raise UserError(f"{path} must hold keys and values, not {type(value).__name__}.")
    return value


def validated(model: type[M], raw: dict[str, Any], path: Path) -> M:
    """The model of what a file holds. Raises UserError naming file, key, value and what is allowed."""
    try:
        return model.model_validate(raw)
    except ValidationError as error:
        raise UserError(f"{path}: {explain(error, model)}.") from None


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """The first error, in words: key, value, what is allowed, nearest valid key."""
    first = error.errors(include_url=False)[0]
    key = shown(".".join(_walked(first["loc"], model)[0]))
    if first["type"] == "extra_forbidden":
        name = str(first["loc"][-1])
        return f"unknown key '{key}'{nearest(name, _walked(first['loc'][:-1], model)[1])}"
    if first["type"] == "missing":
        return f"key '{key}' is missing"
    message = shown(first["msg"].removeprefix("Value error, "), MESSAGE)
    return f"{key} = {shown(repr(first['input']))}: {message}" if key else message


def nearest(name: str, known: Iterable[Any]) -> str:
    """The end of an error message about an unknown name."""
    close = _closest(name, known)
    return f"; the nearest valid name is '{close}'" if close else ""


def one_of(option: str, name: str, known: Iterable[str], lacks: str) -> str:
    """`name`, where it is known. Raises UserError: option, name, what lacks it ("... has no such run"), the nearest."""
    names = list(known)
    if name not in names:
        close = _closest(name, names)
        hint = f"the nearest is {close}" if close else "it has none of this kind"
        raise UserError(f"{option} {shown(name)}: {lacks}; {hint}.")
    return name


def once(key: str, names: list[Any]) -> None:
    """Raises ValueError for a name that stands there twice: it would be counted twice, or told apart by nobody."""
    for name in names:
        if names.count(name) > 1:
            raise ValueError(f"{key}: '{name}' stands there twice; take one out")


def _closest(name: str, known: Iterable[Any]) -> str | None:
    close = difflib.get_close_matches(name[:ECHO], [str(one) for one in known], n=1, cutoff=0.0)
    return shown(close[0]) if close else None


def _walked(loc: tuple[int | str, ...], model: type[BaseModel]) -> tuple[list[str], list[str]]:
    """A pydantic location without the union tags between the keys of the file, and the names of the fields there."""
    here: Any = model
    keys = []
    for part in loc:
        here, is_key = _step(here, part)
        keys += [str(part)] if is_key else []
    models = [member for member in _members(here) if isinstance(member, type) and issubclass(member, BaseModel)]
    return keys, [name for member in models for name in member.model_fields]


def _members(annotation: Any) -> list[Any]:
    """The alternatives of a (possibly annotated, possibly nested) union."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _members(get_args(annotation)[0])
    if origin in (Union, UnionType):
        return [m for arg in get_args(annotation) for m in _members(arg)]
    return [annotation]


def _step(annotation: Any, part: int | str) -> tuple[Any, bool]:
    """One step down a location: what stands there, and whether the part is a key of the file (not a union tag)."""
    members = _members(annotation)
    if len(members) > 1:
        for member in members:
            if isinstance(member, type) and issubclass(member, BaseModel):
                kind = member.model_fields.get("kind")
                if part == member.__name__ or (kind and part in get_args(kind.annotation)):
                    return member, False
    for member in members:
        if isinstance(member, type) and issubclass(member, BaseModel) and part in member.model_fields:
            return member.model_fields[str(part)].annotation, True
        if get_origin(member) in (dict, list):
            return get_args(member)[-1], True
    return None, not (len(members) > 1 and isinstance(part, str))
