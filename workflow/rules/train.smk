# One training run. Its results and its checkpoints are beside the marker. They are not declared, because
# Snakemake deletes declared output: before a job starts, when it fails, after an interruption.


rule train:
    input:
        data=manifest,
    output:
        done="<results>/{dataset}/{setting}/train{train}/done.json",
    log:
        "<logs>/{dataset}/{setting}/train{train}.log",
    conda:
        "../../envs/gpu.yaml"
    threads: THREADS
    resources:
        gpu=GPUS,
    params:
        data=subpath(input.data, parent=True),
        folder=subpath(output.done, parent=True),
        split=EXPERIMENT["train_split"],
        seed=EXPERIMENT["seed"],
        overrides=overrides,
        device=device,
        loading=loading,
        settings_file=settings_file,
    message:
        "train {wildcards.dataset}/{wildcards.setting}, training run {wildcards.train}"
    shell:
        "sr3d train --dataset {wildcards.dataset} --data {params.data:q}"
        " --split {params.split} --setting {wildcards.setting} --train {wildcards.train}"
        " --seed {params.seed} --out {params.folder:q} --threads {threads}"
        " --device {params.device} {params.loading:q} {params.settings_file:q}"
        " {params.overrides:q} --replace --wait --done {output.done:q} > {log:q} 2>&1"
