rule evaluate:
    """Every evaluation of the scale."""
    input:
        targets("evaluate"),


rule evaluate_run:
    """Predictions and metrics of one run on the reported split."""
    input:
        lambda wc: read_by(paths.evaluation(SCALE, wc.run)),
    output:
        "results/evaluate/{scale}/{run}/predictions.jsonl",
        "results/evaluate/{scale}/{run}/metrics.json",
        "results/evaluate/{scale}/{run}/SHA256SUMS",
        "results/evaluate/{scale}/{run}/record.json",
    log:
        "results/logs/evaluate/{scale}/{run}.log",
    conda:
        "../../environment.yml"
    threads: COMPUTE.threads
    resources:
        gpu=lambda wc: gpus(),
        mem_mb=memory(lambda wc: paths.evaluation(SCALE, wc.run)),
        runtime=minutes(lambda wc: paths.evaluation(SCALE, wc.run)),
    params:
        code=lambda wc: code(paths.evaluation(SCALE, wc.run)),
        asked=lambda wc: asked(paths.evaluation(SCALE, wc.run)),
        read=lambda wc: read(paths.evaluation(SCALE, wc.run)),
    shell:
        logged("python -m dp evaluate --run {wildcards.run}")
