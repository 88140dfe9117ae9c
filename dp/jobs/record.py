"""`record.json`: what was asked, what was used, with what, and what came out of one job (design section 10)."""

import json
import os
import platform
import resource
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path
from typing import Any

from dp import files
from dp.errors import UserError, shown
from dp.jobs import git, record_parts
from dp.jobs.closure import PACKAGE, code_digest, modules
from dp.jobs.job import ADOPTED, RECORD, SUMS, Job
from dp.jobs.mark import marked

RESTORE = "Restore it (`dvc checkout --force`), or delete its folder and run `snakemake --cores all` again."
PACKAGES = ("torch", "transformers", "datasets", "tokenizers", "safetensors", "numpy", "scipy", "pydantic",
            "huggingface_hub", "gguf", "peft", "snakemake", "dvc")  # fmt: skip
CODE_PATHS = ("dp", "workflow/rules", "workflow/common.smk", "workflow/cluster.smk", "workflow/guards.smk",
              "workflow/said.smk", "Snakefile", "pyproject.toml", "environment.yml")  # fmt: skip
READ = (".py", ".yaml", ".csv", ".smk", ".html", ".css", ".js")
"""Suffixes of what the code reads below them: what else git ignores there, caches and swap files, is no code."""
HOST = "DYNAMIC_PROMPTING_HOST"
"""Environment variable: what records call this machine, in place of its host name."""
NOT_DETERMINISTIC = (
    "the backward pass of fused attention and cumulative sums have no deterministic kernel in force, so that the same "
    "job may leave other bytes on the same GPU"
)


@contextmanager
def recording(
    job: Job, inputs: dict[str, str], also_asked: Mapping[str, Any] | None = None
) -> Iterator[dict[str, Any]]:
    """Time a job and, if it ends well, write its record. What a killed call left half-written goes first.

    inputs: path -> sha256 of every file read (`dp.jobs.inputs`), to which the job may add what it downloads.
    also_asked: what only the job itself looks up. The yielded dictionary takes the facts that the job adds to `made`, a
    `status` among them where it is done but in no number. Digests of the outputs also go to SHA256SUMS, as `sha256sum
    -c` reads it: what came out, and nothing about how. `seal` is the digest of everything else in the record.
    """
    folder, started = job.folder, time.time()
    made: dict[str, Any] = {}
    code = {"digest": code_digest(job.command, job.family), "modules": modules(job.command, job.family)}
    with marked(folder, job.command):
        files.discard_parts(folder)
        (folder / ADOPTED).unlink(missing_ok=True)
        yield made
        seconds = (time.time() - started) / len(job.asked.get("together", ["alone"]))  # its share of one job
        digests = {name: files.sha256(folder / name) for name in job.outputs}
        files.write_text(folder / SUMS, "".join(f"{digest}  {name}\n" for name, digest in sorted(digests.items())))
        made |= {
            "status": made.get("status", "complete"),
            "outputs": digests | {SUMS: files.sha256(folder / SUMS)},
            "started": datetime.fromtimestamp(started, UTC).isoformat(timespec="seconds"),
            "wall_seconds": round(seconds, 3),
            "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
            "gpu_peak_memory_mib": _gpu_peak_memory(),
        }
        used = {"inputs": inputs, "code": code}
        asked = job.asked | dict(also_asked or {})
        record = {"command": job.command, "asked": asked, "used": used, "with": environment(), "made": made}
        files.write_json(folder / RECORD, sealed(record))


def read(folder: Path) -> dict[str, Any]:
    """The record of an artifact. Raises UserError where there is none, or it is not what the job wrote."""
    path = folder / "record.json"
    try:
        return parsed(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{folder} has no record.json; `snakemake --cores all` makes it, with all it needs.") from None
    except OSError as error:
        raise UserError(f"{shown(str(path))}: cannot be read ({error.strerror}).") from None
    except ValueError as error:
        raise UserError(f"{path}: {error}. {RESTORE}") from None


def parsed(data: bytes, edited: bool = False) -> dict[str, Any]:
    """The record in the bytes of a record.json, which may have been `edited` since.

    Raises ValueError, in words, where they are not what a job wrote, or, edited, no record of this version.
    """
    try:
        record: dict[str, Any] = json.loads(data)
        if b"\\ud" in data.lower():  # half of a surrogate pair is JSON, but no text: it cannot be printed or hashed
            json.dumps(record, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:
        raise ValueError(f"is no JSON ({shown(str(error))})") from None
    if not edited and not is_sealed(record):
        raise ValueError("was edited after the job wrote it")
    record_parts.check(record)
    return record


def sealed(record: dict[str, Any]) -> dict[str, Any]:
    """A record with its own digest: as it will be read back, where every key is a string."""
    return record | {"seal": files.digest(json.loads(json.dumps(record)))}


def is_sealed(record: Any) -> bool:
    """Whether a record is, to the letter, what its job wrote."""
    if not isinstance(record, dict):
        return False
    try:
        return record.get("seal") == sealed({key: value for key, value in record.items() if key != "seal"})["seal"]
    except (ValueError, RecursionError):  # half a surrogate pair, or nesting beyond measure: no job writes them
        return False


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
        "host": os.environ.get(HOST) or platform.node(),
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
    """Files of the code, as git names them, that are not as in the commit or in none. Raises GitError.

    Among them those that git was told to pass over: untracked ones that it ignores, tracked ones that it is to take for
    unchanged (`update-index --assume-unchanged`, `--skip-worktree`).
    """
    options = ("--porcelain", "-z", "--no-renames", "--untracked-files=all", "--ignored=traditional")
    listed = git.run(root, "status", *options, "--", *CODE_PATHS).decode(errors="backslashreplace")
    lines = [line for line in listed.split("\0") if line]
    changed = [line[3:] for line in lines if not line.startswith("!!") or line.endswith(READ)]
    return changed + [name for name in _passed_over(root) if not _is_as_committed(root, name)]


def _passed_over(root: Path) -> list[str]:
    """Tracked files of the code, from `root` on, that are there and that git takes for unchanged without a look."""
    lines = git.run(root, "ls-files", "-v", "-z", "--", *CODE_PATHS).decode(errors="surrogateescape").split("\0")
    names = [line[2:] for line in lines if line[:1].islower() or line[:1] == "S"]
    return [name for name in names if (root / name).is_file()]


def _is_as_committed(root: Path, name: str) -> bool:
    return git.run(root, "hash-object", "--", name) == git.run(root, "rev-parse", f"HEAD:./{name}")


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
        found = {"device": facts.name, "cuda": torch.version.cuda, "threads": torch.get_num_threads()}
        strict = (
            torch.are_deterministic_algorithms_enabled() and not torch.is_deterministic_algorithms_warn_only_enabled()
        )
        return found | ({"deterministic": True} if strict else {"deterministic": False, "why": NOT_DETERMINISTIC})
    return {"device": "cpu", "threads": torch.get_num_threads()}
