rule report:
    input:
        targets("report"),


rule collect:
    input:
        targets("tokenize"),
        targets("evaluate"),
        targets("train"),
        question_files(),
        code("report"),
    output:
        named(paths.report("{scale}"), *grid.report_files(STUDY), "record.json"),
        directory("results/report/{scale}/figures"),
    params:
        asked=asked(grid.report_config(STUDY)),
    conda:
        "../../environment.yml"
    log:
        "results/logs/report/{scale}.log",
    shell:
        "python -m dp report 2>&1 | tee -i {log}"
