"""uint8 weights: near where they are right, and caught where they are not."""

import numpy as np
import onnxruntime
import pytest
from livesam.engine.models.loading import decoder_weights
from livesam.engine.values.errors import ParityError
from livesam.export.decoder_export import export_sam
from livesam.export.formats import quantised
from livesam.export.formats.probes import PROBES, probe_feeds, reference
from livesam.export.formats.source import DecoderSource, with_decoder
from livesam.export.graphs.official_graph import Dialect, build_official


@pytest.fixture(scope="module")
def weights(small_sam):
    rng = np.random.default_rng(7)
    return {
        key: value + rng.normal(0, 2e-3, value.shape).astype(np.float32)
        for key, value in decoder_weights(small_sam).items()
    }


def run_onnx(path, feeds):
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, feeds), strict=True))


def worst(got, want):
    return float(np.abs(got - want).max()) / (float(want.max() - want.min()) or 1.0)


@pytest.mark.parametrize("single", [True, False])
def test_quantised_is_a_third_in_size_and_near(small_sam, small_spec, weights, tmp_path, single):
    out = tmp_path / "decoder.onnx"
    manifest = export_sam(
        small_sam, small_spec, format="sam-onnx", out=out, weights=weights, single=single, quantised=True
    )
    assert out.stat().st_size < 6e6
    assert manifest.precision == "quint8"
    assert manifest.parity["quantised_tensors"] > 40
    assert manifest.parity["prompts"] == [probe.kind for probe in PROBES]
    assert "in uint8" in manifest.parity["claim"]
    feeds = probe_feeds(PROBES[5], 256, seed=11)  # three points: token 0, whatever the IoUs are
    want = reference(with_decoder(small_sam, weights), feeds, Dialect(single=single))
    assert 1e-5 < worst(run_onnx(out, feeds)["low_res_masks"], want["low_res_masks"]) < quantised.LOGITS[0]


def exchanged(state, *pairs):
    state = dict(state)
    for one, other in pairs:
        for key in [k for k in state if k.startswith(f"{one}.")]:
            twin = key.replace(one, other, 1)
            state[key], state[twin] = state[twin], state[key]
    return state


WRONG = {
    "norms": ("mask_decoder.transformer.layers.0.norm1", "mask_decoder.transformer.layers.1.norm1"),
    "corners": ("prompt_encoder.point_embeddings.2", "prompt_encoder.point_embeddings.3"),
    "tokens": ("mask_decoder.output_hypernetworks_mlps.1", "mask_decoder.output_hypernetworks_mlps.2"),
}


@pytest.mark.parametrize("wrong", [*WRONG, "base"])
def test_a_wrong_quantised_graph_is_caught(small_sam, small_spec, weights, tmp_path, wrong):
    """Even one that quantisation's own error would hide; the reason may be any of the three checks."""
    source = DecoderSource.of(small_sam, small_spec, weights=weights)
    state = DecoderSource.of(small_sam, small_spec).decoder_state() if wrong == "base" else source.decoder_state()
    if wrong != "base":
        rng = np.random.default_rng(0)  # norms that start alike would be exchanged unseen
        state = {
            k: v + rng.normal(0, 0.05, v.shape).astype(np.float32) if ".norm" in k else v for k, v in state.items()
        }
        source = DecoderSource.of(
            small_sam,
            small_spec,
            weights={k.removeprefix("mask_decoder."): v for k, v in state.items() if k.startswith("mask_decoder.")},
        )
        state = exchanged(state, WRONG[wrong])
    path, graph = tmp_path / "q.onnx", build_official(state, 256)
    quantised.quantise(graph, path)
    with pytest.raises(ParityError, match="is not the decoder's own"):
        quantised.check_quantised(path, graph, source, "q.onnx", Dialect())
    with pytest.MonkeyPatch.context() as patch:  # the graph alone must be caught as well, with the right weights in it
        patch.setattr(quantised, "require_weights", lambda *_: 0)
        with pytest.raises(ParityError, match=r"before it is quantised.*differs from PyTorch"):
            quantised.check_quantised(path, graph, source, "q.onnx", Dialect())


def test_the_limits_of_quantisation_alone_catch_exchanged_tokens(small_sam, small_spec, weights, tmp_path):
    source = DecoderSource.of(small_sam, small_spec, weights=weights)
    path, right = tmp_path / "q.onnx", build_official(source.decoder_state(), 256)
    quantised.quantise(build_official(exchanged(source.decoder_state(), WRONG["tokens"]), 256), path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(quantised, "require_weights", lambda *_: 0)
        with pytest.raises(ParityError, match=r"q\.onnx: .* differs from PyTorch"):
            quantised.check_quantised(path, right, source, "q.onnx", Dialect())
