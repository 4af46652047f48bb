"""Write lightning_tl/completion.bash: the commands and options of lightning-tl, for the shell's TAB key.

    python scripts/completion.py            # after options have changed; a test says when

Only options by name: jsonargparse's own scripts know every strategy's arguments too, and take seconds to load.
"""

import contextlib
import io
import re
import sys
from pathlib import Path

from lightning_tl.command import COMMANDS, main
from lightning_tl.files import write_text

TARGET = Path(__file__).resolve().parents[1] / "lightning_tl" / "completion.bash"
SCRIPT = """# Completion of lightning-tl for bash, written by scripts/completion.py. Load it with:
#   source <(lightning-tl completion)
# In zsh, first: autoload -U +X bashcompinit && bashcompinit
_lightning_tl() {{
    local word="${{COMP_WORDS[COMP_CWORD]}}" words=""
    if [ "$COMP_CWORD" -eq 1 ]; then
        words="{commands}"
    elif [[ "$word" == -* ]]; then
        case "${{COMP_WORDS[1]}}" in
{cases}
        esac
    fi
    COMPREPLY=($(compgen -W "$words" -- "$word"))
}}
complete -o default -F _lightning_tl lightning-tl
"""


def options(command: str) -> list[str]:
    """Names of a command's options, ``--`` included, as its help lists them."""
    output = io.StringIO()
    with contextlib.redirect_stdout(output), contextlib.suppress(SystemExit):
        main([command, "--help"])
    found = re.findall(r"^ +(?:-\w(?: \w+)?, )?(--[\w.]+)", output.getvalue(), re.MULTILINE)
    return sorted({name for name in found if not name.endswith(".help")})


def script() -> str:
    """The whole file."""
    lines = [f'            {name}) words="{" ".join(options(name))}" ;;' for name in COMMANDS if name != "completion"]
    return SCRIPT.format(commands=" ".join(COMMANDS), cases="\n".join(lines))


if __name__ == "__main__":
    write_text(TARGET, script())
    sys.exit(0)
