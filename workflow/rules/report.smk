# Writes the report and the MLflow store from the summaries.


# The report also has other formats, figures and 3D viewers. They are not declared, because they depend
# on the finished runs. `sr3d report` removes the files of an earlier report.
rule report:
    input:
        summaries=summaries,
        tables="workflow/tables.yaml",
    output:
        page=report(
            "<results>/report/index.html",
            caption="../report/page.rst",
            category="Report",
            labels={"what": "tables, figures and claims, in one page"},
        ),
        tables=report(
            table_files("csv"),
            caption="../report/table.rst",
            category="Tables",
            labels={"what": "a table's raw numbers"},
        ),
        markdown=table_files("md"),
        claims="<results>/report/claims.md",
    log:
        "<logs>/report.log",
    localrule: True
    conda:
        "../../envs/track.yaml"
    params:
        results=subpath(output.page, ancestor=2),
        folder=subpath(output.page, parent=True),
        names=EXPERIMENT["tables"],
        datasets=EXPERIMENT["datasets"],
        prepared=prepared_of,
        cited=cited_options(),
    message:
        "write the report"
    shell:
        "sr3d report --results {params.results:q} --tables {input.tables:q} --out {params.folder:q}"
        " --table {params.names} --dataset {params.datasets} --data {params.prepared:q}"
        " {params.cited}"
        " > {log:q} 2>&1"


# Only this job opens the store, because parallel first writers would damage SQLite. Runs are updated in
# the store, so Snakemake must not delete or restore it. Therefore only the marker is declared.
rule track:
    input:
        summaries=summaries,
        tables="workflow/tables.yaml",
    output:
        done="<results>/mlflow.done.json",
    log:
        "<logs>/track.log",
    localrule: True
    conda:
        "../../envs/track.yaml"
    params:
        results=subpath(output.done, parent=True),
    message:
        "write all runs to the MLflow store"
    shell:
        "sr3d track --results {params.results:q} --store sqlite:///{params.results:q}/mlflow.db"
        " --tables {input.tables:q} --artifacts {params.results:q}/mlartifacts"
        " --wait --done {output.done:q} > {log:q} 2>&1"
