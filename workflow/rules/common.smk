# The experiment, checked, and the few helpers that rules share.
import json
import os
import sys
from pathlib import Path

import yaml

from sr3d.config import apply_overrides, default_config
from sr3d.errors import InputError
from sr3d.settings import Configured, Setting, configure, read_settings
from workflow.checking import check_experiment, check_tiers
from workflow.markers import forget_stale
from workflow.refusal import Refusal


def load_tiers() -> dict:
    """The checked content of workflow/tiers.yaml."""
    file = "workflow/tiers.yaml"
    value = yaml.safe_load(Path(file).read_text(encoding="utf-8"))
    check_tiers(value, file)
    return value


def load_tables() -> dict:
    """The content of workflow/tables.yaml. The process that plans checks it for all jobs."""
    file = "workflow/tables.yaml"
    if workflow.is_main_process:
        from sr3d.study.report.paper.reading import read_paper

        try:
            read_paper(file)
        except InputError as error:
            raise Refusal(str(error)) from None
    return yaml.safe_load(Path(file).read_text(encoding="utf-8"))


def load_settings() -> dict[str, Setting]:
    """The package's settings, and those of the file that config.yaml names."""
    try:
        return read_settings(config.get("settings_file"))
    except InputError as error:
        raise Refusal(str(error)) from None


def require(names: list[str], known: dict, what: str, where: str) -> None:
    """Refuse names that do not exist."""
    for name in names:
        if name not in known:
            raise Refusal(f"{where}: no {what} '{name}'. Choose from {', '.join(known)}.")


def rows_of(name: str) -> list[str]:
    """The settings that a table or figure names, each once, in order."""
    if name in TABLES:
        return unique(row["setting"] for row in TABLES[name]["rows"] if row.get("setting"))
    shown = FIGURES[name]
    if shown["kind"] == "tradeoff":
        return rows_of(shown["table"])
    panels = [panel["points"].values() for panel in shown.get("panels", [])]
    return unique([*shown.get("settings", []), *(name for panel in panels for name in panel)])


def unique(names) -> list[str]:
    return list(dict.fromkeys(names))


def datasets_of(name: str) -> list[str]:
    """The data sets to show a table or figure on: the paper's, where the experiment has any."""
    chosen, paper = EXPERIMENT["datasets"], (TABLES | FIGURES)[name]["datasets"]
    return [dataset for dataset in chosen if dataset in paper] or chosen


def settings_of(name: str, dataset: str) -> list[str]:
    """The settings of a table or figure that this experiment runs on a data set."""
    chosen = EXPERIMENT.get("settings", SETTINGS)
    return [name for name in rows_of(name) if name in chosen and dataset in SETTINGS[name].datasets]


def tables_shown() -> list[tuple[str, str]]:
    """Pairs of a table and a data set."""
    return [
        (name, data)
        for name in EXPERIMENT["tables"]
        if name in TABLES
        for data in datasets_of(name)
    ]


def table_files(ending: str = "md") -> list[str]:
    """Every table on every data set."""
    folder = f"{EXPERIMENT['results']}/report"
    return [f"{folder}/{table}_{dataset}.{ending}" for table, dataset in tables_shown()]


def work() -> list[tuple[str, str]]:
    """Pairs of a data set and a setting: all that this experiment runs, each once."""
    return unique(
        (dataset, setting)
        for name in EXPERIMENT["tables"]
        for dataset in datasets_of(name)
        for setting in settings_of(name, dataset)
    )


def rows_of_files() -> list[tuple[str, str]]:
    """Pairs of a data set and an external detector, whose boxes come from files."""
    return [(row["dataset"], name) for name, row in EXTERNAL.items()]


def summaries(wildcards) -> list[str]:
    return [
        f"{EXPERIMENT['results']}/{dataset}/{setting}/summary.json"
        for dataset, setting in [*work(), *rows_of_files()]
    ]


def check_external(name: str) -> None:
    """Refuse an external detector that config.yaml describes wrongly."""
    row, where = EXTERNAL[name], f"config.yaml: external: {name}"
    if name in SETTINGS:
        raise WorkflowError(f"{where}: is a setting; choose another name")
    require([row["dataset"]], dict.fromkeys(EXPERIMENT["datasets"]), "data set", where)
    if len(row["files"]) % row.get("tests", 1):
        raise WorkflowError(
            f"{where}: {len(row['files'])} files are no multiple of tests: {row['tests']}; give every "
            "training run the same number of files"
        )


def external_counts(setting: str) -> tuple[int, int]:
    """Training runs of an external detector, and evaluation runs of each."""
    tests = EXTERNAL[setting].get("tests", 1)
    return len(EXTERNAL[setting]["files"]) // tests, tests


