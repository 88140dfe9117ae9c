"""One split cut in two by a rule that anyone can repeat without our code."""

import hashlib
from collections.abc import Sequence


def held_out(ids: Sequence[str], labels: Sequence[int], count: int, seed: int) -> set[str]:
    """The `count` ids that go to validation, stratified by label.

    Each class gives its share by largest remainder (ties to the lower class). Within a class the ids whose
    sha256("<seed>/<id>") is smallest are held out.
    """
    classes = sorted(set(labels))
    shares = {c: count * sum(label == c for label in labels) / len(labels) for c in classes}
    quota = {c: int(share) for c, share in shares.items()}
    by_remainder = sorted(classes, key=lambda c: quota[c] - shares[c])
    for c in by_remainder[: count - sum(quota.values())]:
        quota[c] += 1
    held: set[str] = set()
    for c in classes:
        members = [name for name, label in zip(ids, labels, strict=True) if label == c]
        held.update(sorted(members, key=lambda name: hashlib.sha256(f"{seed}/{name}".encode()).digest())[: quota[c]])
    return held
