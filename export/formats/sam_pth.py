"""``sam-pth``: a full checkpoint that ``segment_anything.sam_model_registry`` loads with no change."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from livesam.engine.files.hashing import file_sha256
from livesam.engine.values.errors import ParityError
from livesam.export.files.manifest import Manifest
from livesam.export.files.staging import staged

if TYPE_CHECKING:
    from livesam.export.formats.source import DecoderSource


def export(source: DecoderSource, out: Path) -> Manifest:
    """Write encoder, prompt encoder and decoder as one flat dict: official keys, float32, CPU.

    The registry knows vit_b, vit_l and vit_h; MobileSAM's own knows vit_t; ``nano`` loads in livesam alone.

    Raises:
        ExportError: the file could not be written.
        ParityError: what was read back is not what was written, bit for bit; nothing is left.
    """
    import torch

    wanted = {key: value.detach().to("cpu", torch.float32) for key, value in source.sam.state_dict().items()}
    for key, value in source.sam.state_dict().items():
        if not value.is_floating_point():  # counters of batch normalisation
            wanted[key] = value.detach().cpu()
    with staged(out) as target:
        torch.save({key: value.contiguous() for key, value in wanted.items()}, target)
        found = torch.load(target, map_location="cpu", weights_only=True, mmap=True)
        if list(found) != list(wanted) or not all(torch.equal(found[key], wanted[key]) for key in wanted):
            raise ParityError(f"{out.name} does not read back as it was written; nothing was kept")
        del found
        manifest = source.manifest(
            "sam-pth",
            files={out.name: file_sha256(target)},
            inputs={},
            outputs={},
            parity={
                "claim": f"{len(wanted)} tensors were read back from the file bit for bit; no prompt was run",
                "against": "the tensors in memory",
                "checker": f"torch {torch.__version__}",
                "prompts": [],
            },
            options={"tensors": len(wanted), "loads_with": LOADS_WITH.get(source.spec.name, "livesam alone")},
        )
        manifest.write(target)
    return manifest


LOADS_WITH = {
    "vit_t": "mobile_sam.sam_model_registry",
    "vit_b": "segment_anything.sam_model_registry",
    "vit_l": "segment_anything.sam_model_registry",
    "vit_h": "segment_anything.sam_model_registry",
}
