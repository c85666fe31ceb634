# Checks the experiment, and holds the helper functions of all rules.
import json
import os
import sys
from pathlib import Path

from sr3d.detectors.configuration import apply_overrides, default_config
from sr3d.errors import InputError
from sr3d.run_setting import Configured, configure
from sr3d.settings import Setting, read_settings
from sr3d.validation import read_yaml
from workflow.checking import check_experiment, check_tiers
from workflow.markers import forget_stale
from workflow.refusal import Refusal


def load_tiers() -> dict:
    """The checked content of workflow/tiers.yaml."""
    file = "workflow/tiers.yaml"
    value = read_yaml(file)
    check_tiers(value, file)
    return value


def load_tables() -> dict:
    """The content of workflow/tables.yaml. The process that plans checks it for all jobs."""
    file = "workflow/tables.yaml"
    if workflow.is_main_process:
        from sr3d.study.report.paper.tables_file import read_paper

        try:
            read_paper(file)
        except InputError as error:
            raise Refusal(str(error)) from None
    return read_yaml(file)


def load_settings() -> dict[str, Setting]:
    """The settings of the package and of the file that config.yaml names."""
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
    """The data sets of a table or figure: the paper's, if the experiment has any, else all."""
    chosen, paper = EXPERIMENT["datasets"], (TABLES | FIGURES)[name]["datasets"]
    return [dataset for dataset in chosen if dataset in paper] or chosen


def settings_to_run() -> list[str]:
    """The settings that the experiment names, or else all that it does not cite."""
    cited = EXPERIMENT.get("cited", [])
    return EXPERIMENT.get("settings") or [name for name in SETTINGS if name not in cited]


def cited_options() -> list[str]:
    """The settings of the tables and figures that are cited instead of run, as arguments."""
    named = unique(setting for name in EXPERIMENT["tables"] for setting in rows_of(name))
    cited = [name for name in named if name in EXPERIMENT.get("cited", [])]
    cited = [name for name in cited if name not in settings_to_run()]
    return ["--cited", *cited] if cited else []


def settings_of(name: str, dataset: str) -> list[str]:
    """The settings of a table or figure that this experiment runs on a data set."""
    chosen = settings_to_run()
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
    """The files of every table on every data set."""
    folder = f"{EXPERIMENT['results']}/report"
    return [f"{folder}/{table}_{dataset}.{ending}" for table, dataset in tables_shown()]


def work() -> list[tuple[str, str]]:
    """All pairs of a data set and a setting that this experiment runs, each once."""
    return unique(
        (dataset, setting)
        for name in EXPERIMENT["tables"]
        for dataset in datasets_of(name)
        for setting in settings_of(name, dataset)
    )


def rows_of_files() -> list[tuple[str, str]]:
    """Pairs of a data set and an external detector."""
    return [(row["dataset"], name) for name, row in EXTERNAL.items()]


def summaries(wildcards) -> list[str]:
    return [
        f"{EXPERIMENT['results']}/{dataset}/{setting}/summary.json"
        for dataset, setting in [*work(), *rows_of_files()]
    ]


def check_external(name: str) -> None:
    """Refuse an invalid entry of `external` in config.yaml."""
    row, where = EXTERNAL[name], f"config.yaml: external: {name}"
    if name in SETTINGS:
        raise WorkflowError(f"{where}: is a setting. Choose another name.")
    require([row["dataset"]], dict.fromkeys(EXPERIMENT["datasets"]), "data set", where)
    if len(row["files"]) % row.get("tests", 1):
        raise WorkflowError(
            f"{where}: {len(row['files'])} files are not a multiple of tests: {row['tests']}. "
            "Give every training run the same number of files."
        )


def external_counts(setting: str) -> tuple[int, int]:
    """The number of training runs of an external detector, and of evaluation runs of each."""
    tests = EXTERNAL[setting].get("tests", 1)
    return len(EXTERNAL[setting]["files"]) // tests, tests


def external_options(wildcards) -> list[str]:
    """The options of an external detector in config.yaml, as arguments."""
    row = EXTERNAL[wildcards.setting]
    options = ["--label", row.get("label", wildcards.setting)]
    options += ["--tests", str(row["tests"])] if "tests" in row else []
    options += ["--latency-ms", str(row["latency_ms"])] if "latency_ms" in row else []
    return [*options, *(["--allow-missing"] if row.get("allow_missing") else [])]


def trains(setting: str) -> bool:
    """Whether a setting trains. A setting with `tests_of` does not."""
    return SETTINGS[setting].tests_of is None


def training(file: str):
    """A file of the training run that an evaluation run uses."""

    def find(wildcards) -> str:
        setting = SETTINGS[wildcards.setting].trained_as
        return (
            f"{EXPERIMENT['results']}/{wildcards.dataset}/{setting}/train{wildcards.train}/{file}"
        )

    return find


def source(dataset: str, setting: str = "") -> str:
    """The key in `data` of the prepared folder of a data set."""
    own = SETTINGS[setting].prepared if setting else {}
    return {**EXPERIMENT.get("prepared", {}), **own}.get(dataset, dataset)


def manifest(wildcards) -> str:
    """The manifest of a prepared data set."""
    setting = "" if wildcards.setting in EXTERNAL else wildcards.setting
    return f"{EXPERIMENT['data'][source(wildcards.dataset, setting)]}/manifest.json"


