"""Both handlers keep every rule of the contract."""

import gc

import pyarrow as pa
import pytest

from runinference import create_handler
from runinference.testing import HandlerChecks


# The checks leave what they load to the garbage collector, which finds connections open.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.slow
@pytest.mark.parametrize("protocol", ["open-inference-http", "open-inference-grpc"])
@pytest.mark.parametrize("outputs", [["predict"], ["predict", "predict_proba"]], ids=len)
def test_every_check(mlserver, digits, protocol, outputs):
    handler = create_handler(
        protocol, url=mlserver.url(protocol), model_name="digits", output_names=outputs
    )
    rows = digits.inputs[[10, 11, 12, 13, 14]]
    results = HandlerChecks(
        examples=list(rows),
        table=pa.table({f"pixel{n}": rows[:, n] for n in range(64)}),
        other_model=f"{mlserver.url(protocol)}/v2/models/other",
    ).run(handler)
    left = {r.name: r.message or r.outcome for r in results if r.outcome != "passed"}
    assert left.keys() == {"check_lengths", "check_missing_model_is_named"}, left
    del results, handler
    gc.collect()  # here, and not in the test that happens to be next
