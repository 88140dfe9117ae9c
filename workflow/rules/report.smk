rule report:
    input:
        targets("report"),


rule collect:
    input:
        targets("tokenize"),
        targets("evaluate"),
        targets("train"),
        code("report"),
    output:
        "results/report/{scale}/results.csv",
        "results/report/{scale}/choices.csv",
        "results/report/{scale}/results.md",
        "results/report/{scale}/record.json",
        directory("results/report/{scale}/figures"),
    params:
        asked=asked(grid.report_config(STUDY)),
    conda:
        "../../environment.yml"
    log:
        "results/logs/report/{scale}.log",
    shell:
        "python -m dp report 2>&1 | tee -i {log}"
