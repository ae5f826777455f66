"""The official weights files: where they are, what they must be, and how to get them. Nothing is fetched unasked."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from livesam.engine.files.hashing import file_sha256
from livesam.engine.values.errors import DownloadError

if TYPE_CHECKING:
    from http.client import HTTPResponse

CHUNK_BYTES = 1 << 20
TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class OfficialFile:
    """A weights file at its official address.

    Attributes:
        filename: the name it is known by.
        url: where it is published.
        sha256: of the whole file, hex.
        size: its length in bytes.
    """

    filename: str
    url: str
    sha256: str
    size: int


_META = "https://dl.fbaipublicfiles.com/segment_anything/"

OFFICIAL_FILES: dict[str, OfficialFile] = {
    "vit_t": OfficialFile(
        "mobile_sam.pt",
        "https://github.com/ChaoningZhang/MobileSAM/raw/master/weights/mobile_sam.pt",
        "6dbb90523a35330fedd7f1d3dfc66f995213d81b29a5ca8108dbcdd4e37d6c2f",
        40_728_226,
    ),
    "vit_b": OfficialFile(
        "sam_vit_b_01ec64.pth",
        _META + "sam_vit_b_01ec64.pth",
        "ec2df62732614e57411cdcf32a23ffdf28910380d03139ee0f4fcbe91eb8c912",
        375_042_383,
    ),
    "vit_l": OfficialFile(
        "sam_vit_l_0b3195.pth",
        _META + "sam_vit_l_0b3195.pth",
        "3adcc4315b642a4d2101128f611684e8734c41232a17c648ed1693702a49a622",
        1_249_524_607,
    ),
    "vit_h": OfficialFile(
        "sam_vit_h_4b8939.pth",
        _META + "sam_vit_h_4b8939.pth",
        "a7bf3b02f3ebf1267aba913ff637d9a2d5c33d3173bb679e46d9f338c26f262e",
        2_564_550_879,
    ),
}

Progress = Callable[[int, int], None]  # bytes there, bytes in all


def download(
    file: OfficialFile, folder: Path, progress: Progress | None = None, *, timeout_s: float = TIMEOUT_S
) -> Path:
    """Fetch an official file into a folder unless it is there; an interrupted download goes on where it stopped.

    Bytes arrive in ``<filename>.part``; only a whole file with the right SHA-256 gets its name, in one step.

    Args:
        file: what to fetch.
        folder: where to; made if missing.
        progress: called with (bytes there, bytes in all) as they arrive; from the first call on, resumed bytes count.
        timeout_s: how long the server may stay silent.

    Returns:
        The file's path.

    Raises:
        DownloadError: the server cannot be reached, breaks off or sends something else, the disk is full or read-only,
            or another file of that name lies in the folder.
    """
    target = folder / file.filename
    part = folder / f"{file.filename}.part"
    try:
        if target.exists():
            return _existing(target, file)
        folder.mkdir(parents=True, exist_ok=True)
        resumed = part.stat().st_size if part.exists() else 0
        if resumed > file.size:  # not a beginning of this file
            part.unlink()
            resumed = 0
        _check_space(file, folder, resumed)
        if resumed < file.size:
            resumed = _fetch(file, part, resumed, progress, timeout_s)
        got = file_sha256(part)
        if got != file.sha256 and resumed:
            # The earlier bytes may be at fault (another version, a power cut): try once without them.
            part.unlink()
            _fetch(file, part, 0, progress, timeout_s)
            got = file_sha256(part)
        if got != file.sha256:
            part.unlink()
            raise DownloadError(
                f"{file.filename} from {file.url} has SHA-256 {got} instead of {file.sha256}: it is damaged or another "
                "file, so it was removed; try again later"
            )
        os.replace(part, target)
        _sync_folder(folder)
    except OSError as error:  # urllib's and the sockets' errors are reported where they arise
        raise DownloadError(f"{target} cannot be written: {error.strerror or error}") from error
    return target


def _existing(target: Path, file: OfficialFile) -> Path:
    if not target.is_file() or target.stat().st_size != file.size or file_sha256(target) != file.sha256:
        raise DownloadError(f"{target} is there already, but is not the official file: move it away and try again")
    return target


def _check_space(file: OfficialFile, folder: Path, resumed: int) -> None:
    free = shutil.disk_usage(folder).free
    needed = file.size - resumed
    if free < needed:
        raise DownloadError(
            f"{folder} has {free // 2**20} MiB free, but {file.filename} needs {needed // 2**20} MiB more: "
            "make room or choose another folder"
        )


def _fetch(file: OfficialFile, part: Path, resumed: int, progress: Progress | None, timeout_s: float) -> int:
    """Bring the part file to full length; returns how many of its old bytes were kept."""
    with _open(file, resumed, timeout_s) as response:
        if response.status != 206:  # the server sends everything, whatever was asked for
            resumed = 0
        done = resumed
        with open(part, "ab" if resumed else "wb") as out:
            if progress is not None:
                progress(done, file.size)
            while done <= file.size:
                try:
                    chunk = response.read(CHUNK_BYTES)
                except (OSError, HTTPException) as error:
                    raise _broken_off(file, part, done) from error
                if not chunk:
                    break
                out.write(chunk)
                done += len(chunk)
                if progress is not None:
                    progress(min(done, file.size), file.size)
            out.flush()
            os.fsync(out.fileno())
    if done > file.size:
        part.unlink()
        raise DownloadError(f"{file.url} sends more than the {file.size} bytes of {file.filename}: it is another file")
    if done < file.size:
        raise _broken_off(file, part, done)
    return resumed


def _broken_off(file: OfficialFile, part: Path, done: int) -> DownloadError:
    return DownloadError(
        f"the download of {file.filename} broke off after {done} of {file.size} bytes: "
        f"run it again to go on (they are kept in {part})"
    )


def _open(file: OfficialFile, resumed: int, timeout_s: float) -> HTTPResponse:
    from urllib.error import HTTPError, URLError
    from urllib.request import Request, urlopen

    address = urlsplit(file.url)
    if address.scheme != "https" and not (address.scheme == "http" and address.hostname in ("127.0.0.1", "localhost")):
        raise ValueError(f"weights are fetched over https only, got {file.url}")
    headers = {"User-Agent": "livesam", "Accept-Encoding": "identity"}
    if resumed:
        headers["Range"] = f"bytes={resumed}-"
    try:
        response: HTTPResponse = urlopen(Request(file.url, headers=headers), timeout=timeout_s)
    except HTTPError as error:
        error.close()
        if error.code == 416 and resumed:  # this server has no such range: begin again
            return _open(file, 0, timeout_s)
        raise DownloadError(
            f"{file.url} answers {error.code} ({error.reason}): try later, or give a file that you have"
        ) from error
    except (OSError, HTTPException) as error:
        reason = error.reason if isinstance(error, URLError) else error
        raise DownloadError(
            f"{file.url} cannot be reached ({reason}): check the connection and run it again"
        ) from error
    if response.status == 206 and not response.headers.get("Content-Range", "").startswith(f"bytes {resumed}-"):
        response.close()
        if resumed:  # the range that came is not the one that was asked for: begin again
            return _open(file, 0, timeout_s)
        raise DownloadError(f"{file.url} sends a part of the file where all of it was asked for: try again later")
    return response


def _sync_folder(folder: Path) -> None:
    """Make a rename survive a power cut, where the system can."""
    if hasattr(os, "O_DIRECTORY"):
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
