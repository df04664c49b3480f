"""Both handlers keep every rule of the contract."""

import gc

import pyarrow as pa
import pytest
from conformance import outcomes  # found through conftest

from runinference import create_handler


# The checks leave what they load to the garbage collector, which finds connections open.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize("protocol", ["open-inference-http", "open-inference-grpc"])
@pytest.mark.parametrize("outputs", [["predict"], ["predict", "predict_proba"]], ids=len)
def test_every_check(mlserver, digits, protocol, outputs):
    handler = create_handler(
        protocol, url=mlserver.url(protocol), model_name="digits", output_names=outputs
    )
    rows = digits.inputs[[10, 11, 12, 13, 14]]
    left = outcomes(
        handler,
        examples=list(rows),
        table=pa.table({f"pixel{n}": rows[:, n] for n in range(64)}),
        other_model=f"{mlserver.url(protocol)}/v2/models/other",
    )
    assert left == {"check_lengths": "skipped", "check_missing_model_is_named": "skipped"}
    del handler
    gc.collect()  # here, and not in the test that happens to be next
