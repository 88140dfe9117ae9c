"""Downloads from the hub against `workflow/hub.lock.yaml`, which may since pin another commit."""

from typing import Any

from dp.sources import hub

KINDS: dict[str, hub.RepoType] = {"fetch-backbone": "model", "fetch-task": "dataset"}


def moved(record: dict[str, Any]) -> str | None:
    """Why a download is not of the commit that is pinned now; None where it is, or nothing is pinned."""
    made = record["made"]
    if "commit" not in made:
        return None
    pin = hub.pinned(made["repo"], made["revision"], KINDS[record["command"]])
    if pin in (None, made["commit"]):
        return None
    return f"{hub.LOCK} pins commit {pin} of {made['repo']}, and it was made from {made['commit']}"
