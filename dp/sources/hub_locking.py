"""A revision of the hub locked before it is fetched: its commit, and the digests of the files that will be read."""

from collections.abc import Callable

from dp.backbones.definition import HubSource
from dp.sources import checkpoint, hub
from dp.tasks.model import HubRows


def lock_backbone(source: HubSource) -> hub.Fetched:
    """Downloads configuration, tokenizer and the index of shards, no weights. Raises UserError as a fetch would."""

    def obtain(choose: Callable[[list[str]], list[str]]) -> hub.Fetched:
        return hub.obtain(source.repo, source.revision, "model", choose, large=False)

    fetched = obtain(checkpoint.needed)
    if shards := checkpoint.shards(fetched.paths):
        fetched = fetched._replace(digests=fetched.digests | obtain(lambda _: shards).digests)
    return fetched


def lock_rows(source: HubRows) -> hub.Fetched:
    """Downloads no rows. Raises UserError as a fetch would."""
    return hub.obtain(source.repo, source.revision, "dataset", lambda _: sorted(source.files.values()), large=False)
