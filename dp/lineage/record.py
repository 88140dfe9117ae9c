"""`record.json`: what was asked, what was used, with what, and what came out of one job (design section 10)."""

import json
import os
import platform
import resource
import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from dp import files
from dp.errors import UserError
from dp.lineage import git
from dp.lineage.closure import PACKAGE, code_digest, modules
from dp.lineage.state import marked

SUMS = "SHA256SUMS"
RESTORE = "Restore it (`dvc checkout`), or delete its folder and run `snakemake --cores all` again."
PACKAGES = ("torch", "transformers", "datasets", "tokenizers", "safetensors", "numpy", "scipy", "pydantic",
            "huggingface_hub", "gguf", "peft", "snakemake", "dvc")  # fmt: skip
CODE_PATHS = (
    "dp",
    "workflow/rules",
    "workflow/common.smk",
    "workflow/guards.smk",
    "Snakefile",
    "pyproject.toml",
    "environment.yml",
)


@contextmanager
def recording(
    folder: Path, command: str, asked: dict[str, Any], inputs: dict[str, str], outputs: Iterable[str]
) -> Iterator[dict[str, Any]]:
    """Time a job and, if it ends well, write `folder/record.json`.

    `asked`: the resolved parameters. `inputs`: path -> sha256 of every file read (see `outputs_of`). `outputs`: names
    of the files made in `folder`; their digests also go to `folder/SHA256SUMS`, as `sha256sum -c` reads it: what came
    out, and nothing about how. The yielded dictionary takes the facts that the job adds to `made`. `seal` is the
    digest of everything else in the record.
    """
    started = time.time()
    made: dict[str, Any] = {}
    code = {"digest": code_digest(command), "modules": modules(command)}
    with marked(folder, command):
        yield made
        digests = {name: files.sha256(folder / name) for name in outputs}
        files.write_text(folder / SUMS, "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items())))
        made |= {
            "status": "complete",
            "outputs": digests | {SUMS: files.sha256(folder / SUMS)},
            "started": datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds"),
            "wall_seconds": round(time.time() - started, 3),
            "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            "gpu_peak_memory_mib": _gpu_peak_memory(),
        }
        used = {"inputs": inputs, "code": code}
        record = {"command": command, "asked": asked, "used": used, "with": environment(), "made": made}
        files.write_json(folder / "record.json", sealed(record))


def read(folder: Path) -> dict[str, Any]:
    """The record of an artifact. Raises UserError where there is none, or it is not what the job wrote."""
    path = folder / "record.json"
    try:
        record = files.read_json(path)
    except FileNotFoundError:
        raise UserError(f"{folder} has no record.json; `snakemake --cores all` makes it, with all it needs.") from None
    except ValueError as error:
        raise UserError(f"{path}: is no JSON ({error}). {RESTORE}") from None
    if not is_sealed(record):
        raise UserError(f"{path}: was edited after the job wrote it. {RESTORE}")
    return record


def sealed(record: dict[str, Any]) -> dict[str, Any]:
    """A record with its own digest: as it will be read back, where every key is a string."""
    return record | {"seal": files.digest(json.loads(json.dumps(record)))}


def is_sealed(record: Any) -> bool:
    """Whether a record is, to the letter, what its job wrote."""
    if not isinstance(record, dict):
        return False
    return record.get("seal") == sealed({key: value for key, value in record.items() if key != "seal"})["seal"]


def outputs_of(folder: Path, without: str | None = None) -> dict[str, str]:
    """Path -> sha256 of what an upstream job made, all but the file named `without`, checked byte for byte.

    Raises UserError where a file is missing or differs from its record: nothing is computed from tampered input.
    """
    made = {name: digest for name, digest in read(folder)["made"]["outputs"].items() if name != without}
    for name, digest in made.items():
        path = folder / name
        if not path.is_file():
            raise UserError(f"{path}: is missing, though its record is there. {RESTORE}")
        if files.sha256(path) != digest:
            raise UserError(f"{path}: its bytes differ from its record.json: it was edited or cut short. {RESTORE}")
    return {str(folder / name): digest for name, digest in made.items()}


def record_of(folder: Path) -> dict[str, str]:
    """Path -> sha256 of an upstream record, for a job that reads facts in it."""
    return {str(folder / "record.json"): files.sha256(folder / "record.json")}


def environment() -> dict[str, Any]:
    """Interpreter, packages, machine and commit of this process."""
    installed: dict[str, str | None] = {}
    for name in PACKAGES:
        try:
            installed[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            installed[name] = None
    return {
        "python": platform.python_version(),
        "packages": installed,
        "platform": platform.platform(),
        "processor_count": os.cpu_count(),
        **_torch_facts(),
        **commit(),
    }


def commit(root: Path = PACKAGE.parent) -> dict[str, Any]:
    """`committed`, or None for both where there is no such commit, which a table treats like a dirty tree."""
    try:
        return committed(root)
    except git.GitError:
        return {"commit": None, "dirty": None}


def committed(root: Path = PACKAGE.parent) -> dict[str, Any]:
    """The commit of the project in a folder, and whether code differs from it.

    Parameters, scales and results are no code: a record holds its parameters in full. Raises GitError where git names
    no commit, or one of a repository that merely surrounds the project and tracks none of its code.
    """
    head = git.head(root)
    if not git.run(root, "ls-tree", "--name-only", head, "--", *CODE_PATHS):
        raise git.GitError(f"the repository around {root} has no file of the project in its commit {head[:12]}")
    return {"commit": head, "dirty": bool(changed_code(root))}


def changed_code(root: Path = PACKAGE.parent) -> list[str]:
    """Files of the code, as git names them, that are not as in the commit or in none. Raises GitError."""
    changed = git.run(root, "status", "--porcelain", "-z", "--no-renames", "--untracked-files=all", "--", *CODE_PATHS)
    return [line[3:] for line in changed.decode(errors="backslashreplace").split("\0") if line]


def is_committed(record: dict[str, Any]) -> bool:
    """Whether a commit holds the code that made an artifact."""
    return record["with"]["dirty"] is False


def _gpu_peak_memory() -> int | None:
    torch = sys.modules.get("torch")
    return torch.cuda.max_memory_allocated() // 2**20 if torch and torch.cuda.is_initialized() else None


def _torch_facts() -> dict[str, Any]:
    torch = sys.modules.get("torch")
    if torch is None:
        return {"device": "cpu", "threads": None}
    if torch.cuda.is_initialized():
        facts = torch.cuda.get_device_properties(torch.cuda.current_device())
        return {"device": facts.name, "cuda": torch.version.cuda, "threads": torch.get_num_threads()}
    return {"device": "cpu", "threads": torch.get_num_threads()}
