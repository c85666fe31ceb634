"""The error of the workflow that a user can fix."""

from __future__ import annotations

from snakemake.exceptions import ApiError


class Refusal(ApiError):
    """A wrong configuration, or a state of the disk in which no job should start.

    Snakemake prints `Error: ` and the message. For other exceptions it adds lines of our code,
    which do not help a user who edits a configuration.
    """

    @property
    def __traceback__(self) -> None:
        """None, to hide the traceback from Snakemake."""
        return None

    @__traceback__.setter
    def __traceback__(self, value: object) -> None:
        """Ignore a traceback that a context manager sets again."""
