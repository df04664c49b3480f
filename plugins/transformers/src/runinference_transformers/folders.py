"""Load a pipeline from a local folder: no network, no pickles, no code of the folder's."""

from __future__ import annotations

import contextlib
import dataclasses
import hashlib
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from runinference.errors import ModelLoadError
from runinference.hints import listed
from runinference_pytorch.devices import resolve_device

__all__ = ["TextPipeline", "load", "model_id"]

_MODELS = {
    "feature-extraction": "AutoModel",
    "text-classification": "AutoModelForSequenceClassification",
    "token-classification": "AutoModelForTokenClassification",
}
_LOCAL = {"local_files_only": True, "trust_remote_code": False}
# Tokenizers without a limit of their own say this or more.
_NO_LIMIT = 10**9


@dataclasses.dataclass(frozen=True)
class TextPipeline:
    """A loaded model.

    Attributes:
        pipeline: ``transformers.Pipeline`` of the task, with model and tokenizer.
        max_length: how many tokens the model takes; None where neither it nor the tokenizer tells.
        lock: held while the tokenizer runs, which is not safe for threads.
    """

    pipeline: Any
    max_length: int | None
    lock: threading.Lock = dataclasses.field(default_factory=threading.Lock)


def load(folder: str, task: str, device: str) -> TextPipeline:
    """The pipeline of a task, in evaluation mode on its device.

    Raises:
        ModelLoadError: the folder or the device cannot be used.
    """
    import transformers

    _check_files(folder)
    where = resolve_device(device)
    try:
        tokenizer: Any = transformers.AutoTokenizer.from_pretrained(folder, **_LOCAL)
        with _no_progress():
            model, info = getattr(transformers, _MODELS[task]).from_pretrained(
                folder, use_safetensors=True, output_loading_info=True, **_LOCAL
            )
    except Exception as error:  # files of many kinds, read by many libraries
        raise ModelLoadError(
            f"model folder {folder!r} cannot be loaded by transformers "
            f"{transformers.__version__}: {_first_line(error)} (code in a model's folder is never "
            "run here)"
        ) from error
    missing = sorted(info["missing_keys"])
    # A head that nobody needs may be absent; the one that answers may not.
    if missing and task != "feature-extraction":
        raise ModelLoadError(
            f"model folder {folder!r} has no weights for {listed(missing, 3)}: it was saved for "
            f"another task than {task!r}"
        )
    if tokenizer.pad_token_id is None:
        raise ModelLoadError(
            f"model folder {folder!r} has a tokenizer without a padding token: set "
            "tokenizer.pad_token (and model.config.pad_token_id), and save both again"
        )
    tokenizer.padding_side = "right"
    make: Any = transformers.pipeline  # typed by a task of each kind, not by one of three
    pipeline = make(task, model=model, tokenizer=tokenizer, device=where)
    return TextPipeline(pipeline, _max_length(tokenizer, model.config))


def model_id(folder: str) -> str:
    """The folder and the digest of its weights, configuration and tokenizer."""
    digest = hashlib.sha256()
    for path in sorted(Path(folder).iterdir()):
        if path.suffix in (".safetensors", ".json", ".txt", ".model"):
            with path.open("rb") as file:
                content = hashlib.file_digest(file, "sha256").hexdigest()
            digest.update(f"{path.name} {content}\n".encode())
    return f"{folder}@{digest.hexdigest()[:12]}"


def _check_files(folder: str) -> None:
    if not Path(folder).is_dir():
        raise ModelLoadError(
            f"model folder {folder!r} is no folder on this machine: nothing is downloaded here, so "
            "fetch it first (`hf download NAME --local-dir FOLDER`) and name the local folder"
        )
    names = sorted(path.name for path in Path(folder).iterdir())
    if "adapter_config.json" in names:
        raise ModelLoadError(
            f"model folder {folder!r} holds an adapter, not a whole model: merge it into its base "
            "model with merge_and_unload(), and save that with save_pretrained()"
        )
    if not any(name.endswith(".safetensors") for name in names):
        raise ModelLoadError(
            f"model folder {folder!r} has no .safetensors file; it has {listed(names) or 'nothing'}"
            ". Other weights are not read, since they may run code: load the model where you trust "
            "it, and save it with save_pretrained()"
        )


@contextlib.contextmanager
def _no_progress() -> Iterator[None]:
    """Without the bar that transformers draws, one in the log of each worker."""
    from transformers.utils import logging

    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _max_length(tokenizer: Any, config: Any) -> int | None:
    if tokenizer.model_max_length < _NO_LIMIT:
        return int(tokenizer.model_max_length)
    positions = getattr(config, "max_position_embeddings", None)
    return positions if isinstance(positions, int) and positions > 0 else None


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]
