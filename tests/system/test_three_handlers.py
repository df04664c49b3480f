"""Three short handlers of other kinds than the four, each with examples and with tables.

What an author of a handler has to write, and nothing else: gradient-boosted trees on DataFrames, a
text classifier whose tokeniser is part of the model, and a client of a server.
"""

import http.client
import http.server
import json
import threading

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import xgboost

from runinference import (
    BatchConfig,
    KeyedModelHandler,
    ModelHandler,
    RunInference,
    RunTableInference,
    VectorModelHandler,
)
from runinference.files import read_model

# Gradient-boosted trees on DataFrames with feature names ------------------------------------------


class BoostedTrees(VectorModelHandler):
    """XGBoost's own format; one-row DataFrames in, a probability out."""

    def __init__(self, model_uri):
        self.model_path = model_uri

    def load_model(self):
        file = read_model(self.model_path)
        self.model_id = file.model_id
        return xgboost.Booster(model_file=bytearray(file.data))

    def feature_names(self, model):
        return model.feature_names

    def collate(self, examples, model):
        return pd.concat(examples)[model.feature_names]

    def collate_table(self, table, model):
        return table.to_pandas()

    def predict(self, batch, model, inference_args):
        return model.predict(xgboost.DMatrix(batch), **(inference_args or {}))


@pytest.fixture(scope="module")
def trees(tmp_path_factory):
    random = np.random.default_rng(0)
    frame = pd.DataFrame(random.normal(size=(200, 3)), columns=["age", "income", "score"])
    labels = (frame["age"] + frame["income"] > 0).astype(int)
    booster = xgboost.train(
        {"objective": "binary:logistic", "nthread": 1, "seed": 0},
        xgboost.DMatrix(frame, labels),
        num_boost_round=5,
    )
    path = tmp_path_factory.mktemp("trees") / "model.ubj"
    booster.save_model(path)
    return str(path), frame, booster.predict(xgboost.DMatrix(frame))


def test_boosted_trees_on_frames(run, trees):
    path, frame, expected = trees
    rows = [(i, frame.iloc[[i]]) for i in range(50)]
    results = run.one(RunInference(KeyedModelHandler(BoostedTrees(path))), rows)
    for key, result in results:
        assert result.inference == pytest.approx(expected[key])
        assert result.example.equals(frame.iloc[[key]])
        assert result.model_id.startswith(f"{path}@")


def test_boosted_trees_on_tables(run, trees):
    path, frame, expected = trees
    # columns in another order, and one that the model does not know
    table = pa.table({"id": range(200), **{c: frame[c] for c in ("score", "income", "age")}})
    [scored] = run.one(RunTableInference(BoostedTrees(path)), [table])
    np.testing.assert_allclose(scored.column("prediction"), expected)
    assert scored.schema.field("prediction").type == pa.float32()


def test_boosted_trees_name_a_missing_column(run, trees):
    with pytest.raises(Exception, match="no column 'age'; did you mean 'Age'"):
        run.one(RunTableInference(BoostedTrees(trees[0])), [pa.table({"Age": [1.0]})])


# A text classifier whose tokeniser is part of the model -------------------------------------------


widths = []


class Sentiment(VectorModelHandler):
    """Words to numbers, padded to the longest text of a call; the weights' mean decides."""

    def load_model(self):
        words = {"<pad>": 0.0, "good": 1.0, "great": 2.0, "bad": -1.0, "awful": -2.0}
        vocabulary = {word: number for number, word in enumerate(words)}
        return vocabulary, np.array([*words.values(), 0.0])

    def prepare(self, examples, model):
        vocabulary, weights = model
        unknown = len(weights) - 1
        return [[vocabulary.get(word, unknown) for word in text.split()] for text in examples]

    def length(self, prepared):
        return len(prepared)

    def collate(self, examples, model):
        width = max(map(len, examples))
        widths.append((len(examples), width))
        return np.array([tokens + [0] * (width - len(tokens)) for tokens in examples])

    def predict(self, batch, model, inference_args):
        score = model[1][batch].sum(axis=1)
        return {"label": np.where(score >= 0, "positive", "negative"), "score": score}


TEXTS = ["good", "bad and awful", "great great great but bad in the end", "so so"]
LABELS = ["positive", "negative", "positive", "positive"]


def test_texts(run):
    batching = BatchConfig(min_size=4, max_size=4, max_tokens=8)
    results = run.one(RunInference(Sentiment(), batching=batching), TEXTS)
    assert [result.inference["label"] for result in results] == LABELS
    assert [result.example for result in results] == TEXTS
    # short texts share a call, and no call is wider than its own longest text
    assert widths[-3:] == [(2, 2), (1, 3), (1, 8)]


def test_texts_in_a_table(run):
    table = pa.table({"id": [1, 2, 3, 4], "text": TEXTS})
    transform = RunTableInference(
        Sentiment(), features=["text"], batching=BatchConfig(max_tokens=8)
    )
    [scored] = run.one(transform, [table])
    assert scored.column("prediction_label").to_pylist() == LABELS
    assert scored.column("prediction_score").to_pylist() == [1.0, -3.0, 5.0, 0.0]
    assert widths[-3:] == [(2, 2), (1, 3), (1, 8)]


# A client of a server -----------------------------------------------------------------------------


class Client(ModelHandler):
    """Sends a batch as JSON; the model is the connection."""

    def __init__(self, port):
        self.port = port

    def load_model(self):
        return http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)

    def run_inference(self, batch, model, inference_args=None):
        model.request("POST", "/predict", json.dumps(batch))
        return json.loads(model.getresponse().read())["predictions"]

    def close_model(self, model):
        model.close()


@pytest.fixture(scope="module")
def port():
    class Doubling(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self):
            numbers = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer = json.dumps({"predictions": [2 * number for number in numbers]}).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Doubling) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


def test_a_client(run, port):
    results = run.one(RunInference(Client(port)), list(range(30)))
    assert sorted(result.inference for result in results) == [2 * i for i in range(30)]


def test_a_client_with_tables(run, port):
    table = pa.table({"number": range(30)})
    [scored] = run.one(RunTableInference(Client(port)), [table])
    assert scored.column("prediction").to_pylist() == [2 * i for i in range(30)]


def test_a_clients_error_reaches_the_user(run, port):
    with pytest.raises(Exception, match="refused"):
        run.one(RunInference(Client(1)), [1])


def test_the_three_are_short():
    import inspect

    for kind in (BoostedTrees, Sentiment, Client):
        assert len(inspect.getsource(kind).splitlines()) < 35
