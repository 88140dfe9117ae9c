rule report:
    input:
        targets("report"),


rule collect:
    input:
        [str(one.folder / "record.json") for one in ARTIFACTS.values() if one.command != "report"],
        report_data(),
    output:
        [shown(name) for name in (*artifact(paths.report(SCALE)).files, SUMS, "record.json")],
    params:
        code=code_digest("report"),
        asked=asked(paths.report(SCALE)),
    conda:
        "../../environment.yml"
    log:
        "results/logs/report/{scale}.log",
    shell:
        logged("python -m dp report")
