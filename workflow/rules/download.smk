rule download:
    """Every task's rows and every backbone of the scale."""
    input:
        targets("download"),


rule fetch_task:
    """The rows of one task."""
    output:
        "results/download/tasks/{task}/{source}/train.jsonl",
        "results/download/tasks/{task}/{source}/validation.jsonl",
        "results/download/tasks/{task}/{source}/SHA256SUMS",
        "results/download/tasks/{task}/{source}/record.json",
    log:
        "results/logs/download/tasks/{task}/{source}.log",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=memory(lambda wc: paths.task_rows(wc.task, wc.source)),
        runtime=minutes(lambda wc: paths.task_rows(wc.task, wc.source)),
    params:
        code=lambda wc: code(paths.task_rows(wc.task, wc.source)),
        asked=lambda wc: asked(paths.task_rows(wc.task, wc.source)),
        read=lambda wc: read(paths.task_rows(wc.task, wc.source)),
    shell:
        logged("python -m dp fetch-task --task {wildcards.task}")


rule fetch_backbone:
    """One backbone, as safetensors."""
    output:
        "results/download/backbones/{backbone}/config.json",
        "results/download/backbones/{backbone}/model.safetensors",
        "results/download/backbones/{backbone}/tokenizer.json",
        "results/download/backbones/{backbone}/tokenizer_config.json",
        "results/download/backbones/{backbone}/SHA256SUMS",
        "results/download/backbones/{backbone}/record.json",
    log:
        "results/logs/download/backbones/{backbone}.log",
    conda:
        "../../environment.yml"
    threads: lambda wc: grid.backbone_threads(STUDY, wc.backbone)
    resources:
        mem_mb=memory(lambda wc: paths.backbone(wc.backbone)),
        runtime=minutes(lambda wc: paths.backbone(wc.backbone)),
    params:
        code=lambda wc: code(paths.backbone(wc.backbone)),
        asked=lambda wc: asked(paths.backbone(wc.backbone)),
        read=lambda wc: read(paths.backbone(wc.backbone)),
    shell:
        logged("python -m dp fetch-backbone --backbone {wildcards.backbone}")
