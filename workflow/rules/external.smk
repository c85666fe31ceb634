# Detectors of other frameworks: scores their files of boxes as a row of the results. Nothing is
# trained. If a file changes, it is scored again.
if EXTERNAL:

    rule evaluate_external:
        input:
            data=manifest,
            boxes=lambda wildcards: EXTERNAL[wildcards.setting]["files"],
        output:
            done="<results>/{dataset}/{setting}/boxes.done.json",
        log:
            "<logs>/{dataset}/{setting}/evaluate.log",
        wildcard_constraints:
            setting="|".join(EXTERNAL),
        localrule: True
        conda:
            "../../envs/track.yaml"
        params:
            data=subpath(input.data, parent=True),
            results=EXPERIMENT["results"],
            split=EXPERIMENT["test_split"],
            options=external_options,
        message:
            "evaluate the files of {wildcards.dataset}/{wildcards.setting}"
        shell:
            "sr3d evaluate --ground-truth {params.data:q} --split {params.split}"
            " --detections {input.boxes:q} --as {wildcards.setting} {params.options:q}"
            " --results {params.results:q} --wait --done {output.done:q} > {log:q} 2>&1"

    use rule summarise as summarise_external with:
        input:
            boxes=rules.evaluate_external.output.done,
        wildcard_constraints:
            setting="|".join(EXTERNAL),
        params:
            folder=subpath(output.summary, parent=True),
            trainings=lambda wildcards: external_counts(wildcards.setting)[0],
            tests=lambda wildcards: external_counts(wildcards.setting)[1],
