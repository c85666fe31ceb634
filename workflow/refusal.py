"""The error of this workflow for what a person can fix."""

from __future__ import annotations

from snakemake.exceptions import ApiError


class Refusal(ApiError):
    """A wrong configuration, or a state of the disk that no job should start from.

    Snakemake prints `Error: ` and the message. For an exception with a traceback it would add the
    lines of our code, which say nothing to a person who edits a configuration.
    """

    @property
    def __traceback__(self) -> None:
        """None: hides Python's own traceback from what reads this attribute."""
        return None

    @__traceback__.setter
    def __traceback__(self, value: object) -> None:
        """Ignore a traceback that a context manager sets again."""
