"""The progress of a loop: a bar on a terminal, a plain line at intervals in a log."""

from __future__ import annotations

import sys
import time

from tqdm import tqdm

_SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """Prints rarely, however often you call `update(done, note)`. A context manager."""

    def __init__(self, label: str, total: int, done: int = 0) -> None:
        self.label, self.total, self.first = label, total, done
        self.started = self.printed = time.monotonic()
        self.bar = None
        if sys.stderr.isatty():
            self.bar = tqdm(total=total, initial=done, desc=label, dynamic_ncols=True)

    def __enter__(self) -> Progress:
        return self

    def __exit__(self, *_: object) -> None:
        if self.bar is not None:
            self.bar.close()

    def update(self, done: int, note: str = "") -> None:
        if self.bar is not None:
            self.bar.set_postfix_str(note, refresh=False)
            self.bar.update(done - self.bar.n)
            return
        now = time.monotonic()
        if done < self.total and now - self.printed < _SECONDS_BETWEEN_LINES:
            return
        self.printed = now
        left = (now - self.started) / max(1, done - self.first) * (self.total - done)
        time_left = f", {left / 60:.1f} min left" if done < self.total else ""
        print(f"{self.label}: {done}/{self.total}{time_left}  {note}", file=sys.stderr, flush=True)


class Counter:
    """Progress with a total, and perhaps a label, that change with every update. A context
    manager.
    """

    def __init__(self, label: str = "") -> None:
        self.label = label
        self.progress: Progress | None = None

    def __enter__(self) -> Counter:
        return self

    def __exit__(self, *_: object) -> None:
        if self.progress is not None:
            self.progress.__exit__()

    def update(self, done: int, total: int) -> None:
        self.update_as(self.label, done, total)

    def update_as(self, label: str, done: int, total: int) -> None:
        if self.progress is None or self.progress.label != label:
            self.__exit__()
            self.progress = Progress(label, total)
        self.progress.update(done)
