"""Open an MLflow store exclusively, and only if it is undamaged. Errors have one sentence."""

from __future__ import annotations

import logging
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager, nullcontext
from itertools import count
from pathlib import Path

# Set before mlflow is imported, because mlflow would otherwise send usage statistics.
os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")

from alembic.util import CommandError
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from sr3d.errors import InputError, Kind
from sr3d.runs.files import atomic_path, exclusive

SQLITE = "sqlite:///"
LOCK_SECONDS = 20.0  # how long to wait for another user of the database
_DAMAGED = "Move the store away. `sr3d track` makes it again from the run records."
_BUSY = "Stop the other program that writes to this store, then try again."
_CLOSED = "Make the file and its folder writable, then try again."
_FAULTS = {
    sqlite3.SQLITE_BUSY: (Kind.CONFLICT, _BUSY),
    sqlite3.SQLITE_LOCKED: (Kind.CONFLICT, _BUSY),
    sqlite3.SQLITE_FULL: (Kind.UNWRITABLE, "Free some space, then try again."),
    sqlite3.SQLITE_IOERR: (Kind.UNWRITABLE, "Check the disk and its free space, then try again."),
    sqlite3.SQLITE_READONLY: (Kind.UNWRITABLE, _CLOSED),
    sqlite3.SQLITE_CANTOPEN: (Kind.UNWRITABLE, _CLOSED),
}
_spellings = count()
_log = logging.getLogger(__name__)


def require_database(store: str) -> None:
    """Refuse a store that is not the address of a database.

    Raises:
        InputError: gives an example of an address.
    """
    if store.startswith("file:") or "://" not in store:
        raise InputError(
            f"'{store}' is not the address of a database",
            field="--store",
            kind=Kind.VALUE,
            remedy="Pass one such as sqlite:///results/mlflow.db.",
        )


@contextmanager
def open_store(store: str, wait: bool = False) -> Iterator[MlflowClient]:
    """A client of the store, which is created if absent. Meanwhile MLflow's log is silent.

    A damaged SQLite file is moved aside and a new one is created, with a warning. wait: wait for
    another sr3d process that has the store open, instead of refusing.

    Raises:
        InputError: a store that is not a database, is locked by another process, cannot be
            reached, or was made by another version of MLflow.
    """
    require_database(store)
    path = store_path(store)
    shown = path or make_url(store).render_as_string(hide_password=True)
    with exclusive(path, wait) if path else nullcontext():
        try:
            client = _sqlite(path) if path else _client(store)
        except (MlflowException, SQLAlchemyError, CommandError, sqlite3.DatabaseError) as error:
            raise (_fault(error, shown) or _other_version(error, shown)) from error
        try:
            with _silent_mlflow():
                yield client
        except (MlflowException, SQLAlchemyError, sqlite3.DatabaseError) as error:
            fault = _fault(error, shown)
            if fault is None:
                raise
            raise fault from error


def store_path(store: str) -> Path | None:
    """The file of a SQLite store, None for other stores."""
    return Path(store.removeprefix(SQLITE)) if store.startswith(SQLITE) else None


def _sqlite(path: Path) -> MlflowClient:
    """A client of the file, which is created if absent or damaged."""
    client = _opened(path) if path.exists() and _is_sound(path) else None
    if client is None:
        with atomic_path(path) as temporary:  # a store with missing tables cannot be used
            _make_tables(temporary)
        client = _client(_address(path))
    return client


def _make_tables(path: Path) -> None:
    _client(_address(path))


def _is_sound(path: Path) -> bool:
    """Whether SQLite can write the file and finds no damage. A damaged file is moved aside.

    Fails at once, whereas MLflow would retry for minutes.
    """
    with closing(sqlite3.connect(path, timeout=LOCK_SECONDS, isolation_level=None)) as connection:
        try:
            connection.execute("BEGIN IMMEDIATE")
            connection.execute("ROLLBACK")
            [found] = connection.execute("PRAGMA integrity_check(1)").fetchone()
        except sqlite3.DatabaseError as error:
            if _code(error) in _FAULTS:
                raise
            found = str(error)
    if found != "ok":
        _move_aside(path, found)
    return found == "ok"


