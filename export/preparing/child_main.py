"""The child's side of ``export/preparing/child.py``: ``python -m livesam.export.preparing.child_main OPENING``.

It tells its stages as lines of JSON. It reads its standard input, a pipe of which nobody but the parent has the other
end, and ends when that is closed, however the parent ended.
"""

from __future__ import annotations

import contextlib
import json
import os
import sys
import threading
from pathlib import Path

from livesam.engine.values.errors import LivesamError

NICE = 19  # clicks, encoding and learning come first


def main(told: str) -> None:
    """The child's side."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    with contextlib.suppress(OSError, AttributeError):
        os.nice(NICE)
    try:
        from livesam.export.opening import Opening
        from livesam.export.preparing.prepare import prepare

        raw = json.loads(told)
        for name in ("checkpoint", "cache_dir"):
            raw[name] = None if raw[name] is None else Path(raw[name])
        prepare(Opening(**raw), lambda stage: _say(stage=stage))
    except LivesamError as error:
        _say(error=str(error))
    except MemoryError:
        _say(error="there is not enough memory to build the engine")
    except Exception as error:  # nobody sees a traceback of this process
        _say(error=f"unexpected {type(error).__name__} while the engine was built: {error}")
    else:
        _say(done="yes")


def _say(**told: str) -> None:
    os.write(1, (json.dumps(told) + "\n").encode())


def _end_with_parent() -> None:
    while os.read(0, 1024):
        pass
    os._exit(1)


if __name__ == "__main__":
    main(sys.argv[1])
