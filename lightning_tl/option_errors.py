"""What is said of options that a parser refuses: one message, with the nearest name and where help is."""

import argparse
import contextlib
import difflib
import importlib
import inspect
import re
from collections.abc import Collection, Sequence
from typing import NoReturn

from lightning_tl.errors import InputError

KEY = re.compile(r"""(?:Parser key "(?P<key>[^"]+)"|Problem with given class_path '(?P<path>[\w.]+)'):\s*""")
UNKNOWN = re.compile(
    r".*(?:unrecognized arguments: |not accept option '|Option '(?=[^']+' is not accepted(?! before)))"
    r"(?P<given>[^\s'=]+).*",
    re.DOTALL,
)
MISMATCH = re.compile(r"Expected a (?P<types>.+)\. Got value: (?P<value>.*)", re.DOTALL)
MISMATCHES = re.compile(  # of nothing but types
    r"Does not validate against any of the Union subtypes\s+Subtypes: \[(?P<types>[^\n]+)\]\s+"
    r"Errors:\n(?:\s+- Expected a (?:<class|typing\.|tuple with)[^\n]+\n)+"
    r"\s+Given value type: [^\n]+\s+Given value: (?P<value>.*)",
    re.DOTALL,
)


class OptionParser(argparse.ArgumentParser):
    """A parser of argparse's that raises InputError instead of printing its usage and ending the process."""

    def error(self, message: str) -> NoReturn:
        """Raise what ``refusal`` says."""
        raise InputError(refusal(message, self.prog, self._option_string_actions))


def refusal(message: str, program: str, options: Collection[str]) -> str:
    """A parser's error in plain words, as far as they are known; jsonargparse's own where not.

    Args:
        message: of argparse or jsonargparse.
        program: whose ``--help`` tells the options.
        options: by name, ``--`` included.
    """
    where, rest, names = [], message.strip(), options
    while key := KEY.match(rest):
        where.append(key["key"] or key["path"].rpartition(".")[2])
        names = [] if key["path"] is None else _arguments(key["path"])
        rest = rest[key.end() :]
    if unknown := UNKNOWN.fullmatch(rest):
        said = _unknown(unknown["given"], names)
    elif mismatch := MISMATCH.fullmatch(rest) or MISMATCHES.fullmatch(rest):
        said = _mismatch(mismatch["types"], mismatch["value"])
    else:
        said = rest.removeprefix("argument ").rstrip(".") + ("" if "\n" in rest else ".")
    return ": ".join([*where, said]) + ("\n" if "\n" in said else " ") + f"{program} --help tells all options."


def check_lists_whole(words: Sequence[str], lists: Collection[str]) -> None:
    """Raise InputError if an option names a field of an item of one of the ``lists``.

    jsonargparse would set it in the last item, whichever that is, or append one.
    """
    for word in words:
        option = word.partition("=")[0]
        name = next((name for name in lists if option.startswith(f"--{name}.")), None)
        if name is not None and option != f"--{name}.help":
            raise InputError(
                f"{name}: a list, whose items have no options of their own. Received: {option}; give the list whole "
                f"(--{name} '[...]', or in a config), or append an item (--{name}+ '{{...}}')."
            )


def _arguments(path: str) -> list[str]:
    """Of the class that ``path`` names, which the parser has imported; none where it lies elsewhere."""
    module, _, name = path.rpartition(".")
    with contextlib.suppress(ImportError, AttributeError):
        return list(inspect.signature(getattr(importlib.import_module(module), name)).parameters)
    return []


def _unknown(given: str, options: Collection[str]) -> str:
    """Of a name that is none of the ``options``, with or without its dashes."""
    dashes = "--" if given.startswith("--") else ""
    names = [name.removeprefix("--") for name in options if not re.match("-[^-]", name)]
    name = given.removeprefix("--")
    last = {each: each.rpartition(".")[2] for each in [name, *names]}
    alike = [
        each for each in names if difflib.get_close_matches(last[name], [last[each]])
    ]  # prefixes alone do not count
    near = [each for each in names if last[each] == last[name]] or difflib.get_close_matches(name, alike, n=1)
    hint = f" Did you mean {' or '.join(dashes + each for each in near)}?" if near else ""
    return f"no such option. Received: {given}.{hint}"


def _mismatch(types: str, value: str) -> str:
    """Of a value of another type than ``types``, of which there may be several."""
    plain = re.sub(r"typing\.Literal\[(.*?)\]|<class '(?:\w+\.)*(\w+)'>", r"\1\2", types).replace("NoneType", "null")
    several = "one of " if ", " in re.sub(r"\[.*?\]", "", plain) else ""
    listed = " A list is written [a,b]." if "[" in plain and "," in value and value[0] not in "[{" else ""
    return f"must be {several}{plain}. Received: {value}.{listed}"
