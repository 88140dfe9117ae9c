"""What a cluster's scheduler printed of a job: that memory or time ran out, its node was lost, or it was cancelled."""

from pathlib import Path

from dp import paths

FOLDER = paths.LOGS / "slurm"
"""Where profiles/slurm puts them; those of jobs that ended well are deleted."""


def of(log: Path) -> Path | None:
    """The newest of these logs that names a job's own, as Snakemake does before it starts a job; None without one."""
    found = [path for path in FOLDER.rglob("*.log") if path != log and _names(path, log)]
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


def _names(path: Path, log: Path) -> bool:
    try:
        return f" {log}" in path.read_text(encoding="utf-8", errors="replace")
    except OSError:  # its job has just ended well
        return False
