"""The one DAG: `snakemake --cores all` (design section 2)."""

from snakemake.utils import min_version

min_version("9.0")


include: "workflow/common.smk"
include: "workflow/cluster.smk"
include: "workflow/guards.smk"
include: "workflow/said.smk"


if IN_IMAGE:

    container: IMAGE


localrules:
    all,
    download,
    tokenize,
    train,
    evaluate,
    report,


onstart:
    if workflow.is_main_process:
        refuse_uncommitted()
        forget_params()
        heed_signals()
        start_unlimited()
        check_cluster()
        if workflow.local_exec:
            start_worker()
        start_curves()


onsuccess:
    WORKER.close()
    say_where()


onerror:
    WORKER.close()


# Every phase, not the report alone: a file that was lost on the way is made again.
rule all:
    """Everything that the scale asks for."""
    default_target: True
    input:
        [targets(phase) for phase in PHASES],


include: "workflow/rules/download.smk"
include: "workflow/rules/tokenize.smk"
include: "workflow/rules/train.smk"
include: "workflow/rules/evaluate.smk"
include: "workflow/rules/report.smk"
include: "workflow/rules/paper.smk"
