# Summarises the training and evaluation runs of a setting in one row.


rule summarise:
    input:
        trainings=trainings_of,
        tests=collect(
            rules.test.output.done,
            train=range(EXPERIMENT["trainings"]),
            allow_missing=True,
        ),
    output:
        summary="<results>/{dataset}/{setting}/summary.json",
    log:
        "<logs>/{dataset}/{setting}/summary.log",
    wildcard_constraints:
        setting="|".join(SETTINGS),
    localrule: True
    conda:
        "../../envs/track.yaml"
    params:
        folder=subpath(output.summary, parent=True),
        trainings=EXPERIMENT["trainings"],
        tests=EXPERIMENT["tests"],
    message:
        "summarise {wildcards.dataset}/{wildcards.setting}"
    shell:
        "sr3d summarise {params.folder:q} --out {output.summary:q}"
        " --trainings {params.trainings} --tests {params.tests} > {log:q} 2>&1"
