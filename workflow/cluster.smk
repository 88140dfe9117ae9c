"""What an executor plugin needs to know of a job, and what a job's process on a node does otherwise (docs/cluster.md)."""

import atexit
import shutil
import subprocess
from functools import cache, partial
from itertools import takewhile

from snakemake.common.tbdstring import TBDString

# On a node the words that Snakemake calls itself with say what its settings do not say yet while this is read.
ON_NODE = not workflow.is_main_process


def said(option):
    """The words behind an option of this call."""
    words = sys.argv[sys.argv.index(option) + 1 :] if option in sys.argv else []
    return list(takewhile(lambda word: not word.startswith("-"), words))


IS_GROUP = ON_NODE and len(said("--target-jobs")) > 1
AGAIN = ON_NODE and said("--attempt") not in ([], ["1"])


@cache
def gpus():
    """How many a job that computes asks for: one where there is one to ask for.

    profiles/default admits as many such jobs as its `gpu` says; a cluster's own scheduler sees to that itself.
    """
    if COMPUTE.device == "auto":
        return int(
            shutil.which("nvidia-smi") is not None
            if ON_NODE or workflow.local_exec
            else "gpu" in slurm("sinfo", "--noheader", "--format=%G")
        )
    return int(COMPUTE.device == "cuda")


def slurm(*command):
    """What one of its commands prints; nothing where it is not installed."""
    try:
        return subprocess.run(command, check=True, capture_output=True, text=True, timeout=60).stdout
    except FileNotFoundError:
        return ""
    except (OSError, subprocess.SubprocessError) as error:
        said = (getattr(error, "stderr", None) or str(error)).strip()
        raise WorkflowError(f"`{' '.join(command)}` failed, so nothing is known of this cluster: {said}. Try again.")


@cache
def requests():
    from dp.planning.requests import Requests  # it imports torch

    try:
        return Requests(STUDY, bool(gpus()))
    except UserError as error:
        raise WorkflowError(str(error))


def asked_of_a_node(what, folder_of):
    """A resource of a rule's jobs, memory or minutes. On one machine the cores alone decide how many run at once, and it
    is left open, as Snakemake's own `tmpdir` is before a job starts.

    folder_of: wildcards -> the folder of a job.
    """

    def of(wildcards, attempt):
        if ON_NODE or workflow.local_exec:
            return TBDString()
        return getattr(requests().of(job(folder_of(wildcards)), attempt), what)

    return of


memory, minutes = partial(asked_of_a_node, "memory"), partial(asked_of_a_node, "minutes")


def check_cluster():
    """Before any job: that some node can take it, and that its end will be noticed."""
    how = getattr(workflow.executor_settings, "status_command", None)
    if how not in ("squeue", "sacct"):
        return
    cores = workflow.resource_settings.cores
    if workflow.group_settings.overwrite_groups and cores:
        nodes = slurm("sinfo", "--Node", "--noheader", "--noconvert", "--format=%c")
        largest = max(map(int, re.findall(r"^\d+", nodes, re.MULTILINE)), default=cores)
        if cores > largest:
            raise WorkflowError(
                f"A group may ask for all of --cores {cores}, and the largest node here has {largest} (sinfo): it could wait "
                f"in the queue for ever. Say --cores {largest}, or less."
            )
    config = dict(line.split("=", 1) for line in slurm("scontrol", "show", "config").splitlines() if "=" in line)
    config = {key.strip(): value.strip() for key, value in config.items()}
    if how == "sacct" and config.get("AccountingStorageType", "").endswith("none"):
        raise WorkflowError(
            "This cluster keeps no accounts (AccountingStorageType is none), so sacct would never tell that a job ended. "
            "Say --slurm-status-command squeue, as profiles/slurm does."
        )
    kept = re.match(r"\d+", config.get("MinJobAge", ""))
    if how == "squeue" and kept and int(kept[0]) < 200:
        raise WorkflowError(
            f"This cluster forgets an ended job after {kept[0]} s (MinJobAge), and Snakemake asks every 180 s at most: it "
            "would wait for ever for one that it missed. Say --slurm-status-command sacct, where accounts are kept, or "
            "have MinJobAge set to 300."
        )


# Jobs that came to a node as one group share a worker there, as all jobs of one machine do.
if IS_GROUP:
    start_worker()
    atexit.register(WORKER.close)
