"""What is refused before any job; and what no job may depend on: where the output goes, and signals to Snakemake."""

import _thread
import signal
from pathlib import Path

from snakemake.io import IOFile
from snakemake.logging import logger
from snakemake_interface_executor_plugins.settings import SharedFSUsage

from dp.study import needs
from dp.lineage import admission, revisions, scales
from dp.jobs import pins
from dp.lineage.auditing import before_jobs
from dp.jobs.record import read as read_record

# At another attempt: a node may be lost, or memory or time have been too short, but what `dp` refused in words, it would
# refuse again. It says so beside the log (`dp.jobs.mark`), of this call if that is newer than Snakemake's lock.
UNLESS_REFUSED = (
    "mark={log:q}; mark=${{mark%.log}}.state.json; "
    'if [ $mark -nt .snakemake/locks/0.input.lock ] && grep \'"error": "UserError: \' $mark; then exit 2; fi; '
)


def logged(command):
    """The shell line of every rule: the command's own status decides, and all that it says stands in its log.

    What it says goes to Snakemake's output, too, as long as that takes it: neither a full disk, a closed terminal or
    pipe there nor `tee` itself ends the job. The shell waits for a job that a signal has told to stop.
    """
    show = "trap '' HUP INT PIPE TERM; tee {log:q} 2> /dev/null || cat > /dev/null || :"
    if AGAIN and "dp fetch-" not in command:
        command = UNLESS_REFUSED + command
    return f"trap : HUP INT TERM; {command} 2>&1 | {{{{ {show}; }}}}"


class Lenient:
    """A text stream that loses what nobody takes."""

    def __init__(self, stream):
        self.stream = stream

    def __getattr__(self, name):
        return getattr(self.stream, name)

    def write(self, text):
        self._try(self.stream.write, text)

    def flush(self):
        self._try(self.stream.flush)

    def _try(self, call, *arguments):
        try:
            call(*arguments)
        except OSError:
            pass


# A job's end is logged in a thread; an exception there is lost, and Snakemake waits for that job for ever.
for _handler in logger.handlers:
    if getattr(_handler, "stream", None) is sys.stderr and sys.stderr is not None:
        _handler.stream = Lenient(sys.stderr)


def forget_params():
    """Snakemake notes for a job the parameters that it had before what it reads was made anew: it keeps them since.

    A job that is to be made again would be made once more by the next call, which finds others noted than there are.
    """
    workflow.persistence._params.cache_clear()


def heed_signals():
    """SIGTERM ends Snakemake when the running jobs have ended, as it documents; SIGHUP is like Ctrl-C.

    Its own handler takes a lock that the main thread may just hold, and then waits for ever: so from another thread.
    """
    finish = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, lambda *received: _thread.start_new_thread(finish, received))
    if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:
        signal.signal(signal.SIGHUP, signal.default_int_handler)


def start_unlimited():
    """Snakemake's limit of jobs a second, of no use on one machine, costs more with each that ends: it weighs all that is
    ready once more, every second from then on, per ended job. After 250 of 2,600 jobs that took 0.4 of two cores.
    """
    if workflow.local_exec:
        workflow.scheduler.job_rate_limiter = None


def uncommitted():
    """Why the report would refuse what is to be made, and whether it is to be made, too."""
    if STUDY.params.allow_dirty or workflow.touch:
        return None, False
    made = {
        one: {Path(path).parent for path in one.output}
        for one in workflow.dag.jobs
        if one.output and one.rule.name != "report_scale"
    }
    remade = set(workflow.dag.needrun_jobs())
    why = admission.no_commit() if remade & made.keys() else None
    # DVC's stages are one run with a report at its end; for `-- train` by hand there may never be one.
    is_the_end = "DVC_STAGE" in os.environ or any(one.rule.name in ("report_scale", *PRINTED) for one in remade)
    if is_the_end:
        why = why or admission.made_without(
            folder for one, folders in made.items() if one not in remade for folder in sorted(folders)
        )
    return why, is_the_end


def refuse_uncommitted():
    """Before the first job: what the report would refuse in the end. Where none is asked for, a warning."""
    why, is_the_end = uncommitted()
    if why and is_the_end:
        raise WorkflowError(f"The report would refuse these numbers, so no job was started. {why}")
    if why:
        logger.warning(f"The report will refuse these numbers. {why}")


