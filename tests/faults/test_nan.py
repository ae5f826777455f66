"""An encoder whose values are not finite: it is named, and the other images go on."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from livesam.engine.values.errors import RuntimeUnavailable


def test_an_image_whose_embedding_is_not_finite(studio, client, monkeypatch: pytest.MonkeyPatch) -> None:
    one = client("not finite")
    assert one.ask("click", x=44, y=54)["box"] is not None
    encoder, cat = studio.engine.encoder, next(one for one in studio.gallery.pictures() if one.name == "cat.png")
    whole = encoder.encoder.encode

    value = np.nan

    def broken(*arguments):
        found = whole(*arguments)
        features = np.array(found.numpy())
        features[0, 3, 2, 1] = value
        return dataclasses.replace(found, features=features)

    with monkeypatch.context() as patch:
        patch.setattr(encoder.encoder, "encode", broken)
        for bad in (np.nan, np.inf):
            value = bad
            with pytest.raises(RuntimeUnavailable, match="not finite"):
                one.ask("open", image=cat.id)
        assert one.ask("accept", label="coin")["object"]["area"] > 0  # the image before, and its object, are there
    assert one.ask("open", image=cat.id)["width"] == 451  # nothing broken was kept
    assert one.ask("click", x=210, y=60)["box"] is not None
