"""Closed models: an unknown key is an error, and every mistake is named with file, key and remedy."""

import difflib
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from dp.errors import UserError

Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_.-]*$")]
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
Package = Annotated[str, Field(pattern=r"^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?==[A-Za-z0-9][A-Za-z0-9._+!-]*$")]
"""name==version, as pip takes it; no name begins with a dash."""
Repo = Annotated[
    str, Field(pattern=r"^[A-Za-z0-9_]+([.-][A-Za-z0-9_]+)*(/[A-Za-z0-9_]+([.-][A-Za-z0-9_]+)*)?$", max_length=96)
]
"""owner/name on the hub, or a bare name, by the hub's own rules: neither .. nor --, no dot or dash at an end."""
M = TypeVar("M", bound=BaseModel)


class Closed(BaseModel):
    """Unknown keys are errors and values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True)


def read_yaml(path: Path) -> dict[str, Any]:
    """The mapping in a YAML file. Raises UserError where there is none."""
    try:
        value = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise UserError(f"{path} does not exist; run from the project's root, where params.yaml lies.") from None
    except yaml.YAMLError as error:
        raise UserError(f"{path} is not valid YAML: {error}") from None
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
    key = ".".join(str(part) for part in _yaml_keys(first["loc"], model))
    if first["type"] == "extra_forbidden":
        name = str(first["loc"][-1])
        return f"unknown key '{key}'{nearest(name, _fields_at(model, first['loc'][:-1]))}"
    if first["type"] == "missing":
        return f"key '{key}' is missing"
    message = first["msg"].removeprefix("Value error, ")
    return f"{key} = {first['input']!r}: {message}" if key else message


def nearest(name: str, known: Any) -> str:
    """The end of an error message about an unknown name."""
    close = difflib.get_close_matches(name, [str(k) for k in known], n=1, cutoff=0.0)
    return f"; the nearest valid name is '{close[0]}'" if close else ""


def _yaml_keys(loc: tuple[int | str, ...], model: type[BaseModel]) -> list[int | str]:
    """A pydantic location without the union tags that pydantic puts between the keys of the file."""
    return [part for part, is_key in _walk(loc, model) if is_key]


def _fields_at(model: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    here: Any = model
    for part in loc:
        here, _ = _step(here, part)
    found = [m for m in _members(here) if isinstance(m, type) and issubclass(m, BaseModel)]
    return [name for member in found for name in member.model_fields]


def _walk(loc: tuple[int | str, ...], model: type[BaseModel]) -> list[tuple[int | str, bool]]:
    here: Any = model
    parts = []
    for part in loc:
        here, is_key = _step(here, part)
        parts.append((part, is_key))
    return parts


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
