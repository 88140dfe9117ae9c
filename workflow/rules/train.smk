rule train:
    """Every training of the scale."""
    input:
        targets("train"),


rule train_run:
    """One training, or one trial of a search."""
    input:
        lambda wc: read_by(paths.train_run(SCALE, wc.run)),
    output:
        "results/train/{scale}/{run}/tuned.safetensors",
        "results/train/{scale}/{run}/config.json",
        "results/train/{scale}/{run}/steps.jsonl",
        "results/train/{scale}/{run}/SHA256SUMS",
        "results/train/{scale}/{run}/record.json",
    log:
        "results/logs/train/{scale}/{run}.log",
    wildcard_constraints:
        run=ALONE,
    conda:
        "../../environment.yml"
    threads: COMPUTE.threads
    resources:
        gpu=lambda wc: gpus(),
        mem_mb=memory(lambda wc: paths.train_run(SCALE, wc.run)),
        runtime=minutes(lambda wc: paths.train_run(SCALE, wc.run)),
    params:
        code=lambda wc: code(paths.train_run(SCALE, wc.run)),
        asked=lambda wc: asked(paths.train_run(SCALE, wc.run)),
        read=lambda wc: read(paths.train_run(SCALE, wc.run)),
    shell:
        logged("python -m dp train --run {wildcards.run}")


# Runs of a variant that share passes (`together` of a scale): one job makes them all.
for _runs, _cells in SHARING.items():

    rule:
        name:
            f"train_{'_'.join(_runs)}"
        input:
            each_of(_runs, read_by, joined=True),
        output:
            [f"results/train/{{scale}}/{{variant}}/{run}/{file}" for run in _runs for file in TRAINED],
        log:
            f"results/logs/train/{{scale}}/{{variant}}/{_runs[0]}.log",
        wildcard_constraints:
            variant=patterns_of(_cells),
        conda:
            "../../environment.yml"
        threads: COMPUTE.threads
        resources:
            gpu=lambda wc: gpus(),
            mem_mb=memory(lambda wc, run=_runs[0]: paths.train_run(SCALE, f"{wc.variant}/{run}")),
            runtime=minutes(lambda wc, run=_runs[0]: paths.train_run(SCALE, f"{wc.variant}/{run}")),
        params:
            code=each_of(_runs, code),
            asked=each_of(_runs, asked),
            read=each_of(_runs, read),
        shell:
            logged(f"python -m dp train --run {{wildcards.variant}}/{_runs[0]}")


rule choose:
    """The choice among a search's trials, by the selection split."""
    input:
        lambda wc: read_by(paths.choice(SCALE, wc.variant)),
    output:
        "results/train/{scale}/{variant}/choice/choice.json",
        "results/train/{scale}/{variant}/choice/SHA256SUMS",
        "results/train/{scale}/{variant}/choice/record.json",
    log:
        "results/logs/train/{scale}/{variant}/choice.log",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=memory(lambda wc: paths.choice(SCALE, wc.variant)),
        runtime=minutes(lambda wc: paths.choice(SCALE, wc.variant)),
    params:
        code=lambda wc: code(paths.choice(SCALE, wc.variant)),
        asked=lambda wc: asked(paths.choice(SCALE, wc.variant)),
        read=lambda wc: read(paths.choice(SCALE, wc.variant)),
    shell:
        logged("python -m dp choose --variant {wildcards.variant}")
