"""Opening a PyTorch weights file of unknown origin.

A ``.pth`` is a zip archive with a pickle inside, and a pickle is a program. Three gates stand before its tensors: the
archive holds plain uncompressed entries that fit into the file, the pickle names nothing but tensors and dictionaries,
and torch's own ``weights_only`` unpickler reads it. There is no fallback to the unrestricted one.
"""

from __future__ import annotations

import pickletools
import zipfile
from pathlib import Path
from typing import Any

from livesam.engine.values.errors import CheckpointError

MAX_PICKLE_BYTES = 16 * 2**20  # vit_h's is 0.1 MiB
MAX_ENTRIES = 8192  # vit_h's archive has 600

_STORAGES = (
    *("FloatStorage", "HalfStorage", "BFloat16Storage", "DoubleStorage", "LongStorage"),
    # Beside the weights: states of random generators, counters of optimisers.
    *("IntStorage", "ShortStorage", "CharStorage", "ByteStorage", "BoolStorage"),
)
ALLOWED_GLOBALS = frozenset(
    {
        "collections OrderedDict",
        "collections Counter",
        "torch._utils _rebuild_tensor_v2",
        "torch._utils _rebuild_parameter",
        *(f"torch {storage}" for storage in _STORAGES),
    }
)
# Ways to name or build an object without GLOBAL; torch.save (protocol 2) writes none of them.
_FORBIDDEN_OPCODES = frozenset({"STACK_GLOBAL", "INST", "OBJ", "NEWOBJ", "NEWOBJ_EX", "EXT1", "EXT2", "EXT4", "PERSID"})
_SAVE_PLAIN = "save the weights alone, with torch.save(model.state_dict(), file) or as safetensors"


def check_torch_file(path: Path) -> None:
    """What stands before the unpickler: archive and instructions are looked at, nothing is run, torch is not imported.

    Raises:
        CheckpointError: the file is not such an archive, is damaged, or holds more than tensors.
        OSError: the file cannot be read.
    """
    _check_pickle(path, _read_pickle(path))


def load_torch_file(path: Path) -> Any:
    """The object in a ``torch.save`` archive, its tensors mapped from the file (private pages, on the CPU).

    Raises:
        CheckpointError: the file is not such an archive, is damaged, or holds more than tensors.
        OSError: the file cannot be read.
    """
    check_torch_file(path)  # before torch is imported: a refusal is quick
    import torch

    try:
        return torch.load(path, map_location="cpu", weights_only=True, mmap=True)
    except (OSError, MemoryError):
        raise
    except Exception as error:  # torch raises RuntimeError, UnpicklingError, ValueError, KeyError, ... for damage
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise CheckpointError(f"{path} is damaged or not a weights file ({reason}): get it again") from error


def _read_pickle(path: Path) -> bytes:
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
            if len(entries) > MAX_ENTRIES:
                raise CheckpointError(f"{path} has {len(entries)} parts, a SAM checkpoint has at most {MAX_ENTRIES}")
            # torch never compresses; a small file that unpacks to a huge one, or whose entries overlap, is a bomb.
            total = sum(entry.file_size for entry in entries)
            if any(entry.compress_type != zipfile.ZIP_STORED for entry in entries) or total > path.stat().st_size:
                raise CheckpointError(f"{path} would unpack to more than its own size, so it was not opened")
            names = [entry.filename for entry in entries]
            if any(name.endswith("/constants.pkl") for name in names):
                raise CheckpointError(f"{path} is a TorchScript program, not weights: {_SAVE_PLAIN}")
            pickles = [entry for entry in entries if entry.filename.endswith("/data.pkl")]
            if len(pickles) != 1:
                raise CheckpointError(f"{path} is a zip archive, but not one that torch.save wrote: {_SAVE_PLAIN}")
            if pickles[0].file_size > MAX_PICKLE_BYTES:
                raise CheckpointError(f"{path} has an index of {pickles[0].file_size} bytes, far beyond a checkpoint's")
            return archive.read(pickles[0])
    except (zipfile.BadZipFile, EOFError, ValueError, NotImplementedError, RuntimeError) as error:
        raise CheckpointError(f"{path} is truncated or damaged ({error}): get it again") from error


def _check_pickle(path: Path, data: bytes) -> None:
    """Read the pickle's instructions without running any."""
    strange: set[str] = set()
    try:
        for opcode, argument, _ in pickletools.genops(data):
            if opcode.name in _FORBIDDEN_OPCODES:
                strange.add(f"instruction {opcode.name}")
            elif opcode.name == "GLOBAL" and argument not in ALLOWED_GLOBALS:
                strange.add(str(argument).replace(" ", "."))
    except Exception as error:  # genops raises whatever its readers raise on nonsense
        raise CheckpointError(f"{path} is damaged (its index cannot be read): get it again") from error
    if strange:
        shown = ", ".join(sorted(strange, key=lambda what: (what.startswith("instruction "), what))[:3])
        raise CheckpointError(
            f"{path} is a pickle that asks Python for {shown}, which may run code, so it was not opened: {_SAVE_PLAIN}"
        )
