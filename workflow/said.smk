"""Beside Snakemake's own `85 of 222 steps done`: how long yet. And of a dry run counts, not hundreds of paths."""

import logging
import time

from snakemake.settings.types import Quietness
from snakemake_interface_logger_plugins.common import LogEvent

from dp.planning.time_left import TimeLeft


class SayTimeLeft(logging.Handler):
    """Follows the run's own messages. Says what is left at most every EVERY seconds, of a dry run what is refused."""

    EVERY = 10

    def __init__(self):
        super().__init__()
        self.run, self.said = None, time.monotonic()

    def emit(self, message):
        event, now = getattr(message, "event", None), time.monotonic()
        if event == LogEvent.RUN_INFO:
            if workflow.dryrun and not self.run:  # it is said before the jobs and behind them
                warn_uncommitted()
            own = {rule: count for rule, count in message.stats.items() if rule not in ("total", "all")}
            self.run = TimeLeft(own, now)
        elif self.run and event == LogEvent.JOB_INFO:
            self.run.started(message.jobid, message.rule_name, now)
        elif self.run and event == LogEvent.JOB_FINISHED:
            self.run.finished(message.job_id, now)
        elif self.run and event == LogEvent.PROGRESS and now > self.said + self.EVERY:
            words = self.run.in_words(now)
            if words:
                self.said = now
                logging.getLogger("snakemake.logging").info(words)


def say_where():
    """At the end of a run that has the report: where to read it."""
    if workflow.is_main_process and any(one.rule.name == "report_scale" for one in workflow.dag.jobs):
        logging.getLogger("snakemake.logging").info(f"Read {paths.report(SCALE)}/report.html")


def is_for_a_person(message):
    """Unless more is asked for, as by `-np`: of a dry run not the jobs one by one, of a run not all files of a phase."""
    settings = workflow.output_settings
    if settings.printshellcmds or settings.verbose or settings.debug_dag:
        return True
    match getattr(message, "event", None):
        case LogEvent.JOB_INFO:
            return not workflow.dryrun and message.rule_name not in ("all", *PHASES)
        case LogEvent.GROUP_INFO:
            return not workflow.dryrun
    return True


for _handler in logger.handlers:
    _handler.addFilter(is_for_a_person)


if workflow.is_main_process and not {Quietness.PROGRESS, Quietness.ALL} & set(workflow.output_settings.quiet or ()):
    logging.getLogger("snakemake.logging").addHandler(SayTimeLeft())
