"""An encoder whose replicas are elsewhere is one like any other, and what goes wrong there is said as it was."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from livesam.app.cluster.encoders import RemoteEncoder
from livesam.engine.runtimes.torch_encoder import TorchEncoder
from livesam.engine.values.errors import LivesamError, SessionError


class Replicas:
    """Answers as a deployment's handle does."""

    def __init__(self, encoder):
        self.encoder, self.error = encoder, None
        self.about = SimpleNamespace(remote=lambda: self.answer(encoder.image_size, encoder.identity, encoder.runtime))
        self.encode = SimpleNamespace(remote=lambda image: self.answer(encoder.encode(image).numpy()))

    def answer(self, *values):
        def result(timeout_s):
            if self.error is not None:
                raise self.error
            return values if len(values) > 1 else values[0]

        return SimpleNamespace(result=result)


@pytest.fixture
def replicas(small_sam):
    return Replicas(TorchEncoder(small_sam))


def test_embeddings_are_those_of_the_replica(replicas, photo):
    remote, local = RemoteEncoder(replicas), replicas.encoder
    assert remote.runtime == local.runtime
    got, want = remote.encode(photo), local.encode(photo)
    assert (got.key, got.original_hw, got.resized_hw) == (want.key, want.original_hw, want.resized_hw)
    assert np.array_equal(got.numpy(), want.numpy())
    remote.close()
    with pytest.raises(SessionError, match="the encoder is closed"):
        remote.encode(photo)
    local.encode(photo)  # the replicas are everybody's


def test_nothing_is_kept_in_rays_store(replicas, photo):
    """An array that is held there takes its room for as long; caches hold embeddings for hours."""
    store = np.zeros((1, 256, 8, 8), np.float32)
    replicas.encode = SimpleNamespace(remote=lambda image: replicas.answer(store))
    assert not np.shares_memory(RemoteEncoder(replicas).encode(photo).numpy(), store)


class Wrapped(Exception):
    """As Ray hands over what was raised elsewhere."""

    def __init__(self, cause):
        super().__init__(cause)
        self.cause = cause


@pytest.mark.parametrize(
    ("raised", "told", "match"),
    [
        (Wrapped(ValueError("too thin")), ValueError, "too thin"),
        (Wrapped(SessionError("closed")), SessionError, "closed"),
        (Wrapped(RuntimeError("out of memory")), LivesamError, "no encoder has answered: out of memory"),
        (TimeoutError(), LivesamError, "no encoder has answered: TimeoutError"),
    ],
    ids=str,
)
def test_what_goes_wrong_there(replicas, photo, raised, told, match):
    remote = RemoteEncoder(replicas)
    replicas.error = raised
    with pytest.raises(told, match=match):
        remote.encode(photo)
