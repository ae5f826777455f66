"""``manifest.json``: what a target holds, in one file that is read first."""

from __future__ import annotations

import hashlib
import json
import posixpath
from collections.abc import Mapping, Sequence
from typing import Any

from livesam.app.jobs.shards import RECORDS, Record
from livesam.app.jobs.source import Source
from livesam.app.storage import Target

NAME = "manifest.json"


def write(target: Target, kind: str, source: Source, found: Sequence[Record], options: Mapping[str, Any]) -> None:
    """Write it, once the shards are there.

    Args:
        kind: what is in the shards, ``embeddings`` or ``labels``.
        options: what the job was asked for.

    Raises:
        OSError: it cannot be written.
    """
    left_out = {name: reason for one in found for name, reason in one.left_out.items()}
    for one in found:
        for name in one.images:  # it was bad once, and was mended
            left_out.pop(name, None)
    content = {
        "format": f"livesam-{kind}-1",
        "made_by": found[0].made_by if found else "",
        "source": {"root": source.root, "images": len(source.names)},
        "options": dict(options),
        "images": sum(len(one.images) for one in found),
        "left_out": left_out,
        "shards": [_shard(one) for one in found if one.file],
    }
    target.write(NAME, (json.dumps(content, indent=1) + "\n").encode())


def _shard(one: Record) -> dict[str, Any]:
    return {
        "file": one.file,
        "sha256": one.sha256,
        "images": len(one.images),
        "record": posixpath.join(RECORDS, f"{one.shard}.json"),  # with the name and the key of each image
    }


def verify(target: Target) -> list[str]:
    """What is wrong with a target, a sentence each: shards that are missing or changed, images that are there twice.

    Raises:
        OSError: a file cannot be read.
        ValueError: there is no manifest, or it is damaged.
    """
    from livesam.app.jobs.shards import records

    data = target.read(NAME)
    if data is None:
        raise ValueError(f"there is no {NAME} in {target.url!r}: run the job to its end")
    content = json.loads(data)
    problems: list[str] = []
    for one in content["shards"]:
        held = target.read(one["file"])
        if held is None:
            problems.append(f"{one['file']} is missing")
        elif hashlib.sha256(held).hexdigest() != one["sha256"]:
            problems.append(f"{one['file']} has changed")
    seen: set[str] = set()
    for record in records(target):
        problems += [f"{name} is there twice" for name in record.images if name in seen]
        seen.update(record.images)
    return problems
