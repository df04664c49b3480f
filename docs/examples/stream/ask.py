"""Write digits to a Redis stream at a steady rate, and tell how long their predictions took.

python ask.py --messages 2000 --rate 200
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import threading
import time
from collections.abc import Sequence

import redis
from sklearn.datasets import load_digits

__all__ = ["Report", "ask"]


@dataclasses.dataclass
class Report:
    """What came back.

    Attributes:
        seconds: from writing to reading the first answer, of each message that was answered, in the
            order of the answers.
        unanswered: ids of messages that were not.
        again: how many answers were second ones of a message.
        models: runs of answers of one model: its name, and how many.
    """

    seconds: list[float]
    unanswered: list[str]
    again: int
    models: list[tuple[str, int]]

    def quantile(self, share: float) -> float:
        """The seconds within which so large a share was answered."""
        return sorted(self.seconds)[math.ceil(share * len(self.seconds)) - 1]


def ask(url: str, messages: int, rate: float, patience_s: float = 60.0) -> Report:
    """Write so many messages, so many a second, and wait for their answers.

    Args:
        url: of the server.
        messages: how many.
        rate: how many a second.
        patience_s: without any answer for so long, the rest counts as unanswered.
    """
    client = redis.Redis.from_url(url, decode_responses=True)
    position = (client.xrevrange("predictions", count=1) or [("0", {})])[0][0]
    written: dict[str, float] = {}
    writer = threading.Thread(target=_write, args=(url, messages, rate, written))
    writer.start()
    answered: dict[str, float] = {}
    again = 0
    models: list[tuple[str, int]] = []
    patient_until = time.perf_counter() + patience_s
    while time.perf_counter() < patient_until and (writer.is_alive() or written.keys() - answered):
        for _, found in client.xread({"predictions": position}, block=100):
            now = time.perf_counter()
            patient_until = now + patience_s
            for position, answer in found:  # noqa: B007 - the last one is where to go on
                again += answer["id"] in answered
                answered.setdefault(answer["id"], now)
                if not models or models[-1][0] != answer["model"]:
                    models.append((answer["model"], 0))
                models[-1] = models[-1][0], models[-1][1] + 1
    writer.join()
    return Report(
        [when - written[id_] for id_, when in answered.items() if id_ in written],
        [id_ for id_ in written if id_ not in answered],
        again,
        models,
    )


def _write(url: str, messages: int, rate: float, written: dict[str, float]) -> None:
    client = redis.Redis.from_url(url, decode_responses=True)
    pixels, _ = load_digits(return_X_y=True)
    texts = [json.dumps(row.tolist()) for row in pixels]
    begun = time.perf_counter()
    for number in range(messages):
        time.sleep(max(begun + number / rate - time.perf_counter(), 0))
        now = time.perf_counter()
        written[client.xadd("digits", {"pixels": texts[number % len(texts)]})] = now


def main(arguments: Sequence[str] | None = None) -> None:
    """Ask, and print the report."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--redis", default="redis://127.0.0.1:6379")
    parser.add_argument("--messages", type=int, default=2000)
    parser.add_argument("--rate", type=float, default=200.0, help="messages a second")
    told = parser.parse_args(arguments)
    report = ask(told.redis, told.messages, told.rate)
    print(
        f"{len(report.seconds):,} of {told.messages:,} messages answered, {told.rate:g} a second; "
        f"{report.again:,} answers came again"
    )
    if report.seconds:
        median, p99, most = (1000 * report.quantile(share) for share in (0.5, 0.99, 1.0))
        print(
            f"from write to prediction: median {median:.1f} ms, p99 {p99:.1f} ms, "
            f"longest {most:.1f} ms"
        )
    for model, count in report.models:
        print(f"{count:,} by {model}")


if __name__ == "__main__":
    main()
