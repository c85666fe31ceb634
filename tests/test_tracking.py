"""The MLflow store: what it holds, that a second call changes nothing, and that it can be lost.

Making a store takes seconds, so the tests share one and change copies of it. Where a test makes
another, `quick_tables` copies MLflow's empty tables.
"""

import fcntl
import itertools
import json
import resource
import shutil
import signal
import sqlite3
from contextlib import contextmanager
from pathlib import Path

import pytest
from mlflow import MlflowClient
from mlflow.artifacts import download_artifacts
from mlflow.exceptions import MlflowException
from sqlalchemy.exc import OperationalError

from sr3d.cli import main
from sr3d.detectors.configuration import default_config, with_overrides
from sr3d.errors import InputError, Kind
from sr3d.runs.files import sha256
from sr3d.runs.markers import marker_holds
from sr3d.runs.record import find_runs, read_run
from sr3d.study.report.findings import find_summary, write_summary
from sr3d.study.report.paper import PrintedSetting
from sr3d.study.statistics import summarise
from sr3d.study.tracking import mlflow_store, tracked_runs
from sr3d.study.tracking.artifacts import artifact_folder, artifact_location
from sr3d.study.tracking.runs_page import VIEW_TAG, runs_page, runs_pages
from sr3d.study.tracking.tracking import TrackReport, track
from tests.make_runs import SETTINGS, STEPS, edit, make_tree

SPELLINGS = itertools.count(1000)  # MLflow holds on to a deleted file by its address
SHOWN = {"sr3d": PrintedSetting(("table1", "table2"), "SR3D (Ours)")}
RUNS = 2 * (1 + 2 + 4)  # settings × (parent, trainings, tests)


def store(results):
    return f"sqlite:///{results / 'mlflow.db'}"


def bring(results):
    return track(results, store(results), results / "mlartifacts", SHOWN)


def opened(results):
    """A client of the store as it is now."""
    return MlflowClient(f"sqlite:///{results}{'/.' * next(SPELLINGS)}/mlflow.db")


def live(results):
    """All live runs by key; fails where a key has two."""
    client = opened(results)
    experiments = [e.experiment_id for e in client.search_experiments()]
    runs = client.search_runs(experiments)
    found = {run.data.tags["sr3d.key"]: run for run in runs}
    assert len(found) == len(runs)
    return found


def ids(results):
    return {key: run.info.run_id for key, run in live(results).items()}


def used(run):
    """Tags of the only data set of a run."""
    (entry,) = run.inputs.dataset_inputs
    return {tag.key: tag.value for tag in entry.tags}


def content(results):
    """What the runs say, without the ids that MLflow draws."""
    keys = {run.info.run_id: key for key, run in live(results).items()}
    return {
        key: (
            run.data.params,
            run.data.metrics,
            {k: keys.get(v, v) for k, v in run.data.tags.items()},
            (run.info.run_name, run.info.start_time, run.info.end_time, run.info.status),
        )
        for key, run in live(results).items()
    }


