"""Run records into an MLflow store.

One experiment `sr3d/{dataset}` a data set; in it one parent run a setting, which carries the
statistics over all its tests, with its trainings and tests as children. Parameters are the flat
configuration, curves are metrics; models and detections are named by path and checksum, not copied.

The store mirrors one results folder and holds nothing of its own: delete it, and the next call
makes it again. A run is found by its tag `sr3d.key`. It is up to date if its tag `sr3d.digest`,
written last, fits the record and what the store says of the run. Any other run is deleted and made
anew, since MLflow lets no parameter change, so no key ever has two live runs. Runs whose record has
gone from the disk stay, with a tag `sr3d.missing`.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sr3d.errors import InputError
from sr3d.runs.files import digest
from sr3d.runs.progress import Progress
from sr3d.runs.record import NO_RUNS, find_runs
from sr3d.study.report.paper import Shown
from sr3d.study.tracking.mlflow_store import open_store, require_database
from sr3d.study.tracking.tracked_runs import TrackedRun, setting_run, single_run

# After mlflow_store, which switches MLflow's telemetry off.
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run  # isort: skip

if TYPE_CHECKING:
    from mlflow import MlflowClient

KEY, DIGEST, MISSING = "sr3d.key", "sr3d.digest", "sr3d.missing"
PARENT = "mlflow.parentRunId"
_DEFAULT = "0"  # the experiment that MLflow makes by itself
_METRICS_A_BATCH, _PARAMS_A_BATCH = 1000, 100  # MLflow's limits
_VALUE_LENGTH = 5000  # of a parameter or a tag; MLflow's limits are 6000 and 8000


@dataclass(frozen=True)
class TrackReport:
    """How many runs, parents included, were made, made anew, and found up to date.

    deleted: surplus runs of one key. missing: runs in the store whose record is not on the disk.
    """

    created: int
    updated: int
    unchanged: int
    deleted: int
    missing: int


def track(
    results: str | Path,
    store: str,
    artifacts: str | Path,
    shown: Mapping[str, Shown] | None = None,
    wait: bool = False,
) -> TrackReport:
    """Bring an MLflow store up to date with all complete runs below `results`.

    store: e.g. `sqlite:///results/mlflow.db`, made with its folder where absent. artifacts: folder
    that MLflow's users may put artifacts in. shown: of settings that the paper's tables have, for
    tags. wait: for another process that tracks into the store, instead of refusing.

    Raises:
        InputError: no run, an unreadable record, or a store that `open_store` refuses.
    """
    require_database(store)
    runs = find_runs(results)
    if not runs:
        raise InputError(f"{results}: holds no complete run; {NO_RUNS}")
    twice = [key for key, count in Counter(r.key for r in runs).items() if count > 1]
    if twice:
        raise InputError(f"{results}: two records say that they are {twice[0]}; delete the copy")
    counts = Counter({"created": 0, "updated": 0, "unchanged": 0, "deleted": 0})
    with open_store(store, wait) as client, Progress("track", len(runs)) as progress:
        names = {r.dataset for r in runs}
        experiments = {name: _experiment(client, name, artifacts) for name in names}
        _hide_default(client)
        live = _live_runs(client)
        done = 0
        for (dataset, setting), members in groupby(runs, lambda r: (r.dataset, r.setting)):
            records = list(members)
            place = client, experiments[dataset], live, counts
            parent = _bring(*place, setting_run(Path(results), records, (shown or {}).get(setting)))
            for record in records:
                _bring(*place, single_run(Path(results), record), parent)
                done += 1
                progress.update(done, record.key)
        missing = _mark_missing(client, live)
    return TrackReport(**counts, missing=missing)


def _bring(
    client: MlflowClient,
    experiment: str,
    live: dict[str, list[Run]],
    counts: Counter[str],
    wanted: TrackedRun,
    parent: str | None = None,
) -> str:
    """Leave exactly one live run of the wanted key, as wanted; return its id.

    Takes the key's runs out of `live` and counts what it did. Deleting comes before making: what a
    kill in between leaves is no run, which the next call makes.
    """
    found = live.pop(wanted.key, [])
    good = [run for run in found if run.data.tags.get(DIGEST) == _digest(wanted, run)]
    for run in found:
        if run not in good[:1]:
            client.delete_run(run.info.run_id)
    counts["deleted"] += max(0, len(found) - 1)
    if not good:
        counts["updated" if found else "created"] += 1
        return _write(client, experiment, wanted, parent)
    counts["unchanged"] += 1
    run_id: str = good[0].info.run_id
    if parent is not None and good[0].data.tags.get(PARENT) != parent:
        client.set_tag(run_id, PARENT, parent)  # the parent was made anew
    if MISSING in good[0].data.tags:
        client.delete_tag(run_id, MISSING)
    return run_id


def _write(client: MlflowClient, experiment: str, wanted: TrackedRun, parent: str | None) -> str:
    tags = {name: value[:_VALUE_LENGTH] for name, value in wanted.tags.items()}
    tags |= {KEY: wanted.key} | ({} if parent is None else {PARENT: parent})
    run = client.create_run(experiment, wanted.started, tags, wanted.name)
    run_id: str = run.info.run_id
    params = [Param(name, str(value)[:_VALUE_LENGTH]) for name, value in wanted.params.items()]
    for i in range(0, len(params), _PARAMS_A_BATCH):
        client.log_batch(run_id, params=params[i : i + _PARAMS_A_BATCH])
    # All points bear the time of the run's end: the records hold no other.
    metrics = [Metric(name, value, wanted.finished, step) for name, value, step in wanted.points()]
    for i in range(0, len(metrics), _METRICS_A_BATCH):
        client.log_batch(run_id, metrics=metrics[i : i + _METRICS_A_BATCH])
    if wanted.data is not None:
        client.log_inputs(run_id, [_dataset(wanted.data)])
    client.set_terminated(run_id, "FINISHED", wanted.finished)
    client.set_tag(run_id, DIGEST, _digest(wanted, client.get_run(run_id)))
    return run_id


def _digest(wanted: TrackedRun, run: Run) -> str:
    """Digest of a record, and of what the store says of its run but for tags that users add."""
    tags = {name: run.data.tags.get(name) for name in wanted.tags}
    return f"{wanted.digest}-{digest([tags, run.data.params, run.data.metrics])}"


def _mark_missing(client: MlflowClient, live: dict[str, list[Run]]) -> int:
    left = [run for runs in live.values() for run in runs]
    for run in left:
        if MISSING not in run.data.tags:
            client.set_tag(run.info.run_id, MISSING, "its record is not on the disk")
    return len(left)


def _experiment(client: MlflowClient, dataset: str, artifacts: str | Path) -> str:
    """Id of a data set's experiment, made where absent and brought back where deleted."""
    name = f"sr3d/{dataset}"
    found = client.get_experiment_by_name(name)
    if found is None:
        location = (Path(artifacts).absolute() / dataset).as_uri()
        made: str = client.create_experiment(name, artifact_location=location)
        return made
    if found.lifecycle_stage == "deleted":
        client.restore_experiment(found.experiment_id)
    known: str = found.experiment_id
    return known


