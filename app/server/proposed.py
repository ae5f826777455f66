"""Masks that were proposed on the image that is open, by numbers, until each is taken or dropped."""

from __future__ import annotations

from typing import TYPE_CHECKING

from livesam.app.server.masks import Mask
from livesam.app.server.problems import NotFound
from livesam.engine.values.errors import SessionError

if TYPE_CHECKING:
    from livesam.app.server.store import Store
    from livesam.engine.session.session import Session


class Proposed:
    """The proposals of one session."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._found: dict[int, tuple[Mask, float, int]] = {}

    def find(self, session: Session, image: str, label: str | None, most: int) -> list[tuple[int, float, Mask]]:
        """Look for what is like an image's objects of a label (None: of any): numbers, estimated IoUs and masks.

        Raises:
            SessionError: there is no such object.
        """
        from livesam.engine.session.proposals import propose

        objects = self._store.objects(image)
        masks = {one.id: self._store.mask(one.id) for one in objects}
        examples = [masks[one.id] for one in objects if label in (None, one.label)]
        if not examples:
            raise SessionError("accept an object first: proposals are what looks like it")
        found = propose(session, examples, list(masks.values()), most=most)
        self._found = {i: (one.mask, one.iou, one.decoder_version) for i, one in enumerate(found)}
        return [(i, iou, mask) for i, (mask, iou, _) in self._found.items()]

    def __getitem__(self, number: int) -> tuple[Mask, float, int]:
        """A proposal's mask, estimated IoU and decoder version.

        Raises:
            NotFound: there is none of that number.
        """
        if number not in self._found:
            raise NotFound(f"there is no proposal {number}: it was taken, dropped, or is of an earlier image")
        return self._found[number]

    def drop(self, number: int) -> None:
        """It is decided.

        Raises:
            NotFound: there is none of that number.
        """
        self[number]
        del self._found[number]

    def clear(self) -> None:
        """Another image is open."""
        self._found.clear()
