"""Graphs become plans with `tensorrt_rtx` on a machine without a GPU; nothing is run."""

import dataclasses

import pytest
import torch
from livesam.engine.models import loading as models
from livesam.engine.models import spec as specs
from livesam.engine.runtimes.tensorrt import load_library
from livesam.engine.values.errors import ExportError, RuntimeUnavailable
from livesam.export.files.manifest import Manifest, Tensor
from livesam.export.files.staging import save_graph
from livesam.export.graphs import plans as builder
from livesam.export.graphs.decoder_graph import export_serving_decoder
from livesam.export.graphs.encoder import encoder_model, export_encoder
from livesam.export.graphs.plans import Profile, build_plan, decoder_profiles, plan_key
from livesam.export.graphs.precision import PRECISIONS, convert

rtx = pytest.importorskip("tensorrt_rtx")
AOT = ("SM86",)
no_gpu = pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("plans")


@pytest.fixture(scope="module")
def small(small_sam, small_spec, folder):
    path = folder / "small.onnx"
    export_encoder(small_sam, small_spec, path)
    return path


def encoder_graph(name, precision, folder):
    """An encoder graph with a manifest but without the parity check, which other tests do: only parsing counts here."""
    model = specs.spec(name)
    path = folder / f"{name}-{precision}.onnx"
    with torch.random.fork_rng(devices=[]):
        graph = convert(encoder_model(models.build(name).image_encoder, model.image_size), precision)
    files = save_graph(graph, path)
    size = model.image_size
    Manifest(
        kind="encoder",
        model=name,
        precision=precision,
        opset=17,
        files={f.name: "not hashed" for f in files},
        inputs={"image": Tensor("float32", (1, 3, size, size))},
        outputs={"embedding": Tensor("float32", (1, 256, *model.embedding_hw))},
    ).write(path)
    return path


def check_plan(path, precision):
    manifest = Manifest.read(path)
    manifest.verify(path.parent)
    assert manifest.kind == "plan"
    assert manifest.precision == precision
    assert manifest.options["device"] == "aot:SM86"
    assert manifest.options["library_version"] == rtx.__version__
    assert path.stat().st_size > 10_000


@pytest.mark.parametrize("precision", PRECISIONS)
@pytest.mark.parametrize(
    "name",
    [
        "nano",
        pytest.param("vit_t", marks=pytest.mark.slow),
        pytest.param("vit_b", marks=pytest.mark.slow),
        pytest.param("vit_l", marks=pytest.mark.slow),
        pytest.param("vit_h", marks=pytest.mark.slow),
    ],
)
def test_every_encoder_builds_in_every_precision(name, precision, tmp_path):
    graph = encoder_graph(name, precision, tmp_path)
    check_plan(build_plan(graph, tmp_path / "plans", library="tensorrt_rtx", capabilities=AOT), precision)


@pytest.mark.parametrize("precision", PRECISIONS)
def test_the_decoder_builds_with_weights_as_inputs(small_sam, small_spec, precision, tmp_path):
    graph = tmp_path / "decoder.onnx"
    export_serving_decoder(small_sam, small_spec, graph, precision=precision)
    profiles = decoder_profiles(small_spec.embedding_hw, prompts=1)
    plan = build_plan(graph, tmp_path, library="tensorrt_rtx", profiles=profiles, capabilities=AOT)
    check_plan(plan, precision)
    assert len(Manifest.read(plan).weights) == 120


@pytest.mark.slow
def test_the_decoder_of_1024_px_models_builds_for_64_prompts(tmp_path):
    sam, spec = models.build("vit_t"), specs.spec("vit_t")
    export_serving_decoder(sam, spec, tmp_path / "decoder.onnx", precision="bf16")
    profiles = decoder_profiles(spec.embedding_hw)
    assert len(profiles) == 2
    path = build_plan(
        tmp_path / "decoder.onnx", tmp_path, library="tensorrt_rtx", profiles=profiles, capabilities=("SM86", "SM89")
    )
    assert Manifest.read(path).options["device"] == "aot:SM86,SM89"


def test_uint8_input_and_dynamic_batch_build(small_sam, small_spec, tmp_path):
    export_encoder(small_sam, small_spec, tmp_path / "u8.onnx", uint8_input=True)
    sides = [Profile({"image": ((1, 1, 3), (192, 256, 3), (256, 256, 3))})]
    build_plan(tmp_path / "u8.onnx", tmp_path, library="tensorrt_rtx", profiles=sides, capabilities=AOT)
    export_encoder(small_sam, small_spec, tmp_path / "batch.onnx", batch=None)
    profiles = [*builder.encoder_profiles(256), *builder.encoder_profiles(256, (1, 2, 4))]  # one image, and up to 4
    plan = build_plan(tmp_path / "batch.onnx", tmp_path, library="tensorrt_rtx", profiles=profiles, capabilities=AOT)
    one, many = ([[n, 3, 256, 256] for n in counts] for counts in ((1, 1, 1), (1, 2, 4)))
    assert Manifest.read(plan).options["profiles"] == [{"image": one}, {"image": many}]