def _opened(path: Path) -> MlflowClient | None:
    """A client of an existing file. A file with missing tables is moved aside (returns None).

    Earlier versions left such a file when they were killed while MLflow made the tables. MLflow can
    neither use nor complete it.
    """
    try:
        return _client(_address(path))
    except DBAPIError as error:
        if _code(error.orig) != sqlite3.SQLITE_ERROR:
            raise
        _move_aside(path, _first_line(error))
        return None


def _move_aside(path: Path, reason: str) -> None:
    """Move a damaged store away with the files that SQLite keeps beside it."""
    number = next(n for n in count(1) if not path.with_name(f"{path.name}.damaged{n}").exists())
    place = path.with_name(f"{path.name}.damaged{number}")
    for suffix in ("-journal", "-wal", "-shm"):
        beside = path.with_name(path.name + suffix)
        if beside.exists():
            beside.rename(place.with_name(place.name + suffix))
    path.rename(place)
    _log.warning(
        "%s: damaged (%s). Moved to %s and created again from the run records.",
        path,
        reason.splitlines()[0],
        place.name,
    )


def _address(path: Path) -> str:
    """The path as an address that this process has not used yet.

    As long as the process lives, MLflow caches connections by the address, even to a file that was
    deleted since. So every call spells the path differently, with more `/.` in it.
    """
    absolute = path.absolute()
    return f"{SQLITE}{absolute.parent}{'/.' * next(_spellings)}/{absolute.name}"


def _client(address: str) -> MlflowClient:
    """A client that is connected to its store."""
    with _silent_mlflow():
        client = MlflowClient(address)
        client.search_experiments(max_results=1)
    return client


@contextmanager
def _silent_mlflow() -> Iterator[None]:
    """Switch logging off. MLflow's errors still arrive as exceptions."""
    silenced = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(silenced)


def _fault(error: Exception, store: str | Path) -> InputError | None:
    """The error of the database or its disk, with its remedy. None for other errors."""
    causes, reason = list(_causes(error)), _first_line(error)
    for cause in causes:
        original = getattr(cause, "orig", cause)
        if found := _FAULTS.get(_code(original) or -1):
            return _error(str(original), store, *found)
    if any(_code(getattr(cause, "orig", cause)) is not None for cause in causes):
        return _error(f"is damaged ({reason})", store, Kind.UNREADABLE, _DAMAGED)
    if any(isinstance(cause, DBAPIError) for cause in causes):
        remedy = "Check the address and that its server runs."
        return _error(f"cannot be used ({reason})", store, Kind.UNREADABLE, remedy)
    if getattr(error, "error_code", None) == "TEMPORARILY_UNAVAILABLE":
        return _error(reason, store, Kind.CONFLICT, "Try again when it is free.")
    return None


def _other_version(error: Exception, store: str | Path) -> InputError:
    """The store is of a newer MLflow or a much older one. `mlflow db upgrade` fixes only one."""
    remedy = _DAMAGED if isinstance(store, Path) else "Install the MLflow version of its server."
    problem = f"the installed MLflow cannot use it ({_first_line(error)})"
    return _error(problem, store, Kind.UNREADABLE, remedy)


def _error(problem: str, store: str | Path, kind: Kind, remedy: str) -> InputError:
    """store: the file of a SQLite store, or another database's address without its password."""
    if isinstance(store, Path):
        return InputError(problem, file=store, kind=kind, remedy=remedy)
    return InputError(f"{store}: {problem}", field="--store", kind=kind, remedy=remedy)


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _code(error: BaseException | None) -> int | None:
    """SQLite's primary result code."""
    extended = getattr(error, "sqlite_errorcode", None)
    return None if extended is None else extended & 0xFF


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0].split(". ")[0]
