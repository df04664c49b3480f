"""Both handlers keep every rule of the contract, whatever their options."""

import calls
import nets
import pyarrow as pa
import pytest
import torch
from conformance import outcomes  # found through conftest

from runinference.files import read_model
from runinference_pytorch import (
    Padding,
    PytorchModelHandlerKeyedTensor,
    PytorchModelHandlerTensor,
)

NO_LENGTHS = {"check_lengths": "skipped"}


@pytest.fixture
def models(saved):
    """``models(Net)`` saves a model and another one of the same class, and gives their paths."""

    def make(model_class, suffix=".pt", **params):
        paths = []
        for seed in (1, 2):
            torch.manual_seed(seed)
            paths.append(saved(model_class(**params), f"model-{seed}{suffix}"))
        return paths

    return make


@pytest.fixture
def vectors():
    """Five examples of four numbers each, and the same as a table."""
    rows = torch.randn(5, 4, generator=torch.Generator().manual_seed(3))
    return list(rows), pa.table({name: rows[:, i].numpy() for i, name in enumerate("abcd")})


TENSORS = {
    "weights": {},
    "method": {"method": "classify"},
    "function": {"inference_fn": calls.logits_of},
    "dtype": {"dtype": "float32", "device": "auto"},
}


@pytest.mark.parametrize("options", TENSORS.values(), ids=TENSORS)
def test_tensor(models, vectors, options):
    one, other = models(nets.Net)
    examples, table = vectors
    args = {"factor": 2.0} if "inference_fn" in options else None
    handler = PytorchModelHandlerTensor(one, nets.Net, **options)
    given = {"examples": examples, "table": table, "other_model": other, "inference_args": args}
    assert outcomes(handler, **given) == NO_LENGTHS


def test_tensor_of_safetensors_by_a_classs_name(models, vectors):
    one, other = models(nets.Net, ".safetensors", hidden=5)
    examples, table = vectors
    handler = PytorchModelHandlerTensor(one, "nets:Net", {"hidden": 5})
    assert outcomes(handler, examples=examples, table=table, other_model=other) == NO_LENGTHS


def test_tensor_of_one_file_alone(models, vectors):
    one, _ = models(nets.Net)
    sha256 = read_model(one).sha256
    handler = PytorchModelHandlerTensor(one, nets.Net, model_sha256=sha256)
    assert outcomes(handler, table=vectors[1]) == NO_LENGTHS


def test_tensor_of_nested_weights(tmp_path, vectors):
    paths = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        paths.append(str(tmp_path / f"{seed}.pt"))
        torch.save({"module": {"weights": nets.Net().state_dict()}}, paths[-1])
    handler = PytorchModelHandlerTensor(paths[0], nets.Net, state_dict_key="module.weights")
    examples, table = vectors
    assert outcomes(handler, examples=examples, table=table, other_model=paths[1]) == NO_LENGTHS


def test_tensor_of_a_program(tmp_path, vectors):
    paths = []
    for seed in (1, 2):
        torch.manual_seed(seed)
        paths.append(str(tmp_path / f"{seed}.pt"))
        torch.jit.script(torch.nn.Linear(4, 3)).save(paths[-1])
    handler = PytorchModelHandlerTensor(
        torch_script_model_path=paths[0],
        allow_model_code=True,
        load_model_args={"_restore_shapes": True},
    )
    examples, table = vectors
    assert outcomes(handler, examples=examples, table=table, other_model=paths[1]) == NO_LENGTHS


def test_tensor_of_several_outputs(models, vectors):
    one, other = models(nets.Answers, kind="with codebook")
    handler = PytorchModelHandlerTensor(
        one, nets.Answers, {"kind": "with codebook"}, batch_axis={"codebook": None}
    )
    examples, table = vectors
    given = {"examples": examples, "table": table, "other_model": other}
    assert outcomes(handler, **given) == NO_LENGTHS
    chosen = PytorchModelHandlerTensor(
        one, nets.Answers, {"kind": "with codebook"}, outputs=["logits"]
    )
    assert outcomes(chosen, **given) == NO_LENGTHS


SEQUENCES = [3, 5, 2, 5]


def test_tensor_with_padding(models):
    one, other = models(nets.Tagger)
    padding = Padding(mask="attention_mask", multiple_of=4)
    handler = PytorchModelHandlerTensor(one, nets.Tagger, padding=padding)
    numbers = torch.Generator().manual_seed(5)
    examples = [torch.randint(1, 30, (n,), generator=numbers) for n in SEQUENCES]
    table = pa.table({"input_ids": [example.tolist() for example in examples]})
    given = {"examples": examples, "table": table, "features": ["input_ids"]}
    assert outcomes(handler, **given, other_model=other) == {}


def test_tensor_with_the_batch_on_another_axis(models):
    one, other = models(nets.Recurrent)
    axes = {"[1][0]": 1, "[1][1]": 1}
    handler = PytorchModelHandlerTensor(one, nets.Recurrent, batch_axis=axes)
    rows = torch.randn(4, 6, 3, generator=torch.Generator().manual_seed(3))
    why = "a table's columns hold no matrices"
    given = {"expected_failed_checks": {"check_tables_agree_with_examples": why}}
    assert outcomes(handler, examples=list(rows), other_model=other, **given) == {
        **NO_LENGTHS,
        "check_tables_agree_with_examples": "expected failure",
        "check_table_is_not_changed": "skipped",
    }


@pytest.fixture
def named():
    """Four examples of a word and three numbers each, and the same as a table."""
    numbers = torch.randn(4, 3, generator=torch.Generator().manual_seed(3))
    words = torch.tensor([3, 7, 1, 19])
    examples = [{"word": w, "numbers": n} for w, n in zip(words, numbers, strict=True)]
    lists = pa.FixedSizeListArray.from_arrays(pa.array(numbers.numpy().reshape(-1)), 3)
    return examples, pa.table({"word": words.numpy(), "numbers": lists})


KEYED = {
    "weights": {},
    "function": {"inference_fn": calls.shifted},
    "dtype": {"dtype": {"numbers": "float32"}},
}


@pytest.mark.parametrize("options", KEYED.values(), ids=KEYED)
def test_keyed(models, named, options):
    one, other = models(nets.Wide)
    examples, table = named
    handler = PytorchModelHandlerKeyedTensor(one, nets.Wide, **options)
    given = {"examples": examples, "table": table, "features": ["word", "numbers"]}
    assert outcomes(handler, **given, other_model=other) == NO_LENGTHS


@pytest.mark.parametrize(
    "padding",
    [
        Padding(mask="attention_mask"),
        {"input_ids": Padding(value=0, mask="attention_mask", trim=["tags"])},
    ],
    ids=["for all", "by name"],
)
def test_keyed_with_padding(models, padding):
    one, other = models(nets.Tagger)
    handler = PytorchModelHandlerKeyedTensor(one, nets.Tagger, padding=padding)
    numbers = torch.Generator().manual_seed(5)
    examples = [{"input_ids": torch.randint(1, 30, (n,), generator=numbers)} for n in SEQUENCES]
    table = pa.table({"input_ids": [example["input_ids"].tolist() for example in examples]})
    assert outcomes(handler, examples=examples, table=table, other_model=other) == {}
    chosen = PytorchModelHandlerKeyedTensor(one, nets.Tagger, padding=padding, outputs=["tags"])
    assert outcomes(chosen, table=table, other_model=other) == {}
