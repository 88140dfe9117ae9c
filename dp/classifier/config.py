"""What a run's resolved configuration says to whatever puts rows through a classifier."""

from collections.abc import Mapping
from typing import Any


def input_width(config: Mapping[str, Any]) -> int | None:
    """Positions that a run's inputs are padded to (padded_inputs); None: each batch to its own longest row."""
    return config["max_tokens"] if "padded_inputs" in config["switches"] else None
