"""lightning-tl, imported as its command imports it."""

from lightning_tl.importing import import_for_good

Runner = import_for_good("benchmarks.runners.transfer").Runner
