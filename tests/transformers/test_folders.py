"""Which folders are loaded, without a network; and what is said of the others."""

import json
import pickle
import shutil
import socket
from pathlib import Path

import pytest
import tiny
import torch

from runinference import create_handler
from runinference.errors import ModelLoadError
from runinference_transformers import TransformersPipelineHandler

TASK = "text-classification"


def load(folder, task=TASK, **options):
    return TransformersPipelineHandler(str(folder), task, **options).load_model()


@pytest.fixture
def folder(folders, tmp_path):
    """A copy of one, to be changed."""
    return Path(shutil.copytree(folders[TASK], tmp_path / "copy"))


def test_the_model_is_named_by_a_digest_of_its_files(folders, folder):
    def name_of(path):
        handler = TransformersPipelineHandler(str(path), TASK)
        handler.load_model()
        return handler.model_id.partition("@")[2]

    before = name_of(folder)
    assert len(before) == 12
    assert before == name_of(folders[TASK])
    tiny.model(TASK, seed=1).save_pretrained(folder)
    assert name_of(folder) != before


def test_it_pickles_after_a_load(folders):
    handler = create_handler("transformers-pipeline", model_uri=folders[TASK], task=TASK)
    handler.load_model()
    again = pickle.loads(pickle.dumps(handler))
    assert vars(again) == vars(handler)


def test_no_connection_is_tried(folders, monkeypatch):
    def refuse(*args, **kwargs):
        pytest.fail("a connection was tried")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    for task, path in folders.items():
        load(path, task)
    with pytest.raises(ModelLoadError, match=r"no folder on this machine: .*hf download"):
        load("google-bert/bert-base-uncased")


def test_weights_that_are_pickles_are_not_read(folder):
    class Harmful:
        def __reduce__(self):
            return pytest.fail, ("it ran",)

    (folder / "model.safetensors").unlink()
    torch.save(Harmful(), folder / "pytorch_model.bin")
    with pytest.raises(ModelLoadError, match=r"no .safetensors file; .*'pytorch_model.bin'.*save_"):
        load(folder)


def test_code_in_the_folder_is_not_run(folder):
    (folder / "modeling.py").write_text("raise SystemExit('it ran')\n")
    config = json.loads((folder / "config.json").read_text())
    config |= {
        "model_type": "acme",
        "auto_map": {
            "AutoConfig": "modeling.AcmeConfig",
            "AutoModelForSequenceClassification": "modeling.AcmeModel",
        },
    }
    (folder / "config.json").write_text(json.dumps(config))
    with pytest.raises(ModelLoadError, match=r"code in a model's folder is never run here"):
        load(folder)


def test_an_adapter_is_no_model(folder):
    (folder / "adapter_config.json").write_text("{}")
    with pytest.raises(ModelLoadError, match="holds an adapter"):
        load(folder)


@pytest.mark.parametrize("task", ["text-classification", "token-classification"])
def test_a_model_without_the_tasks_weights(folders, task):
    with pytest.raises(ModelLoadError, match=r"no weights for 'classifier.bias', .*another task"):
        load(folders["feature-extraction"], task)


def test_embeddings_of_a_model_of_another_task(folders):
    assert load(folders[TASK], "feature-extraction").max_length == tiny.MAX_LENGTH


def test_a_tokenizer_without_padding(tmp_path):
    path = tiny.save(TASK, tmp_path, tokens=tiny.tokenizer(pad_token=None))
    with pytest.raises(ModelLoadError, match=r"without a padding token: set tokenizer.pad_token"):
        load(path)


@pytest.mark.parametrize("name", ["model.safetensors", "config.json", "tokenizer.json"])
@pytest.mark.parametrize("content", [b"", b"hello"])
def test_a_damaged_file(folder, name, content):
    (folder / name).write_bytes(content)
    with pytest.raises(ModelLoadError, match="cannot be loaded by transformers"):
        load(folder)


def test_a_device_that_is_not_there(folders):
    if torch.cuda.is_available():
        pytest.skip("a GPU is here")
    with pytest.raises(ModelLoadError, match="device='cuda' cannot be used"):
        load(folders[TASK], device="GPU")
