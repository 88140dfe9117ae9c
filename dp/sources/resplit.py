"""One split cut in two by a rule that anyone can repeat without our code."""

import hashlib
from collections import Counter
from collections.abc import Sequence

from dp.numerics.shares import largest_remainder


def held_out(ids: Sequence[str], labels: Sequence[int], count: int, seed: int) -> set[str]:
    """The `count` ids that go to validation, stratified by label.

    Each class gives its share by largest remainder (ties to the lower class). Within a class the ids whose
    sha256("<seed>/<id>") is smallest are held out.
    """
    quota = largest_remainder(Counter(labels), count)
    held: set[str] = set()
    for c in quota:
        members = [name for name, label in zip(ids, labels, strict=True) if label == c]
        held.update(sorted(members, key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest())[: quota[c]])
    return held