def test_a_second_build_is_taken_from_the_cache(small, folder, monkeypatch):
    stages = []
    first = build_plan(small, folder, library="tensorrt_rtx", capabilities=AOT, progress=stages.append)
    assert stages == ["parse", "build"]
    stages.clear()
    assert build_plan(small, folder, library="tensorrt_rtx", capabilities=AOT, progress=stages.append) == first
    assert stages == []
    first.write_bytes(first.read_bytes()[:-1])  # a damaged plan is built again
    assert build_plan(small, folder, library="tensorrt_rtx", capabilities=AOT, progress=stages.append) == first
    assert stages == ["parse", "build"]


def test_the_key_names_everything_that_a_plan_depends_on(small):
    lib = load_library("tensorrt_rtx")
    key = plan_key(small, lib, (), capabilities=AOT)
    same = plan_key(small, lib, (), capabilities=AOT)
    assert key.digest == same.digest
    profile = Profile({"image": ((1, 3, 256, 256),) * 3})
    others = [
        dataclasses.replace(key, graph="other"),
        dataclasses.replace(key, library="tensorrt"),
        dataclasses.replace(key, version="9.9"),
        dataclasses.replace(key, device="sm90:NVIDIA H200"),
        dataclasses.replace(key, precision="fp16"),
        dataclasses.replace(key, profiles=(profile,)),
        dataclasses.replace(key, refit=True),
    ]
    assert len({k.digest for k in [key, *others]}) == 8


def test_profiles_cover_a_lone_mask_one_click_and_many_prompts():
    one, many = decoder_profiles((64, 64), prompts=64, points=32)
    assert one.shapes["point_coords"] == ((1, 0, 2), (1, 2, 2), (1, 32, 2))
    assert many.shapes["point_coords"][2] == (64, 32, 2)
    assert many.shapes["mask_input"] == ((1, 1, 256, 256), (1, 1, 256, 256), (64, 1, 256, 256))


@no_gpu
def test_what_needs_a_gpu_says_so(small, folder):
    with pytest.raises(RuntimeUnavailable, match="no usable NVIDIA GPU"):
        build_plan(small, folder, library="tensorrt_rtx")
    with pytest.raises(RuntimeUnavailable, match="refittable plan can only be built on a machine with a GPU"):
        build_plan(small, folder, library="tensorrt_rtx", capabilities=AOT, refit=True)


def test_bad_arguments(small, folder, tmp_path):
    with pytest.raises(ValueError, match=r"SM75.*not for SM10"):
        build_plan(small, folder, library="tensorrt_rtx", capabilities=("SM10",))
    with pytest.raises(ExportError, match="not a livesam manifest"):
        build_plan(tmp_path / "none.onnx", folder, library="tensorrt_rtx", capabilities=AOT)
    broken = tmp_path / small.name
    broken.write_bytes(b"not onnx")
    broken.with_name(small.name + ".json").write_bytes(small.with_name(small.name + ".json").read_bytes())
    with pytest.raises(ExportError, match="cannot parse"):
        build_plan(broken, tmp_path, library="tensorrt_rtx", capabilities=AOT)


def test_a_dynamic_graph_needs_profiles(small_sam, small_spec, tmp_path):
    export_encoder(small_sam, small_spec, tmp_path / "e.onnx", batch=None)
    with pytest.raises(ExportError, match="inputs image are dynamic"):
        build_plan(tmp_path / "e.onnx", tmp_path, library="tensorrt_rtx", capabilities=AOT)
    with pytest.raises(ExportError, match="leaves out the dynamic inputs image"):
        build_plan(tmp_path / "e.onnx", tmp_path, library="tensorrt_rtx", capabilities=AOT, profiles=[Profile({})])


@pytest.mark.skipif(torch.cuda.is_available(), reason="only without a GPU is it the reason")
def test_ahead_of_time_is_for_rtx_only(small, folder, monkeypatch):
    lib = dataclasses.replace(load_library("tensorrt_rtx"), name="tensorrt")
    monkeypatch.setattr(builder, "load_library", lambda name: lib)
    with pytest.raises(RuntimeUnavailable, match="ahead of time builds `tensorrt_rtx`"):
        build_plan(small, folder, library="tensorrt", capabilities=AOT)
