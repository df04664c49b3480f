"""Models behind a server: retries, rate limits, throttling and a circuit breaker."""

from runinference.remote.handler import RemoteModelHandler
from runinference.remote.policy import RequestPolicy

__all__ = ["RemoteModelHandler", "RequestPolicy"]
