"""``triton``: a model repository for Triton Inference Server, with a new version for each adapted decoder.

The encoder has a static input but for its batch, so Triton's dynamic batcher may gather images; or it takes one picture
as uint8, a quarter of the bytes, and normalises it itself. The decoder is the
official graph: stateless, batch 1, so ``max_batch_size`` is 0 and there is no batcher. There is no ensemble of both,
which would encode on every click.

The graphs run on Triton's ONNX Runtime backend or, where a server has only the Python one (as nvidia-pytriton's has),
by ``livesam.export.formats.triton_model`` beside each of them.
"""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from livesam.engine.files.hashing import file_sha256
from livesam.engine.models.adapted import base_hash
from livesam.engine.values.errors import ExportError
from livesam.export.files.manifest import Manifest
from livesam.export.formats.folders import MANIFEST, hashes, staged_folder, sync_folder, sync_tree
from livesam.export.formats.sam_onnx import write_graph
from livesam.export.graphs.official_graph import Dialect

if TYPE_CHECKING:
    from livesam.export.formats.source import DecoderSource

FILE = "model.onnx"
MODEL = "model.py"  # what the Python backend runs
BACKENDS = ("onnxruntime", "python")
SERVED_VERSIONS = 2  # the newest and the one before it, for requests in flight and for going back
MAX_BATCH = 8
ENCODER_CLAIM = "the encoder's graph gave PyTorch's embedding of a random picture"
_TYPES = {"float32": "TYPE_FP32", "uint8": "TYPE_UINT8", "int64": "TYPE_INT64"}


def export(
    source: DecoderSource,
    out: Path,
    *,
    name: str | None = None,
    single: bool = False,
    encoder: bool = True,
    uint8_input: bool = False,
    backend: str | None = None,
) -> Manifest:
    """Write a repository, or add a version to one that an earlier export wrote.

    ``OUT/NAME-decoder/1/model.onnx``, ``OUT/NAME-encoder/1/model.onnx``, a ``config.pbtxt`` for each and ``README.md``.
    A version's folder holds the graph and its manifest and gets its name when both are complete; nothing else changes.

    Args:
        name: of the models; lower-case letters, digits and ``-``. Default: the base model's name.
        single: the decoder gives one mask by the official rule instead of four; the same in all versions.
        encoder: write the image encoder too (only when the repository is new).
        uint8_input: the encoder takes one picture a request, uint8 ``(H, W, 3)``, its long side already scaled.
        backend: ``onnxruntime``, or ``python``: a ``model.py`` for CPUs beside each graph. Default: the repository's.

    Returns:
        The manifest of the version that was written.

    Raises:
        ValueError: ``name`` holds other characters, or there is no such backend.
        ExportError: the repository belongs to another base or holds another decoder, or could not be written.
        ParityError: the answers differ from PyTorch's; nothing was written.
    """
    name = name or source.spec.name.replace("_", "-")
    if not re.fullmatch(r"[a-z0-9-]{1,64}", name):
        raise ValueError(f"name must be lower-case letters, digits and '-', got {name!r}")
    if backend not in (None, *BACKENDS):
        raise ValueError(f"unknown backend {backend!r}: choose {' or '.join(BACKENDS)}")
    if (out / f"{MANIFEST}.json").is_file():
        return _add_version(source, out, name, single, backend)
    backend = backend or BACKENDS[0]
    with staged_folder(out) as folder:
        model = folder / f"{name}-decoder"
        decoder = _write_version(source, model, 1, single, backend)
        (model / "config.pbtxt").write_text(decoder_config(model.name, decoder, base_hash(source.base), backend))
        encoder_parity = _write_encoder(source, folder / f"{name}-encoder", uint8_input, backend) if encoder else None
        (folder / "README.md").write_text(_readme(source, name, encoder, uint8_input, backend))
        for config in folder.glob("*/config.pbtxt"):
            check_config(config.read_text())
        lasting = {file: digest for file, digest in hashes(folder).items() if not file.startswith(f"{model.name}/1/")}
        manifest = source.manifest(
            "triton",
            files=lasting,
            inputs=decoder.inputs,
            outputs=decoder.outputs,
            parity=_repository_parity(encoder_parity),
            opset=decoder.opset,
            options={"name": name, "single": single, "backend": backend},
        )
        manifest.write(folder / MANIFEST)
    told = f"{decoder.parity['claim']}" + (f"; {ENCODER_CLAIM}" if encoder else "")
    return _answer(decoder, hashes(out), name, 1, told)


