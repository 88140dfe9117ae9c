rule report:
    input:
        targets("report"),


rule collect:
    input:
        report_inputs(),
    output:
        named(paths.report("{scale}"), *grid.report_files(STUDY), "record.json"),
    params:
        code=code_digest("report"),
        asked=asked(grid.report_config(STUDY)),
    conda:
        "../../environment.yml"
    log:
        "results/logs/report/{scale}.log",
    shell:
        "python -m dp report 2>&1 | tee -i {log}"
