"""Padded examples are predicted as if each were alone, and answers are as long as their example."""

import nets
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from runinference.errors import ExampleError, OutputStructureError
from runinference.outputs import read_outputs
from runinference_pytorch import (
    Padding,
    PytorchModelHandlerKeyedTensor,
    PytorchModelHandlerTensor,
)


class Named(PytorchModelHandlerKeyedTensor):
    """A handler whose model is there already, and which counts its calls."""

    def __init__(self, model, **options):
        super().__init__(**options)
        self.model, self.calls = model.eval(), []

    def load_model(self):
        return self.model

    def _call(self, batch, model, args):
        self.calls.append({name: tuple(t.shape) for name, t in batch.named().items()})
        return super()._call(batch, model, args)


class Tensors(PytorchModelHandlerTensor):
    def __init__(self, model, **options):
        super().__init__(**options)
        self.model = model.eval()

    def load_model(self):
        return self.model


def ids(*lengths, start=1):
    generator = torch.Generator().manual_seed(sum(lengths))
    return [
        {"input_ids": torch.randint(start, 30, (length,), generator=generator)}
        for length in lengths
    ]


def alone(model, example):
    with torch.inference_mode():
        return model(**{name: tensor[None] for name, tensor in example.items()})


def same(rows, model, examples):
    assert len(rows) == len(examples)
    for row, example in zip(rows, examples, strict=True):
        expected = alone(model, example)
        assert row.keys() == expected.keys()
        for name, value in row.items():
            torch.testing.assert_close(value, expected[name][0], rtol=1e-4, atol=1e-5)


lengths_of_a_batch = st.lists(st.integers(1, 12), min_size=1, max_size=8)


@settings(max_examples=30, deadline=None)
@given(
    lengths=lengths_of_a_batch,
    classes=st.integers(1, 12),
    multiple_of=st.integers(1, 9),
    mask=st.sampled_from(["attention_mask", None]),
)
def test_a_padded_batch_predicts_what_each_example_alone_does(lengths, classes, multiple_of, mask):
    model = nets.Tagger(classes=classes, padding=-1 if mask else 0)
    padding = Padding(mask=mask, multiple_of=multiple_of)
    examples = ids(*lengths)
    for given_padding in (padding, {"input_ids": padding}):
        handler = Named(model, padding=given_padding)
        same(handler.run_inference(examples, model), model, examples)


@settings(max_examples=40, deadline=None)
@given(data=st.data(), pairs=st.lists(st.tuples(st.integers(1, 6), st.integers(1, 6)), min_size=1))
def test_two_sequences_are_each_trimmed_to_their_own_lengths(data, pairs):
    model = nets.Translator()
    examples = [{"source": torch.ones(a).long(), "target": torch.ones(b).long()} for a, b in pairs]
    handler = Named(model, padding=Padding())
    cut = data.draw(st.integers(0, len(examples)))
    for batch in (examples[:cut], examples[cut:], examples):
        if batch:
            same(handler.run_inference(batch, model), model, batch)


@pytest.mark.parametrize("classes", [8, 5, 3])
def test_as_many_classes_as_positions_are_not_a_sequence(classes):
    model = nets.Tagger(classes=classes)
    handler = Named(model, padding=Padding(mask="attention_mask"))
    rows = handler.run_inference(ids(3, 8, 5), model)
    assert [len(row["classes"]) for row in rows] == [classes] * 3
    assert [len(row["tags"]) for row in rows] == [3, 8, 5]


def test_a_fixed_width_follows_neither_of_two_sequences():
    class Fixed(torch.nn.Module):
        def forward(self, source, target):
            return {"fixed": torch.ones(len(source), 5), "target": target * 2}

    examples = [
        {"source": torch.ones(a).long(), "target": torch.ones(b).long()}
        for a, b in ((3, 5), (5, 4), (4, 4))
    ]
    rows = Named(Fixed(), padding=Padding()).run_inference(examples, Fixed())
    assert [len(row["fixed"]) for row in rows] == [5, 5, 5]
    assert [len(row["target"]) for row in rows] == [5, 4, 4]


def test_what_is_a_sequence_is_found_out_once():
    model = nets.Tagger(classes=8)
    handler = Named(model, padding=Padding(mask="attention_mask"))
    handler.run_inference(ids(3, 8, 5), model)
    assert handler.calls == [
        {"input_ids": (3, 8), "attention_mask": (3, 8)},
        {"input_ids": (1, 3), "attention_mask": (1, 3)},
    ]
    handler.run_inference(ids(8, 2, 2, 1), model)
    handler.run_inference(ids(7, 9), model)
    assert len(handler.calls) == 4


@pytest.mark.parametrize(("length", "resized"), [(8, 7), (1, 2)])
def test_where_all_have_one_length_another_one_is_tried(length, resized):
    model = nets.Tagger(classes=length)
    handler = Named(model, padding=Padding(value=9, mask="attention_mask"))
    examples = ids(length, length)
    same(handler.run_inference(examples, model), model, examples)
    assert handler.calls[1] == {"input_ids": (1, resized), "attention_mask": (1, resized)}
    same(handler.run_inference(ids(12, length), model), model, ids(12, length))
    assert len(handler.calls) == 3


