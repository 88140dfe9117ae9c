"""A large file of the hub, of which a call that was killed leaves a part that the next call goes on with.

The hub's client does so within a call alone: it gives each call's partial file a name of its own, for there are file
systems whose locks do not hold.
"""

from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

REFUSED = 403
"""What an address answers that was signed too long ago."""


class Remote(NamedTuple):
    """Where the bytes of a file lie just now, with what to ask for them, and how many they are."""

    address: str
    headers: dict[str, str]
    size: int


def remote(url: str) -> Remote | None:
    """None where the hub does not tell the size, or where a file is too large to come in one stream.

    Raises OSError where it is no hub that answers, and what the hub's client raises.
    """
    from huggingface_hub import constants, get_hf_file_metadata
    from huggingface_hub.utils import build_hf_headers

    found = get_hf_file_metadata(url, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT, retry_on_errors=True)
    if found.commit_hash is None or found.etag is None:
        raise OSError(f"what answers at {url} is no hub")
    if found.size is None or found.size > constants.MAX_HTTP_DOWNLOAD_SIZE:
        return None
    headers = build_hf_headers()
    # A token is for the hub, wherever it was asked, and not for where it keeps bytes.
    if urlsplit(found.location).netloc not in (urlsplit(url).netloc, urlsplit(constants._HF_DEFAULT_ENDPOINT).netloc):
        headers.pop("authorization", None)
    return Remote(found.location, headers, found.size)


def transfer(url: str, one: Remote, path: Path, partial: Path) -> None:
    """Bring the file at `url` to `path`, from the bytes on that `partial` holds. The caller verifies it, and sees to it
    that no other call works on `partial`.

    Raises what the hub's client raises, and then leaves in `partial` what has arrived.
    """
    from huggingface_hub.errors import HfHubHTTPError
    from huggingface_hub.file_download import http_get

    path.parent.mkdir(parents=True, exist_ok=True)
    if partial.is_file() and partial.stat().st_size > one.size:
        partial.unlink()
    while True:
        with partial.open("ab") as file:
            before = file.tell()
            try:
                http_get(one.address, file, resume_size=before, headers=one.headers, expected_size=one.size)
                break
            except HfHubHTTPError as error:
                if error.response.status_code != REFUSED or file.tell() == before:
                    raise
        again = remote(url)
        if again is None:
            raise OSError(f"{url} no longer tells its size")
        one = again
    partial.replace(path)
