"""The two handlers: the Open Inference Protocol over HTTP, and over gRPC."""

from __future__ import annotations

import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Protocol

import numpy as np
import pyarrow as pa

from runinference.errors import ConfigurationError, OutputStructureError
from runinference.hints import listed
from runinference.remote import RemoteModelHandler, RequestPolicy
from runinference_open_inference.addresses import checked, model_address, split_address
from runinference_open_inference.credentials import Secrets
from runinference_open_inference.inputs import Request, request_of_examples, request_of_table
from runinference_open_inference.tensors import TensorSpec

__all__ = ["OpenInferenceGrpcModelHandler", "OpenInferenceHttpModelHandler"]


class Client(Protocol):
    """What asks a server, over whatever protocol."""

    @property
    def inputs(self) -> Sequence[TensorSpec]:
        """What the server tells of the model's inputs; empty where it tells nothing."""

    def infer(
        self,
        request: Request,
        outputs: Sequence[str] | None,
        parameters: Mapping[str, Any] | None,
    ) -> dict[str, np.ndarray[Any, Any]]:
        """The outputs of one request, by name."""

    def close(self) -> None:
        """Close the connections."""


class _OpenInferenceModelHandler(RemoteModelHandler[Any, Client]):
    """What the two have in common.

    An example is an array, a number or a text, or for several inputs a dict of them by the inputs'
    names. A prediction is what the model's only output has for the example, or a dict by the
    outputs' names; an output of shape ``[examples, 1]`` is read as one number per example.
    """

    # Servers answer with 500 to examples that the model cannot take: asking again would not help.
    retry_statuses: ClassVar[Sequence[int]] = (408, 425, 429, 502, 503, 504)

    schemes: ClassVar[Sequence[str]]

    def __init__(
        self,
        url: str,
        model_name: str,
        model_version: str | None,
        output_names: Sequence[str] | None,
        tensor_per_column: bool | None,
        bearer_token_env: str | None,
        headers_from_env: Mapping[str, str] | None,
        ca_file: str | None,
        timeout_s: float,
        requests: RequestPolicy | None,
    ) -> None:
        self.url = checked(url, self.schemes)
        if isinstance(output_names, str):
            raise ConfigurationError(
                f"output_names={output_names!r} is a string: write [{output_names!r}]"
            )
        if not timeout_s > 0:
            raise ConfigurationError(f"timeout_s={timeout_s!r}: seconds above 0 are needed")
        self.model_name = model_name
        self.model_version = model_version
        self._output_names = None if output_names is None else tuple(output_names)
        self._tensor_per_column = tensor_per_column
        self._bearer_token_env = bearer_token_env
        self._headers_from_env = None if headers_from_env is None else dict(headers_from_env)
        self._ca_file = ca_file
        self._timeout_s = float(timeout_s)
        self.requests = requests or RequestPolicy()

    @property
    def model_path(self) -> str:  # type: ignore[override]  # set through update_model_path
        """The model's address: ``<url>/v2/models/<name>``, and ``/versions/<version>`` if told."""
        return model_address(self.url, self.model_name, self.model_version)

    def update_model_path(self, model_path: str | None = None) -> None:
        """Ask another model from now on, at an address as :attr:`model_path` has it.

        Raises:
            ConfigurationError: no such address.
        """
        if model_path is not None:
            url, self.model_name, self.model_version = split_address(model_path)
            self.url = checked(url, self.schemes)

    def load_model(self) -> Client:
        """A client that knows the model's inputs.

        Raises:
            ConfigurationError: an environment variable that is not set in the worker.
            ModelUnavailableError: the server, or the model, cannot be asked.
        """
        self.model_id = self.model_path
        return super().load_model()

    def collate(self, examples: Sequence[Any], model: Client) -> Request:
        """The examples as the inputs of one request.

        Raises:
            ExampleError: examples that do not fit together, or do not fit the model's inputs.
        """
        return request_of_examples(examples, model.inputs)

    def collate_table(self, table: pa.Table, model: Client) -> Request:
        """The columns as the inputs of one request.

        Raises:
            FeatureError: columns that cannot be inputs, or are not those of the model.
            ExampleError: values that do not fit the model's inputs.
        """
        return request_of_table(table, model.inputs, per_column=self._tensor_per_column)

    def request(self, batch: Request, client: Client, inference_args: dict[str, Any] | None) -> Any:
        """The outputs: an array, or a dict of arrays where there are several."""
        outputs = client.infer(batch, self._output_names, inference_args)
        if self._output_names is not None:
            missing = [name for name in self._output_names if name not in outputs]
            if missing:
                raise OutputStructureError(
                    f"{self.model_id} answered without {listed(missing)}; it has {listed(outputs)}"
                )
            outputs = {name: outputs[name] for name in self._output_names}
        if not outputs:
            raise OutputStructureError(f"{self.model_id} answered without outputs")
        read = {name: _one_number_each(array) for name, array in outputs.items()}
        return next(iter(read.values())) if len(read) == 1 else read

    def feature_names(self, model: Client) -> Sequence[str] | None:
        """The names of the model's inputs, where it has several."""
        return [spec.name for spec in model.inputs] if len(model.inputs) > 1 else None

    def batch_elements_kwargs(self) -> Mapping[str, Any]:
        """At most 64 examples in a request: servers bound it, some at less."""
        return {"max_batch_size": 64}

    def get_metrics_namespace(self) -> str:
        """One for both protocols."""
        return "OpenInference"

    def _secrets(self) -> Secrets:
        return Secrets(self._bearer_token_env, self._headers_from_env)


