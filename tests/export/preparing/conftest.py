from __future__ import annotations

from pathlib import Path

import pytest
from livesam.export.opening import Opening
from livesam.export.preparing.prepare import prepare


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cache with nano's engines, made once; who changes it copies it first."""
    folder = tmp_path_factory.mktemp("prepared")
    prepare(Opening("nano", cache_dir=folder))
    return folder
