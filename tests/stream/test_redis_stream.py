"""The source and the sink of the example, in pipelines of this process."""

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.runners.portability.fn_api_runner import FnApiRunner
from redis_stream import ReadMessages, WriteMessages
from score_stream import scoring

seen = []


@pytest.fixture(autouse=True)
def _fresh():
    seen.clear()


def see(message, timestamp=beam.DoFn.TimestampParam):
    id_, fields = message
    seen.append((fields["number"], id_, timestamp.micros // 1000))
    return {"id": id_, "number": fields["number"]}


def run(redis_url, then=see, **options):
    source = ReadMessages(redis_url, "in", stop_when_idle_s=0.1, wait_s=0.05, **options)
    streaming = PipelineOptions([], streaming=True)
    then = then if isinstance(then, beam.PTransform) else beam.Map(then)
    with beam.Pipeline(runner=FnApiRunner(), options=streaming) as pipeline:
        _ = pipeline | source | then | beam.ParDo(WriteMessages(redis_url, "out"))


def write(client, numbers):
    return [client.xadd("in", {"number": number}) for number in numbers]


def numbers_of(client, stream):
    return [fields["number"] for _, fields in client.xrange(stream)]


def pending(client):
    return client.xpending("in", "runinference")["pending"]


def test_all_are_read_once_at_their_time_and_acknowledged(redis_url, client):
    ids = write(client, range(25))
    run(redis_url, most=10)
    assert [(number, id_) for number, id_, _ in seen] == [(str(n), ids[n]) for n in range(25)]
    assert [time for _, _, time in seen] == [int(id_.partition("-")[0]) for id_ in ids]
    assert numbers_of(client, "out") == [str(n) for n in range(25)]
    assert pending(client) == 0
    seen.clear()
    [later] = write(client, ["later"])
    run(redis_url)
    assert [(number, id_) for number, id_, _ in seen] == [("later", later)]


def test_what_was_read_and_never_acknowledged_is_read_again(redis_url, client):
    ids = write(client, range(12))
    client.xgroup_create("in", "runinference", id="0")
    for consumer in ("reader", "dead"):
        client.xreadgroup("runinference", consumer, {"in": ">"}, count=4)
    client.xdel("in", ids[1], ids[5])
    run(redis_url, most=3, claim_after_s=0.001)
    left = sorted(set(range(12)) - {1, 5})
    assert sorted(int(number) for number in numbers_of(client, "out")) == left
    assert [number for number, _, _ in seen][:3] == ["0", "2", "3"]  # its own first
    assert pending(client) == 0


def test_a_reader_that_is_at_work_keeps_its_messages(redis_url, client):
    write(client, range(3))
    client.xgroup_create("in", "runinference", id="0")
    client.xreadgroup("runinference", "other", {"in": ">"}, count=2)
    run(redis_url, claim_after_s=60)
    assert numbers_of(client, "out") == ["2"]
    assert pending(client) == 2


def fail_at_four(message, timestamp=beam.DoFn.TimestampParam):
    if message[1]["number"] == "4":
        raise ValueError("no")
    return see(message, timestamp)


def test_a_bundle_that_fails_is_read_again(redis_url, client):
    write(client, range(6))
    with pytest.raises(Exception, match=r"no \[while running"):
        run(redis_url, fail_at_four, most=3)
    assert numbers_of(client, "out") == ["0", "1", "2"]
    assert pending(client) == 3
    run(redis_url, most=3)
    assert numbers_of(client, "out") == [str(n) for n in range(6)]
    assert pending(client) == 0


def test_a_sink_that_fails_acknowledges_nothing(redis_url, client):
    write(client, range(3))
    client.set("out", "not a stream")
    with pytest.raises(Exception, match="WRONGTYPE"):
        run(redis_url)
    assert pending(client) == 3


def test_a_sink_in_another_stage_comes_too_late(redis_url, client):
    """Why source, model and sink are one stage: the messages are acknowledged and lost."""

    class Apart(beam.PTransform):
        def expand(self, messages):
            return messages | beam.Reshuffle() | beam.Map(see)

    write(client, range(3))
    client.set("out", "not a stream")
    with pytest.raises(Exception, match="WRONGTYPE"):
        run(redis_url, Apart())
    assert pending(client) == 0


def test_the_example_is_one_stage():
    pipeline = scoring(["model.skops", "--watch", "*.skops"])
    _, stages = FnApiRunner().create_stages(pipeline.to_runner_api())
    [stage] = [
        stage for stage in stages if any("Read/Process" in t.unique_name for t in stage.transforms)
    ]
    names = {transform.unique_name for transform in stage.transforms}
    assert names >= {"Write predictions", "Write unreadable", "Write unpredicted"}


def test_a_server_that_is_away_is_told(client):
    with pytest.raises(Exception, match=r"Error 111 connecting to 127\.0\.0\.1:1"):
        run("redis://127.0.0.1:1")
