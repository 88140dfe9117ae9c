"""One backbone as config, safetensors and tokenizer, from the source that params.yaml names."""

from pathlib import Path
from typing import Any

from dp.backbones.definition import BackboneEntry
from dp.sources import weights
from dp.sources.cache import staging


def fetch_backbone(definition: BackboneEntry, folder: Path) -> dict[str, Any]:
    """The facts of what was written into `folder`. Raises UserError for what is unverified."""
    with staging(folder) as aside:
        return weights.fetch(definition, aside)
