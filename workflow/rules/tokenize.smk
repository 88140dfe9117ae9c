rule tokenize:
    """Tokens, splits and instance features of every task under every backbone."""
    input:
        targets("tokenize"),


rule tokenize_task:
    """Tokens and splits of one task under one backbone."""
    input:
        lambda wc: read_by(paths.tokens(SCALE, wc.backbone, wc.task)),
    output:
        "results/tokenize/{scale}/{backbone}/{task}/tokens/tokens.safetensors",
        "results/tokenize/{scale}/{backbone}/{task}/tokens/rows.json",
        "results/tokenize/{scale}/{backbone}/{task}/tokens/SHA256SUMS",
        "results/tokenize/{scale}/{backbone}/{task}/tokens/record.json",
    log:
        "results/logs/tokenize/{scale}/{backbone}/{task}/tokens.log",
    conda:
        "../../environment.yml"
    resources:
        mem_mb=memory(lambda wc: paths.tokens(SCALE, wc.backbone, wc.task)),
        runtime=minutes(lambda wc: paths.tokens(SCALE, wc.backbone, wc.task)),
    params:
        code=lambda wc: code(paths.tokens(SCALE, wc.backbone, wc.task)),
        asked=lambda wc: asked(paths.tokens(SCALE, wc.backbone, wc.task)),
        read=lambda wc: read(paths.tokens(SCALE, wc.backbone, wc.task)),
    shell:
        logged("python -m dp tokenize --backbone {wildcards.backbone} --task {wildcards.task}")


rule features:
    """Instance features of one task under one backbone."""
    input:
        lambda wc: read_by(paths.features(SCALE, wc.backbone, wc.task, wc.pooling)),
    output:
        "results/tokenize/{scale}/{backbone}/{task}/features/{pooling}/features.safetensors",
        "results/tokenize/{scale}/{backbone}/{task}/features/{pooling}/SHA256SUMS",
        "results/tokenize/{scale}/{backbone}/{task}/features/{pooling}/record.json",
    log:
        "results/logs/tokenize/{scale}/{backbone}/{task}/features/{pooling}.log",
    conda:
        "../../environment.yml"
    threads: COMPUTE.threads
    resources:
        gpu=lambda wc: gpus(),
        mem_mb=memory(lambda wc: paths.features(SCALE, wc.backbone, wc.task, wc.pooling)),
        runtime=minutes(lambda wc: paths.features(SCALE, wc.backbone, wc.task, wc.pooling)),
    params:
        code=lambda wc: code(paths.features(SCALE, wc.backbone, wc.task, wc.pooling)),
        asked=lambda wc: asked(paths.features(SCALE, wc.backbone, wc.task, wc.pooling)),
        read=lambda wc: read(paths.features(SCALE, wc.backbone, wc.task, wc.pooling)),
    shell:
        logged(
            "python -m dp features --backbone {wildcards.backbone} --task {wildcards.task} --pooling {wildcards.pooling}"
        )
