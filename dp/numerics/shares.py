"""A whole number of things, shared out."""

from collections.abc import Mapping


def largest_remainder(sizes: Mapping[int, int], count: int, least: int = 0) -> dict[int, int]:
    """How many of `count` each class gets: its share rounded down, at least `least`, and one more for those whose
    remainder is largest (ties to the lower class). Where `least` gave too many, those furthest above their share give
    back."""
    total = sum(sizes.values())
    exact = {key: count * size / total for key, size in sizes.items()}
    quota = {key: max(least, int(share)) for key, share in exact.items()}
    by_remainder = sorted(exact, key=lambda key: (quota[key] - exact[key], key))
    for key in by_remainder[: max(count - sum(quota.values()), 0)]:
        quota[key] += 1
    while sum(quota.values()) > count:
        quota[max(quota, key=lambda key: (quota[key] - exact[key], quota[key]))] -= 1
    return quota
