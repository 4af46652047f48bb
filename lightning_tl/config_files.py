"""The YAML files of a command line, looked at before the parser does: its errors do not say which file they are of."""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import yaml

from lightning_tl.errors import InputError

OPTIONS = ("--config", "-c")


def check_config_files(words: Sequence[str]) -> None:
    """Read each ``--config`` of a command line.

    Args:
        words: of the command line. What is no file is left to the parser.

    Raises:
        InputError: a file is no UTF-8, no YAML, empty, no mapping, or has a key twice, of which one would not count.
    """
    for name in _given(words):
        path = Path(name)
        if path.is_file():
            _check(path)


def _given(words: Sequence[str]) -> Iterator[str]:
    """Values of the options, behind them or behind a ``=``."""
    for option, value in pairwise([*words, ""]):
        if option in OPTIONS:
            yield value
        elif option.startswith("--config="):
            yield option.partition("=")[2]


def _check(path: Path) -> None:
    try:
        root = yaml.compose(path.read_text(encoding="utf-8"), Loader=yaml.SafeLoader)
    except OSError as error:
        raise _error(path, f"it cannot be read: {error.strerror}.") from error
    except UnicodeDecodeError as error:
        raise _error(path, f"its byte {error.start + 1} is not UTF-8. Save it in UTF-8.") from error
    except yaml.YAMLError as error:
        mark, problem = getattr(error, "problem_mark", None), getattr(error, "problem", None) or str(error)
        where = "" if mark is None else f"line {mark.line + 1}, column {mark.column + 1}: "
        raise _error(path, f"{where}it is no YAML ({problem}).") from error
    if root is None:
        raise _error(path, "it is empty. Give a mapping, such as configs/folder.yaml has.")
    if not isinstance(root, yaml.MappingNode):
        received = "list" if isinstance(root, yaml.SequenceNode) else "single value"
        raise _error(path, f"a mapping is needed, such as configs/folder.yaml has. Received: a {received}.")
    _check_keys(path, root)


def _check_keys(path: Path, root: yaml.Node) -> None:
    """See that no mapping has a key twice; what an alias repeats is looked at once."""
    nodes, known = [root], {id(root)}
    while nodes:
        node = nodes.pop()
        inside = list(node.value) if isinstance(node, yaml.SequenceNode) else []
        lines: dict[str, int] = {}
        for key, value in node.value if isinstance(node, yaml.MappingNode) else []:
            line = key.start_mark.line + 1
            if isinstance(key, yaml.ScalarNode):
                if key.value in lines:
                    raise _error(path, f"line {line}: {key.value!r} is in line {lines[key.value]} already. Keep one.")
                lines[key.value] = line
            inside.append(value)
        nodes += [each for each in inside if id(each) not in known]
        known |= set(map(id, inside))


def _error(path: Path, what: str) -> InputError:
    return InputError(f"config: {str(path)!r}: {what}")
