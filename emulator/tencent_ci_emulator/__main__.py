"""``python -m tencent_ci_emulator``."""

from __future__ import annotations

import sys

from tencent_ci_emulator.cli import main

sys.exit(main())