class OpenInferenceHttpModelHandler(_OpenInferenceModelHandler):
    """Asks a server of the Open Inference Protocol over HTTP: Triton, KServe, MLServer, others."""

    schemes: ClassVar[Sequence[str]] = ("http", "https")

    def __init__(
        self,
        url: str,
        model_name: str,
        *,
        model_version: str | None = None,
        output_names: Sequence[str] | None = None,
        tensor_per_column: bool | None = None,
        binary: bool | None = None,
        bearer_token_env: str | None = None,
        headers_from_env: Mapping[str, str] | None = None,
        ca_file: str | None = None,
        timeout_s: float = 30.0,
        requests: RequestPolicy | None = None,
    ) -> None:
        """Say which model of which server to ask.

        Args:
            url: the server's address, as in "http://host:8080"; "/v2/..." is added.
            model_name: the model's name at the server.
            model_version: one version; the server chooses if not given.
            output_names: the outputs to ask for; all, or the server's choice, if not given.
            tensor_per_column: whether each column of a table is an input, rather than all columns
                one matrix; by default where the model has several inputs or a column holds no
                numbers.
            binary: whether tensors travel in binary instead of JSON; by default where the server
                says that it has the binary tensor extension.
            bearer_token_env: the environment variable of the workers that holds a token.
            headers_from_env: headers of each request, each with the environment variable of the
                workers that holds its value.
            ca_file: certificates (PEM) of the authorities to trust, in place of the usual ones.
            timeout_s: for one request, from connecting to the last byte of its answer.
            requests: retries, rate limits and the circuit breaker.

        Raises:
            ConfigurationError: an option out of its range.
        """
        super().__init__(
            url,
            model_name,
            model_version,
            output_names,
            tensor_per_column,
            bearer_token_env,
            headers_from_env,
            ca_file,
            timeout_s,
            requests,
        )
        self._binary = binary

    def create_client(self) -> Client:
        """Connections, and what the server says of the model."""
        from runinference_open_inference.http_client import HttpClient

        return HttpClient(
            self.url,
            self.model_name,
            self.model_version,
            secrets=self._secrets(),
            ca_file=self._ca_file,
            timeout_s=self._timeout_s,
            binary=self._binary,
        )


class OpenInferenceGrpcModelHandler(_OpenInferenceModelHandler):
    """Asks a server of the Open Inference Protocol over gRPC: Triton, KServe, MLServer, others."""

    schemes: ClassVar[Sequence[str]] = ("grpc", "grpcs")

    def __init__(
        self,
        url: str,
        model_name: str,
        *,
        model_version: str | None = None,
        output_names: Sequence[str] | None = None,
        tensor_per_column: bool | None = None,
        bearer_token_env: str | None = None,
        headers_from_env: Mapping[str, str] | None = None,
        ca_file: str | None = None,
        timeout_s: float = 30.0,
        requests: RequestPolicy | None = None,
    ) -> None:
        """Say which model of which server to ask.

        Args:
            url: the server's address, as in "grpc://host:8081"; "grpcs://..." with encryption.
            model_name: the model's name at the server.
            model_version: one version; the server chooses if not given.
            output_names: the outputs to ask for; all, or the server's choice, if not given.
            tensor_per_column: whether each column of a table is an input, rather than all columns
                one matrix; by default where the model has several inputs or a column holds no
                numbers.
            bearer_token_env: the environment variable of the workers that holds a token.
            headers_from_env: metadata of each call, each with the environment variable of the
                workers that holds its value.
            ca_file: certificates (PEM) of the authorities to trust, in place of the usual ones.
            timeout_s: for one call.
            requests: retries, rate limits and the circuit breaker.

        Raises:
            ConfigurationError: an option out of its range.
        """
        super().__init__(
            url,
            model_name,
            model_version,
            output_names,
            tensor_per_column,
            bearer_token_env,
            headers_from_env,
            ca_file,
            timeout_s,
            requests,
        )

    def create_client(self) -> Client:
        """A channel, and what the server says of the model."""
        from runinference_open_inference.grpc_client import GrpcClient

        address = urllib.parse.urlsplit(self.url)
        return GrpcClient(
            address.netloc,
            self.model_name,
            self.model_version,
            secrets=self._secrets(),
            tls=address.scheme == "grpcs",
            ca_file=self._ca_file,
            timeout_s=self._timeout_s,
        )


def _one_number_each(array: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    # MLServer answers [examples, 1] where the model itself answers [examples]
    return array[:, 0] if array.ndim == 2 and array.shape[1] == 1 else array