def external_options(wildcards) -> list[str]:
    """What config.yaml says of an external detector, as arguments."""
    row = EXTERNAL[wildcards.setting]
    options = ["--label", row.get("label", wildcards.setting)]
    options += ["--tests", str(row["tests"])] if "tests" in row else []
    options += ["--latency-ms", str(row["latency_ms"])] if "latency_ms" in row else []
    return [*options, *(["--allow-missing"] if row.get("allow_missing") else [])]


def trains(setting: str) -> bool:
    """Whether a setting has trainings of its own."""
    return SETTINGS[setting].tests_of is None


def training(file: str):
    """A file of the training that a test is of."""

    def find(wildcards) -> str:
        setting = SETTINGS[wildcards.setting].trained_as
        return (
            f"{EXPERIMENT['results']}/{wildcards.dataset}/{setting}/train{wildcards.train}/{file}"
        )

    return find


def source(dataset: str, setting: str = "") -> str:
    """Which prepared folder, a key of `data`, a data set is read from."""
    own = SETTINGS[setting].prepared if setting else {}
    return {**EXPERIMENT.get("prepared", {}), **own}.get(dataset, dataset)


def manifest(wildcards) -> str:
    """What `sr3d prepare` leaves of a data set."""
    setting = "" if wildcards.setting in EXTERNAL else wildcards.setting
    return f"{EXPERIMENT['data'][source(wildcards.dataset, setting)]}/manifest.json"


def overrides(wildcards) -> list[str]:
    """All overrides of a setting's trainings, as arguments. A change of them reruns it.

    The name alone brings the setting's own. They are repeated, so that Snakemake tracks them.
    """
    values = [*EXPERIMENT["overrides"], *SETTINGS[wildcards.setting].overrides]
    return ["--set", *values] if values else []


def test_only(wildcards) -> list[str]:
    """How a setting that trains nothing tests the trainings of another, as arguments."""
    if trains(wildcards.setting):
        return []
    return ["--setting", wildcards.setting, "--set", *SETTINGS[wildcards.setting].overrides]


def configured(dataset: str, setting: str) -> Configured:
    """A setting under the experiment's overrides; refused before anything is downloaded."""
    start, common = default_config(dataset), EXPERIMENT["overrides"]
    where = "overrides in config.yaml or workflow/tiers.yaml"
    try:
        apply_overrides(start, common)
        where = f"setting {setting}" + (f", {where}" if common else "")
        return configure(SETTINGS, setting, start, common)
    except InputError as error:
        raise Refusal(f"{where}: {error}") from None


def trainings_of(wildcards) -> list[str]:
    """The markers of a setting's own trainings."""
    if not trains(wildcards.setting):
        return []
    folder = f"{EXPERIMENT['results']}/{wildcards.dataset}/{wildcards.setting}"
    return [f"{folder}/train{train}/done.json" for train in range(EXPERIMENT["trainings"])]


def prepared_of(wildcards, input) -> list[str]:
    """Where the points of qualitative figures are, as arguments."""
    folders = {dataset: EXPERIMENT["data"][source(dataset)] for dataset in EXPERIMENT["datasets"]}
    return [f"{dataset}={folder}" for dataset, folder in folders.items()]


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


def settings_file(wildcards, resources) -> list[str]:
    """Where the user's own settings are, as arguments."""
    return ["--settings", config["settings_file"]] if "settings_file" in config else []


def device(wildcards, resources) -> str:
    return "cuda" if resources.gpu else "cpu"


def loading(wildcards, resources) -> list[str]:
    """A GPU must not wait for scenes; one CPU thread does everything itself."""
    return ["--workers", str(THREADS)] if resources.gpu else []


check_experiment(config)
TIERS, SETTINGS, PAPER = load_tiers(), load_settings(), load_tables()
EXTERNAL = config.get("external", {})
TABLES, FIGURES = PAPER["tables"], PAPER["figures"]
require([config["tier"]], TIERS, "tier", "config.yaml")
EXPERIMENT = TIERS[config["tier"]] | config
require(EXPERIMENT["tables"], TABLES | FIGURES, "table or figure", "workflow/tables.yaml")
require(EXPERIMENT.get("settings", []), SETTINGS, "setting", "settings in config.yaml")
for name in EXPERIMENT["tables"]:
    require(rows_of(name), SETTINGS, "setting", f"workflow/tables.yaml, {name}")
    if not any(settings_of(name, dataset) for dataset in datasets_of(name)):
        raise Refusal(
            f"workflow/tables.yaml: {name} shows none of the settings to run. "
            "Add one to `settings` in config.yaml, or remove the table from `tables`."
        )
if config["tier"].startswith("real") and "real_scans" not in config:
    raise Refusal(
        f"tier {config['tier']}: no real scans. Pass --config real_scans=DIR. docs/workflow.md says "
        "what DIR holds."
    )

for dataset, name in work():
    configured(dataset, name)
for name in EXTERNAL:
    check_external(name)

if workflow.is_main_process:
    forget_stale(EXPERIMENT["results"])

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
