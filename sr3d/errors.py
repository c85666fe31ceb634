"""The one error that a person can mend: bad input, told in one sentence."""


class InputError(ValueError):
    """Bad input. The message names the file, the field and the remedy.

    The command line prints the message alone and exits with code 2.
    """


class OtherRun(InputError):
    """The folder of a run holds another finished run."""
