"""A session that learns while it is being used: the loop between its clicks and its decoder slot."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from livesam.adapter.loop import AdaptationLoop
from livesam.adapter.method import config_of, create, obeys

if TYPE_CHECKING:
    from livesam.adapter.loop_state import LoopConfig
    from livesam.adapter.store import DecoderStore
    from livesam.engine.session import Session
    from segment_anything.modeling import Sam


_counting = threading.Lock()  # of PyTorch's threads


@contextlib.contextmanager
def learning(
    session: Session,
    sam: Sam,
    method: str = "live",
    device: str = "cpu",
    *,
    store: DecoderStore | None = None,
    config: LoopConfig | None = None,
) -> Iterator[AdaptationLoop]:
    """Learn from everything that the session is told, and publish to its slot, for the length of the block.

    Where ``live`` learns, the session obeys clicks meanwhile (``engine/obey.py``).

    Args:
        sam: the weights that the session's decoder started from; copied, not changed.
        store: where what is learned is saved, and taken up again the next time.
        config: how the loop behaves. By default it only gets what processor time nobody else wants: on a machine that
            others keep busy give ``LoopConfig(nice=0)``.

    Raises:
        ValueError: there is no such method, or ``sam`` has another input size than the session.
    """
    size, wanted = int(sam.prompt_encoder.input_image_size[0]), getattr(session.encoder, "image_size", None)
    if wanted not in (None, size):
        raise ValueError(f"the session looks at {wanted} px, this model at {size}: load it with size={wanted}")
    clicks_obeyed = obeys(config_of(method))
    loop = AdaptationLoop(
        lambda _: create(method, sam, device=device, give_way=session.gate.give_way),
        session.slot.publish,
        gate=session.gate,
        config=config,
        store=store,
        learning=_low_priority(device),
        domain=session.domain,
    )
    before, obeyed = session.on_interaction, session.obey
    try:
        loop.start()
        session.on_interaction, session.obey = loop.submit, obeyed or clicks_obeyed
        yield loop
    finally:
        session.on_interaction, session.obey = before, obeyed
        loop.close(timeout=120)  # a publish that is on its way needs the slot, which the caller may close next


def _low_priority(device: str) -> Callable[[], contextlib.AbstractContextManager[object]]:
    """On a GPU a stream that clicks overtake; never run on one yet. On the CPU one core, in the loop's niced thread."""
    if not device.startswith("cuda"):
        return _one_core

    def stream() -> contextlib.AbstractContextManager[object]:
        import torch

        lowest = torch.cuda.Stream(device, priority=0)  # type: ignore[no-untyped-call]  # TensorRT's clicks: -1
        return torch.cuda.stream(lowest)

    return stream


@contextlib.contextmanager
def _one_core() -> Iterator[None]:
    """Let the calling thread's PyTorch work on one core; what other threads have, and those to come, stays.

    A core that now and then has nothing to do takes over who waits at another: with learning on all of them the threads
    of a click's decoder stay crowded on one for seconds.
    """
    import torch

    with _counting:
        before = torch.get_num_threads()  # asked first: PyTorch gives a thread its count when it is first used there
        torch.set_num_threads(1)  # this thread's own, and what threads to come begin with; the latter is put back
        other = threading.Thread(target=torch.set_num_threads, args=(before,))
        other.start()
        other.join()
    try:
        yield
    finally:
        torch.set_num_threads(before)
