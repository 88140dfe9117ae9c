"""How far long work is, on standard error: what is shown has no say in what is computed."""

import sys
from typing import Any

from tqdm import tqdm


def bar(steps: Any = None, *, of: str, unit: str, shown: bool = True, **options: Any) -> Any:
    """A progress bar over `steps`, or, without them, one to be updated by hand. `of`: what it says in front."""
    return tqdm(steps, desc=of, unit=unit, disable=not shown, file=sys.stderr, mininterval=5, **options)
