# One training. The checkpoint that an interrupted one resumes from lies beside these outputs and is
# not declared, because Snakemake deletes the declared outputs of a failed job.


rule train:
    input:
        data=manifest,
    output:
        run="<results>/{dataset}/{setting}/train{train}/run.json",
        metrics="<results>/{dataset}/{setting}/train{train}/metrics.jsonl",
        model="<results>/{dataset}/{setting}/train{train}/model.safetensors",
    log:
        "<logs>/{dataset}/{setting}/train{train}.log",
    conda:
        "../../envs/gpu.yaml"
    threads: THREADS
    resources:
        gpu=GPUS,
    params:
        data=subpath(input.data, parent=True),
        folder=subpath(output.run, parent=True),
        split=EXPERIMENT["train_split"],
        seed=EXPERIMENT["seed"],
        overrides=overrides,
        device=device,
        loading=loading,
        settings_file=settings_file,
    message:
        "train {wildcards.dataset}/{wildcards.setting}, training {wildcards.train}"
    shell:
        "sr3d train --dataset {wildcards.dataset} --data {params.data:q}"
        " --split {params.split} --setting {wildcards.setting} --train {wildcards.train}"
        " --seed {params.seed} --out {params.folder:q} --threads {threads}"
        " --device {params.device} {params.loading:q} {params.settings_file:q}"
        " {params.overrides:q} > {log:q} 2>&1"
