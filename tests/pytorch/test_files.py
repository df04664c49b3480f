"""Files with weights and programs: what loads, and what every other file is told."""

import hashlib
import io
import os
import pickle
import subprocess
import sys
from pathlib import Path

import nets
import pytest
import safetensors.torch
import torch

from runinference import files
from runinference.errors import ConfigurationError, ModelLoadError
from runinference_pytorch import PytorchModelHandlerKeyedTensor, PytorchModelHandlerTensor

ADVICE = ("weights_only`", "to `False`", "add_safe_globals", "trusted source")


def load(path, model_class=nets.Net, **options):
    handler = PytorchModelHandlerTensor(str(path), model_class, **options)
    return handler, handler.load_model()


def refused(path, model_class=nets.Net, **options):
    """The message with which a file is refused, which never passes torch's advice on."""
    with pytest.raises(ModelLoadError) as raised:
        load(path, model_class, **options)
    message, error = str(raised.value), raised.value
    seen = []
    while error is not None:
        seen.append(str(error))
        error = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    assert not any(advice in text for advice in ADVICE for text in seen)
    return message


def write(path, data):
    path.write_bytes(data)
    return path


def saved_bytes(thing, **options):
    buffer = io.BytesIO()
    torch.save(thing, buffer, **options)
    return buffer.getvalue()


@pytest.mark.parametrize("name", ["model.pt", "model.pth", "model.safetensors", "model"])
def test_weights_are_loaded_and_ready_to_predict(saved, name):
    model = nets.Net()
    handler, loaded = load(saved(model, name))
    for key, value in model.state_dict().items():
        torch.testing.assert_close(loaded.state_dict()[key], value)
    assert not loaded.training
    assert not any(parameter.requires_grad for parameter in loaded.parameters())
    assert handler.model_id.startswith(f"{handler.model_path}@")


def test_the_model_id_is_the_digest_of_the_file(saved):
    path = saved(nets.Net())
    digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    assert load(path)[0].model_id == f"{path}@{digest[:12]}"


def test_the_content_decides_and_not_the_suffix(tmp_path):
    state = nets.Net().state_dict()
    load(write(tmp_path / "model.pt", safetensors.torch.save(state)))
    load(write(tmp_path / "model.safetensors", saved_bytes(state)))
    load(write(tmp_path / "old.pt", saved_bytes(state, _use_new_zipfile_serialization=False)))


@pytest.mark.parametrize("key", ["model", "ema.state_dict", "ema.with.dots"])
def test_a_nested_state_dict_is_found_by_its_key(tmp_path, key):
    state = nets.Net().state_dict()
    checkpoint = {
        "epoch": 3,
        "model": state,
        "ema": {"state_dict": state, "with.dots": state},
        "optimizer": {"state": {}},
    }
    path = write(tmp_path / "checkpoint.pt", saved_bytes(checkpoint))
    load(path, state_dict_key=key)
    assert "state_dict_key='model'" in refused(path)
    assert "'ema.state_dict'" in refused(path, state_dict_key="ema")
    message = refused(path, state_dict_key="ema.weights")
    assert "no 'weights'" in message
    assert "'with.dots'" in message


def test_keys_that_do_not_fit_are_all_listed(tmp_path):
    state = nets.Net().state_dict()
    del state["layers.0.bias"]
    state["layers.9.bias"] = torch.zeros(1)
    state["layers.3.weight"] = torch.zeros(5, 8)
    message = refused(write(tmp_path / "model.pt", saved_bytes(state)))
    assert "1 missing: 'layers.0.bias'" in message
    assert "1 unexpected: 'layers.9.bias'" in message
    assert "'layers.3.weight' is (5, 8) in the file and (3, 8) in the model" in message
    assert "for Net" not in message


def test_of_many_keys_the_first_are_listed_and_the_rest_counted(tmp_path):
    state = {f"old.{i}": torch.zeros(1) for i in range(40)}
    message = refused(write(tmp_path / "model.pt", saved_bytes(state)))
    assert "40 unexpected: 'old.0'" in message
    assert "and 30 more" in message


