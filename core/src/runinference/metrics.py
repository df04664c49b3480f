"""Beam metrics of models and batches, under the names that Beam's own RunInference uses."""

from __future__ import annotations

from apache_beam.metrics import Metrics

from runinference.hooks import BatchFailed, BatchHalved, BatchPredicted, ModelLoaded, observer

__all__ = ["BeamMetrics"]


class BeamMetrics:
    """The observer of one worker that counts in Beam's metrics.

    Beam takes a count only while a bundle is processed; a load before the first bundle is kept and
    reported with :meth:`flush`.
    """

    def __init__(self, namespace: str) -> None:
        self._inferences = Metrics.counter(namespace, "num_inferences")
        self._failed_batches = Metrics.counter(namespace, "failed_batches_counter")
        self._halved_batches = Metrics.counter(namespace, "halved_batches_counter")
        self._batch_size = Metrics.distribution(namespace, "inference_request_batch_size")
        self._batch_bytes = Metrics.distribution(namespace, "inference_request_batch_byte_size")
        self._tokens = Metrics.distribution(namespace, "inference_request_batch_tokens")
        self._padded = Metrics.distribution(namespace, "inference_request_batch_padded_tokens")
        self._batch_latency = Metrics.distribution(namespace, "inference_batch_latency_micro_secs")
        self._model_bytes = Metrics.distribution(namespace, "model_byte_size")
        self._load_latency = Metrics.distribution(namespace, "load_model_latency_milli_secs")
        self._loads: list[ModelLoaded] = []

    @observer
    def model_loaded(self, event: ModelLoaded) -> None:
        """Keep until the next bundle."""
        self._loads.append(event)

    @observer
    def batch_predicted(self, event: BatchPredicted) -> None:
        """Count the examples, and the size, bytes, tokens and latency of the call."""
        self._inferences.inc(event.size)
        self._batch_size.update(event.size)
        self._batch_bytes.update(event.byte_size)
        self._batch_latency.update(int(event.seconds * 1e6))
        if event.tokens is not None:
            self._tokens.update(event.tokens)
        if event.padded_tokens is not None:
            self._padded.update(event.padded_tokens)

    @observer
    def batch_failed(self, event: BatchFailed) -> None:
        """Count the call."""
        self._failed_batches.inc()

    @observer
    def batch_halved(self, event: BatchHalved) -> None:
        """Count the call."""
        self._halved_batches.inc()

    def flush(self) -> None:
        """Report the loads since the last call; to be called while a bundle is processed."""
        while self._loads:
            event = self._loads.pop()
            self._model_bytes.update(event.byte_size)
            self._load_latency.update(int(event.seconds * 1e3))
