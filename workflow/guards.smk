"""What no job may depend on: where the output goes, signals to Snakemake, and whether anyone commits afterwards."""

import _thread
import signal
from pathlib import Path

from snakemake.logging import logger

from dp.lineage import admission


def logged(command):
    """The shell line of every rule: the command's own status decides, and all that it says stands in its log.

    What it says goes to Snakemake's output, too, as long as that takes it: neither a full disk, a closed terminal or
    pipe there nor `tee` itself ends the job. The shell waits for a job that a signal has told to stop.
    """
    show = "trap '' HUP INT PIPE TERM; tee {log:q} 2> /dev/null || cat > /dev/null || :"
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


def heed_signals():
    """SIGTERM ends Snakemake when the running jobs have ended, as it documents; SIGHUP is like Ctrl-C.

    Its own handler takes a lock that the main thread may just hold, and then waits for ever: so from another thread.
    """
    finish = signal.getsignal(signal.SIGTERM)
    signal.signal(signal.SIGTERM, lambda *received: _thread.start_new_thread(finish, received))
    if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:
        signal.signal(signal.SIGHUP, signal.default_int_handler)


def refuse_uncommitted():
    """Before the first job: what the report would refuse in the end. Where none is asked for, a warning."""
    if STUDY.params.allow_dirty or workflow.touch:
        return
    made = {job: Path(job.output[0]).parent for job in workflow.dag.jobs if job.output and job.rule.name != "collect"}
    remade = set(workflow.dag.needrun_jobs())
    why = admission.no_commit() if remade & made.keys() else None
    # DVC's stages are one run with a report at its end; for `-- train` by hand there may never be one.
    if "DVC_STAGE" in os.environ or any(job.rule.name in ("collect", *PRINTED) for job in remade):
        why = why or admission.made_without(folder for job, folder in made.items() if job not in remade)
        if why:
            raise WorkflowError(f"The report would refuse these numbers, so no job was started. {why}")
    elif why:
        logger.warning(f"The report will refuse these numbers. {why}")
