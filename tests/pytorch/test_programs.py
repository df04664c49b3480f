"""Files that are programs: TorchScript archives and those of torch.export."""

import zipfile

import nets
import pytest
import torch

from runinference import RunInference
from runinference.errors import ConfigurationError, ModelLoadError
from runinference_pytorch import PytorchModelHandlerKeyedTensor, PytorchModelHandlerTensor

FORBID = "RUNINFERENCE_FORBID_MODEL_CODE"

# torch.jit is deprecated since torch 2.9 and still what many files hold.
pytestmark = pytest.mark.filterwarnings("ignore:`torch.jit:DeprecationWarning")


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """A file of each kind of the same model, and the model."""
    folder, model = tmp_path_factory.mktemp("programs"), nets.Normed().eval()
    torch.jit.save(torch.jit.script(model), folder / "script.pt")
    rows = ({0: torch.export.Dim.DYNAMIC},)
    torch.export.save(
        torch.export.export(model, (torch.zeros(3, 3),), dynamic_shapes=rows),
        folder / "exported.pt2",
    )
    return {"script": folder / "script.pt", "exported": folder / "exported.pt2", "model": model}


def handler(path, **options):
    return PytorchModelHandlerTensor(
        torch_script_model_path=str(path), allow_model_code=True, **options
    )


@pytest.mark.parametrize("kind", ["script", "exported"])
class TestEachKind:
    def test_it_predicts_where_that_is_allowed(self, kind, paths, run):
        rows = list(torch.randn(7, 3))
        results = run.one(RunInference(handler(paths[kind])), rows)
        assert len(results) == 7
        for result in results:
            expected = paths["model"](result.example[None])[0]
            torch.testing.assert_close(result.inference, expected)
            assert result.model_id.startswith(f"{paths[kind]}@")

    def test_its_weights_have_no_gradients(self, kind, paths):
        assert not any(p.requires_grad for p in handler(paths[kind]).load_model().parameters())

    def test_it_is_refused_where_that_is_not_said(self, kind, paths):
        with pytest.raises(ConfigurationError, match="allow_model_code=True"):
            PytorchModelHandlerTensor(torch_script_model_path=str(paths[kind]))

    def test_it_is_refused_where_the_environment_forbids_it(self, kind, paths, monkeypatch):
        made = handler(paths[kind])
        monkeypatch.setenv(FORBID, "1")
        with pytest.raises(ConfigurationError, match=f"allow_model_code=True is refused.*{FORBID}"):
            handler(paths[kind])
        with pytest.raises(ModelLoadError, match=f"allow_model_code=True is refused.*{FORBID}"):
            made.load_model()  # as on a worker, whose environment forbids it

    def test_it_is_not_weights(self, kind, paths):
        weights = PytorchModelHandlerTensor(str(paths[kind]), nets.Normed)
        found = {"script": "a TorchScript archive", "exported": r"a pt2 archive \(torch.export\)"}
        message = rf"found {found[kind]}\. .*torch_script_model_path with allow_model_code=True"
        with pytest.raises(ModelLoadError, match=message):
            weights.load_model()

    def test_one_bit_that_is_different_is_a_load_error(self, kind, paths, tmp_path):
        data = bytearray(paths[kind].read_bytes())
        for at in range(0, len(data), len(data) // 20):
            data[at] ^= 1
            path = tmp_path / f"{at}.pt"
            path.write_bytes(data)
            data[at] ^= 1
            try:
                handler(path).load_model()
            except ModelLoadError as error:
                assert "cannot be loaded: expected a TorchScript" in str(error)  # noqa: PT017
            else:  # a bit of what is beside the content, such as a date
                with zipfile.ZipFile(path) as archive:
                    assert archive.testzip() is None

    def test_a_part_of_it_is_a_load_error(self, kind, paths, tmp_path):
        path, data = tmp_path / "part", paths[kind].read_bytes()
        for length in range(1, len(data), len(data) // 20):
            path.write_bytes(data[:length])
            with pytest.raises(ModelLoadError, match="expected a TorchScript archive or"):
                handler(path).load_model()

    def test_another_digest_is_a_load_error(self, kind, paths):
        with pytest.raises(ModelLoadError, match="expected the content with sha256 0000"):
            handler(paths[kind], model_sha256="0" * 64).load_model()


@pytest.mark.parametrize("name", ["m.pt", "m.safetensors"])
def test_weights_are_not_a_program(saved, name):
    with pytest.raises(ModelLoadError, match="pass it as state_dict_path"):
        handler(saved(nets.Net(), name)).load_model()


@pytest.mark.parametrize("part", ["constants.pkl", "archive_format"])
def test_an_archive_with_nothing_in_it_is_a_load_error(tmp_path, part):
    path = tmp_path / "nothing.pt"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"model/{part}", b"nothing")
        archive.writestr("model/data.pkl", b"nothing")
    with pytest.raises(ModelLoadError, match=r"Loading it ended with \w+: "):
        handler(path).load_model()


def test_an_exported_program_with_names(tmp_path):
    class Sum(torch.nn.Module):
        def forward(self, a, b):
            return a + 2 * b

    rows = {"a": {0: torch.export.Dim.DYNAMIC}, "b": {0: torch.export.Dim.DYNAMIC}}
    inputs = {"a": torch.zeros(3), "b": torch.zeros(3)}
    exported = torch.export.export(Sum(), (), inputs, dynamic_shapes=rows)
    torch.export.save(exported, tmp_path / "sum.pt2")
    made = PytorchModelHandlerKeyedTensor(
        torch_script_model_path=str(tmp_path / "sum.pt2"), allow_model_code=True
    )
    model = made.load_model()
    found = made.run_inference([{"b": 1.0, "a": 2.0}, {"a": 0.0, "b": 3.0}], model)
    assert [float(value) for value in found] == [4.0, 6.0]
    assert list(made.feature_names(model)) == ["a", "b"]
