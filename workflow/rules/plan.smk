# `snakemake plan`: the cost of the experiment, before anything runs.


rule plan:
    log:
        "<logs>/plan.log",
    localrule: True
    conda:
        "../../envs/gpu.yaml"
    params:
        experiment=PLANNED,
        assume=lambda wildcards: ["--assume", config["assume"]] if "assume" in config else [],
    message:
        "measure a step of each kind and add up"
    shell:
        "sr3d plan {params.experiment:q} {params.assume:q} 2>&1 | tee {log:q}"
