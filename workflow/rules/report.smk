# Summaries into the report and the MLflow store.


# Beside what is declared lie the other formats, the figures and the 3D viewers of their scenes:
# which there are depends on what ran, and `sr3d report` itself removes those of before.
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
    message:
        "write the report"
    shell:
        "sr3d report --results {params.results:q} --tables {input.tables:q} --out {params.folder:q}"
        " --table {params.names} --dataset {params.datasets} --data {params.prepared:q}"
        " > {log:q} 2>&1"


# The one job that opens the store: SQLite does not survive parallel first writers. Runs are updated in
# the store, so Snakemake must neither delete it nor bring an older one back: it knows the marker alone.
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
