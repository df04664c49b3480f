"""Ask a server over HTTP."""

from __future__ import annotations

import json
import ssl
import time
from collections.abc import Mapping, Sequence
from typing import Any

import httpx
import numpy as np

from runinference_open_inference.addresses import model_address
from runinference_open_inference.credentials import Secrets
from runinference_open_inference.http_bodies import (
    HEADER_LENGTH,
    MalformedAnswerError,
    decode,
    encode,
)
from runinference_open_inference.inputs import Request
from runinference_open_inference.tensors import TensorSpec

__all__ = ["HttpClient"]

_BINARY_EXTENSION = "binary_tensor_data"
_LONGEST_TEXT = 500


class _StatusError(Exception):
    """The server answered with an HTTP status of a failure."""

    def __init__(self, status_code: int, headers: httpx.Headers, text: str) -> None:
        super().__init__(f"{status_code}: {text}")
        self.status_code = status_code
        self.headers = headers


class HttpClient:
    """Connections to one server, shared by threads.

    Args:
        url: of the server, without the protocol's path.
        model: the model's name.
        version: the model's version; the server chooses where None.
        secrets: headers of each request.
        ca_file: certificates of the authorities to trust instead of the system's.
        timeout_s: for a whole request.
        binary: whether to send binary tensors; told by the server's metadata where None.

    Raises:
        Exception: the metadata cannot be read.
    """

    def __init__(
        self,
        url: str,
        model: str,
        version: str | None,
        *,
        secrets: Secrets,
        ca_file: str | None,
        timeout_s: float,
        binary: bool | None,
    ) -> None:
        verify: ssl.SSLContext | bool = True
        if ca_file is not None:
            verify = ssl.create_default_context(cafile=ca_file)
        # as many connections as there are threads that ask
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=None)
        self._http = httpx.Client(
            headers=secrets.headers, verify=verify, timeout=timeout_s, limits=limits
        )
        self._secrets = secrets
        self._timeout_s = timeout_s
        self._path = model_address(url, model, version)
        try:
            self.inputs = _specs(self._get(self._path))
            self._binary = self._has_binary(f"{url}/v2") if binary is None else binary
        except BaseException:
            self.close()
            raise

    def infer(
        self,
        request: Request,
        outputs: Sequence[str] | None,
        parameters: Mapping[str, Any] | None,
    ) -> dict[str, np.ndarray[Any, Any]]:
        """The outputs of one request, by name.

        Raises:
            Exception: no answer, one with a status of a failure, or one that cannot be read.
        """
        body, headers = encode(request, outputs, parameters, binary=self._binary)
        answer, answered = self._send("POST", f"{self._path}/infer", body, headers)
        return decode(answer, answered.get(HEADER_LENGTH))

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def _has_binary(self, root: str) -> bool:
        try:
            extensions = self._get(root).get("extensions")
        except _StatusError:  # a server that does not describe itself
            return False
        return isinstance(extensions, list) and _BINARY_EXTENSION in extensions

    def _get(self, path: str) -> dict[str, Any]:
        body, _ = self._send("GET", path, None, None)
        try:
            found = json.loads(body)
        except ValueError as error:
            raise MalformedAnswerError(f"{path} answered with no JSON: {body[:100]!r}") from error
        return found if isinstance(found, dict) else {}

    def _send(
        self, method: str, path: str, body: bytes | None, headers: dict[str, str] | None
    ) -> tuple[bytes, httpx.Headers]:
        deadline = time.monotonic() + self._timeout_s
        try:
            with self._http.stream(method, path, content=body, headers=headers) as response:
                parts = []
                for part in response.iter_bytes():
                    parts.append(part)
                    # httpx limits the time between two parts, and not that of all
                    if time.monotonic() > deadline:
                        raise TimeoutError(f"no complete answer within {self._timeout_s:g} s")
        except httpx.TimeoutException as error:
            raise TimeoutError(f"no answer within {self._timeout_s:g} s") from error
        except (httpx.TransportError, httpx.DecodingError) as error:
            raise ConnectionError(str(error) or type(error).__name__) from error
        if not response.is_success:
            raise _StatusError(response.status_code, response.headers, self._said(parts, response))
        return b"".join(parts), response.headers

    def _said(self, parts: Sequence[bytes], response: httpx.Response) -> str:
        text = b"".join(parts).decode(errors="replace").strip() or response.reason_phrase
        return self._secrets.hide(text[:_LONGEST_TEXT])


def _specs(metadata: Mapping[str, Any]) -> list[TensorSpec]:
    try:
        return [
            TensorSpec(told["name"], told["datatype"], tuple(int(n) for n in told["shape"]))
            for told in metadata.get("inputs") or ()
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise MalformedAnswerError(
            f"the server describes the model's inputs as {metadata.get('inputs')!r:.200}"
        ) from error
