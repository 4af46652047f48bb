"""The one exception that tells a user what to change."""


class InputError(ValueError):
    """Bad input: names the argument or file, says what was received and what to do.

    The command line prints its message without a traceback; Python callers catch it as a ``ValueError``.
    """