def test_a_wrapped_model_is_recognised_by_its_keys(tmp_path):
    wrapped = torch.nn.DataParallel(nets.Net())
    message = refused(write(tmp_path / "model.pt", saved_bytes(wrapped.state_dict())))
    assert "begins with 'module.'" in message


@pytest.mark.parametrize("save", ["save_file", "save_model"])
def test_weights_that_are_tied_may_be_saved_once(tmp_path, save):
    model = nets.Tied()
    path = tmp_path / "tied.safetensors"
    if save == "save_model":
        safetensors.torch.save_model(model, path)
    else:
        safetensors.torch.save_file({"embed.weight": model.embed.weight.detach()}, path)
    _, loaded = load(path, nets.Tied)
    torch.testing.assert_close(loaded.head.weight, model.head.weight)
    assert loaded.head.weight is loaded.embed.weight


def test_buffers_and_versions_of_modules_are_loaded(tmp_path):
    model = nets.Normed()
    model(torch.randn(50, 3))
    _, loaded = load(write(tmp_path / "m.pt", saved_bytes(model.state_dict())), nets.Normed)
    torch.testing.assert_close(loaded.norm.running_mean, model.norm.running_mean)
    state = model.state_dict()
    del state["norm.num_batches_tracked"]  # as versions of PyTorch before 0.4.1 saved it
    state._metadata["norm"]["version"] = 1
    load(write(tmp_path / "old.pt", saved_bytes(state)), nets.Normed)


def test_a_lazy_model_takes_its_shapes_from_the_file(tmp_path):
    model = torch.nn.Sequential(torch.nn.Linear(4, 2))
    path = write(tmp_path / "m.pt", saved_bytes(model.state_dict()))
    handler = PytorchModelHandlerTensor(
        str(path), lambda: torch.nn.Sequential(torch.nn.LazyLinear(2))
    )
    assert handler.run_inference([torch.zeros(4)], handler.load_model())[0].shape == (2,)


def test_a_whole_pickled_model_is_refused_by_the_name_of_its_class(tmp_path):
    message = refused(write(tmp_path / "model.pt", saved_bytes(nets.Net())))
    assert "nets.Net" in message
    assert "torch.save(model.state_dict(), path)" in message


class Bomb:
    def __reduce__(self):
        return (os.system, ("touch exploded",))


@pytest.mark.parametrize("new", [True, False])
def test_no_environment_variable_makes_a_file_run_code(tmp_path, new):
    data = saved_bytes({"w": Bomb()}, _use_new_zipfile_serialization=new)
    path = write(tmp_path / "model.pt", data)
    program = (
        "import sys; from runinference_pytorch import PytorchModelHandlerTensor as H\n"
        "from runinference.errors import ModelLoadError\n"
        f"try: H({str(path)!r}, 'torch.nn:Flatten').load_model()\n"
        "except ModelLoadError as error: print('refused:', error)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": os.pathsep.join(sys.path),
            "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD": "1",
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert "refused:" in done.stdout
    assert "system" in done.stdout
    assert not (tmp_path / "exploded").exists()


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"<!DOCTYPE html><html>Sign in</html>", "an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n", "a Git LFS pointer"),
        (b'{"model": 1}', "JSON text"),
        (b"hello, this is a model", "text that begins with"),
        (b"a", "text"),
        (b"\x00" * 100, "unknown content"),
        (pickle.dumps({"a": 1}, protocol=2), "a pickle"),
    ],
)
def test_a_file_of_another_kind_is_named(tmp_path, data, found):
    message = refused(write(tmp_path / "model.pt", data))
    assert f"found {found}" in message or found in message
    assert str(tmp_path / "model.pt") in message


def test_absent_empty_and_folder(tmp_path):
    assert "does not exist" in refused(tmp_path / "absent.pt")
    assert "is empty" in refused(write(tmp_path / "empty.pt", b""))
    assert "is a folder" in refused(tmp_path)


