# Writes the description of the experiment that `sr3d plan` reads.
from sr3d.runs.files import write_json

# Number of scenes of the published splits. The counts of a prepared folder take precedence.
PUBLISHED = {
    "scannet": {"train": 1201, "val": 312},
    "sunrgbd": {"train": 5285, "val": 5050},
    "s3dis": {"train": 204, "val": 68},
}


def trained(dataset: str, setting: str) -> int:
    """The number of finished training runs of this experiment. The folder may hold others."""
    folder = Path(EXPERIMENT["results"], dataset, setting)
    return sum((folder / f"train{i}" / "run.json").exists() for i in range(EXPERIMENT["trainings"]))


def tested(dataset: str, setting: str, tests: int) -> list[int]:
    """The number of finished evaluation runs of each training run."""
    folder = Path(EXPERIMENT["results"], dataset, setting)
    return [
        sum((folder / f"train{i}" / f"test{j}" / "run.json").exists() for j in range(tests))
        for i in range(EXPERIMENT["trainings"])
    ]


def planned_job(dataset: str, setting: str, tests: int) -> dict:
    own = SETTINGS[setting].overrides
    everything = configured(dataset, setting).overrides
    return {
        "dataset": dataset,
        "setting": setting,
        "overrides": everything if trains(setting) else own,
        "trainings": EXPERIMENT["trainings"],
        "tests": tests,
        "tests_of": SETTINGS[setting].tests_of,
        "done_trainings": trained(dataset, setting),
        "done_tests": tested(dataset, setting, tests),
    }


def planned_data(dataset: str) -> dict:
    rooms = EXPERIMENT["synthetic"]
    own = {"train": rooms["train"], "val": rooms["val"]}
    value = {
        "folder": EXPERIMENT["data"][source(dataset)],
        "split": EXPERIMENT["train_split"],
        "test_split": EXPERIMENT["test_split"],
        "scenes": PUBLISHED.get(dataset, own),
    }
    return {**value, "points": rooms["points"]} if dataset.startswith("synthetic") else value


def given_gpus() -> int:
    """The number of GPUs of `--resources gpu=N`, 1 by default."""
    given = workflow.global_resources.get("gpu")
    return int(getattr(given, "value", given) or 1)


PLANNED = f"{EXPERIMENT['results']}/experiment.json"


def write_experiment() -> None:
    """Write the input of `sr3d plan`. Not the output of a rule, because finished runs change it."""
    pairs = {(dataset, setting): EXPERIMENT["tests"] for dataset, setting in work()}
    for dataset, setting in [*pairs]:
        if not trains(setting):
            pairs.setdefault((dataset, SETTINGS[setting].tests_of), 0)
    slots = given_gpus() if GPUS else workflow.cores // THREADS
    write_json(
        Path(PLANNED),
        {
            "device": EXPERIMENT["device"],
            "slots": max(1, slots),
            "threads": THREADS,
            "workers": THREADS if GPUS else 0,
            "results": EXPERIMENT["results"],
            "data": {dataset: planned_data(dataset) for dataset in unique(d for d, _ in pairs)},
            "jobs": [planned_job(d, s, tests) for (d, s), tests in pairs.items()],
        },
    )