def _hide_default(client: MlflowClient) -> None:
    """Delete MLflow's own experiment while it is empty: it would be the first one on the page."""
    everything = client.search_experiments()
    if any(experiment.experiment_id == _DEFAULT for experiment in everything) and not (
        client.search_runs([_DEFAULT], max_results=1)
    ):
        client.delete_experiment(_DEFAULT)


def _live_runs(client: MlflowClient) -> dict[str, list[Run]]:
    """Our runs in the store by key; deleted ones do not count."""
    experiments = client.search_experiments(filter_string="name LIKE 'sr3d/%'")
    ids = [experiment.experiment_id for experiment in experiments]
    found: dict[str, list[Run]] = {}
    token = None
    while ids:
        page = client.search_runs(ids, f"tags.`{KEY}` LIKE '%'", page_token=token)
        for run in page:
            found.setdefault(run.data.tags[KEY], []).append(run)
        token = page.token
        if not token:
            break
    return found


def _dataset(data: dict[str, Any]) -> DatasetInput:
    facts = json.dumps(data)
    split = str(data.get("split", "all"))
    # MLflow keeps one entry for a name and digest, so the split is part of the name.
    name, key = f"{data.get('dataset', 'data')}/{split}", str(data["digest"])[:36]
    dataset = Dataset(name, key, "sr3d", facts, profile=facts)
    return DatasetInput(dataset, [InputTag("mlflow.data.context", split)])