def warn_uncommitted():
    """The same in a dry run, which starts no job that could be refused."""
    why, is_the_end = uncommitted()
    if why:
        logger.warning(
            f"The report will refuse these numbers{', so no job will be started' if is_the_end else ''}. {why}"
        )


def listed(found):
    """The first ten findings, a line each."""
    return "".join(f"\n  {one.path}: {one.why}" for one in found[:10]) + ("\n  ..." if len(found) > 10 else "")


def refuse_tampered(found):
    """Before any job: nothing is computed from edited bytes, and neither door records them."""
    if found:
        remedy = "Restore them (`dvc checkout --force`), or delete their folders, so that they are made again."
        raise WorkflowError(f"Edited after a job wrote them ({len(found)} in all):{listed(found)}\n{remedy}")


def refuse_unfit():
    """Before any job: no variant is asked of a backbone that was found not to be able to run it."""
    try:
        needs.check_fetched(STUDY)
    except UserError as error:
        raise WorkflowError(str(error))


def refuse_unseen(folder):
    """What its own record says is of something else, and Snakemake would take for made all the same.

    Either because `--touch` asks for that, or because it has no notes on how the artifact was made.
    """
    why = STALE.get(job(folder).folder)
    if not why or not all(path.exists() for path in job(folder).paths):  # what is incomplete is made in any case
        return
    count = f"This holds for {len(STALE)} artifacts of scale {SCALE}."
    if workflow.touch:
        raise WorkflowError(
            f"{folder}: {why}. So --touch may not take it for made; without it, it is made again. {count}"
        )
    if workflow.persistence.metadata(IOFile(str(folder / SUMS))) is None:
        if "DVC_EXP_NAME" in os.environ and os.environ.get("DVC_ROOT") != os.getcwd():
            raise WorkflowError(
                f"{folder}: {why}. An experiment of DVC outside the workspace has results without Snakemake's notes on how "
                "they were made, and would not make them again. Give it those of the workspace, after `python -m dp sync "
                "--no-pull` there if it has none itself: dvc exp run --copy-paths .snakemake ..."
            )
        raise WorkflowError(
            f"{folder}: {why}. Snakemake has no notes on how it was made (`dvc pull` brings none), so it would not make "
            "it again. Put edits aside (`git stash`), run `python -m dp sync --no-pull`, and bring them back; or delete "
            f"its folder. {count}"
        )


def refuse_moved():
    """The lock of the hub is no parameter of a rule, since the first download writes it: Snakemake sees no other pin."""
    for folder, one in JOBS.items():
        if one.command in pins.HUB and folder in STALE and (why := pins.moved(read_record(folder))):
            raise WorkflowError(f"{folder}: {why}. Delete its folder, and it is fetched again; or restore the lock.")


def warn_unpinned():
    """Before anything is fetched from the hub by a name that moves."""
    try:
        why = revisions.to_lock(STUDY)
    except UserError as error:  # a lock that is none
        raise WorkflowError(str(error))
    if why:
        logger.warning(why)


def refuse_another_scale():
    """Before `dvc repro` starts a scale of which nothing was made: results of another that it would leave unrecorded."""
    if "DVC_STAGE" not in os.environ or scales.is_begun(JOBS) or not (found := scales.unrecorded(SCALE)):
        return
    raise WorkflowError(
        f"params.yaml asks for scale {SCALE}, of which nothing was made here, while results of {', '.join(found)} lie here "
        f"that DVC has not recorded. To record those, write `scale: {found[0]}` into params.yaml, with whatever else was "
        f"given behind --config, and run `dvc repro`. To make {SCALE}, run `snakemake --cores all` first."
    )


def refuse_storage():
    """Results in a bucket through Snakemake, or nodes that share no file system."""
    settings = workflow.storage_settings
    if settings.default_storage_provider or SharedFSUsage.INPUT_OUTPUT not in settings.shared_fs_usage:
        raise WorkflowError(
            "Snakemake's storage plugins are not supported: a job, and each check before it, reads below results/ what "
            "other jobs wrote there. Work in one folder that all nodes share (docs/cluster.md), and let DVC carry results to "
            "S3, ssh or another folder (docs/sharing.md)."
        )


STALE = {}
if workflow.is_main_process:
    refuse_storage()
    refuse_another_scale()
    _tampered, _stale = before_jobs(JOBS)
    refuse_tampered(_tampered)
    STALE = {one.path: one.why for one in _stale}
    refuse_moved()
    refuse_unfit()
    warn_unpinned()
