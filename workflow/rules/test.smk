# The evaluation runs of one training run, one after the other. The runs share one process, so Python and
# PyTorch start once. Each run has its own folder, record and marker.
# `sr3d test` makes the missing runs and returns the finished ones. So the job repeats only lost runs,
# although Snakemake removes all its markers before it starts.


rule test:
    input:
        data=manifest,
        training=training("done.json"),
    output:
        done=[
            f"<results>/{{dataset}}/{{setting}}/train{{train}}/test{test}/done.json"
            for test in range(EXPERIMENT["tests"])
        ],
    log:
        "<logs>/{dataset}/{setting}/train{train}_test.log",
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
        folder=subpath(lambda wildcards, output: output.done[0], ancestor=2),
        tests=lambda wildcards, output: len(output.done),
        split=EXPERIMENT["test_split"],
        device=device,
        test_only=test_only,
        settings_file=settings_file,
    message:
        "evaluate {wildcards.dataset}/{wildcards.setting}, training run {wildcards.train} (evaluation runs: {params.tests})"
    shell:
        "sr3d test --run {params.training:q} --data {params.data:q} --tests {params.tests}"
        " --out {params.folder:q} --split {params.split} --threads {threads}"
        " --device {params.device} {params.settings_file:q} {params.test_only:q}"
        " --replace --wait --done {output.done:q} > {log:q} 2>&1"
