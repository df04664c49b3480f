"""The example as a user runs it: killed and started again, and its model swapped under load."""

import json
import re
import shutil
import signal
import threading

import ask
import joblib
import make_model
import numpy as np
from processes import until

from runinference import create_handler


def write_all(client, digits, numbers):
    together = client.pipeline(transaction=False)
    for number in numbers:
        together.xadd("digits", {"pixels": json.dumps(digits[0][number].tolist())})
    return dict(zip(together.execute(), numbers))


def answers_of(client):
    return [(fields["id"], int(fields["digit"])) for _, fields in client.xrange("predictions")]


def state_of(client):
    """At one moment: the last id that was read, and all not acknowledged, and all answered."""
    together = client.pipeline(transaction=True)
    together.xinfo_groups("digits")
    together.xpending_range("digits", "runinference", "-", "+", 10_000)
    together.xrange("predictions")
    [group], pending, answers = together.execute()
    unfinished = {entry["message_id"] for entry in pending}
    return group["last-delivered-id"], unfinished, {fields["id"] for _, fields in answers}


def test_nothing_is_lost_when_the_pipeline_is_killed(client, scoring, digits, models):
    written = write_all(client, digits, range(1500))
    process = scoring.start()
    until(lambda: client.xlen("predictions") >= 300, why=scoring.failed)
    # stopped in the middle of a bundle, which is where messages could be lost
    while True:
        process.send_signal(signal.SIGSTOP)
        last, unfinished, answered = state_of(client)
        if unfinished:
            break
        process.send_signal(signal.SIGCONT)
    read = {id_ for id_ in written if order(id_) <= order(last)}
    assert read - unfinished <= answered
    assert len(answered) < len(written)
    process.kill()
    scoring.start()
    until(lambda: state_of(client)[2] == written.keys(), why=scoring.failed)
    until(lambda: not state_of(client)[1])
    expected = joblib.load(models / "first.joblib").predict(digits[0])
    # those that came twice too: a reader drops whichever comes later
    assert {(id_, digit == expected[written[id_]]) for id_, digit in answers_of(client)} == {
        (id_, True) for id_ in written
    }


def order(id_):
    return tuple(map(int, id_.split("-")))


def test_the_model_is_swapped_under_load_without_a_gap(redis_url, client, scoring, models):
    process = scoring.start()
    assert ask.ask(redis_url, 1, 100).unanswered == []
    begun = client.xlen("predictions")

    def swap():
        until(lambda: client.xlen("predictions") >= begun + 300)
        shutil.copy(models.parent / "second.joblib", models / "part")
        (models / "part").rename(models / "second.joblib")

    swapping = threading.Thread(target=swap)
    swapping.start()
    report = ask.ask(redis_url, 1500, 300)
    swapping.join()
    assert report.unanswered == []
    assert report.again == 0
    assert [model.split("@")[0] for model, _ in report.models] == [
        str(models / "first.joblib"),
        str(models / "second.joblib"),
    ]
    assert min(count for _, count in report.models) >= 100
    # no gap: a start of the pipeline takes longer; the guide tells what was measured
    assert np.max(report.seconds) < 10
    assert process.poll() is None


def test_a_model_is_put_where_it_is_watched_for_in_one_step(tmp_path, digits):
    make_model.main([str(tmp_path / "models" / "a.skops"), "--c", "0.1"])
    assert [path.name for path in (tmp_path / "models").iterdir()] == ["a.skops"]
    handler = create_handler("sklearn-numpy", model_uri=str(tmp_path / "models" / "a.skops"))
    found = list(handler.run_inference(list(digits[0][:100]), handler.load_model()))
    assert np.mean(found == digits[1][:100]) > 0.8


def test_messages_that_cannot_be_predicted_are_told_and_hold_up_nobody(
    redis_url, client, scoring, digits, capsys
):
    for fields in ({"pixels": "no numbers"}, {"other": "1"}, {"pixels": "[1, 2]"}):
        client.xadd("digits", fields)
    [good] = write_all(client, digits, [0])
    scoring.start()
    until(lambda: client.xlen("failures") == 3, why=scoring.failed)
    told = " ".join(sorted(fields["error"] for _, fields in client.xrange("failures")))
    assert re.search("KeyError.*JSONDecodeError.*2 features", told)
    until(lambda: [id_ for id_, _ in answers_of(client)] == [good])
    until(lambda: not state_of(client)[1])
    ask.main(["--redis", redis_url, "--messages", "20", "--rate", "50"])
    told = capsys.readouterr().out
    assert "20 of 20 messages answered, 50 a second; 0 answers came again" in told
    assert re.search(r"median \d+\.\d ms, p99 \d+\.\d ms, longest \d+\.\d ms\n20 by /.*first", told)