def _repository_parity(encoder: dict[str, Any] | None) -> dict[str, Any]:
    claim = "each version of the decoder has its own manifest, which says how it was checked"
    return {"claim": claim} if encoder is None else {"claim": f"{claim}; {ENCODER_CLAIM}", "encoder": encoder}


def decoder_config(name: str, decoder: Manifest, base_sha256: str, backend: str = BACKENDS[0]) -> str:
    """``config.pbtxt`` of the decoder: shapes in full, because there is no batch dimension to leave out."""
    lines = [
        f'name: "{name}"',
        *_run_by(backend),
        "max_batch_size: 0",
        *_tensors("input", decoder.inputs, 0),
        *_tensors("output", decoder.outputs, 0),
        f"version_policy {{ latest {{ num_versions: {SERVED_VERSIONS} }} }}",
        f'parameters {{ key: "base_sha256" value {{ string_value: "{base_sha256}" }} }}',
    ]
    return "\n".join(lines) + "\n"


def encoder_config(name: str, encoder: Manifest, base_sha256: str, backend: str = BACKENDS[0]) -> str:
    """``config.pbtxt`` of the encoder: the first dimension is the batch, which Triton fills; uint8 pictures lack it."""
    batched = not encoder.options["uint8_input"]
    lines = [
        f'name: "{name}"',
        *_run_by(backend),
        f"max_batch_size: {MAX_BATCH if batched else 0}",
        *_tensors("input", encoder.inputs, int(batched)),
        *_tensors("output", encoder.outputs, int(batched)),
        *(["dynamic_batching { max_queue_delay_microseconds: 2000 }"] if batched else []),
        f'parameters {{ key: "base_sha256" value {{ string_value: "{base_sha256}" }} }}',
    ]
    return "\n".join(lines) + "\n"


def check_config(text: str) -> bool:
    """Parse a ``config.pbtxt`` with Triton's own protobuf; False where ``tritonclient[grpc]`` is not installed.

    Raises:
        ExportError: it does not parse.
    """
    if find_spec("tritonclient") is None or find_spec("grpc") is None:
        return False
    from google.protobuf import text_format  # type: ignore[import-untyped]
    from tritonclient.grpc import model_config_pb2

    try:
        text_format.Parse(text, model_config_pb2.ModelConfig())
    except text_format.ParseError as error:
        raise ExportError(f"config.pbtxt does not parse: {error}") from error
    return True


def _run_by(backend: str) -> list[str]:
    if backend == "python":
        return ['backend: "python"', f'default_model_filename: "{MODEL}"', "instance_group { kind: KIND_CPU }"]
    return [f'backend: "{backend}"', f'default_model_filename: "{FILE}"']


def _tensors(kind: str, tensors: Any, skip: int) -> list[str]:
    lines = []
    for name, tensor in tensors.items():
        dims = ", ".join(str(d) if isinstance(d, int) else "-1" for d in tensor.shape[skip:])
        lines.append(f'{kind} {{ name: "{name}" data_type: {_TYPES[tensor.dtype]} dims: [ {dims} ] }}')
    return lines


def _write_version(source: DecoderSource, model: Path, version: int, single: bool, backend: str) -> Manifest:
    path = model / str(version) / FILE
    path.parent.mkdir(parents=True)
    decoder = write_graph(source, path, Dialect(single=single), "triton", name=f"{model.name}/{version}/{FILE}")
    if backend == "python":
        _write_model(path.parent)
        decoder = replace(decoder, files={**decoder.files, MODEL: file_sha256(path.with_name(MODEL))})
        decoder.write(path)
    return decoder


def _write_model(version: Path) -> None:
    (version / MODEL).write_text(Path(__file__).with_name("triton_model.py").read_text())


def _write_encoder(source: DecoderSource, model: Path, uint8_input: bool, backend: str) -> dict[str, Any]:
    from livesam.export.graphs.encoder import export_encoder

    path = model / "1" / FILE
    path.parent.mkdir(parents=True)
    batch = 1 if uint8_input else None
    encoder = export_encoder(source.sam, source.spec, path, uint8_input=uint8_input, batch=batch)
    (model / "config.pbtxt").write_text(encoder_config(model.name, encoder, base_hash(source.base), backend))
    if backend == "python":
        _write_model(path.parent)
    return dict(encoder.parity)


