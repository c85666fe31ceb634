# One evaluation run of one training run. Its index seeds the random draws.


rule test:
    input:
        data=manifest,
        training=training("done.json"),
    output:
        done="<results>/{dataset}/{setting}/train{train}/test{test}/done.json",
    log:
        "<logs>/{dataset}/{setting}/train{train}_test{test}.log",
    # Runs before the next training run, so a mistake shows after one training run.
    priority: 10
    conda:
        "../../envs/gpu.yaml"
    threads: THREADS
    resources:
        gpu=GPUS,
    params:
        data=subpath(input.data, parent=True),
        training=subpath(input.training, parent=True),
        folder=subpath(output.done, parent=True),
        split=EXPERIMENT["test_split"],
        device=device,
        test_only=test_only,
        settings_file=settings_file,
    message:
        "evaluate {wildcards.dataset}/{wildcards.setting}, training run {wildcards.train}, evaluation run {wildcards.test}"
    shell:
        "sr3d test --run {params.training:q} --data {params.data:q} --test {wildcards.test}"
        " --out {params.folder:q} --split {params.split} --threads {threads}"
        " --device {params.device} {params.settings_file:q} {params.test_only:q}"
        " --replace --wait --done {output.done:q} > {log:q} 2>&1"
