"""What the handlers are made with: options refused when they are made, and nothing imported."""

import inspect
import os
import pickle
import re
import subprocess
import sys
import typing

import nets
import pytest
import torch
from apache_beam.ml.inference import pytorch_inference

from runinference.errors import ConfigurationError, ModelLoadError
from runinference_pytorch import (
    Padding,
    PytorchModelHandlerKeyedTensor,
    PytorchModelHandlerTensor,
)

BOTH = [PytorchModelHandlerTensor, PytorchModelHandlerKeyedTensor]


def make(**options):
    options = {"state_dict_path": "model.pt", "model_class": nets.Net} | options
    return PytorchModelHandlerTensor(**options)


def test_making_a_handler_imports_neither_torch_nor_beam():
    program = (
        "import sys, typing\n"
        "from runinference_pytorch import *\n"
        "h = PytorchModelHandlerTensor('m.pt', 'a.b:C', padding=Padding(mask='m'), dtype='int64')\n"
        "typing.get_type_hints(type(h).__init__)\n"
        "h.with_preprocess_fn(str).get_metrics_namespace()\n"
        "from jsonargparse import ArgumentParser  # as the command line reads the options\n"
        "ArgumentParser().add_class_arguments(type(h), 'handler')\n"
        "print(sorted({'torch', 'apache_beam', 'pandas', 'safetensors'} & set(sys.modules)))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize("handler", BOTH)
def test_the_first_options_stand_where_beam_has_them(handler):
    theirs = list(inspect.signature(getattr(pytorch_inference, handler.__name__)).parameters)
    ours = inspect.signature(handler).parameters
    positional = [n for n, p in ours.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert positional == theirs[:4]
    assert not any(p.kind in (p.VAR_KEYWORD, p.VAR_POSITIONAL) for p in ours.values())


@pytest.mark.parametrize("handler", BOTH)
def test_every_option_has_a_type_and_a_description(handler):
    hints = typing.get_type_hints(handler.__init__)
    section = handler.__init__.__doc__.partition("Args:")[2].partition("Raises:")[0]
    described = re.findall(r"^ {12}(\w+): ", section, re.MULTILINE)
    options = list(inspect.signature(handler).parameters)
    assert described == options
    assert set(options) <= set(hints)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"model_class": None}, "give the model's class too"),
        ({"state_dict_path": None}, "give state_dict_path with model_class"),
        ({"state_dict_path": None, "model_class": None}, "no model"),
        ({"torch_script_model_path": "p.pt"}, "give one or the other"),
        ({"allow_model_code": True}, "for torch_script_model_path"),
        ({"model_class": "nets.Net"}, "'package.module:Class', with a colon"),
        ({"model_class": "nets:"}, "with a colon"),
        ({"model_class": 7}, "a class"),
        ({"model_class": nets.Net()}, "is a model, a Net"),
        ({"model_params": {"input": 3}}, "unexpected keyword argument 'input'"),
        ({"device": "tpu"}, "'cpu', 'cuda', 'cuda:N'"),
        ({"device": "cuda:x"}, "accepted"),
        ({"device": ""}, "accepted"),
        ({"load_model_args": {"weights_only": False}}, "a file must not run code"),
        ({"load_model_args": {"weights_only": True}}, "leave it out"),
        ({"load_model_args": {"pickle_module": pickle}}, "a file must not run code"),
        ({"load_model_args": {"map_location": "cpu"}}, "moved to the handler's device"),
        ({"method": "a b"}, "the name of a method"),
        ({"method": "classify", "inference_fn": lambda b, m, d, i: m(b)}, "give one"),
        ({"inference_fn": "run"}, "no function"),
        ({"inference_fn": lambda batch, model: model(batch)}, "(batch, model, device, inference"),
        ({"inference_fn": lambda b, m, d, i, model_id: m(b)}, "missing a required argument"),
        ({"padding": 0}, "write padding=Padding(...)"),
        ({"padding": {"x": Padding()}}, "torch-keyed"),
        ({"dtype": "float"}, "accepted: bfloat16"),
        ({"dtype": {"x": "int64"}}, "torch-keyed"),
        ({"outputs": "logits"}, "write outputs=['logits']"),
        ({"outputs": []}, "keeps nothing"),
    ],
)
def test_what_cannot_work_is_refused_when_the_handler_is_made(options, said):
    with pytest.raises(ConfigurationError, match=re.escape(said)):
        make(**options)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"padding": {"x": 0}}, "padding of 'x'"),
        ({"padding": {}}, "names no tensor"),
        ({"padding": 3}, "{'name': Padding(...)}"),
        ({"dtype": {"x": "int"}}, "'int' is not known"),
    ],
)
def test_what_cannot_work_by_name_is_refused(options, said):
    with pytest.raises(ConfigurationError, match=re.escape(said)):
        PytorchModelHandlerKeyedTensor("m.pt", nets.Wide, **options)


