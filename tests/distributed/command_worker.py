"""Runs several commands in one start of processes: ``python command_worker.py LIST.json``, a list of their words."""

import json
import sys
from pathlib import Path

from lightning_tl.command import main

if __name__ == "__main__":
    for words in json.loads(Path(sys.argv[1]).read_text()):
        print("command:", words[0], flush=True)
        if status := main(words):
            sys.exit(status)
