import numpy as np
import pytest
from livesam.engine.models.adapted import load_adapted, read_adapted, write_adapted
from livesam.engine.models.loading import decoder_weights
from livesam.engine.values.adapted_info import AdaptedInfo
from livesam.engine.values.errors import CheckpointError
from livesam.export.foreign.merge import merge_adapted, merge_weights


@pytest.fixture(scope="module")
def base(nano_sam):
    return decoder_weights(nano_sam)


def person(path, base, seed, domain, **options):
    rng = np.random.default_rng(seed)
    weights = {key: value + rng.normal(0, 1e-3, value.shape).astype(np.float32) for key, value in base.items()}
    info = AdaptedInfo(
        model="nano", method="live", domain=domain, counts={"accepted": seed}, metrics={"replay_iou": seed / 10}
    )
    write_adapted(path, weights, base, info, **options)
    return load_adapted(path, base)


@pytest.mark.parametrize(("how", "factor", "scale"), [("mean", 1.0, 0.5), ("sum", 1.0, 1.0), ("sum", 0.3, 0.3)])
def test_merge_is_task_arithmetic(base, tmp_path, how, factor, scale):
    paths = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    people = [
        person(paths[0], base, 3, "cells"),
        person(paths[1], base, 4, "roads", kind="weights", precision="float32"),
    ]
    out = tmp_path / "c.safetensors"
    merge_adapted(paths, base, out, how=how, factor=factor)
    merged = load_adapted(out, base)
    for key, value in base.items():
        want = value + scale * sum(p[key].astype(np.float64) - value for p in people)
        np.testing.assert_allclose(merged[key], want, rtol=0, atol=1e-6)
    info = read_adapted(out).info
    assert (info.method, info.domain, info.counts) == ("merge", "cells+roads", {"accepted": 7})
    assert (info.settings["how"], info.settings["factor"]) == (how, factor)
    assert [s["file"] for s in info.settings["sources"]] == ["a.safetensors", "b.safetensors"]


def test_each_source_keeps_its_metrics_and_every_object_counts_once(base, tmp_path):
    a, b, again, c, d = (tmp_path / f"{name}.safetensors" for name in ("a", "b", "again", "c", "d"))
    person(a, base, 3, "cells")
    person(b, base, 4, "roads")
    write_adapted(again, load_adapted(a, base), base, read_adapted(a).info, kind="weights", precision="float32")
    merge_adapted([a, b, again], base, c)
    info = read_adapted(c).info
    assert info.counts == {"accepted": 7}
    assert info.metrics == {}  # nobody has measured the mixture
    assert [(s["counts"], s["metrics"]) for s in info.settings["sources"]] == [
        ({"accepted": 3}, {"replay_iou": 0.3}),
        ({"accepted": 4}, {"replay_iou": 0.4}),
        ({"accepted": 3}, {"replay_iou": 0.3}),
    ]
    merge_adapted([c, a], base, d)  # a is in c already
    assert read_adapted(d).info.counts == {"accepted": 7}
    assert read_adapted(d).info.settings["sources"][0]["sources"] == info.settings["sources"]


def test_two_people_who_say_the_same_of_different_weights_count_twice(base, tmp_path):
    info = AdaptedInfo(model="nano", method="live", counts={"accepted": 5})
    paths = [tmp_path / "a.safetensors", tmp_path / "b.safetensors"]
    for i, path in enumerate(paths):
        rng = np.random.default_rng(i)
        write_adapted(
            path, {k: v + rng.normal(0, 1e-3, v.shape).astype(np.float32) for k, v in base.items()}, base, info
        )
    assert merge_adapted(paths, base, tmp_path / "c.safetensors").counts == {"accepted": 10}


def test_merging_one_with_factor_zero_is_the_base(base):
    other = {key: value + np.float32(1) for key, value in base.items()}
    for key, value in merge_weights([other], base, factor=0).items():
        np.testing.assert_array_equal(value, base[key])


def test_another_base_is_refused_by_name(base, tmp_path):
    other = {key: value + np.float32(1) for key, value in base.items()}
    person(tmp_path / "a.safetensors", base, 1, "cells")
    person(tmp_path / "b.safetensors", other, 2, "cells")
    with pytest.raises(CheckpointError, match=r"b\.safetensors: .*another base"):
        merge_adapted([tmp_path / "a.safetensors", tmp_path / "b.safetensors"], base, tmp_path / "c.safetensors")
    assert not (tmp_path / "c.safetensors").exists()


def test_bad_arguments(base):
    with pytest.raises(ValueError, match="nothing to merge"):
        merge_weights([], base)
    with pytest.raises(ValueError, match="mean or sum"):
        merge_weights([base], base, how="median")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="finite"):
        merge_weights([base], base, factor=float("nan"))
