"""``python -m livesam.benchmarks.gpu``."""

from __future__ import annotations

import sys

from livesam.benchmarks.gpu.script import main

if __name__ == "__main__":
    sys.exit(main())
