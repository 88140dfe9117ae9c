"""A large file of the hub, of which a call that was killed leaves a part that the next call goes on with.

The hub's client does so within a call alone: it gives each call's partial file a name of its own.
"""

from pathlib import Path


def transfer(url: str, path: Path, partial: Path) -> None:
    """Bring the file at `url` to `path`, from the bytes on that `partial` holds. The caller verifies it.

    Raises what the hub's client raises, and then leaves in `partial` what has arrived.
    """
    from huggingface_hub import get_hf_file_metadata
    from huggingface_hub.file_download import http_get
    from huggingface_hub.utils import build_hf_headers

    size = get_hf_file_metadata(url).size
    for folder in (path.parent, partial.parent):
        folder.mkdir(parents=True, exist_ok=True)
    if partial.is_file() and size is not None and partial.stat().st_size > size:
        partial.unlink()
    with partial.open("ab") as file:
        http_get(url, file, resume_size=file.tell(), headers=build_hf_headers(), expected_size=size)
    partial.replace(path)
