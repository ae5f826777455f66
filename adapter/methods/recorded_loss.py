"""`live`'s loss and gradient of a whole batch as one recorded CUDA graph.

A step of `live` is some 400 small kernels: on an H200 their launches take 25 ms, longer than two CPU cores need for the
arithmetic. Lessons are copied into tensors of fixed shape, and the graph does the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from livesam.adapter.losses import click_bce, near_clicks
from livesam.adapter.methods.late_layers import LateLayers
from livesam.engine.models.mask_decoder import Trunk, head, last_attention
from livesam.engine.runtimes.recorder import CudaRecorder, Recorder, Work
from torch import Tensor

if TYPE_CHECKING:
    from livesam.adapter.flat_decoder import FlatDecoder
    from livesam.adapter.methods.replay import Lesson

CLICKS = 32  # of a lesson; one with more of them is learned without the graph
FAR = 1e4  # where a click that is not there lies, in shares of the side


class RecordedLoss:
    """Loss and gradient of batches of one size, for one decoder.

    Args:
        decoder: whose gradient is written; its vectors keep their places.
        position: of the image tokens, ``(1, h*w, 256)``.
        record: makes graphs; None for CUDA's.
    """

    def __init__(
        self, late: LateLayers, decoder: FlatDecoder, position: Tensor, batch: int, record: Recorder | None = None
    ) -> None:
        self._late, self._decoder, self._position, self._batch = late, decoder, position, batch
        self._record = record
        self._work: Work | None = None
        device, cells = position.device, position.shape[1]
        self._hw = (int(cells**0.5),) * 2  # embeddings are square
        side = 4 * self._hw[0]
        self._queries = torch.zeros(batch, 5, 256, dtype=torch.float16, device=device)
        self._image = torch.zeros(batch, cells, 256, dtype=torch.float16, device=device)
        self._target, self._known = (torch.zeros(batch, side, side, device=device) for _ in range(2))
        self._clicks = torch.zeros(batch, CLICKS, 3, device=device)  # x, y, positive
        self._facts = torch.zeros(batch, 3, device=device)  # how many clicks, first, trust

    def fits(self, lessons: Sequence[Lesson]) -> bool:
        """Whether the graph takes these."""
        return len(lessons) == self._batch and all(len(lesson.xy) <= CLICKS for lesson in lessons)

    def __call__(self, lessons: Sequence[Lesson]) -> Tensor:
        """The mean loss of lessons that fit, a scalar without gradient; the decoder's gradient is that of it.

        Raises:
            RuntimeError: CUDA does not record it.
        """
        self._fill(lessons)
        if self._work is None:
            self._work = (self._record or _recorder(self._position.device))(self._step)
        return self._work()[0]

    @torch.no_grad()
    def _fill(self, lessons: Sequence[Lesson]) -> None:
        torch.stack([lesson.queries for lesson in lessons], out=self._queries)
        torch.stack([lesson.image for lesson in lessons], out=self._image)
        torch.stack([lesson.label.target for lesson in lessons], out=self._target)
        torch.stack([lesson.label.weight for lesson in lessons], out=self._known)
        for row, lesson in zip(self._clicks, lessons, strict=True):
            if len(lesson.xy):
                row[: len(lesson.xy), :2] = lesson.xy
                row[: len(lesson.xy), 2] = lesson.positive
        facts = [(len(lesson.xy), lesson.first, lesson.trust) for lesson in lessons]
        self._facts.copy_(torch.tensor(facts, dtype=torch.float32))

    def _step(self) -> tuple[Tensor, ...]:
        self._decoder.gradient.zero_()
        counts, first, trust = self._facts.unbind(1)
        there = torch.arange(CLICKS, device=counts.device) < counts[:, None]  # (B, K)
        xy, positive = self._clicks[..., :2], self._clicks[..., 2]
        places = xy.masked_fill(~(there & (first[:, None] == 0))[..., None], FAR)
        module = self._decoder.module
        reached = last_attention(module, Trunk(self._queries.float(), self._image.float()), self._position)
        masks, ious = head(module, reached, self._hw)
        side = masks.shape[-1]
        near = near_clicks((places + 1) / 2 * side, side)
        at_clicks = click_bce(masks[:, :1], xy, positive, there.float())[:, 0]
        losses = self._late.combined((masks, ious), self._target, self._known, near, at_clicks, first > 0)
        loss = (trust * losses).sum() / self._batch
        loss.backward()  # type: ignore[no-untyped-call]
        return (loss.detach(),)


def _recorder(device: torch.device) -> Recorder:
    """Records on the stream that is current, unless that is the default one, on which nothing can be recorded."""
    stream = torch.cuda.current_stream(device)
    if stream == torch.cuda.default_stream(device):
        stream = torch.cuda.Stream(device)  # type: ignore[no-untyped-call]
    return CudaRecorder(stream, exact=False)
