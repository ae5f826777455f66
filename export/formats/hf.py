"""``hf``: a folder that ``transformers.SamModel.from_pretrained`` loads, with the processor beside it."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from livesam.engine.models.hf_layout import hf_config, to_hf
from livesam.engine.models.spec import PIXEL_MEAN, PIXEL_STD
from livesam.engine.values.errors import ExportError, ParityError
from livesam.export.files.manifest import Manifest
from livesam.export.formats.folders import MANIFEST, hashes, staged_folder
from livesam.export.formats.probes import PROBES, Feeds, Run, parity_report, require_parity

if TYPE_CHECKING:
    from livesam.export.formats.source import DecoderSource

# Transformers pads by SAM's own rule and has no blend, so prompts that break the rule cannot be given to it.
_LAWFUL = tuple(
    probe
    for probe in PROBES
    if probe.labels and probe.has_mask >= 0 and (2 in probe.labels) == (-1 not in probe.labels)
)


def export(source: DecoderSource, out: Path) -> Manifest:
    """Write ``config.json``, ``model.safetensors`` and the processor's settings.

    Numbers are the official ones: the mask decoder's layer norms have eps 1e-5 as in ``segment_anything``, where
    Hugging Face's own files say 1e-6.

    Raises:
        ExportError: transformers has no class for this model's encoder (``nano``, ``vit_t``), transformers is not
            installed, or the folder could not be written.
        ParityError: the loaded model's tensors or answers differ from PyTorch's; nothing was written.
    """
    import torch
    from safetensors.torch import save_file
    from segment_anything.modeling.image_encoder import ImageEncoderViT

    encoder = source.sam.image_encoder
    if not isinstance(encoder, ImageEncoderViT):
        raise ExportError(
            f"transformers' SamModel has no class for the image encoder of {source.spec.name}: only vit_b, vit_l and "
            "vit_h can be written as a Hugging Face folder"
        )
    if find_spec("transformers") is None:
        raise ExportError("the hf format is checked with transformers: pip install transformers")
    config = _config(encoder, source.spec.image_size)
    with staged_folder(out) as folder:
        state = to_hf({key: value.detach().cpu().float() for key, value in source.sam.state_dict().items()})
        save_file(
            {key: value.contiguous() for key, value in state.items()},
            folder / "model.safetensors",
            metadata={"format": "pt"},
        )
        (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
        processor = _processor_settings(source.spec.image_size)
        (folder / "preprocessor_config.json").write_text(json.dumps(processor, indent=2) + "\n")
        model = load_hf(folder)
        _require_tensors(model, state, out.name)
        run, checker = hf_runner(model)
        report = parity_report(
            require_parity(run, source.sam, out.name, probes=_LAWFUL), checker, "the folder's decoder"
        )
        report["claim"] += f"; all {len(state)} tensors are the model's bit for bit, the image encoder was not run"
        manifest = source.manifest(
            "hf",
            files=hashes(folder),
            inputs={},
            outputs={},
            parity=report,
            options={"tensors": len(state), "torch": torch.__version__},
        )
        manifest.write(folder / MANIFEST)
    return manifest


def load_hf(folder: Path) -> Any:
    """The real ``SamModel`` of a folder, in eval mode.

    Raises:
        ParityError: the folder lacks tensors that the class has, or has others.
    """
    transformers = _library()
    verbosity = transformers.logging.get_verbosity()
    transformers.logging.set_verbosity_error()
    bars = transformers.logging.is_progress_bar_enabled()
    transformers.logging.disable_progress_bar()
    try:
        model, found = transformers.SamModel.from_pretrained(folder, local_files_only=True, output_loading_info=True)
    finally:
        transformers.logging.set_verbosity(verbosity)
        if bars:
            transformers.logging.enable_progress_bar()
    wrong = [*found["missing_keys"], *found["unexpected_keys"], *found["mismatched_keys"]]
    if wrong:
        raise ParityError(f"transformers does not find its names in {folder.name}: {wrong[:3]}; nothing was written")
    return model.eval()


def hf_runner(model: Any) -> tuple[Run, str]:
    """A ``SamModel`` behind the official inputs; ``masks`` at full size are not its business."""
    import torch

    def run(feeds: Feeds) -> dict[str, Any]:
        labels = feeds["point_labels"][0]
        coords = torch.from_numpy(feeds["point_coords"][0])
        clicks = np.flatnonzero((labels == 0) | (labels == 1))
        corners = np.flatnonzero(labels >= 2)
        given: dict[str, Any] = {"image_embeddings": torch.from_numpy(feeds["image_embeddings"])}
        if len(clicks):
            given["input_points"] = coords[clicks][None, None]  # (1, 1, N, 2)
            given["input_labels"] = torch.from_numpy(labels[clicks].astype(np.int64))[None, None]
        if len(corners):
            given["input_boxes"] = coords[corners].reshape(1, 1, 4)
        if feeds["has_mask_input"][0] == 1:
            given["input_masks"] = torch.from_numpy(feeds["mask_input"])
        with torch.no_grad():
            single, several = (model(**given, multimask_output=flag) for flag in (False, True))
        return {
            "low_res_masks": torch.cat([single.pred_masks[:, 0], several.pred_masks[:, 0]], dim=1).numpy(),
            "iou_predictions": torch.cat([single.iou_scores[:, 0], several.iou_scores[:, 0]], dim=1).numpy(),
        }

    return run, f"transformers {_library().__version__}"


def _require_tensors(model: Any, state: dict[str, Any], what: str) -> None:
    """What transformers holds after loading is what was to be written; from there on it is its own code that runs."""
    import torch

    loaded = model.state_dict()
    for key, value in state.items():
        if key not in loaded or not torch.equal(loaded[key], value):
            raise ParityError(f"{what}: {key} does not read back as it was written; nothing was kept")


def _config(encoder: Any, image_size: int) -> dict[str, Any]:
    blocks = list(encoder.blocks)
    windows = {block.window_size for block in blocks if block.window_size}
    config = hf_config(
        embed_dim=int(encoder.pos_embed.shape[-1]),
        depth=len(blocks),
        heads=int(blocks[0].attn.num_heads),
        global_blocks=[i for i, block in enumerate(blocks) if not block.window_size],
        image_size=image_size,
    )
    if windows:
        config["vision_config"]["window_size"] = windows.pop()
    return config


def _processor_settings(image_size: int) -> dict[str, Any]:
    """``preprocessor_config.json`` as official folders have it: every version of transformers reads this file."""
    return {
        "processor_class": "SamProcessor",
        "image_processor_type": "SamImageProcessor",
        "do_convert_rgb": True,
        "do_resize": True,
        "size": {"longest_edge": image_size},
        "mask_size": {"longest_edge": image_size // 4},
        "resample": 2,  # bilinear
        "do_rescale": True,
        "rescale_factor": 1 / 255,
        "do_normalize": True,
        "image_mean": [mean / 255 for mean in PIXEL_MEAN],
        "image_std": [std / 255 for std in PIXEL_STD],
        "do_pad": True,
        "pad_size": {"height": image_size, "width": image_size},
        "mask_pad_size": {"height": image_size // 4, "width": image_size // 4},
    }


def _library() -> Any:
    """transformers, most of whose functions have no types."""
    import transformers

    return transformers
