"""One backbone as config, safetensors and tokenizer, from the source that params.yaml names."""

from pathlib import Path
from typing import Any

from dp.sources import weights
from dp.sources.cache import staging
from dp.sources.definitions import Backbone


def fetch_backbone(definition: Backbone, folder: Path) -> dict[str, Any]:
    """The facts of what was written into `folder`. Raises UserError for what is unverified."""
    with staging(folder) as aside:
        return weights.fetch(definition, aside)
