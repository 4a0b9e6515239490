"""``python -m live``: see :mod:`live.main`."""

import sys

from live.main import main

sys.exit(main(sys.argv[1:]))