def _add_version(source: DecoderSource, out: Path, name: str, single: bool, backend: str | None) -> Manifest:
    earlier = Manifest.read(out / MANIFEST)
    found = {"backend": BACKENDS[0], **earlier.options}  # repositories from before the Python backend do not say
    run_by = str(backend or found["backend"])
    wanted = {"format": "triton", "name": name, "single": single, "base_sha256": base_hash(source.base)}
    wanted["backend"] = run_by
    if earlier.image_size != source.spec.image_size:
        raise ExportError(
            f"{out} is a repository of a {earlier.image_size}-px model, this decoder takes "
            f"{source.spec.image_size} px: export it in size {earlier.image_size}, or into another folder"
        )
    for key, value in wanted.items():
        if found.get(key) != value:
            raise ExportError(
                f"{out} is a repository with {key} {found.get(key)!r}, this decoder has {value!r}: "
                "a decoder works with its own encoder only, choose another folder"
            )
    model = out / f"{name}-decoder"
    version = 1 + max((int(p.name) for p in model.iterdir() if p.name.isdecimal()), default=0)
    try:
        holder = Path(tempfile.mkdtemp(prefix=".version.", suffix=".tmp", dir=out))
    except OSError as error:
        raise ExportError(f"cannot write {out}: {error.strerror or error}") from error
    try:
        decoder = _write_version(source, holder / model.name, version, single, run_by)
        fresh = holder / model.name / str(version)
        sync_tree(fresh)
        os.rename(fresh, model / str(version))  # the only change that a server or a reader sees
        sync_folder(model)
    except OSError as error:
        raise ExportError(f"cannot write {out}: {error.strerror or error}") from error
    finally:
        shutil.rmtree(holder, ignore_errors=True)
    files = {f"{model.name}/{version}/{file}": digest for file, digest in decoder.files.items()}
    return _answer(decoder, files, name, version, str(decoder.parity["claim"]))


def _answer(decoder: Manifest, files: dict[str, str], name: str, version: int, claim: str) -> Manifest:
    """A version's manifest with its files as seen from the repository."""
    options = {**decoder.options, "name": name, "version": version}
    return replace(decoder, files=files, options=options, parity={**decoder.parity, "claim": claim})


def _readme(source: DecoderSource, name: str, encoder: bool, uint8_input: bool, backend: str) -> str:
    side = source.spec.image_size
    picture = f"float32 `(batch, 3, {side}, {side})`, normalised and padded; images of several callers are gathered"
    if uint8_input:
        picture = f"uint8 `(H, W, 3)`, RGB, its long side scaled to {side}; it normalises and pads"
    models = [f"{name}-decoder", *([f"{name}-encoder"] if encoder else [])]
    run_by = ""
    if backend == "python":
        run_by = (
            "\nIts Python backend runs `model.py` of a version in the environment of the first `python3` in `PATH`:\n"
            "one with onnxruntime and NumPy, of the Python that the backend's stub was built for.\n"
        )
    load = "\n".join(f'client.load_model("{model}", headers=admin)' for model in models)
    return f"""# {name} for Triton Inference Server

Start the server so that nothing is loaded or swapped unless you ask for it, and keep the control port to yourself:

```
tritonserver --model-repository=PATH --model-control-mode=explicit \\
  --grpc-restricted-protocol=model-repository:admin-key=SECRET --http-restricted-api=model-repository:admin-key=SECRET
```
{run_by}
Load the models:

```python
import tritonclient.grpc as triton

client = triton.InferenceServerClient("localhost:8001")
admin = {{"triton-grpc-protocol-admin-key": "SECRET"}}
{load}
```

The encoder takes `image`, {picture}.
The decoder takes SAM's official inputs for one prompt; ask it for a version by number (`model_version="2"`), or leave
the version out for the newest.

## A new adapted decoder

`livesam export decoder --format triton` into this folder adds `{name}-decoder/2`, `3`, ... The server goes on with
what it has until you say `client.load_model("{name}-decoder", headers=admin)` again; it then serves the newest
{SERVED_VERSIONS} versions, and requests in flight finish on theirs. To go back, ask for the older number. For a swap
without any gap behind a load balancer, export with another `--name`, load it, warm it with one request, move your
clients, then unload the old one.

A decoder belongs to the encoder that it was adapted with (`base_sha256` in both configurations); another base needs a
repository of its own. `manifest.json` holds the hashes of what stays, `model.onnx.json` in each version those of that
version and how it was checked; `livesam inspect` on this folder compares them all.
"""
