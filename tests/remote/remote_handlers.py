"""A handler as an author writes it."""

import httpx

from runinference import RemoteModelHandler, RequestPolicy


class Doubling(RemoteModelHandler):
    """Asks a server that answers a list with a list."""

    created = 0
    closed = 0

    def __init__(self, url, policy=None, **policy_options):
        self.url = url
        # unthrottled unless told: throttling waits by chance, and for long where little is answered
        quick = {"first_wait_s": 0.01, "give_up_after_s": 60, "overload_ratio": 1000}
        self.requests = policy or RequestPolicy(**{**quick, **policy_options})
        self.model_id = "doubling@7"

    def create_client(self):
        Doubling.created += 1
        return httpx.Client(timeout=30)

    def close_client(self, client):
        Doubling.closed += 1
        client.close()

    def request(self, batch, client, inference_args=None):
        answer = client.post(self.url, json=list(batch))
        answer.raise_for_status()
        return answer.json()
