"""Write run records into an MLflow store.

Each data set is an experiment `sr3d/{dataset}`. Each setting is a parent run with the statistics
over its evaluations. Its training and evaluation runs are nested below it. Parameters are the flat
configuration, and curves are metrics. Models and detections are not copied: tags name their path
and checksum.

The store is a copy of one results folder. If it is deleted, the next call makes it again. The tag
`sr3d.key` identifies a run. A run is up to date if its tag `sr3d.digest`, which is written last,
matches the record and the run's content in the store. MLflow cannot change a parameter, so an
outdated run is deleted and created again. No key ever has two live runs. A run whose record is
gone from the disk stays, with a tag `sr3d.missing`. Descriptions and tags that a user wrote are
kept.

MLflow's client stores the login name of whoever runs `sr3d track` in each run. Run records hold no
name. So a call by another person leaves runs that are up to date unchanged.
"""

from __future__ import annotations

import getpass
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING

from sr3d.errors import InputError, Kind
from sr3d.runs.files import digest
from sr3d.runs.progress import Progress
from sr3d.runs.record import NO_RUNS, find_runs
from sr3d.study.report.paper import PrintedSetting
from sr3d.study.tracking.artifacts import artifact_folder, artifact_location, move_artifacts
from sr3d.study.tracking.mlflow_store import open_store, require_database, store_path
from sr3d.study.tracking.runs_page import VIEW, VIEW_TAG
from sr3d.study.tracking.tracked_runs import DataInput, TrackedRun, setting_run, single_run

# After mlflow_store, which switches MLflow's telemetry off.
from mlflow.entities import Dataset, DatasetInput, InputTag, Metric, Param, Run  # isort: skip

if TYPE_CHECKING:
    from mlflow import MlflowClient

KEY, DIGEST, MISSING = "sr3d.key", "sr3d.digest", "sr3d.missing"
PARENT = "mlflow.parentRunId"
USER = "mlflow.user"  # MLflow's column User
DESCRIPTION = "mlflow.note.content"  # MLflow shows it, and users edit it
WRITTEN = "sr3d.description"  # the description as written here, to notice an edit
CONTEXT = "mlflow.data.context"
_DEFAULT = "0"  # the experiment that MLflow makes by itself
_METRICS_A_BATCH, _PARAMS_A_BATCH = 1000, 100  # MLflow's limits
_VALUE_LENGTH = 5000  # of a parameter or a tag, below MLflow's limits of 6000 and 8000


