"""What a file of results says apart from how long things took: for comparing two runs of one job."""

import csv

from dp import files

MEASURED = {"started", "seal", "wall_seconds", "peak_memory_mib", "step_seconds", "seconds"}
DIGESTS = ("steps.jsonl", "SHA256SUMS", "record.json")  # of files that say how long it took
COLUMNS = MEASURED | {"runs", "tokens_per_second", "examples_per_second", "gpu_peak_memory_mib"}


def content(path):
    """A file's digest; for what says how long it took, everything else."""
    if path.name == "steps.jsonl":
        return [timeless(line) for line in files.read_jsonl(path)]
    if path.name == "SHA256SUMS":
        return [line for line in path.read_text().splitlines() if "steps.jsonl" not in line]
    if path.name == "record.json":
        return timeless(files.read_json(path))
    return files.sha256(path)


def rows(path):
    """Of a report's CSV, without what measures time and what names records by their digests."""
    with path.open(encoding="utf-8", newline="") as file:
        return [{key: value for key, value in row.items() if key not in COLUMNS} for row in csv.DictReader(file)]


def timeless(value):
    if isinstance(value, dict):
        kept = {k: v for k, v in value.items() if k not in MEASURED and not k.endswith(("_per_second", *DIGESTS))}
        return {k: timeless(v) for k, v in kept.items()}
    return value