@contextmanager
def small_files():
    """No file can grow to the size of a store's tables, as on a full disk."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (450_000, hard))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    signal.signal(signal.SIGXFSZ, handler)


@pytest.fixture(scope="module")
def empty(tmp_path_factory):
    """The file of a store without runs."""
    folder = tmp_path_factory.mktemp("empty")
    with mlflow_store.open_store(store(folder)):
        return folder / "mlflow.db"


@pytest.fixture
def quick_tables(empty, monkeypatch):
    monkeypatch.setattr(mlflow_store, "_make_tables", lambda path: shutil.copy(empty, path))


@pytest.fixture(scope="module")
def tracked(empty, tmp_path_factory):
    """Two settings of two trainings of two tests, tracked once."""
    results = tmp_path_factory.mktemp("tracked") / "results"
    make_tree(results, settings={name: SETTINGS[name] for name in ("baseline", "sr3d")})
    shutil.copy(empty, results)
    assert bring(results) == TrackReport(RUNS, 0, 0, 0, 0)
    return results


@pytest.fixture
def results(tracked, tmp_path):
    """A copy to change."""
    return shutil.copytree(tracked, tmp_path / "results")


def test_one_experiment_and_a_parent_a_setting(tracked):
    (experiment,) = MlflowClient(store(tracked)).search_experiments()  # no empty Default beside it
    assert experiment.name == "sr3d/synthetic"
    assert experiment.artifact_location == (tracked / "mlartifacts" / "synthetic").as_uri()
    runs = live(tracked)
    assert len(runs) == RUNS
    assert set(runs) == {r.key for r in find_runs(tracked)} | {
        "synthetic/baseline",
        "synthetic/sr3d",
    }
    for key, run in runs.items():
        parent = runs["/".join(key.split("/")[:2])]
        expected = None if run is parent else parent.info.run_id
        assert run.data.tags.get("mlflow.parentRunId") == expected
        assert run.info.status == "FINISHED"


def test_a_training(tracked):
    run = live(tracked)["synthetic/baseline/train1"]
    record = read_run(tracked / "synthetic/baseline/train1")
    assert run.info.start_time == 1793523600_000  # 2026-11-01 09:00 UTC
    assert run.info.end_time == run.info.start_time + 600_000
    flat = with_overrides(default_config("synthetic"), SETTINGS["baseline"]).flat()
    expected = {name: str(value) for name, value in flat.items()}
    assert run.data.params == expected | {"seeds.train": "1000"}
    assert run.data.params["assigner.name"] == "tr3d"
    history = MlflowClient(store(tracked)).get_metric_history(run.info.run_id, "loss")
    assert [(m.step, m.value) for m in history] == [(s, 2.0 / (s + 1)) for s in range(STEPS)]
    assert run.data.metrics["aic"] == pytest.approx(0.39)
    assert run.data.metrics["parameters"] == 1_234_567
    assert run.data.metrics["peak_memory_mb.cpu"] == 512.0
    tags = run.data.tags
    assert (tags["sr3d.kind"], tags["sr3d.train"]) == ("train", "1")
    assert tags["sr3d.overrides"] == "assigner.name=tr3d loss.cls=focal"
    assert tags["sr3d.file.model.safetensors"] == (
        f"synthetic/baseline/train1/model.safetensors sha256:{record.files['model.safetensors']}"
    )
    assert tags["sr3d.code.commit"] == tags["mlflow.source.git.commit"] == record.code["commit"]
    assert tags["sr3d.versions.torch"] == "2.13.0"
    assert not (tracked / "mlartifacts").exists()  # by reference: nothing is copied


def test_a_test_and_its_data(tracked):
    run = live(tracked)["synthetic/sr3d/train1/test0"]
    assert run.data.tags["sr3d.test"] == "0"
    metrics = run.data.metrics
    assert (metrics["AP25"], metrics["AP50"]) == (63.5, 43.5)
    assert (metrics["AP25/night_stand"], metrics["AP50/chair"]) == (58.5, 48.5)
    assert used(run) == {
        "mlflow.data.context": "evaluation",
        "sr3d.split": "val",
        "sr3d.scenes": "32",
    }
    (entry,) = run.inputs.dataset_inputs
    assert (entry.dataset.name, entry.dataset.digest) == ("synthetic", "00112233445566ff")
    assert json.loads(entry.dataset.source)["source"] == "made up for a test"


def test_data_of_a_training_and_of_a_setting(tracked):
    runs = live(tracked)
    training = used(runs["synthetic/sr3d/train1"])
    assert training == {
        "mlflow.data.context": "training",
        "sr3d.split": "train",
        "sr3d.scenes": "64",
    }
    assert used(runs["synthetic/sr3d"]) == {
        "mlflow.data.context": "training, evaluation",
        "sr3d.split": "train, val",
        "sr3d.scenes": "64, 32",
    }


@pytest.mark.parametrize(
    ("key", "verb", "name"),
    [
        ("synthetic/sr3d", "track", "sr3d"),
        ("synthetic/sr3d/train1", "train", "sr3d training run 1"),
        ("synthetic/sr3d/train1/test0", "test", "sr3d run 1, evaluation 0"),
    ],
)
def test_name_description_and_source(tracked, key, verb, name):
    run = live(tracked)[key]
    assert run.info.run_name == name
    tags = run.data.tags
    assert (tags["mlflow.source.name"], tags["mlflow.source.type"]) == (f"sr3d {verb}", "LOCAL")
    assert tags["mlflow.source.git.commit"] == tags["sr3d.code.commit"]
    assert f"`{key}/`" in tags["mlflow.note.content"]


def test_a_parent_carries_the_statistics(tracked):
    runs = live(tracked)
    run = runs["synthetic/sr3d"]
    expected = summarise([[62.5, 62.6], [63.5, 63.6]])
    assert run.data.metrics["AP25/mean"] == expected.mean
    assert run.data.metrics["AP25/best"] == 63.6
    assert run.data.metrics["AP25/median"] == expected.median
    assert expected.interval is not None
    assert run.data.metrics["AP25/interval_low"] == expected.interval[0]
    assert run.data.metrics["AP25/sd_between"] == expected.sd_between
    assert run.data.metrics["AP50/sd_within"] == pytest.approx(expected.sd_within)
    assert run.data.metrics["tests"] == 4
    assert run.data.params["assigner.name"] == "spota"
    assert run.data.tags["sr3d.tables"] == "table1, table2"
    assert run.data.tags["sr3d.label"] == "SR3D (Ours)"
    assert "sr3d.tables" not in runs["synthetic/baseline"].data.tags
    assert run.info.end_time == runs["synthetic/sr3d/train1/test1"].info.end_time


def test_a_parent_counts_the_runs_of_its_summary_as_the_report_does(results):
    folder = results / "synthetic/sr3d"
    write_summary(folder, folder / "summary.json", 1, 2)
    assert bring(results).updated == 1  # the parent alone
    run = live(results)["synthetic/sr3d"]
    assert run.data.metrics["tests"] == 2
    assert run.data.metrics["AP25/mean"] == find_summary(folder)["metrics"]["AP25"]["mean"]
    assert run.data.metrics["AP25/mean"] == pytest.approx(62.55)


def test_a_second_call_changes_nothing(results):
    def dump():
        with sqlite3.connect(results / "mlflow.db") as connection:
            return list(connection.iterdump())

    bring(results)  # the copy lies elsewhere, so the location of artifacts changes once
    before = dump()
    assert bring(results) == TrackReport(0, 0, RUNS, 0, 0)
    assert dump() == before


def test_an_edited_record_is_written_anew_and_nothing_else(results):
    before, key = ids(results), "synthetic/sr3d/train0/test1"
    config = read_run(results / key).config | {"seed": 7}  # a parameter, which MLflow cannot change
    edit(results, key, config=config, metrics={"AP25": 80.0, "AP50": 50.0})
    assert bring(results) == TrackReport(0, 2, RUNS - 2, 0, 0)
    after = live(results)
    changed = {k for k, run in after.items() if run.info.run_id != before[k]}
    assert set(after) == set(before)
    assert changed == {key, "synthetic/sr3d"}  # itself, and the statistics over it
    assert after[key].data.params["seed"] == "7"
    assert after[key].data.metrics["AP25"] == 80.0
    parent = after["synthetic/sr3d"]
    assert parent.data.metrics["AP25/best"] == 80.0
    assert "seed" not in parent.data.params  # no longer shared by all
    children = [run for k, run in after.items() if k.startswith("synthetic/sr3d/")]
    assert {run.data.tags["mlflow.parentRunId"] for run in children} == {parent.info.run_id}
    assert bring(results) == TrackReport(0, 0, RUNS, 0, 0)


def test_a_deleted_store_comes_back_without_mlflows_talk(results, capfd):
    before = content(results)
    (results / "mlflow.db").unlink()
    assert bring(results) == TrackReport(RUNS, 0, 0, 0, 0)
    printed = capfd.readouterr()
    assert content(results) == before
    assert "INFO" not in printed.out + printed.err
    assert "synthetic/sr3d/train1/test1" in printed.err  # our own progress


def test_interrupted_and_doubled_runs_are_mended(results):
    before = ids(results)
    client = MlflowClient(store(results))
    killed, doubled = "synthetic/sr3d/train0", "synthetic/sr3d/train1"
    client.delete_tag(before[killed], "sr3d.digest")  # it is written last
    experiment = client.get_experiment_by_name("sr3d/synthetic").experiment_id
    client.create_run(experiment, tags={"sr3d.key": doubled})
    assert bring(results) == TrackReport(0, 1, RUNS - 1, 1, 0)
    after = ids(results)
    assert {key for key in before if after[key] != before[key]} == {killed}


def test_runs_without_a_record_stay_and_are_marked(results):
    key = "synthetic/baseline/train0/test0"
    shutil.move(results / key, results / "aside")
    assert bring(results) == TrackReport(0, 1, RUNS - 2, 0, 1)  # the parent's statistics changed
    assert "sr3d.missing" in live(results)[key].data.tags
    shutil.move(results / "aside", results / key)
    assert bring(results) == TrackReport(0, 1, RUNS - 1, 0, 0)
    assert "sr3d.missing" not in live(results)[key].data.tags


def test_a_deleted_experiment_comes_back(results):
    client = MlflowClient(store(results))
    client.delete_experiment(client.get_experiment_by_name("sr3d/synthetic").experiment_id)
    bring(results)
    assert len(live(results)) == RUNS


@pytest.mark.parametrize(
    ("damage", "kind"),
    [
        ("locked", Kind.CONFLICT),
        ("newer", Kind.UNREADABLE),
        ("second track", Kind.CONFLICT),
    ],
)
def test_an_unusable_store_is_told_in_one_sentence(results, monkeypatch, damage, kind):
    monkeypatch.setattr(mlflow_store, "LOCK_SECONDS", 0.1)
    path = results / "mlflow.db"
    connection = sqlite3.connect(path, isolation_level=None)
    with open(results / ".mlflow.db.lock", "w") as lock:
        match damage:
            case "locked":
                connection.execute("BEGIN EXCLUSIVE")
            case "newer":
                connection.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
            case "second track":
                fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(InputError) as caught:
            bring(results)
    connection.close()
    assert (caught.value.file, caught.value.kind) == (path, kind)
    assert caught.value.remedy
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("quick_tables")
@pytest.mark.parametrize("damage", ["no database", "empty", "cut off", "flipped", "half made"])
def test_a_damaged_store_is_moved_aside_and_made_anew(results, caplog, damage):
    before, path = content(results), results / "mlflow.db"
    whole = path.read_bytes()
    match damage:
        case "no database":
            path.write_text("not a database" * 100)
        case "empty":
            path.write_bytes(b"")
        case "cut off":
            path.write_bytes(whole[: len(whole) // 2])
        case "flipped":  # the root page of every table and index
            page = int.from_bytes(whole[16:18], "big")
            with sqlite3.connect(path) as connection:
                found = connection.execute("SELECT rootpage FROM sqlite_master WHERE rootpage > 1")
                roots = [root for (root,) in found]
            connection.close()
            changed = bytearray(whole)
            for root in roots:
                changed[(root - 1) * page] ^= 0x40
            path.write_bytes(changed)
        case "half made":  # as a process leaves it that is killed while MLflow makes the tables
            path.unlink()
            with small_files(), pytest.raises(OperationalError):
                opened(results).search_experiments()
    broken = path.read_bytes()
    assert bring(results) == TrackReport(RUNS, 0, 0, 0, 0)
    assert content(results) == before
    aside = list(results.glob("mlflow.db.damaged*"))
    assert [one.read_bytes() for one in aside] == ([] if damage == "empty" else [broken])
    assert (str(path) in caplog.text) == (damage != "empty")
    assert bring(results) == TrackReport(0, 0, RUNS, 0, 0)


@pytest.mark.parametrize("table", ["params", "tags", "latest_metrics"])
def test_a_run_that_was_changed_in_the_store_is_written_anew(results, table):
    before, key = content(results), "synthetic/sr3d/train0/test1"
    with sqlite3.connect(results / "mlflow.db") as connection:
        value = "'sr3d.versions.torch'" if table == "tags" else "(SELECT max(key) FROM {0})"
        connection.execute(
            f"UPDATE {table} SET value = '7' WHERE run_uuid = ? AND key = "
            + value.format(f"{table} WHERE run_uuid = '{ids(results)[key]}'"),
            (ids(results)[key],),
        )
    connection.close()
    assert content(results) != before
    assert bring(results) == TrackReport(0, 1, RUNS - 1, 0, 0)
    assert content(results) == before


def test_what_users_write_changes_nothing_and_survives_an_update(results):
    key = "synthetic/sr3d/train0/test1"
    client, before = opened(results), ids(results)
    client.set_tag(before[key], "mlflow.note.content", "my favourite")
    client.set_tag(before[key], "mine", "yes")
    assert bring(results) == TrackReport(0, 0, RUNS, 0, 0)
    edit(results, key, wall_seconds=1.0)
    bring(results)
    after = live(results)
    assert after[key].info.run_id != before[key]
    assert after[key].data.tags["mlflow.note.content"] == "my favourite"
    assert after[key].data.tags["mine"] == "yes"
    assert bring(results) == TrackReport(0, 0, RUNS, 0, 0)


def test_a_description_that_nobody_edited_follows_the_record(results):
    key = "synthetic/sr3d/train0/test1"
    edit(results, key, overrides=["model.name=tr3d"])
    bring(results)
    assert "`model.name=tr3d`" in live(results)[key].data.tags["mlflow.note.content"]


def test_lost_or_foreign_data_inputs_are_written_anew(results):
    key = "synthetic/sr3d/train0/test1"
    with sqlite3.connect(results / "mlflow.db") as connection:
        connection.execute("DELETE FROM inputs WHERE destination_id = ?", (ids(results)[key],))
    connection.close()
    assert bring(results) == TrackReport(0, 1, RUNS - 1, 0, 0)
    assert used(live(results)[key])["mlflow.data.context"] == "evaluation"


def leave_note(results, key):
    """Upload an artifact. MLflow caches the place per run id, so each test takes another run."""
    opened(results).log_text(ids(results)[key], "seen", "notes/note.txt")


def read_note(results, key):
    uri = live(results)[key].info.artifact_uri
    return Path(download_artifacts(artifact_uri=f"{uri}/notes/note.txt")).read_text()


def test_artifacts_with_a_relative_path_open_after_a_move(tracked, tmp_path, monkeypatch):
    old, new, key = tmp_path / "old", tmp_path / "new place #1", "synthetic/sr3d/train0"
    shutil.copytree(tracked, old / "results")
    monkeypatch.chdir(old)
    report = track("results", "sqlite:///results/mlflow.db", shown=SHOWN)
    assert report == TrackReport(0, 0, RUNS, 0, 0)  # only the location changed
    leave_note(old / "results", key)
    (file,) = old.glob("results/mlartifacts/synthetic/*/artifacts/notes/note.txt")
    old.rename(new)
    monkeypatch.chdir(new)
    assert not file.exists()
    assert read_note(new / "results", key) == "seen"  # without another call of track


def test_artifacts_with_an_absolute_path_open_after_the_next_call(tracked, tmp_path):
    old, new, key = tmp_path / "old", tmp_path / "new place #1", "synthetic/sr3d/train1"
    shutil.copytree(tracked, old)
    bring(old)
    leave_note(old, key)
    old.rename(new)
    assert bring(new) == TrackReport(0, 0, RUNS, 0, 0)
    assert read_note(new, key) == "seen"


def test_the_runs_page_shows_ap_columns_that_the_runs_have(tracked):
    (experiment,) = opened(tracked).search_experiments()
    view = json.loads(experiment.tags[VIEW_TAG])
    (found, *_) = opened(tracked).search_runs([experiment.experiment_id], view["searchFilter"])
    metrics = {f"metrics.`{name}`" for name in found.data.metrics}
    assert {"metrics.`AP25/mean`", "metrics.`AP50/best`"} <= set(view["selectedColumns"]) <= metrics
    assert view["orderByKey"] in view["selectedColumns"]
    assert found.data.tags["sr3d.kind"] == "setting"


def test_links_to_the_runs_of_each_data_set(tracked, tmp_path):
    (experiment,) = opened(tracked).search_experiments()
    pages = runs_pages(tracked / "mlflow.db")
    assert pages == {"synthetic": runs_page(experiment.experiment_id)}
    (tmp_path / "mlflow.db").write_text("no database")
    assert runs_pages(tmp_path / "mlflow.db") == runs_pages(tmp_path / "absent.db") == {}


@pytest.mark.parametrize(
    ("artifacts", "address", "location"),
    [
        ("results/my artifacts", "sqlite:///results/mlflow.db", "results/my%20artifacts/scannet"),
        ("/data/mlartifacts", "sqlite:///results/mlflow.db", "file:///data/mlartifacts/scannet"),
        ("/data/mlartifacts", "postgresql://host/runs", "file:///data/mlartifacts/scannet"),
    ],
)
def test_artifact_locations(artifacts, address, location):
    assert artifact_location(artifacts, "scannet", address) == location


def test_artifacts_lie_beside_the_store_by_default():
    assert artifact_folder("sqlite:////scratch/runs/mlflow.db") == Path("/scratch/runs/mlartifacts")
    assert artifact_folder("postgresql://host/runs") == Path("results/mlartifacts")


def test_a_full_disk_is_named_and_nothing_is_advised_that_deletes(tmp_path, capfd):
    make_tree(tmp_path / "results", settings={"sr3d": []}, trainings=1, tests=1)
    words = ["track", "--results", str(tmp_path / "results")]
    words += ["--store", store(tmp_path), "--done", str(tmp_path / "done.json")]
    with small_files():
        assert main(words) == 2
    told = capfd.readouterr().err
    assert "Traceback" not in told
    assert "disk" in told
    assert "delete" not in told
    assert not (tmp_path / "mlflow.db").exists()  # whole or not at all
    assert not (tmp_path / "done.json").exists()
    assert main(words) == 0
    assert marker_holds(tmp_path / "done.json")


@pytest.mark.usefixtures("quick_tables")
@pytest.mark.parametrize(
    "code", ["SQLITE_FULL", "SQLITE_IOERR_WRITE", "SQLITE_READONLY", "SQLITE_CANTOPEN"]
)
def test_what_goes_wrong_on_the_disk_has_a_remedy(tmp_path, monkeypatch, code):
    make_tree(tmp_path, settings={"sr3d": []}, trainings=1, tests=1)

    def fail(*_):
        cause = sqlite3.OperationalError("as SQLite says it")
        cause.sqlite_errorcode = getattr(sqlite3, code)
        raise MlflowException("wrapped") from OperationalError("SELECT", {}, cause)

    monkeypatch.setattr(MlflowClient, "create_run", fail)
    with pytest.raises(InputError) as caught:
        bring(tmp_path)
    assert caught.value.kind is Kind.UNWRITABLE
    assert caught.value.remedy
    assert "as SQLite says it" in caught.value.problem


def test_a_password_is_not_printed(tmp_path):
    make_tree(tmp_path, settings={"sr3d": []}, trainings=1, tests=0)
    with pytest.raises(InputError) as error:
        track(tmp_path, "mysql+nodriver://me:secret@localhost/runs", tmp_path)
    assert "secret" not in str(error.value)
    assert (error.value.field, error.value.kind) == ("--store", Kind.UNREADABLE)


@pytest.mark.parametrize("name", ["results/mlruns", "file:///elsewhere/mlruns"])
def test_a_folder_is_no_store(tmp_path, name):
    with pytest.raises(InputError) as caught:
        track(tmp_path, name, tmp_path)
    assert (caught.value.field, caught.value.kind) == ("--store", Kind.VALUE)


def test_an_unreadable_record_or_curve_is_named(results):
    broken = results / "synthetic/sr3d/train0"
    edit(results, "synthetic/sr3d/train0", wall_seconds=1.0)  # so that it is written anew
    (broken / "metrics.jsonl").write_text('{"step": 0, "lo')
    with pytest.raises(InputError) as caught:
        bring(results)
    assert caught.value.file == broken / "metrics.jsonl"
    (broken / "run.json").write_text("{}")
    with pytest.raises(InputError) as caught:
        bring(results)
    assert caught.value.file == broken / "run.json"


@pytest.mark.parametrize("text", ['{"step": 0, "lo', '["step"]\n'])
def test_an_unreadable_curve_keeps_its_own_remedy(results, text):
    path = results / "synthetic/sr3d/train0/metrics.jsonl"
    path.write_text(text)
    edit(results, "synthetic/sr3d/train0", files={"metrics.jsonl": sha256(path)})
    with pytest.raises(InputError) as caught:
        bring(results)
    assert (caught.value.file, caught.value.kind) == (path, Kind.UNREADABLE)
    assert "Error(" not in str(caught.value) or text == '["step"]\n'
    assert "sr3d train" in str(caught.value.remedy)


def test_a_copied_folder_of_runs_is_refused(results):
    shutil.copytree(results / "synthetic/sr3d", results / "synthetic/copy")
    with pytest.raises(InputError) as caught:
        bring(results)
    assert (caught.value.file, caught.value.kind) == (results, Kind.CONFLICT)
    assert "synthetic/sr3d/train0" in caught.value.problem


def test_a_run_has_the_name_of_who_tracked_it_and_its_record_has_none(results, monkeypatch):
    edit(results, "synthetic/sr3d/train0", wall_seconds=1.0)  # so that it is written anew
    monkeypatch.setenv("LOGNAME", "ada-of-the-tests")
    assert bring(results).updated
    assert live(results)["synthetic/sr3d/train0"].data.tags["mlflow.user"] == "ada-of-the-tests"
    assert "ada-of-the-tests" not in (results / "synthetic/sr3d/train0/run.json").read_text()
    monkeypatch.setenv("LOGNAME", "another")
    assert bring(results).unchanged == RUNS


def test_long_curves_are_thinned_evenly_and_keep_their_end(tmp_path):
    (record,) = make_tree(tmp_path, settings={"sr3d": []}, trainings=1, tests=0)
    rows = [{"step": s, "steps": 2501, "loss": float(s), "note": "x"} for s in range(2501)]
    path = tmp_path / record.key / "metrics.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    record = edit(tmp_path, record.key, files={"metrics.jsonl": sha256(path)})
    points = tracked_runs.single_run(tmp_path, record).points()
    curve = [point for point in points if point[0] == "loss"]
    assert curve == [("loss", float(s), s) for s in [*range(0, 2501, 3), 2500]]
    assert len(curve) <= tracked_runs.CURVE_POINTS
    assert not {"step", "steps", "note"} & {name for name, _, _ in points}
