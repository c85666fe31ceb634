"""The artifact folder of a store, which stays valid when the project folder moves.

MLflow writes an absolute path into the experiment and into each run. Such a path breaks when the
folder moves, and inside a container it names another place. So a SQLite store keeps a relative path
relative. MLflow then resolves it against the folder it is started in, exactly as it resolves
`sqlite:///results/mlflow.db`.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from sr3d.study.tracking.mlflow_store import LOCK_SECONDS, store_path


def artifact_folder(store: str) -> Path:
    """Default folder for artifacts: `mlartifacts` beside a SQLite store, else below `results`."""
    path = store_path(store)
    return (path.parent if path else Path("results")) / "mlartifacts"


def artifact_location(artifacts: str | Path, dataset: str, store: str) -> str:
    """Location of a data set's artifacts, as MLflow stores it: a quoted path or a file URI."""
    folder = Path(artifacts) / dataset
    if folder.is_absolute() or store_path(store) is None:
        return folder.absolute().as_uri()
    return quote(folder.as_posix())


def move_artifacts(path: Path, experiment: str, location: str) -> None:
    """Set the location of an experiment and of its runs in the SQLite file `path`. Moves no file.

    MLflow's client makes every location absolute and cannot change it later, hence SQL. Runs whose
    artifacts lie elsewhere than in the experiment's location stay as they are.

    Raises:
        sqlite3.DatabaseError: the file is locked or cannot be written.
    """
    with closing(sqlite3.connect(path, timeout=LOCK_SECONDS)) as connection, connection:
        select = "SELECT artifact_location FROM experiments WHERE experiment_id = ?"
        [known] = connection.execute(select, (experiment,)).fetchone()
        if known == location:
            return
        connection.execute(
            "UPDATE experiments SET artifact_location = ? WHERE experiment_id = ?",
            (location, experiment),
        )
        connection.execute(
            "UPDATE runs SET artifact_uri = ? || '/' || run_uuid || '/artifacts' "
            "WHERE experiment_id = ? AND artifact_uri = ? || '/' || run_uuid || '/artifacts'",
            (location, experiment, known),
        )
