# Summaries into the paper's tables and the MLflow store.


rule table:
    input:
        summaries=summaries_of_table,
        tables="workflow/tables.yaml",
    output:
        markdown="<results>/report/{table}_{dataset}.md",
        csv=report(
            "<results>/report/{table}_{dataset}.csv",
            caption="../report/table.rst",
            category="Tables",
            subcategory="{dataset}",
            labels={"table": "{table}", "data set": "{dataset}"},
        ),
        tex="<results>/report/{table}_{dataset}.tex",
    log:
        "<logs>/report/{table}_{dataset}.log",
    localrule: True
    conda:
        "../../envs/track.yaml"
    resources:
        tables=1,  # they share an index: profiles let one be written at a time
    params:
        results=subpath(output.csv, ancestor=2),
        folder=subpath(output.csv, parent=True),
    message:
        "write {wildcards.table} on {wildcards.dataset}"
    shell:
        "sr3d report --results {params.results:q} --tables {input.tables:q} --out {params.folder:q}"
        " --table {wildcards.table} --dataset {wildcards.dataset} > {log:q} 2>&1"


# The one job that opens the store: SQLite does not survive parallel first writers. `update` keeps
# the file while the job runs, because runs are updated in it and not written anew.
rule track:
    input:
        summaries(EXPERIMENT["tables"], EXPERIMENT["datasets"]),
    output:
        store=update("<results>/mlflow.db"),
    log:
        "<logs>/track.log",
    localrule: True
    conda:
        "../../envs/track.yaml"
    params:
        results=subpath(output.store, parent=True),
    message:
        "write all runs to the MLflow store"
    shell:
        "sr3d track --results {params.results:q} --store sqlite:///{output.store:q}"
        " --artifacts {params.results:q}/mlartifacts > {log:q} 2>&1"
