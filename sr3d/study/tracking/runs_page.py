"""The MLflow page of a data set: one row per setting, with columns for AP.

MLflow 3 opens on its GenAI pages, and its runs table hides all metrics. Its address can carry a
filter and an order, but no columns. A shared view carries all three: a tag of the experiment holds
the view, and the address names it.
"""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

_NAME = "sr3d"
# MLflow sorts the columns by name. More columns would hide AP50 on a small screen.
_COLUMNS = ("AP25/mean", "AP25/best", "AP50/mean", "AP50/best", "tests")
VIEW_TAG = f"mlflow.sharedViewState.{_NAME}"
# MLflow lists all children of sorted runs as rows of their own, so the filter leaves settings only.
VIEW = json.dumps(
    {
        "searchFilter": "tags.`sr3d.kind` = 'setting'",
        "orderByKey": "metrics.`AP25/mean`",
        "orderByAsc": False,
        "selectedColumns": [f"metrics.`{name}`" for name in _COLUMNS],
    }
)


def runs_page(experiment: str, server: str = "http://127.0.0.1:5000") -> str:
    """Address of the page, given the id of the experiment. server: where `mlflow ui` listens."""
    query = f"workflowType=machine_learning&viewStateShareKey={_NAME}"
    return f"{server}/#/experiments/{experiment}/runs?{query}"


def runs_pages(path: Path) -> dict[str, str]:
    """Data set to page of a SQLite store, without importing MLflow. Empty if it is unreadable."""
    select = (
        "SELECT substr(name, 6), experiment_id FROM experiments "
        "WHERE name LIKE 'sr3d/%' AND lifecycle_stage = 'active' ORDER BY experiment_id"
    )
    address = f"file:{quote(str(path))}?mode=ro"
    try:
        with closing(sqlite3.connect(address, uri=True)) as connection:
            found = connection.execute(select).fetchall()
    except sqlite3.DatabaseError:  # the link is optional
        return {}
    return {name: runs_page(str(experiment)) for name, experiment in found}
