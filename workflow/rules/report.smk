rule report:
    """The scale's tables, figures and pages."""
    input:
        targets("report"),


rule report_scale:
    """The report of the scale, from all of its evaluations."""
    input:
        read_by(paths.report(SCALE)),
    output:
        [shown(name) for name in (*job(paths.report(SCALE)).outputs, SUMS, "record.json")],
    log:
        "results/logs/report/{scale}.log",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=memory(lambda wc: paths.report(SCALE)),
        runtime=minutes(lambda wc: paths.report(SCALE)),
    params:
        code=code(paths.report(SCALE)),
        asked=asked(paths.report(SCALE)),
        read=lambda wc: read(paths.report(SCALE)),
    shell:
        logged("python -m dp report")
