"""Which words of the command line are paths: they may stand anywhere among the options."""

from collections.abc import Sequence

ALONE = ("-h", "--help", "--print_config")
"""Options without a word after them."""


def divide_words(words: Sequence[str]) -> tuple[list[str], list[str]]:
    """Divide what follows ``predict`` into options, each with its value, and paths.

    Every option of LightningCLI takes one word, or its value behind a ``=``. A lone ``-`` is a path (standard
    input), and so is all that follows ``--``. argparse cannot do this: before Python 3.13 it finds no paths behind
    options, and jsonargparse would read names like ``1e3`` or ``null`` as YAML.

    Returns:
        The options and the paths, each in their order.
    """
    options: list[str] = []
    paths: list[str] = []
    rest = iter(words)
    for word in rest:
        if word == "--":
            paths += rest
        elif word == "-" or not word.startswith("-"):
            paths.append(word)
        else:
            options.append(word)
            if "=" not in word and word not in ALONE and (value := next(rest, None)) is not None:
                options.append(value)
    return options, paths
