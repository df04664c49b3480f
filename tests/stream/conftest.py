"""A Redis server on loopback, models, and the example's pipeline as a process."""

import contextlib
import shutil
import socket
import subprocess
import sys
from pathlib import Path

import joblib
import pytest
import redis
from sklearn.datasets import load_digits
from sklearn.linear_model import LogisticRegression

sys.path.append(str(Path(__file__).parent))  # for the modules beside the tests, and the example's
sys.path.append(str(Path(__file__).parents[2] / "docs" / "examples" / "stream"))

from processes import Scoring, until  # found through the lines above


@pytest.fixture(scope="session")
def redis_url(tmp_path_factory):
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("redis-server is not installed: `apt-get install redis-server` brings it")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = str(free.getsockname()[1])
    command = [program, "--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no"]
    folder = tmp_path_factory.mktemp("redis")
    server = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    try:
        url = f"redis://127.0.0.1:{port}"
        with redis.Redis.from_url(url) as client:
            until(lambda: answers(client), 30, lambda: f"redis-server ended: {server.poll()}")
        yield url
    finally:
        server.kill()
        server.wait()


def answers(client):
    with contextlib.suppress(redis.ConnectionError):
        return client.ping()


@pytest.fixture
def client(redis_url):
    with redis.Redis.from_url(redis_url, decode_responses=True) as client:
        client.flushall()
        yield client


@pytest.fixture(scope="session")
def digits():
    return load_digits(return_X_y=True)


@pytest.fixture
def models(tmp_path, digits):
    """A folder with one model, and another model's file outside of it.

    Of joblib: importing skops takes longer than all the rest of a pipeline's start.
    """
    folder = tmp_path / "models"
    folder.mkdir()
    for path, c in ((folder / "first.joblib", 1.0), (tmp_path / "second.joblib", 0.001)):
        model = LogisticRegression(C=c, max_iter=5000).fit(digits[0][:500], digits[1][:500])
        joblib.dump(model, path)
    return folder


@pytest.fixture
def scoring(redis_url, client, models):
    scoring = Scoring(redis_url, models)
    yield scoring
    scoring.stop_all()
