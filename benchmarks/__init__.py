"""How fast the recipe trains and predicts: lightning-tl, Keras, and what one would write otherwise, on one machine.

``scripts/benchmark.py`` is the command. The parent process (``bench``, ``rounds``, ``report``) imports no framework,
but for the measure ``means``; each framework lives in a process of its own (``worker``, ``runners``).
"""