@pytest.mark.parametrize("value", [torch.eye(3).to_sparse(), torch.zeros(3, device="meta")])
def test_only_dense_tensors_with_data_are_loaded(tmp_path, value):
    path = write(tmp_path / "model.pt", saved_bytes({"weight": value}))
    assert "Only dense tensors" in refused(path)


@pytest.mark.parametrize("thing", [[1, 2], torch.zeros(3), 7, {1: torch.zeros(3)}])
def test_what_is_no_state_dict_is_named(tmp_path, thing):
    message = refused(write(tmp_path / "model.pt", saved_bytes(thing)))
    assert "state dict" in message


def test_safetensors_takes_no_key_and_no_arguments_of_torch_load(saved):
    path = saved(nets.Net(), "model.safetensors")
    assert "nothing is nested" in refused(path, state_dict_key="model")
    assert "load_model_args" in refused(path, load_model_args={"encoding": "utf-8"})


def test_an_argument_that_torch_load_does_not_use_is_refused(saved):
    assert "'encoding'" in refused(saved(nets.Net()), load_model_args={"encoding": "utf-8"})


def damaged(data, step):
    for end in range(1, len(data), step):
        yield data[:end]
    for at in range(0, len(data), step):
        yield data[:at] + bytes([data[at] ^ (1 << at % 8)]) + data[at + 1 :]


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
@pytest.mark.filterwarnings("ignore::UserWarning")
def test_every_damaged_file_is_a_load_error_or_loads(tmp_path, kind):
    state = nets.Net(2, 2, 2).state_dict()
    data = {
        "zip": lambda: saved_bytes(state),
        "legacy": lambda: saved_bytes(state, _use_new_zipfile_serialization=False),
        "safetensors": lambda: safetensors.torch.save(state),
    }[kind]()
    path, refusals = tmp_path / "model", 0
    for case in damaged(data, max(1, len(data) // 200)):
        path.write_bytes(case)
        handler = PytorchModelHandlerTensor(
            str(path), nets.Net, {"inputs": 2, "classes": 2, "hidden": 2}
        )
        try:
            handler.run_inference([torch.zeros(2)], handler.load_model())
        except ModelLoadError:
            refusals += 1
    assert refusals >= 200


def test_a_pinned_file_is_the_one_that_is_loaded(saved):
    path = saved(nets.Net())
    digest = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    assert load(path, model_sha256=digest)[0].sha256 == digest
    Path(saved(nets.Net())).read_bytes()  # other weights, under the same name
    changed = hashlib.sha256(Path(path).read_bytes()).hexdigest()
    message = refused(path, model_sha256=digest)
    assert f"sha256 {digest}" in message
    assert f"sha256 {changed}" in message
    with pytest.raises(ConfigurationError, match="64 hexadecimal"):
        PytorchModelHandlerKeyedTensor(path, nets.Net, model_sha256=digest[:12])


def test_weights_that_are_not_those_that_were_saved_are_refused(tmp_path):
    # PyTorch itself does not look at the checksums
    state = nets.Net().state_dict()
    data = bytearray(saved_bytes(state))
    data[data.index(state["layers.0.weight"].numpy().tobytes())] ^= 1
    assert torch.load(io.BytesIO(data), weights_only=True).keys() == state.keys()
    assert "does not have the checksum" in refused(write(tmp_path / "model.pt", bytes(data)))


def test_files_without_checksums_are_loaded_all_the_same(tmp_path):
    torch.serialization.set_crc32_options(False)
    try:
        data = saved_bytes(nets.Net().state_dict())
    finally:
        torch.serialization.set_crc32_options(True)
    load(write(tmp_path / "model.pt", data))


def test_an_archive_that_is_larger_than_memory_is_refused(saved, monkeypatch):
    path = saved(nets.Net())
    monkeypatch.setattr(files, "available_bytes", lambda: 100)
    assert "0.0 GB of memory are free" in refused(path)