def test_an_example_is_lengthened_as_a_batch_is_filled():
    seen = []

    class Seen(nets.Tagger):
        def forward(self, input_ids, attention_mask):
            seen.append((input_ids.tolist(), attention_mask.tolist()))
            return super().forward(input_ids, attention_mask)

    handler = Named(Seen(), padding=Padding(value=9, mask="attention_mask"))
    handler.run_inference([{"input_ids": torch.tensor([5])}], handler.model)
    assert seen == [([[5]], [[1]]), ([[5, 9]], [[1, 0]])]


def test_empty_sequences_are_not_what_is_tried():
    model = nets.Translator()
    handler = Named(model, padding=Padding())
    for lengths in ((0, 1), (0, 3), (0, 0)):
        examples = [
            {"source": torch.ones(n).long(), "target": torch.ones(2).long()} for n in lengths
        ]
        rows = handler.run_inference(examples, model)
        assert [len(row["source"]) for row in rows] == list(lengths)
    assert all(min(call["source"]) > 0 for call in handler.calls[:-1])


@pytest.mark.parametrize(
    ("trim", "tags", "classes"),
    [(True, [3, 8], [3, 8]), (False, [8, 8], [8, 8]), (["tags"], [3, 8], [8, 8])],
)
def test_whether_to_trim_can_be_told(trim, tags, classes):
    model = nets.Tagger(classes=8)
    handler = Named(model, padding=Padding(trim=trim))
    rows = handler.run_inference(ids(3, 8), model)
    assert [len(row["tags"]) for row in rows] == tags
    assert [len(row["classes"]) for row in rows] == classes
    assert len(handler.calls) == 1


def test_a_path_to_trim_that_the_model_does_not_answer_is_an_error():
    model = nets.Tagger()
    handler = Named(model, padding=Padding(trim=["tag"]))
    with pytest.raises(OutputStructureError, match="'tag', but the model answers with 'tags'"):
        handler.run_inference(ids(3, 8), model)


class Picky(nets.Tagger):
    def forward(self, input_ids):
        if input_ids.shape[1] < 4:
            raise ValueError("too short")
        return super().forward(input_ids)


def test_where_it_cannot_be_found_out_the_error_says_what_to_set():
    handler = Named(Picky(), padding=Padding())
    with pytest.raises(OutputStructureError, match=r"too short.*Padding\(trim=True\)"):
        handler.run_inference(ids(3, 8), handler.model)
    handler = Named(Picky(), padding=Padding(trim=True))
    assert [len(row["tags"]) for row in handler.run_inference(ids(3, 8), handler.model)] == [3, 8]


def test_a_model_that_takes_nothing_shorter_is_given_a_longer_example():
    handler = Named(Picky(), padding=Padding())
    assert [len(row["tags"]) for row in handler.run_inference(ids(4, 4), handler.model)] == [4, 4]
    assert [call["input_ids"] for call in handler.calls] == [(2, 4), (1, 3), (1, 5)]


def test_a_model_that_takes_one_length_only_needs_to_be_told():
    class Rigid(torch.nn.Module):
        def forward(self, x):
            return x * torch.ones(4)

    with pytest.raises(OutputStructureError, match=r"example 0 alone failed.*trim=False"):
        Tensors(Rigid(), padding=Padding()).run_inference([torch.ones(4)], Rigid())
    handler = Tensors(Rigid(), padding=Padding(trim=False))
    assert handler.run_inference([torch.ones(4)], Rigid())[0].tolist() == [1] * 4


def test_outputs_that_were_not_predicted_here_need_to_be_told():
    handler = Named(nets.Tagger(), padding=Padding())
    read = read_outputs(torch.zeros(2, 8), 2, source="elsewhere")
    with pytest.raises(OutputStructureError, match="trim"):
        handler.output_lengths(read, ids(3, 8))


def seen_by(padding, examples, **options):
    """What a model gets, by name."""
    seen = []

    def inference_fn(batch, model, device, inference_args):
        seen.append(batch)
        return [0] * len(next(iter(batch.values())))

    handler = Named(nets.Tagger(), padding=padding, inference_fn=inference_fn, **options)
    handler.run_inference(examples, handler.model)
    return seen[0]


def test_the_fill_the_mask_and_the_multiple():
    examples = [{"input_ids": torch.tensor(x)} for x in ([5], [6, 7, 8], [9, 9])]
    batch = seen_by(Padding(value=-1, mask="mask", multiple_of=4), examples)
    assert batch["input_ids"].tolist() == [[5, -1, -1, -1], [6, 7, 8, -1], [9, 9, -1, -1]]
    assert batch["mask"].tolist() == [[1, 0, 0, 0], [1, 1, 1, 0], [1, 1, 0, 0]]
    assert batch["mask"].dtype == torch.int64


