"""Why an artifact would be made anew: other parameters, other code, other inputs."""

import json
from collections.abc import Callable, Iterator
from typing import Any

from dp.lineage.artifacts import Artifact
from dp.lineage.closure import modules
from dp.lineage.finding import some
from dp.lineage.record import SUMS


def reasons(artifact: Artifact, record: dict[str, Any], code: str, now: Callable[[str], str | None]) -> Iterator[str]:
    """`code`: digest of the command's closure. `now`: digest of an input as it is; None where nobody can tell."""
    if parameter := first_difference(record["asked"], json.loads(json.dumps(artifact.asked))):
        yield parameter
    if record["used"]["code"]["digest"] != code:
        yield "code changed: " + some(changed_modules(record, artifact.command))
    changed = [path for path, digest in record["used"]["inputs"].items() if now(path) not in (digest, None)]
    if changed:
        yield "input changed: " + some([path for path in changed if not path.endswith(SUMS)] or changed)


def first_difference(then: dict[str, Any], now: dict[str, Any]) -> str | None:
    """The first parameter that is other than it was, with both values. What a record says beyond `now` is no matter."""
    for key, value in now.items():
        if key not in then:
            return f"{key} was not asked for, is {_shown(value)}"
        old = then[key]
        if old != value:
            if isinstance(value, dict) and isinstance(old, dict) and value.keys() == old.keys():
                return f"{key}.{first_difference(old, value)}"
            return f"{key} was {_shown(old)}, is {_shown(value)}"
    return None


def changed_modules(record: dict[str, Any], command: str) -> list[str]:
    """Files of a command's closure that are other, new or gone since a record was made, sorted."""
    then, now = record["used"]["code"]["modules"], modules(command)
    return sorted(name for name in then.keys() | now.keys() if then.get(name) != now.get(name))


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 60 else f"{text[:57]}..."