def overrides(wildcards) -> list[str]:
    """All overrides of a setting, as arguments. If they change, the setting runs again.

    `--setting` alone would apply the setting's overrides. Passing them lets Snakemake track them.
    """
    values = [*EXPERIMENT["overrides"], *SETTINGS[wildcards.setting].overrides]
    return ["--set", *values] if values else []


def test_only(wildcards) -> list[str]:
    """Arguments that evaluate the training runs of another setting (`tests_of`)."""
    if trains(wildcards.setting):
        return []
    return ["--setting", wildcards.setting, "--set", *SETTINGS[wildcards.setting].overrides]


def configured(dataset: str, setting: str) -> Configured:
    """A setting with the experiment's overrides. Invalid ones are refused before any download."""
    start, common = default_config(dataset), EXPERIMENT["overrides"]
    where = "overrides in config.yaml or workflow/tiers.yaml"
    try:
        apply_overrides(start, common)
        where = f"setting {setting}" + (f", {where}" if common else "")
        return configure(SETTINGS, setting, start, common)
    except InputError as error:
        raise Refusal(f"{where}: {error}") from None


def trainings_of(wildcards) -> list[str]:
    """The markers of a setting's training runs. A setting with `tests_of` has none."""
    if not trains(wildcards.setting):
        return []
    folder = f"{EXPERIMENT['results']}/{wildcards.dataset}/{wildcards.setting}"
    return [f"{folder}/train{train}/done.json" for train in range(EXPERIMENT["trainings"])]


def prepared_of(wildcards, input) -> list[str]:
    """The folders of the prepared data, as arguments."""
    folders = {dataset: EXPERIMENT["data"][source(dataset)] for dataset in EXPERIMENT["datasets"]}
    return [f"{dataset}={folder}" for dataset, folder in folders.items()]


# Snakemake does not track parameters that are functions of the output or the resources. The following
# parameters use this: to move the original files, or to change the server or device, repeats no run.


def raw(dataset: str):
    """The folder of the original files of a data set."""
    return lambda wildcards, output: RAW[dataset]


def real_scans(wildcards, output) -> str:
    return REAL


def real_infos(wildcards, output) -> list[str]:
    """mmdet3d's info files of the real tiers, as arguments."""
    named = [f"{split}={REAL}/{file}" for split, file in EXPERIMENT.get("infos", {}).items()]
    return ["--infos", *named] if named else []


def server(dataset: str):
    """The options of the download, as arguments."""
    own = EXPERIMENT["download"][dataset]
    arguments = ["--url", own["url"]]
    if "parallel" in own:
        arguments += ["--parallel", str(own["parallel"])]
    if own.get("accept_terms"):
        arguments += ["--accept-terms"]
    return lambda wildcards, output: arguments


def settings_file(wildcards, resources) -> list[str]:
    """The file of the user's own settings, as arguments."""
    return ["--settings", config["settings_file"]] if "settings_file" in config else []


def device(wildcards, resources) -> str:
    return "cuda" if resources.gpu else "cpu"


def loading(wildcards, resources) -> list[str]:
    """The number of loader threads, as arguments. On the CPU one thread does everything."""
    return ["--workers", str(THREADS)] if resources.gpu else []


check_experiment(config)
TIERS, SETTINGS, PAPER = load_tiers(), load_settings(), load_tables()
EXTERNAL = config.get("external", {})
TABLES, FIGURES = PAPER["tables"], PAPER["figures"]
require([config["tier"]], TIERS, "tier", "config.yaml")
EXPERIMENT = TIERS[config["tier"]] | config
require(EXPERIMENT["tables"], TABLES | FIGURES, "table or figure", "workflow/tables.yaml")
require(EXPERIMENT.get("settings", []), SETTINGS, "setting", "settings in config.yaml")
require(EXPERIMENT.get("cited", []), SETTINGS, "setting", "cited in config.yaml")
for name in EXPERIMENT["tables"]:
    require(rows_of(name), SETTINGS, "setting", f"workflow/tables.yaml, {name}")
    if not any(settings_of(name, dataset) for dataset in datasets_of(name)):
        raise Refusal(
            f"workflow/tables.yaml: {name} shows none of the settings to run. "
            "Add one to `settings` in config.yaml, or remove the table from `tables`."
        )
if config["tier"].startswith("real") and "real_scans" not in config:
    raise Refusal(
        f"tier {config['tier']}: no real scans. Pass --config real_scans=DIR. docs/workflow.md "
        "lists the files in DIR."
    )

for dataset, name in work():
    configured(dataset, name)
for name in EXTERNAL:
    check_external(name)

if workflow.is_main_process:
    forget_stale(EXPERIMENT["results"])

RAW = EXPERIMENT["raw"]
REAL = config.get("real_scans", "")
GPUS = int(config["device"] == "cuda")  # per training or evaluation run
# Always one thread on the CPU, because sums, and so results, depend on the number of threads.
THREADS = 4 if GPUS else 1
# Jobs run the `sr3d` beside this Python, even if another is on the path or no environment is active.
BESIDE = Path(sys.executable).parent
os.environ.update(PATH=f"{BESIDE}{os.pathsep}{os.environ.get('PATH', os.defpath)}")


pathvars:
    results=EXPERIMENT["results"],
    logs=f"{EXPERIMENT['results']}/logs",


wildcard_constraints:
    dataset="|".join(EXPERIMENT["data"]),
    setting="[a-z0-9_]+",
    table="[a-z0-9_]+",
    train=r"\d+",
    test=r"\d+",
