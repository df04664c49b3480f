"""What the author of a handler writes whose model answers requests."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar

from runinference.description import handler_name
from runinference.handler import ModelT, VectorModelHandler
from runinference.outputs import Outputs, read_outputs
from runinference.remote.calls import Calls
from runinference.remote.policy import RETRY_STATUSES, RequestPolicy
from runinference.results import ExampleT

__all__ = ["RemoteModelHandler"]


class RemoteModelHandler(VectorModelHandler[ExampleT, ModelT]):
    """Asks a model that runs elsewhere. An author writes ``create_client`` and ``request``.

    A request that fails is made again where that can help: after errors of the connection, timeouts
    and the statuses of ``retry_statuses``. What the server refuses for good fails at once. For an
    error that is not recognised, raise Python's ``ConnectionError`` or ``TimeoutError`` from it to
    have the request made again.

    There is one client per process, which threads share; ``request`` is called in several at a time
    where ``Execution(in_flight=...)`` says so.
    """

    requests: RequestPolicy = RequestPolicy()
    """How often, how fast and for how long the server is asked; a subclass sets its own, as an
    attribute or in its constructor."""

    retry_statuses: ClassVar[Sequence[int]] = RETRY_STATUSES
    """HTTP statuses of requests that can succeed later, where ``requests`` does not name them."""

    def create_client(self) -> ModelT:
        """What ``request`` talks to the server with; called once per process, in a worker.

        It may ask the server, and is called again where that fails and can succeed later.
        Credentials are to be read here, from the worker's environment: what a handler's attributes
        hold is pickled into the pipeline.
        """
        raise TypeError(f"{type(self).__qualname__} has to define create_client()")

    def request(self, batch: Any, client: ModelT, inference_args: dict[str, Any] | None) -> Any:
        """One request: one prediction per example, in order, or a structure of arrays.

        It may be called again with the same batch, so that two requests have to be as good as one.

        Args:
            batch: the examples; what ``collate`` makes of them, where a subclass defines it.
            client: what ``create_client`` returned.
            inference_args: the argument of the same name of ``RunInference``.
        """
        raise TypeError(f"{type(self).__qualname__} has to define request()")

    def close_client(self, client: ModelT) -> None:
        """Close the connections; by default with the client's ``close()``, where it has one."""
        close = getattr(client, "close", None)
        if close is not None:
            close()

    def request_size(self, batch: Any) -> int:
        """How many examples a batch holds, for the rate of examples and for messages."""
        return len(batch)

    def load_model(self) -> ModelT:
        """The client; what it asks the server is asked again as a request is."""
        policy = self.requests
        statuses = self.retry_statuses if policy.retry_statuses is None else policy.retry_statuses
        self._calls = Calls(handler_name(self), self.model_id, policy, statuses)
        return self._calls.make(self.create_client, 0)

    def close_model(self, model: ModelT) -> None:
        """Close the client."""
        self.close_client(model)

    def collate(self, examples: Sequence[Any], model: ModelT) -> Any:
        """The examples as they are."""
        return examples

    def predict(self, batch: Any, model: ModelT, inference_args: dict[str, Any] | None) -> Any:
        """What the server answers, however many requests it takes.

        Raises:
            ModelUnavailableError: the server cannot be asked, whatever the examples.
            RequestRefusedError: the server refuses these examples.
            Exception: whatever else ``request`` raises.
        """

        def request() -> Any:
            answer = self.request(batch, model, inference_args)
            # a generator would make its request here only, and fail outside of the retries
            return list(answer) if isinstance(answer, Iterator) else answer

        return self._calls.make(request, self.request_size(batch))

    def read_outputs(self, outputs: Any, count: int) -> Outputs:
        """Check the answer for ``count`` examples against ``batch_axis`` and ``outputs``."""
        return read_outputs(
            outputs,
            count,
            source=f"{type(self).__qualname__}.request()",
            batch_axis=self.batch_axis,
            select=self.outputs,
        )

    def __getstate__(self) -> dict[str, Any]:
        """Without what was made with the client: it belongs to one process."""
        return {name: value for name, value in vars(self).items() if name != "_calls"}
