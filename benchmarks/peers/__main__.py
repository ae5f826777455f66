"""``python -m livesam.benchmarks.peers``."""

from __future__ import annotations

import sys

from livesam.benchmarks.peers.comparison import main

if __name__ == "__main__":
    sys.exit(main())
