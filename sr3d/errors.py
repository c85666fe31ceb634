"""Errors that a user can mend, each told in one sentence."""


class InputError(ValueError):
    """Bad input. The message names the file, the field and the remedy.

    The command line prints the message alone and exits with code 2.
    """


class DamagedFile(InputError):
    """A file of ours that is missing, cut off or changed. Whoever can make it again may do so."""


class OtherRun(InputError):
    """The folder of a run holds another run, finished or interrupted."""
