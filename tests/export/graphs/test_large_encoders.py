"""vit_l and vit_h at their full size through ``export_encoder``, checked against PyTorch; 10 GiB of memory and more."""

from pathlib import Path

import onnx
import pytest
from livesam.engine.models import loading as models
from livesam.engine.models import spec as specs
from livesam.export.files.manifest import Manifest
from livesam.export.files.staging import INLINE_LIMIT
from livesam.export.graphs.encoder import export_encoder
from livesam.export.graphs.parity import TOLERANCE


@pytest.mark.slow
@pytest.mark.timeout(7200)
@pytest.mark.parametrize(("name", "files"), [("vit_l", 1), ("vit_h", 2)])
def test_large_encoders_export(name: str, files: int, tmp_path: Path) -> None:
    path = tmp_path / f"{name}.onnx"
    export_encoder(models.build(name), specs.spec(name), path, rel_pos="bias")
    manifest = Manifest.read(path)
    manifest.verify(tmp_path)
    assert len(manifest.files) == files
    assert sorted(f.name for f in tmp_path.iterdir()) == sorted([*manifest.files, f"{name}.onnx.json"])
    (difference,) = manifest.parity["differences"]
    assert difference["max_share"] <= TOLERANCE["fp32"][0]
    graph = onnx.load(str(path), load_external_data=False).graph
    places = {entry.value for t in graph.initializer for entry in t.external_data if entry.key == "location"}
    assert places == ({path.name + ".data"} if files == 2 else set())
    assert path.stat().st_size < INLINE_LIMIT