@dataclass(frozen=True)
class TrackReport:
    """Numbers of runs (parents included) that were created, written again, or up to date.

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
    artifacts: str | Path | None = None,
    shown: Mapping[str, PrintedSetting] | None = None,
    wait: bool = False,
) -> TrackReport:
    """Bring an MLflow store up to date with all complete runs below `results`.

    store: for example `sqlite:///results/mlflow.db`, created with its folder if absent. artifacts:
    folder for artifacts that users upload, by default `artifact_folder(store)`. shown: label and
    tables of the settings in the paper, for tags. wait: wait for another process that tracks into
    the store, instead of refusing.

    Raises:
        InputError: no run, an unreadable record, or a store that `open_store` refuses.
    """
    require_database(store)
    runs = find_runs(results)
    if not runs:
        raise InputError("holds no complete run", file=results, kind=Kind.EMPTY, remedy=NO_RUNS)
    twice = [key for key, count in Counter(r.key for r in runs).items() if count > 1]
    if twice:
        raise InputError(
            f"two records claim to be {twice[0]}",
            file=results,
            kind=Kind.CONFLICT,
            remedy="Move the copy out of this folder.",
        )
    counts = Counter({"created": 0, "updated": 0, "unchanged": 0, "deleted": 0})
    with open_store(store, wait) as client, Progress("track", len(runs)) as progress:
        folder = artifact_folder(store) if artifacts is None else Path(artifacts)
        names = sorted({r.dataset for r in runs})
        experiments = {name: _experiment(client, name, folder, store) for name in names}
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
    """Leave exactly one live run of the wanted key, with the wanted content. Returns its id.

    Takes the key's runs out of `live` and counts the change. Deletes before it creates: a kill in
    between leaves no run, and the next call creates it.
    """
    found = live.pop(wanted.key, [])
    good = [run for run in found if run.data.tags.get(DIGEST) == _digest(wanted, run)]
    for run in found:
        if run not in good[:1]:
            client.delete_run(run.info.run_id)
    counts["deleted"] += max(0, len(found) - 1)
    if not good:
        counts["updated" if found else "created"] += 1
        kept = _user_tags(found[0]) if found else {}
        return _write(client, experiment, wanted, kept, parent)
    counts["unchanged"] += 1
    run_id: str = good[0].info.run_id
    if parent is not None and good[0].data.tags.get(PARENT) != parent:
        client.set_tag(run_id, PARENT, parent)  # the parent may be a new run
    if MISSING in good[0].data.tags:
        client.delete_tag(run_id, MISSING)
    return run_id


def _user_tags(run: Run) -> dict[str, str]:
    """Tags that a user added, with the description if a user wrote or edited it."""
    tags = run.data.tags
    found = {k: v for k, v in tags.items() if not k.startswith(("mlflow.", "sr3d."))}
    if DESCRIPTION in tags and tags[DESCRIPTION] != tags.get(WRITTEN):
        found[DESCRIPTION] = tags[DESCRIPTION]
    return found


def _write(
    client: MlflowClient,
    experiment: str,
    wanted: TrackedRun,
    kept: dict[str, str],
    parent: str | None,
) -> str:
    tags = {name: value[:_VALUE_LENGTH] for name, value in wanted.tags.items()}
    tags |= {KEY: wanted.key, USER: _user()} | ({} if parent is None else {PARENT: parent})
    tags |= dict.fromkeys((WRITTEN, DESCRIPTION), wanted.description[:_VALUE_LENGTH]) | kept
    run = client.create_run(experiment, wanted.started, tags, wanted.name)
    run_id: str = run.info.run_id
    params = [Param(name, str(value)[:_VALUE_LENGTH]) for name, value in wanted.params.items()]
    for i in range(0, len(params), _PARAMS_A_BATCH):
        client.log_batch(run_id, params=params[i : i + _PARAMS_A_BATCH])
    # All points have the time of the run's end, the only time in the records.
    metrics = [Metric(name, value, wanted.finished, step) for name, value, step in wanted.points()]
    for i in range(0, len(metrics), _METRICS_A_BATCH):
        client.log_batch(run_id, metrics=metrics[i : i + _METRICS_A_BATCH])
    if wanted.inputs:
        client.log_inputs(run_id, [_dataset_input(one) for one in wanted.inputs])
    client.set_terminated(run_id, "FINISHED", wanted.finished)
    client.set_tag(run_id, DIGEST, _digest(wanted, client.get_run(run_id)))
    return run_id


def _user() -> str:
    """The login name, from LOGNAME, USER or the system."""
    try:
        return getpass.getuser()
    except (ImportError, KeyError, OSError):  # a container's user often has no name
        return "unknown"


def _digest(wanted: TrackedRun, run: Run) -> str:
    """Digest of a record and of the run's content in the store, without what users may edit."""
    tags = {name: run.data.tags.get(name) for name in wanted.tags}
    inputs = sorted(
        [one.dataset.name, one.dataset.digest, *sorted([tag.key, tag.value] for tag in one.tags)]
        for one in (run.inputs.dataset_inputs if run.inputs else [])
    )
    return f"{wanted.digest}-{digest([tags, run.data.params, run.data.metrics, inputs])}"


def _mark_missing(client: MlflowClient, live: dict[str, list[Run]]) -> int:
    left = [run for runs in live.values() for run in runs]
    for run in left:
        if MISSING not in run.data.tags:
            client.set_tag(run.info.run_id, MISSING, "its record is not on the disk")
    return len(left)


def _experiment(client: MlflowClient, dataset: str, artifacts: Path, store: str) -> str:
    """Id of a data set's experiment, which is created if absent and restored if deleted."""
    name, location = f"sr3d/{dataset}", artifact_location(artifacts, dataset, store)
    found = client.get_experiment_by_name(name)
    known: str
    if found is None:
        about = f"Runs of sr3d on {dataset}. Each setting is a run with its statistics."
        known = client.create_experiment(name, location, {DESCRIPTION: about})
    else:
        known = found.experiment_id
        if found.lifecycle_stage == "deleted":
            client.restore_experiment(known)
    if found is None or found.tags.get(VIEW_TAG) != VIEW:
        client.set_experiment_tag(known, VIEW_TAG, VIEW)
    if path := store_path(store):
        move_artifacts(path, known, location)
    return known


def _hide_default(client: MlflowClient) -> None:
    """Delete MLflow's own experiment while it is empty. Otherwise it would come first in lists."""
    everything = client.search_experiments()
    if any(experiment.experiment_id == _DEFAULT for experiment in everything) and not (
        client.search_runs([_DEFAULT], max_results=1)
    ):
        client.delete_experiment(_DEFAULT)


def _live_runs(client: MlflowClient) -> dict[str, list[Run]]:
    """Our runs in the store by key, without deleted ones."""
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


def _dataset_input(used: DataInput) -> DatasetInput:
    """MLflow keeps one data set per name and digest. Tags hold what differs per split."""
    dataset = Dataset(used.dataset, used.digest[:36], "sr3d", used.facts, profile=used.facts)
    tags = {CONTEXT: used.context, "sr3d.split": used.splits, "sr3d.scenes": used.scenes}
    return DatasetInput(dataset, [InputTag(name, text) for name, text in tags.items()])
