rule download:
    input:
        targets("download"),


rule fetch_task:
    output:
        "results/download/tasks/{task}/{source}/train.jsonl",
        "results/download/tasks/{task}/{source}/validation.jsonl",
        "results/download/tasks/{task}/{source}/SHA256SUMS",
        "results/download/tasks/{task}/{source}/record.json",
    params:
        code=lambda wc: code(paths.task_rows(wc.task, wc.source)),
        asked=lambda wc: asked(paths.task_rows(wc.task, wc.source)),
        read=lambda wc: read(paths.task_rows(wc.task, wc.source)),
    conda:
        "../../environment.yml"
    log:
        "results/logs/download/tasks/{task}/{source}.log",
    shell:
        logged("python -m dp fetch-task --task {wildcards.task}")


rule fetch_backbone:
    output:
        "results/download/backbones/{backbone}/config.json",
        "results/download/backbones/{backbone}/model.safetensors",
        "results/download/backbones/{backbone}/tokenizer.json",
        "results/download/backbones/{backbone}/tokenizer_config.json",
        "results/download/backbones/{backbone}/SHA256SUMS",
        "results/download/backbones/{backbone}/record.json",
    params:
        code=lambda wc: code(paths.backbone(wc.backbone)),
        asked=lambda wc: asked(paths.backbone(wc.backbone)),
        read=lambda wc: read(paths.backbone(wc.backbone)),
    threads: lambda wc: grid.backbone_threads(STUDY, wc.backbone)
    conda:
        "../../environment.yml"
    log:
        "results/logs/download/backbones/{backbone}.log",
    shell:
        logged("python -m dp fetch-backbone --backbone {wildcards.backbone}")
