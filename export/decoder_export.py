"""``export_decoder``: what the user taught the decoder, in the format of another program."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from livesam.engine.models.spec import SIZES
from livesam.engine.models.spec import spec as spec_of

if TYPE_CHECKING:
    from livesam.engine.models.spec import ModelSpec
    from livesam.engine.values.adapted_info import AdaptedInfo
    from livesam.engine.values.protocols import DecoderWeights
    from livesam.export.files.manifest import Manifest
    from livesam.export.formats.source import DecoderSource
    from segment_anything.modeling import Sam


SAM_FRAME = 1024  # side of the official models' input, which many a program takes for granted


@dataclass(frozen=True, slots=True)
class Format:
    """A format by its name.

    Attributes:
        name: as on the command line.
        module: of ``livesam.export.formats``; its ``export(source, out, **options)`` writes it.
        suffixes: of the file that is written, the usual one first; empty where it is a folder.
        purpose: one line.
        encoder: the image encoder is written too, so its weights have to be read.
        size: the only input size that its programs know, in pixels; None where they take any.
    """

    name: str
    module: str
    suffixes: tuple[str, ...]
    purpose: str
    encoder: bool = False
    size: int | None = None

    def writer(self) -> Callable[..., Manifest]:
        """The function that writes this format."""
        function: Callable[..., Manifest] = import_module(f"livesam.export.formats.{self.module}").export
        return function

    def check(self, out: Path) -> None:
        """Refuse a name that says another format than this.

        Raises:
            ValueError: the suffix is not this format's, or a file's where a folder is written.
        """
        files = {suffix for entry in FORMATS.values() for suffix in entry.suffixes}
        suffix = out.suffix.lower()
        if self.suffixes and suffix not in self.suffixes:
            raise ValueError(f"{self.name} writes a file that ends in {' or '.join(self.suffixes)}, got {str(out)!r}")
        if not self.suffixes and suffix in files:
            raise ValueError(f"{self.name} writes a folder, got the name of a file: {str(out)!r}")

    def options(self) -> tuple[str, ...]:
        """The options that this format takes."""
        return tuple(inspect.signature(self.writer()).parameters)[2:]


FORMATS: dict[str, Format] = {
    entry.name: entry
    for entry in (
        Format(
            "sam-pth",
            "sam_pth",
            (".pth", ".pt"),
            "full checkpoint for segment_anything (vit_t: for MobileSAM)",
            encoder=True,
        ),
        Format("sam-onnx", "sam_onnx", (".onnx",), "official ONNX decoder; --single, --quantised"),
        Format("cvat-onnx", "cvat_onnx", (".onnx",), "decoder.onnx of CVAT's browser plugin", size=SAM_FRAME),
        Format("cvat", "cvat", (), "CVAT's decoder.onnx, and its encoder for nuclio", encoder=True, size=SAM_FRAME),
        Format(
            "x-anylabeling",
            "x_anylabeling",
            (),
            "encoder, decoder and YAML for X-AnyLabeling and AnyLabeling",
            encoder=True,
            size=SAM_FRAME,
        ),
        Format("hf", "hf", (), "folder for transformers.SamModel.from_pretrained", encoder=True),
        Format("openvino", "openvino", (".xml",), "official decoder as OpenVINO model; --single"),
        Format("tensorrt", "tensorrt", (".plan",), "TensorRT plan for this GPU, or ahead of time with --capability"),
        Format("safetensors", "safetensors", (".safetensors",), "decoder alone, or --difference to its base"),
        Format("triton", "triton", (), "Triton model repository; again: one more version", encoder=True),
    )
}


def export_decoder(
    model: str,
    *,
    format: str,
    out: Path | str,
    size: int | None = None,
    checkpoint: Path | str | None = None,
    adapted: Path | str | None = None,
    weights: DecoderWeights | None = None,
    **options: Any,
) -> Manifest:
    """Write the decoder of ``model`` in a format that another program reads.

    It is checked first; ``manifest.parity["claim"]`` says in a sentence what was compared with what.

    Without ``adapted`` and ``weights`` it is the base's own decoder. For what a session serves now there is
    ``livesam.export_decoder(session, ...)``, which also says in the manifest where the weights come from.

    Args:
        model: ``nano``, ``vit_t``, ``vit_b``, ``vit_l`` or ``vit_h``.
        format: one of ``FORMATS``.
        out: the file, with a suffix of the format's, or the folder to write; whatever was there is replaced only when
            everything is well.
        size: side of the model's input in pixels, 512 or 1024 for ``nano``. None: 1024 where the format's programs know
            nothing else, else the size at which ``adapted`` was learned, else the model's usual one.
        checkpoint: the base's weights file; ``nano`` needs none.
        adapted: an adapted decoder's file, made on that base.
        weights: or the decoder's 120 tensors themselves.
        options: the format's own, see its module.

    Returns:
        The manifest, which also lies beside the file or in the folder.

    Raises:
        ValueError: unknown model, size, format or option, another suffix than the format's, a size that its programs do
            not know, or weights that do not fit.
        CheckpointError: a weights file is missing, damaged or of another base.
        RuntimeUnavailable: the format needs a library or a GPU that is not there.
        ExportError: the file could not be written. ParityError: it gave other answers than PyTorch; nothing was kept.
    """
    from livesam.export.formats.source import DecoderSource

    chosen = _chosen(format, Path(out), options)
    if chosen.size is not None and size not in (None, chosen.size):
        raise ValueError(f"programs that read {format} know {chosen.size} px only, got size {size}: leave it out")
    source = DecoderSource.open(
        model,
        size=chosen.size if size is None else size,
        checkpoint=None if checkpoint is None else Path(checkpoint),
        adapted=None if adapted is None else Path(adapted),
        weights=weights,
        # A further version of a Triton repository is a decoder; its encoder is there already.
        encoder=chosen.encoder
        and bool(options.get("encoder", True))
        and not (chosen.name == "triton" and (Path(out) / "manifest.json").is_file()),
    )
    return chosen.writer()(source, Path(out), **options)


def export_sam(
    sam: Sam,
    spec: ModelSpec,
    *,
    format: str,
    out: Path | str,
    weights: DecoderWeights | None = None,
    info: AdaptedInfo | None = None,
    **options: Any,
) -> Manifest:
    """The same from a model in memory, which is left as it is.

    A model of several sizes is written in the one that the format's programs know, where they know one only.

    Args:
        info: where the weights come from, if they are not the model's own.

    Raises:
        ValueError, RuntimeUnavailable, ExportError: as ``export_decoder``.
    """
    from livesam.engine.models.loading import resized
    from livesam.engine.values.adapted_info import AdaptedInfo
    from livesam.export.formats.source import DecoderSource

    chosen = _chosen(format, Path(out), options)
    if chosen.size not in (None, spec.image_size) and chosen.size in SIZES.get(spec.name, ()):
        info = info or AdaptedInfo(model=spec.name, method="unnamed", image_size=spec.image_size)
        sam, spec = resized(sam, spec, chosen.size), spec_of(spec.name, chosen.size)
    source: DecoderSource = DecoderSource.of(sam, spec, weights=weights, info=info)
    return chosen.writer()(source, Path(out), **options)


def _chosen(name: str, out: Path, options: dict[str, Any]) -> Format:
    if name not in FORMATS:
        raise ValueError(f"unknown format {name!r}: choose one of {', '.join(FORMATS)}")
    chosen = FORMATS[name]
    strange = sorted(set(options) - set(chosen.options()))
    if strange:
        allowed = ", ".join(chosen.options()) or "none"
        raise ValueError(f"{name} has no option {', '.join(strange)}; it takes: {allowed}")
    chosen.check(out)
    return chosen
