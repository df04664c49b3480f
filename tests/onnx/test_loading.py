"""Which files are loaded, by which providers, with how many threads; and what is said otherwise."""

import hashlib
import pickle

import graphs
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from runinference import Execution, RunInference, create_handler
from runinference.errors import ConfigurationError, ModelLoadError
from runinference_onnx import OnnxModelHandlerNumpy


def load(path, **options):
    return OnnxModelHandlerNumpy(path, **options).load_model()


def test_the_model_is_named_by_its_digest(linear):
    handler = OnnxModelHandlerNumpy(linear)
    handler.load_model()
    with open(linear, "rb") as file:
        digest = hashlib.sha256(file.read()).hexdigest()
    assert handler.model_id == f"{linear}@{digest[:12]}"


def test_another_path_is_loaded_after_an_update(linear, save):
    handler = OnnxModelHandlerNumpy(linear)
    handler.update_model_path(save(graphs.identity(shape=["n", 4])))
    rows = [np.ones(4, np.float32)]
    assert handler.run_inference(rows, handler.load_model())[0].tolist() == [1, 1, 1, 1]


def test_it_pickles_after_a_load(linear):
    handler = create_handler("onnx-numpy", model_uri=linear)
    handler.load_model()
    assert isinstance(pickle.loads(pickle.dumps(handler)), OnnxModelHandlerNumpy)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"hello, this is text", "expected an ONNX model, found text that begins with 'hello"),
        (b"<!doctype html><html>", "found an HTML page"),
        (pickle.dumps([1, 2]), "found a pickle"),
        (graphs.linear().SerializeToString()[:60], "cannot be loaded: expected an ONNX model"),
        (b"", "is empty"),
    ],
)
def test_a_file_that_is_no_model(save, content, said):
    with pytest.raises(ModelLoadError, match=said):
        load(save(content))


def test_a_file_that_is_not_there(tmp_path):
    with pytest.raises(ModelLoadError, match="does not exist"):
        load(str(tmp_path / "model.onnx"))


def test_a_model_of_a_later_onnx(save):
    later = graphs.linear()
    later.ir_version = 99
    with pytest.raises(ModelLoadError, match=r"onnxruntime .*: .*Unsupported model IR version: 99"):
        load(save(later))


def test_weights_in_other_files_are_not_read(tmp_path, monkeypatch):
    path = tmp_path / "model.onnx"
    onnx.save_model(
        graphs.linear(),
        path,
        save_as_external_data=True,
        location="weights.bin",
        size_threshold=0,
    )
    monkeypatch.chdir(tmp_path)  # where onnxruntime would look for a model read from memory
    assert (tmp_path / "weights.bin").stat().st_size >= graphs.WEIGHTS.nbytes
    with pytest.raises(ModelLoadError, match=r"one file here.*save_as_external_data=False"):
        load(str(path))


def test_weights_in_other_files_of_a_node_are_not_read(tmp_path, save, monkeypatch):
    (tmp_path / "weights.bin").write_bytes(graphs.WEIGHTS.tobytes())
    monkeypatch.chdir(tmp_path)
    outside = TensorProto(
        name="W", dims=[4, 2], data_type=TensorProto.FLOAT, data_location=TensorProto.EXTERNAL
    )
    outside.external_data.add(key="location", value="weights.bin")
    made = graphs.model(
        [
            helper.make_node("Constant", [], ["W"], value=outside),
            helper.make_node("MatMul", ["x", "W"], ["y"]),
        ],
        [("x", TensorProto.FLOAT, ["n", 4])],
        [("y", TensorProto.FLOAT, ["n", 2])],
    )
    with pytest.raises(ModelLoadError, match="one file here"):
        load(save(made))


def test_an_operator_that_nobody_brings(save):
    with pytest.raises(ModelLoadError, match=r"com.acme:Foo.*custom_op_libraries="):
        load(save(graphs.unknown_operator()))


def test_a_library_of_operators_that_is_none(linear, tmp_path):
    with pytest.raises(ModelLoadError, match=r"custom_op_libraries: '/nowhere.so' cannot be used"):
        load(linear, custom_op_libraries=["/nowhere.so"])


def test_the_environment_may_forbid_libraries(linear, monkeypatch):
    handler = OnnxModelHandlerNumpy(linear, custom_op_libraries=["/nowhere.so"])
    monkeypatch.setenv("RUNINFERENCE_FORBID_MODEL_CODE", "1")
    with pytest.raises(ModelLoadError, match="custom_op_libraries is refused: the environment"):
        handler.load_model()
    with pytest.raises(ConfigurationError, match="custom_op_libraries is refused"):
        OnnxModelHandlerNumpy(linear, custom_op_libraries=["/nowhere.so"])


def test_a_digest_that_is_pinned(linear):
    with open(linear, "rb") as file:
        digest = hashlib.sha256(file.read()).hexdigest()
    handler = OnnxModelHandlerNumpy(linear, model_sha256=digest.upper())
    handler.load_model()
    assert handler.sha256 == digest
    with pytest.raises(ModelLoadError, match=f"expected the content with sha256 {'0' * 64}"):
        load(linear, model_sha256="0" * 64)


def test_an_input_that_is_no_tensor(save):
    numbers = helper.make_tensor_type_proto(TensorProto.FLOAT, ["n"])
    made = graphs.identity()
    made.graph.input[0].CopyFrom(
        helper.make_value_info("x", helper.make_sequence_type_proto(numbers))
    )
    made.graph.output[0].CopyFrom(
        helper.make_value_info("y", helper.make_sequence_type_proto(numbers))
    )
    with pytest.raises(ModelLoadError, match=r"'x' of type seq\(tensor\(float\)\)"):
        load(save(made))


# Providers


def test_a_provider_that_is_not_there(linear):
    with pytest.raises(ModelLoadError) as caught:
        load(linear, providers=["CUDAExecutionProvider", "CPUExecutionProvider"])
    assert "provider 'CUDAExecutionProvider' is not in onnxruntime" in str(caught.value)
    assert "'CPUExecutionProvider'" in str(caught.value)
    assert "onnxruntime-gpu" in str(caught.value)


def test_a_provider_that_is_misspelt(linear):
    with pytest.raises(ModelLoadError, match="did you mean 'CPUExecutionProvider'"):
        load(linear, providers=["CpuExecutionProvder"])


def test_options_of_a_provider_reach_it(linear):
    model = load(linear, provider_options={"CPUExecutionProvider": {}})
    assert model.session.get_providers() == ["CPUExecutionProvider"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"providers": "CPUExecutionProvider"}, r"write \['CPUExecutionProvider'\]"),
        ({"outputs": "label"}, r"write \['label'\]"),
        ({"providers": []}, "providers is empty"),
        ({"provider_options": {"CUDAExecutionProvider": {}}}, "not among providers="),
    ],
)
def test_options_that_cannot_work(options, said):
    with pytest.raises(ConfigurationError, match=said):
        OnnxModelHandlerNumpy("model.onnx", **options)


# Threads

seen = []


class Watched(OnnxModelHandlerNumpy):
    def load_model(self):
        model = super().load_model()
        seen.append(model.session.get_session_options().intra_op_num_threads)
        return model


def test_threads(run, linear):
    seen.clear()
    rows = [np.ones(4)]
    run.one(RunInference(Watched(linear), execution=Execution(threads=1)), rows)
    run.one(RunInference(Watched(linear, outputs=["y"])), rows)
    assert seen == [1, onnxruntime.SessionOptions().intra_op_num_threads]
