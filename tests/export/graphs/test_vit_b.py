"""vit_b at its full size, with random weights, against segment_anything on every CPU runtime."""

from pathlib import Path

import numpy as np
import pytest
import torch
from livesam.engine.values.prompt import Box, Click, Prompt
from livesam.export.opening import Opening, open_session
from segment_anything import SamPredictor, sam_model_registry

RUNTIMES = ("torch", "onnxruntime", "openvino")
PROMPTS = (Prompt((Click(90, 60),)), Prompt((Click(90, 60), Click(10, 100, False))), Prompt((), Box(20, 10, 150, 110)))


def close(got: np.ndarray, expected: np.ndarray) -> None:
    np.testing.assert_allclose(got, expected, rtol=0, atol=1e-4 * float(np.ptp(expected)))


@pytest.mark.slow
@pytest.mark.timeout(3000)  # 350 s of CPU time, 6 GiB
def test_embeddings_and_masks_are_the_reference_ones(tmp_path: Path) -> None:
    torch.manual_seed(0)
    sam = sam_model_registry["vit_b"]().eval()
    checkpoint = tmp_path / "sam_vit_b.pth"
    torch.save(sam.state_dict(), checkpoint)
    image = np.random.default_rng(0).integers(0, 256, (120, 160, 3), dtype=np.uint8)
    reference = SamPredictor(sam)
    reference.set_image(image)
    for runtime in RUNTIMES:
        session = open_session(Opening("vit_b", checkpoint, runtime, cache_dir=tmp_path))
        close(session.set_image(image).numpy(), reference.get_image_embedding().numpy())
        for prompt in PROMPTS:
            _, ious, logits = reference.predict(
                point_coords=np.array([(c.x, c.y) for c in prompt.clicks]) if prompt.clicks else None,
                point_labels=np.array([int(c.positive) for c in prompt.clicks]) if prompt.clicks else None,
                box=np.array(prompt.box.as_tuple()) if prompt.box else None,
                multimask_output=False,
            )
            got = session.predict(prompt, rule="single")
            close(got.low_res_logits, logits[0])
            assert got.iou == pytest.approx(float(ious[0]), abs=1e-3)
        session.close()
