# The experiment, checked, and the few helpers that rules share.
import os
import sys
from pathlib import Path

import yaml
from snakemake.exceptions import WorkflowError
from snakemake.utils import validate


def check(value: dict, schema: str, file: str) -> None:
    """Validate, and tell what is wrong in one sentence instead of a page of schema."""
    try:
        validate(value, f"../schemas/{schema}.schema.yaml")
    except WorkflowError as error:
        # Snakemake raises while it handles jsonschema's error, which knows what and where.
        wrong = error.__context__
        where = "".join(f"[{key}]" for key in getattr(wrong, "absolute_path", []))
        what = getattr(wrong, "message", error)
        raise WorkflowError(
            f"{file}{where}: {what}; workflow/schemas/{schema}.schema.yaml says what is allowed"
        ) from None


def load(name: str) -> dict:
    """The checked content of workflow/{name}.yaml."""
    value = yaml.safe_load(Path(f"workflow/{name}.yaml").read_text(encoding="utf-8"))
    check(value, name, f"workflow/{name}.yaml")
    return value


def require(names: list[str], known: dict, what: str, where: str) -> None:
    """Refuse names that do not exist."""
    for name in names:
        if name not in known:
            raise WorkflowError(f"{where}: no {what} '{name}'; choose from {', '.join(known)}")


def settings_of(table: str) -> list[str]:
    """The settings that a table shows and this experiment trains, each once, in order."""
    names = dict.fromkeys(row["setting"] for row in TABLES[table]["rows"])
    chosen = EXPERIMENT.get("settings", names)
    return [name for name in names if name in chosen]


def table_files() -> list[str]:
    """Every table on every data set, as Markdown."""
    return collect(
        "{results}/report/{table}_{dataset}.md",
        results=EXPERIMENT["results"],
        table=EXPERIMENT["tables"],
        dataset=EXPERIMENT["datasets"],
    )


def summaries(tables: list[str], datasets: list[str]) -> list[str]:
    """The summaries of all settings of some tables, each once."""
    settings = dict.fromkeys(name for table in tables for name in settings_of(table))
    return collect("<results>/{dataset}/{setting}/summary.json", dataset=datasets, setting=settings)


def summaries_of_table(wildcards) -> list[str]:
    return summaries([wildcards.table], [wildcards.dataset])


def manifest(wildcards) -> str:
    """What `sr3d prepare` leaves of a data set."""
    source = EXPERIMENT.get("prepared", {}).get(wildcards.dataset, wildcards.dataset)
    return f"{EXPERIMENT['data'][source]}/manifest.json"


def overrides(wildcards) -> list[str]:
    """A setting's departures from the defaults, as arguments; a change of them reruns it."""
    own = SETTINGS[wildcards.setting]["overrides"]
    values = [*EXPERIMENT["overrides"], *own]
    return ["--set", *values] if values else []


# Snakemake does not track parameters that are functions of the output or the resources. Those that follow
# want just that: neither moving the original files nor another server or device retrains everything.


def raw(dataset: str):
    """Where the original files of a data set lie."""
    return lambda wildcards, output: RAW[dataset]


def real_scans(wildcards, output) -> str:
    return REAL


def real_infos(wildcards, output) -> list[str]:
    """mmdet3d's info files of the real tiers, as arguments."""
    named = [f"{split}={REAL}/{file}" for split, file in EXPERIMENT.get("infos", {}).items()]
    return ["--infos", *named] if named else []


def server(dataset: str):
    """Where and how the original files are fetched, as arguments."""
    own = EXPERIMENT["download"][dataset]
    arguments = ["--url", own["url"]]
    if "parallel" in own:
        arguments += ["--parallel", str(own["parallel"])]
    if own.get("accept_terms"):
        arguments += ["--accept-terms"]
    return lambda wildcards, output: arguments


def device(wildcards, resources) -> str:
    return "cuda" if resources.gpu else "cpu"


def loading(wildcards, resources) -> list[str]:
    """A GPU must not wait for scenes; one CPU thread does everything itself."""
    return ["--workers", str(THREADS)] if resources.gpu else []


check(config, "config", "config.yaml")
TIERS, SETTINGS, TABLES = load("tiers"), load("settings"), load("tables")
require([config["tier"]], TIERS, "tier", "config.yaml")
EXPERIMENT = TIERS[config["tier"]] | config
require(EXPERIMENT["tables"], TABLES, "table", "workflow/tables.yaml")
require(EXPERIMENT.get("settings", []), SETTINGS, "setting", "workflow/settings.yaml")
for table in EXPERIMENT["tables"]:
    rows = [row["setting"] for row in TABLES[table]["rows"]]
    require(rows, SETTINGS, "setting", "workflow/settings.yaml")
    if not settings_of(table):
        raise WorkflowError(f"workflow/tables.yaml: {table} shows none of the settings to train")
if config["tier"].startswith("real") and "real_scans" not in config:
    raise WorkflowError(
        f"tier {config['tier']}: give the scans with --config real_scans=DIR; docs/workflow.md says "
        "what DIR holds"
    )

RAW = EXPERIMENT["raw"]
REAL = config.get("real_scans", "")
GPUS = int(config["device"] == "cuda")  # of a training or a test
# One thread on the CPU, always: sums, and so results, depend on the number of threads.
THREADS = 4 if GPUS else 1
# Last in the path, so that `.venv/bin/snakemake` finds `.venv/bin/sr3d` without being activated.
os.environ.update(PATH=f"{os.environ.get('PATH', '')}{os.pathsep}{Path(sys.executable).parent}")


pathvars:
    results=EXPERIMENT["results"],
    logs=f"{EXPERIMENT['results']}/logs",


wildcard_constraints:
    dataset="|".join(EXPERIMENT["data"]),
    setting="[a-z0-9_]+",
    table="[a-z0-9_]+",
    train=r"\d+",
    test=r"\d+",