@pytest.mark.parametrize(
    "options",
    [
        {"value": "0"},
        {"value": True},
        {"multiple_of": 0},
        {"multiple_of": 1.5},
        {"mask": "a mask"},
        {"trim": "tags"},
    ],
)
def test_padding_that_cannot_work_is_refused(options):
    with pytest.raises(ConfigurationError, match="Padding"):
        Padding(**options)


def test_a_typing_mistake_is_a_type_error():
    with pytest.raises(TypeError, match="modelclass"):
        make(modelclass=nets.Net)


@pytest.mark.parametrize(
    ("given", "canonical"),
    [
        (None, "cpu"),
        ("CPU", "cpu"),
        ("Gpu", "cuda"),
        ("CUDA:1", "cuda:1"),
        (" mps ", "mps"),
        (torch.device("cuda:1"), "cuda:1"),
        ("Auto", "auto"),
    ],
)
def test_devices_are_known_in_any_case(given, canonical):
    assert make(device=given).device == canonical


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
@pytest.mark.parametrize("device", ["cuda", "cuda:1", "GPU", "mps"])
def test_an_absent_gpu_is_an_error_and_never_the_cpu(saved, device):
    handler = make(state_dict_path=saved(nets.Net()), device=device)
    with pytest.raises(ModelLoadError, match=r"finds no .*device='auto'"):
        handler.load_model()


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
@pytest.mark.parametrize("device", ["cuda", "cuda:0", "auto"])
def test_on_a_gpu_rows_come_back_to_the_cpu(saved, device):
    model = nets.Net().eval()
    handler = make(state_dict_path=saved(model), device=device)
    loaded = handler.load_model()
    assert all(parameter.is_cuda for parameter in loaded.parameters())
    examples = [torch.randn(4) for _ in range(5)]
    rows = handler.run_inference(examples, loaded)
    assert all(row.device.type == "cpu" for row in rows)
    torch.testing.assert_close(torch.stack(rows), model(torch.stack(examples)).detach())
    with pytest.raises(ModelLoadError, match="counted from 0"):
        make(state_dict_path=handler.model_path, device="cuda:99").load_model()


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without a GPU")
def test_auto_takes_the_cpu_where_nothing_else_is(saved):
    loaded = make(state_dict_path=saved(nets.Net()), device="auto").load_model()
    assert next(loaded.parameters()).device.type == "cpu"


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package of a user, importable, with this source."""

    def write(name, source):
        folder = tmp_path / name
        folder.mkdir()
        (folder / "__init__.py").write_text("")
        (folder / "models.py").write_text(source)
        monkeypatch.syspath_prepend(str(tmp_path))

    return write


NET = """
import torch

class Outer:
    class Net(torch.nn.Module):
        def __init__(self, inputs):
            super().__init__()
            self.line = torch.nn.Linear(inputs, 2)

        def forward(self, x):
            return self.line(x)

