rule train:
    input:
        targets("train"),


rule tune:
    input:
        lambda wc: run_inputs(wc.run, trained=False),
        code("train"),
    output:
        "results/train/{scale}/{run}/tuned.safetensors",
        "results/train/{scale}/{run}/config.json",
        "results/train/{scale}/{run}/steps.jsonl",
        "results/train/{scale}/{run}/record.json",
    params:
        asked=lambda wc: asked(grid.run_config(STUDY, CELLS[wc.run])),
    conda:
        "../../environment.yml"
    log:
        "results/logs/train/{scale}/{run}.log",
    threads: COMPUTE.threads
    resources:
        gpu=GPU,
    shell:
        "python -m dp train --run {wildcards.run} 2>&1 | tee -i {log}"
