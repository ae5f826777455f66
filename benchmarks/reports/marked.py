"""Tables of Markdown between two marks of a document."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path


def markdown(head: Sequence[object], rows: Iterable[Sequence[object]]) -> list[str]:
    """The lines of a table."""

    def lines() -> Iterator[Sequence[object]]:
        yield head
        yield ["---"] * len(head)
        yield from rows

    return [f"| {' | '.join(str(cell) for cell in line)} |" for line in lines()]


def put_between(document: Path, begin: str, end: str, text: str) -> None:
    """Put a text between two marks, in the place of what is there.

    Raises:
        ValueError: the document has no such marks.
        OSError: it cannot be read or written.
    """
    old = document.read_text()
    if begin not in old or end not in old:
        raise ValueError(f"{document} has no place for it: write {begin} and {end} where it belongs")
    document.write_text(f"{old[: old.index(begin)]}{begin}\n{text}\n{old[old.index(end) :]}")
