"""What lightning-tl raises."""


class InputError(ValueError):
    """Bad input: names the argument or file, says what was received and what to do.

    The command line prints its message without a traceback; Python callers catch it as a ``ValueError``.
    """


class DivergenceError(RuntimeError):
    """The processes of one run no longer hold the same weights; the message names the first tensor."""


def told(error: InputError) -> str:
    """The message of ``error``, without the traceback that a ``DataLoader`` puts before what a worker has raised."""
    text = str(error)
    return text.rpartition("InputError: ")[2].rstrip() if text.startswith("Caught InputError in ") else text


def printable(text: str) -> str:
    """``text`` with control characters escaped: a file's or class's name must not steer the terminal."""
    return "".join(c if c.isprintable() or c == "\n" else repr(c)[1:-1] for c in text)
