"""Entities of a crate, each added once, whoever names it first."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

from rocrate.model.contextentity import ContextEntity
from rocrate.rocrate import ROCrate

from dp import files

COMPLETED = "http://schema.org/CompletedActionStatus"
FORMATS = {
    "": "text/plain",
    ".css": "text/css",
    ".csv": "text/csv",
    ".html": "text/html",
    ".js": "text/javascript",
    ".json": "application/json",
    ".jsonl": "application/jsonl",
    ".lock": "text/plain",
    ".md": "text/markdown",
    ".png": "image/png",
    ".py": "text/x-python",
    ".rst": "text/x-rst",
    ".safetensors": "application/octet-stream",
    ".smk": "text/plain",
    ".svg": "image/svg+xml",
    ".tex": "application/x-tex",
    ".toml": "application/toml",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
}
LITERALS = {bool: "Boolean", int: "Integer", float: "Float"}


class Entities:
    """A crate under construction.

    `files`: path -> entity. `referenced`: those paths whose file is not included. `producers`: path -> the command that
    made a file, and its name there.
    """

    def __init__(self, crate: ROCrate) -> None:
        self.crate = crate
        self.files: dict[str, Any] = {}
        self.referenced: set[str] = set()
        self.producers: dict[str, tuple[str, str]] = {}
        self._known: dict[str, Any] = {}
        self._linked: set[tuple[str, str, str]] = set()

    def add(self, name: str, kind: str | list[str], /, **properties: Any) -> Any:
        """The entity of an id (`#...`, or a URL), made where it is not there yet; None is no property."""
        identifier = "#" + quote(name[1:], safe="/=:@+,") if name.startswith("#") else name
        if identifier not in self._known:
            stated = {"@type": kind} | {key: value for key, value in properties.items() if value is not None}
            self._known[identifier] = self.crate.add(ContextEntity(self.crate, identifier, properties=stated))
        return self._known[identifier]

    def known(self, identifier: str) -> Any | None:
        return self._known.get(identifier)

    def compact(self) -> None:
        """A property of one value holds it, not a list, as RO-Crate recommends."""
        for entity in self.crate.get_entities():
            properties = entity.properties()
            for key, value in properties.items():
                if isinstance(value, list) and len(value) == 1:
                    properties[key] = value[0]

    def add_copy(self, path: str, source: Path, digest: str) -> Any:
        """A file that the crate holds under `path`."""
        self.files[path] = self.crate.add_file(source, path, properties=facts(path, source, digest))
        return self.files[path]

    def add_reference(self, path: str, source: Path, digest: str, about: str) -> Any:
        """A file that the crate only names. RO-Crate's `File` would claim that it is there."""
        stated = facts(path, source, digest) | {"description": about}
        self.files[path] = self.add(f"#not-included/{path}", "CreativeWork", **stated)
        self.referenced.add(path)
        return self.files[path]

    def step(self, command: str) -> Any:
        """The step of the workflow that runs a command."""
        return self.add(f"#step/{command}", "HowToStep", name=command)

    def formal(self, name: str, label: str, kind: str) -> Any:
        """A FormalParameter; one that takes several kinds of values names them all."""
        found = self.add(name, "FormalParameter", name=label, additionalType=[])
        self.link(found, "additionalType", kind)
        return found

    def link(self, entity: Any, key: str, value: Any) -> None:
        """Add one value, text or an entity, to a property that lists several, unless it is there."""
        entry = (entity.id, key, value if isinstance(value, str) else value.id)
        if entry not in self._linked:
            self._linked.add(entry)
            entity.append_to(key, value)

    def value(self, name: str, label: str, value: Any, **properties: Any) -> Any:
        """A PropertyValue, shared by all who state the same value. What is no scalar is stated as JSON."""
        identifier = f"{name}/{label}/{files.digest(value)[:12]}"
        return self.add(identifier, "PropertyValue", name=label, value=stated(value), **properties)


def stated(value: Any) -> Any:
    """A value as a PropertyValue holds it. A path of this machine is cut to its last part."""
    if isinstance(value, str):
        return Path(value).name if value.startswith(("/", "~")) else value
    return value if isinstance(value, bool | int | float) else json.dumps(value, sort_keys=True, ensure_ascii=False)


def flattened(value: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Dotted key -> value; a list, and an empty dictionary, is a value."""
    found: dict[str, Any] = {}
    for key, inner in value.items():
        if isinstance(inner, dict) and inner:
            found |= flattened(inner, f"{prefix}{key}.")
        else:
            found[f"{prefix}{key}"] = inner
    return found


def facts(path: str, source: Path, digest: str) -> dict[str, Any]:
    """What every file's entity states. A name without a suffix is a text's."""
    size = str(source.stat().st_size)
    return {"name": path, "sha256": digest, "contentSize": size, "encodingFormat": FORMATS[Path(path).suffix]}
