rule report:
    input:
        targets("report"),


def shown(name):
    """A file of the report as an output; pages, tables and drawings stand on the page of `snakemake --report`."""
    path, suffix = str(paths.report("{scale}") / name), os.path.splitext(name)[1]
    if suffix == ".svg":
        figure = os.path.splitext(os.path.basename(name))[0]
        return report(path, category="Figures", labels={"figure": figure}, caption="../report/figure.rst")
    if suffix in (".md", ".csv") and "/" not in name:
        return report(path, category="Tables", labels={"table": name}, caption="../report/table.rst")
    return path


rule collect:
    input:
        [str(one.folder / "record.json") for one in ARTIFACTS.values() if one.command != "report"],
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
        "python -m dp report 2>&1 | tee -i {log}"
