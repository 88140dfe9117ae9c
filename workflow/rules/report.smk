rule report:
    input:
        targets("report"),


rule collect:
    input:
        read_by(paths.report(SCALE)),
    output:
        [shown(name) for name in (*job(paths.report(SCALE)).outputs, SUMS, "record.json")],
    params:
        code=code(paths.report(SCALE)),
        asked=asked(paths.report(SCALE)),
        read=lambda wc: read(paths.report(SCALE)),
    conda:
        "../../environment.yml"
    log:
        "results/logs/report/{scale}.log",
    shell:
        logged("python -m dp report")
