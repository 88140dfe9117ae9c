rule train:
    input:
        targets("train"),


rule tune:
    input:
        lambda wc: train_inputs(wc.run),
    output:
        "results/train/{scale}/{run}/tuned.safetensors",
        "results/train/{scale}/{run}/config.json",
        "results/train/{scale}/{run}/steps.jsonl",
        "results/train/{scale}/{run}/record.json",
    params:
        code=code_digest("train"),
        asked=lambda wc: asked(grid.run_config(STUDY, TRAININGS[wc.run])),
    conda:
        "../../environment.yml"
    log:
        "results/logs/train/{scale}/{run}.log",
    threads: COMPUTE.threads
    resources:
        gpu=GPU,
    shell:
        "python -m dp train --run {wildcards.run} 2>&1 | tee -i {log}"


rule choose:
    input:
        lambda wc: choice_inputs(wc.variant),
    output:
        "results/train/{scale}/{variant}/choice/choice.json",
        "results/train/{scale}/{variant}/choice/record.json",
    params:
        code=code_digest("choose"),
        asked=asked(STUDY.scale.search.model_dump() if STUDY.scale.search else None),
    conda:
        "../../environment.yml"
    log:
        "results/logs/train/{scale}/{variant}/choice.log",
    shell:
        "python -m dp choose --variant {wildcards.variant} 2>&1 | tee -i {log}"
