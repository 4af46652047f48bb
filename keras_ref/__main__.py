"""``python -m keras_ref``."""

import sys

from keras_ref.cli import main

sys.exit(main())
