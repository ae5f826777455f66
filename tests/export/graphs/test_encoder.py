from functools import partial

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from livesam.engine.models import loading as models
from livesam.engine.models import spec as specs
from livesam.engine.models.spec import ModelSpec
from livesam.engine.values.errors import ExportError, ParityError
from livesam.export.files import staging
from livesam.export.files.manifest import Manifest
from livesam.export.graphs import encoder as encoder_module
from livesam.export.graphs.encoder import encoder_model, export_encoder, normalised, probe_image
from segment_anything.modeling import ImageEncoderViT

SIZE = 320  # a 20 x 20 grid: windows of 14 need padding, as in the 1024-px models
SPEC = ModelSpec("small_vit", SIZE, None)


class SmallSam(torch.nn.Module):
    """As much of a Sam as an encoder export looks at."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.image_encoder = ImageEncoderViT(
            img_size=SIZE,
            embed_dim=48,
            depth=4,
            num_heads=3,
            norm_layer=partial(torch.nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            global_attn_indexes=(1, 3),
            window_size=14,
        ).eval()
        for name, parameter in self.image_encoder.named_parameters():
            if "rel_pos" in name or "pos_embed" in name or name.endswith("qkv.bias"):
                torch.nn.init.normal_(parameter, std=0.5)  # the official initialisation is zero and would test nothing


@pytest.fixture(scope="module")
def sam():
    return SmallSam()


@pytest.fixture(scope="module")
def pixels():
    return np.concatenate([normalised(probe_image(SIZE, seed), SIZE) for seed in (5, 6)])


@pytest.fixture(scope="module")
def wanted(sam, pixels):
    with torch.no_grad():
        return sam.image_encoder(torch.from_numpy(pixels)).numpy()


def run(path, image):
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return session.run(None, {"image": image})[0]


def share(got, want):
    return float(np.abs(got - want).max() / (want.max() - want.min()))


@pytest.mark.parametrize("rel_pos", ["augment", "bias"])
def test_sam_vit_equals_the_reference(sam, tmp_path, pixels, wanted, rel_pos):
    export_encoder(sam, SPEC, tmp_path / "e.onnx", batch=None, rel_pos=rel_pos)
    assert share(run(tmp_path / "e.onnx", pixels), wanted) < 1e-5
    assert share(run(tmp_path / "e.onnx", pixels[:1]), wanted[:1]) < 1e-5


def test_relative_positions_matter(sam, pixels, wanted):
    """Without them the answer is another one, so the test above would notice their loss."""
    with torch.no_grad():
        tables = [p for n, p in sam.image_encoder.named_parameters() if "rel_pos" in n]
        kept = [t.clone() for t in tables]
        for table in tables:
            table.zero_()
        without = sam.image_encoder(torch.from_numpy(pixels)).numpy()
        for table, value in zip(tables, kept, strict=True):
            table.copy_(value)
    assert share(without, wanted) > 1e-2


def test_runs_in_openvino(sam, tmp_path, pixels, wanted):
    openvino = pytest.importorskip("openvino")
    export_encoder(sam, SPEC, tmp_path / "e.onnx")
    # Where the processor has bf16 that is OpenVINO's default.
    options = {"INFERENCE_NUM_THREADS": 2, "INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(str(tmp_path / "e.onnx"), "CPU", options)
    assert share(compiled(pixels[:1])[0], wanted[:1]) < 1e-4


def test_no_einsum_and_no_shape_arithmetic_is_left(sam):
    kinds = {node.op_type for node in encoder_model(sam.image_encoder, SIZE).graph.node}
    assert "Einsum" not in kinds
    arithmetic = {"Add", "Concat", "Conv", "Div", "Erf", "LayerNormalization", "MatMul", "Mul", "Softmax"}
    layout = {"Expand", "Identity", "Pad", "Reshape", "Shape", "Slice", "Split", "Squeeze", "Transpose"}
    assert kinds <= arithmetic | layout


def test_uint8_input_normalises_and_pads_inside(sam, tmp_path):
    image = probe_image(SIZE, 9)[:200, :250]
    manifest = export_encoder(sam, SPEC, tmp_path / "e.onnx", uint8_input=True)
    with torch.no_grad():
        want = sam.image_encoder(torch.from_numpy(normalised(image, SIZE))).numpy()
    assert share(run(tmp_path / "e.onnx", image), want) < 1e-5
    assert manifest.inputs["image"].dtype == "uint8"
    assert manifest.inputs["image"].shape == ("height", "width", 3)


def test_normalised_is_what_sam_does():
    sam = models.build("nano")
    image = probe_image(512)
    want = sam.preprocess(torch.from_numpy(image).permute(2, 0, 1).float()[None]).numpy()
    np.testing.assert_allclose(normalised(image, 512), want, atol=1e-6)


@pytest.mark.parametrize(
    ("precision", "elem"), [("fp16", onnx.TensorProto.FLOAT16), ("bf16", onnx.TensorProto.BFLOAT16)]
)
def test_low_precision_weights_and_float32_ports(sam, tmp_path, pixels, wanted, precision, elem):
    manifest = export_encoder(sam, SPEC, tmp_path / "e.onnx", precision=precision)
    model = onnx.load(str(tmp_path / "e.onnx"))
    onnx.checker.check_model(model, full_check=True)
    floats = {t.name: t.data_type for t in model.graph.initializer if t.data_type != onnx.TensorProto.INT64}
    assert set(floats.values()) == {elem}
    assert model.graph.input[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    assert model.graph.output[0].type.tensor_type.elem_type == onnx.TensorProto.FLOAT
    assert manifest.precision == precision
    assert ("twin" in manifest.parity["checked"]) == (precision == "bf16")
    if precision == "fp16":
        assert 1e-6 < share(run(tmp_path / "e.onnx", pixels[:1]), wanted[:1]) < 2e-2
    assert sorted(f.name for f in tmp_path.iterdir()) == ["e.onnx", "e.onnx.json"]


def test_large_weights_lie_in_one_file_beside_the_graph(sam, tmp_path, pixels, wanted, monkeypatch):
    monkeypatch.setattr(staging, "INLINE_LIMIT", 10_000)
    manifest = export_encoder(sam, SPEC, tmp_path / "e.onnx")
    assert sorted(manifest.files) == ["e.onnx", "e.onnx.data"]
    assert sorted(f.name for f in tmp_path.iterdir()) == ["e.onnx", "e.onnx.data", "e.onnx.json"]
    assert share(run(tmp_path / "e.onnx", pixels[:1]), wanted[:1]) < 1e-5
    Manifest.read(tmp_path / "e.onnx").verify(tmp_path)


def test_traced_encoder_with_a_dynamic_batch(tmp_path):
    torch.manual_seed(0)
    nano = models.build("nano")
    manifest = export_encoder(nano, specs.spec("nano"), tmp_path / "e.onnx", batch=None)
    image = np.concatenate([normalised(probe_image(512, seed), 512) for seed in (1, 2, 3)])
    with torch.no_grad():
        want = nano.image_encoder(torch.from_numpy(image)).numpy()
    assert share(run(tmp_path / "e.onnx", image), want) < 1e-4
    assert manifest.inputs["image"].shape == ("batch", 3, 512, 512)
    kinds = {node.op_type for node in onnx.load(str(tmp_path / "e.onnx")).graph.node}
    assert "LayerNormalization" in kinds
    assert not kinds & {"Pow", "BatchNormalization"}


def test_the_served_module_is_left_alone(tmp_path):
    nano = models.build("nano")
    before = [type(m) for m in nano.image_encoder.modules()]
    encoder_model(nano.image_encoder, 512)
    assert [type(m) for m in nano.image_encoder.modules()] == before


def test_a_failed_check_leaves_nothing(sam, tmp_path, monkeypatch):
    zeros = {"embedding": np.zeros((1, 256, 20, 20), np.float32)}
    monkeypatch.setattr(encoder_module, "run_onnx", lambda path, feeds: (zeros, "x"))
    (tmp_path / "e.onnx").write_bytes(b"an earlier file")
    with pytest.raises(ParityError, match="embedding differs from PyTorch"):
        export_encoder(sam, SPEC, tmp_path / "e.onnx")
    assert [f.name for f in tmp_path.iterdir()] == ["e.onnx"]
    assert (tmp_path / "e.onnx").read_bytes() == b"an earlier file"


def test_not_finite_is_an_error_in_words(sam, tmp_path, monkeypatch):
    nan = np.full((1, 256, 20, 20), np.nan, np.float32)
    monkeypatch.setattr(encoder_module, "run_onnx", lambda path, feeds: ({"embedding": nan}, "x"))
    with pytest.raises(ParityError, match="not finite in fp16: use bf16 or fp32"):
        export_encoder(sam, SPEC, tmp_path / "e.onnx", precision="fp16")
    assert list(tmp_path.iterdir()) == []


def test_bad_arguments(sam, tmp_path):
    with pytest.raises(ValueError, match="precision must be one of"):
        export_encoder(sam, SPEC, tmp_path / "e.onnx", precision="int8")
    with pytest.raises(ValueError, match="batch must be positive"):
        export_encoder(sam, SPEC, tmp_path / "e.onnx", batch=0)
    (tmp_path / "file").write_text("")
    with pytest.raises(ExportError, match="cannot write"):
        export_encoder(sam, SPEC, tmp_path / "file" / "e.onnx")
