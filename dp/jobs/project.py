"""Files of the project, besides its code, that a command reads: what they say is part of what makes its jobs stale."""

import hashlib

from dp.jobs.closure import PACKAGE

FOLDERS = ("paper", "report/page")
"""Of `dp`, whose files the report is made from: the paper's numbers, the page's parts."""


def project_files(command: str, task: str | None = None) -> tuple[str, ...]:
    """Their names, sorted, relative to the folder that holds `dp`. `task`: the one that a job is about, if any."""
    match command:
        case "fetch-task" | "tokenize":
            return (f"dp/tasks/{task}.yaml",)
        case "report":
            found = [path for folder in FOLDERS for path in (PACKAGE / folder).iterdir() if path.is_file()]
            return tuple(sorted(path.relative_to(PACKAGE.parent).as_posix() for path in found if path.suffix != ".py"))
    return ()


def is_of_project(name: str) -> bool:
    """Whether an input that a record names is such a file."""
    return name.startswith("dp/")


def project_digest(name: str) -> str:
    """sha256 of the file's text, whichever way its lines end; "" where it is gone."""
    path = PACKAGE.parent / name
    return hashlib.sha256(path.read_bytes().replace(b"\r\n", b"\n")).hexdigest() if path.is_file() else ""