not_a_class = 3
"""


def test_a_class_is_found_by_its_name(saved, package):
    package("acme_models", NET)
    model = torch.nn.Module()
    model.line = torch.nn.Linear(5, 2)
    handler = make(
        state_dict_path=saved(model),
        model_class="acme_models.models:Outer.Net",
        model_params={"inputs": 5},
    )
    assert handler.run_inference([torch.zeros(5)], handler.load_model())[0].shape == (2,)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"model_class": "absent_models:Net"}, "'absent_models' cannot be imported"),
        ({"model_class": "nets:Nett"}, "has no 'Nett'"),
        ({"model_class": "nets:__name__"}, "is no class, but 'nets'"),
        ({"model_class": "nets:make_nothing"}, "makes a dict"),
        ({"model_class": "nets:Broken"}, "OSError: no vocabulary"),
        ({"model_class": "nets:Net", "model_params": {"input": 3}}, "unexpected keyword"),
        ({"model_class": "nets:Net", "model_params": {"inputs": "x"}}, "model_params={'inputs'"),
        ({"method": "clasify"}, "did you mean 'classify'"),
    ],
)
def test_a_class_that_makes_no_model_is_a_load_error(saved, options, said):
    with pytest.raises(ModelLoadError, match=re.escape(said)):
        make(state_dict_path=saved(nets.Net()), **options).load_model()


def test_a_module_that_fails_or_exits_while_it_is_imported_is_a_load_error(saved, package):
    package("exiting_models", "import sys; sys.exit(3)")
    with pytest.raises(ModelLoadError, match="SystemExit"):
        make(
            state_dict_path=saved(nets.Net()), model_class="exiting_models.models:Net"
        ).load_model()


def test_a_function_may_make_the_model(saved):
    handler = make(
        state_dict_path=saved(nets.Net(7)), model_class=nets.make_net, model_params={"inputs": 7}
    )
    assert handler.run_inference([torch.zeros(7)], handler.load_model())[0].shape == (3,)


def test_a_method_or_a_function_is_called_instead_of_the_model(saved):
    model = nets.Net().eval()
    path, examples = saved(model), [torch.randn(4) for _ in range(6)]
    expected = model(torch.stack(examples)).detach()

    handler = make(state_dict_path=path, method="classify")
    rows = handler.run_inference(examples, handler.load_model())
    assert [int(row) for row in rows] == expected.argmax(dim=1).tolist()

    seen = []

    def inference_fn(batch, model, device, inference_args):
        seen.append((tuple(batch.shape), device, inference_args, torch.is_inference_mode_enabled()))
        return model(batch).softmax(dim=1)

    handler = make(state_dict_path=path, inference_fn=inference_fn)
    rows = handler.run_inference(examples, handler.load_model(), {"scale": 2})
    torch.testing.assert_close(torch.stack(rows), expected.softmax(dim=1))
    assert seen == [((6, 4), torch.device("cpu"), {"scale": 2}, True)]


def test_inference_args_are_arguments_of_the_model(saved):
    model = nets.Net().eval()
    handler = make(state_dict_path=saved(model))
    example = torch.randn(4)
    (row,) = handler.run_inference([example], handler.load_model(), {"scale": 3.0})
    torch.testing.assert_close(row, 3 * model(example[None])[0].detach())


def test_another_path_is_loaded_from_then_on(saved):
    first, second = nets.Net(), nets.Net()
    handler = make(state_dict_path=saved(first, "first.pt"))
    handler.update_model_path(saved(second, "second.safetensors"))
    loaded = handler.load_model()
    torch.testing.assert_close(loaded.layers[0].bias, second.layers[0].bias, check_device=False)
    assert "second.safetensors@" in handler.model_id


class Ready(PytorchModelHandlerTensor):
    """Brings its model along and calls no constructor of its base."""

    def __init__(self, model):
        self.model = model

    def load_model(self):
        return self.model.eval()


def test_a_subclass_may_load_its_model_in_its_own_way():
    model = nets.Net().eval()
    handler = Ready(model)
    example = torch.randn(4)
    (row,) = handler.run_inference([example], handler.load_model())
    torch.testing.assert_close(row, model(example[None])[0].detach())


@pytest.mark.parametrize("padding", [None, Padding(mask="attention_mask")])
def test_a_handler_pickles_the_same_before_and_after_it_was_used(saved, padding):
    handler = PytorchModelHandlerKeyedTensor(saved(nets.Tagger()), nets.Tagger, padding=padding)
    before = pickle.dumps(handler)
    loaded = handler.load_model()
    del handler.model_id, handler.sha256  # set by load_model, which runs on a copy
    sizes = [3, 3] if padding is None else [3, 5]
    handler.run_inference([{"input_ids": torch.ones(n).long()} for n in sizes], loaded)
    assert pickle.dumps(handler) == before
    copied = pickle.loads(before)
    assert copied.run_inference([{"input_ids": torch.ones(3).long()}], copied.load_model())
