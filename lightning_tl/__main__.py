"""``python -m lightning_tl`` is the same as ``lightning-tl``."""

from lightning_tl.command import program

if __name__ == "__main__":
    program()
