from __future__ import annotations

import builtins
from typing import Any

import numpy as np
import pytest
from livesam.app.photos import PHOTOS, Photo
from livesam.engine.values.errors import LivesamError
from livesam.engine.values.prompt import Prompt
from livesam.engine.view.points import check_prompt


@pytest.mark.parametrize("photo", PHOTOS, ids=lambda photo: photo.name)
def test_scripts_fit_their_photos(photo: Photo) -> None:
    pytest.importorskip("skimage")
    image = photo.load()
    assert image.dtype == np.uint8
    assert image.shape[2] == 3
    assert len({item.name for item in photo.objects}) == len(photo.objects)
    for item in photo.objects:
        check_prompt(Prompt(item.clicks, item.box), (image.shape[0], image.shape[1]), low_res_hw=(0, 0))


def test_without_scikit_image_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def without(name: str, *rest: Any) -> Any:
        if name.startswith("skimage"):
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(LivesamError, match=r"livesam\[app\]"):
        PHOTOS[0].load()