def test_a_mask_that_the_examples_bring_is_kept_and_filled_with_zero():
    examples = [
        {"input_ids": torch.tensor(x), "mask": torch.tensor(m)}
        for x, m in (([5, 5], [0, 1]), ([6, 7, 8], [1, 1, 1]))
    ]
    for padding in (
        Padding(value=9, mask="mask"),
        {"input_ids": Padding(value=9, mask="mask")},
    ):
        batch = seen_by(padding, examples)
        assert batch["input_ids"].tolist() == [[5, 5, 9], [6, 7, 8]]
        assert batch["mask"].tolist() == [[0, 1, 0], [1, 1, 1]]


def test_only_the_named_tensors_are_padded():
    examples = [
        {"x": torch.ones(n), "fixed": torch.ones(2), "label": torch.tensor(1)} for n in (1, 3)
    ]
    batch = seen_by({"x": Padding()}, examples)
    assert {name: tuple(t.shape) for name, t in batch.items()} == {
        "x": (2, 3),
        "fixed": (2, 2),
        "label": (2,),
    }
    examples[1]["fixed"] = torch.ones(3)
    with pytest.raises(ExampleError, match="the tensors 'fixed' of examples 0 and 1"):
        seen_by({"x": Padding()}, examples)


def test_every_axis_is_padded_and_the_first_one_rounded():
    images = [{"x": torch.ones(2, 3)}, {"x": torch.ones(3, 1)}]
    batch = seen_by(Padding(multiple_of=4), images)["x"]
    assert tuple(batch.shape) == (2, 4, 3)
    assert batch.sum(dim=(1, 2)).tolist() == [6, 3]
    assert batch[1, :3, 0].tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("padding", "examples", "said"),
    [
        (Padding(), [{"x": torch.ones(2)}, {"x": torch.ones(2, 2)}], "padding fills up axes"),
        (Padding(), [{"x": torch.tensor(1)}], "the examples are scalars"),
        ({"y": Padding()}, [{"x": torch.ones(2)}], "names the tensor 'y', but an example has 'x'"),
        ({"x": Padding()}, [{"x": torch.tensor(1)}], "which is a scalar"),
        (Padding(value=0.5), [{"x": torch.tensor([1])}], "not fractions"),
        (Padding(), [{"x": torch.ones(1)}, {"x": torch.ones(2).long()}], "float32 and torch.int64"),
        (
            Padding(mask="m"),
            [{"x": torch.ones(1), "y": torch.ones(2)}, {"x": torch.ones(2), "y": torch.ones(2)}],
            "tensors of different lengths",
        ),
    ],
)
def test_what_cannot_be_padded_is_an_error(padding, examples, said):
    with pytest.raises(ExampleError, match=said):
        seen_by(padding, examples)


class Sums(torch.nn.Module):
    """Running sums of real positions, and of the whole; one tensor without a name."""

    def forward(self, x, mask=None, scale=1):
        real = x if mask is None else x * mask
        return {"running": real.cumsum(dim=1) * scale, "total": real.sum(dim=1) * scale}


def test_single_tensors_are_padded_too_and_their_mask_is_an_argument():
    handler = Tensors(Sums(), padding=Padding(value=100, mask="mask"))
    rows = handler.run_inference([torch.ones(2), [1.0], torch.ones(3)], handler.model, {"scale": 2})
    assert [row["running"].tolist() for row in rows] == [[2, 4], [2], [2, 4, 6]]
    assert [row["total"].item() for row in rows] == [4, 2, 6]


def test_trimmed_rows_hold_their_own_memory():
    import pickle

    handler = Tensors(Sums(), padding=Padding())
    rows = handler.run_inference([torch.ones(1), torch.ones(4096)], handler.model)
    assert len(pickle.dumps(rows[0])) < 1500


def test_a_batch_second_recurrent_output_is_trimmed_along_its_positions():
    model = torch.nn.GRU(3, 5)
    examples = [torch.randn(n, 3) for n in (2, 6, 4)]
    handler = Tensors(
        model,
        padding=Padding(),
        outputs=["[0]"],
        batch_axis={"[0]": 1},
        inference_fn=lambda batch, model, device, args: model(batch.transpose(0, 1)),
    )
    for row, example in zip(handler.run_inference(examples, model), examples, strict=True):
        torch.testing.assert_close(row[0], model(example[:, None])[0][:, 0].detach())


def test_a_length_is_that_of_the_longest_padded_tensor():
    single = Tensors(Sums(), padding=Padding())
    assert single.length(torch.ones(7, 2)) == 7
    assert Tensors(Sums()).length is None
    example = {"a": torch.ones(3), "b": torch.ones(9), "c": torch.tensor(1)}
    assert Named(Sums(), padding=Padding()).length(example) == 9
    assert Named(Sums(), padding={"a": Padding()}).length(example) == 3
