"""The same transform from Beam YAML, and from other languages through an expansion service."""

import sys

import apache_beam as beam
import pytest
from apache_beam.transforms import external
from apache_beam.typehints import row_type
from apache_beam.utils import python_callable, subprocess_server
from apache_beam.yaml import yaml_provider, yaml_transform

from runinference import portable
from runinference.errors import ConfigurationError

# A handler that the service finds by name, and so do the workers.
SOURCE = """
import runinference

class Scale(runinference.ModelHandler):
    def __init__(self, model_uri: str, scale: float = 1.0, columns: list = ()):
        self.scale = scale
        self.columns = columns

    def load_model(self):
        return self.scale

    def run_inference(self, batch, model, inference_args=None):
        if any(x < 0 for x in batch):
            raise ValueError("below zero")
        return [x * model for x in batch]
"""
ROWS = [beam.Row(name=name, x=x) for name, x in (("a", 1.0), ("b", -1.0), ("c", 3.0))]
TYPE = row_type.RowTypeConstraint.from_fields([("name", str), ("x", float)])


@pytest.fixture(autouse=True)
def handler(install):
    return install("scaling", {"scale": "scaling_module:Scale"}, source=SOURCE)


@pytest.fixture(scope="module")
def providers():
    return yaml_provider.load_providers(portable.PROVIDERS)


def spec(config):
    lines = "".join(f"\n      {name}: {value}" for name, value in config.items())
    return (
        f"type: chain\ntransforms:\n  - type: RunInference\n    name: Scale it\n    config:{lines}"
    )


def apply(rows, providers, **config):
    config = {"handler": "scale", "model_uri": "m", "features": "[x]", **config}
    config = {name: value for name, value in config.items() if value is not None}
    return rows | yaml_transform.YamlTransform(spec(config), providers=providers)


def test_in_beam_yaml(run, providers):
    with run.pipeline() as pipeline:
        rows = pipeline | beam.Create(ROWS[::2]).with_output_types(TYPE)
        batching, execution = "{max_size: 10, deduplicate: true}", "{threads: 1}"
        scored = apply(rows, providers, scale=2.0, batching=batching, execution=execution)
        run.keep(scored)
    assert run.elements() == [
        beam.Row(name="a", x=1.0, prediction=2.0),
        beam.Row(name="c", x=3.0, prediction=6.0),
    ]
    rows = beam.Pipeline() | beam.Create(ROWS).with_output_types(TYPE)
    output_type = "{type: array, items: {type: integer}}"
    told = apply(rows, providers, keep="[]", output="y", output_type=output_type)
    [(name, kind)] = told.element_type._fields
    assert name == "y"
    assert "int" in str(kind)


FAILING = """
type: composite
input: input
transforms:
  - type: RunInference
    name: Scale it
    input: input
    config:
      handler: scale
      model_uri: m
      features: [x]
      error_handling: {output: bad, threshold: 0.5}
  - type: MapToFields
    name: Errors
    input: Scale it.bad
    config:
      language: python
      fields: {name: element.name, message: msg, stack: stack}
output: {good: Scale it, bad: Errors}
"""


def test_rows_that_fail_leave_as_beam_yaml_has_them(run, providers):
    with run.pipeline() as pipeline:
        rows = pipeline | beam.Create(ROWS).with_output_types(TYPE)
        outputs = rows | yaml_transform.YamlTransform(FAILING, providers=providers)
        for name, output in outputs.items():
            run.keep(output, name)
    assert [row.prediction for row in run.elements("good")] == [1.0, 3.0]
    [error] = run.elements("bad")
    assert (error.name, error.message) == ("b", "ValueError: below zero")
    assert "below zero" in error.stack


WRONG = [
    ({"handler": "scal"}, r"no handler 'scal'; did you mean 'scale'"),
    ({"handler": None}, r"missing .* argument: 'handler'"),
    ({"scal": 1}, r"handler 'scale' has no option 'scal'; did you mean 'scale'\?"),
    ({"batching": "{max_sise: 3}"}, r"batching has no 'max_sise'; did you mean 'max_size'\?"),
    ({"batching": "3"}, r"batching: names and values are needed, not 3"),
    ({"execution": "{proces: true}"}, r"execution has no 'proces'; did you mean 'process'\?"),
    ({"features": "[y]"}, r"features names 'y', which the rows do not have"),
    ({"output_type": "float"}, r"output_type='float': number, integer"),
    ({"output_type": "{type: array}"}, r"output_type=\{'type': 'array'\}: number, integer"),
]


@pytest.mark.parametrize(("config", "message"), WRONG, ids=range(len(WRONG)))
def test_mistakes_are_told_with_the_transform_that_they_are_in(providers, config, message):
    rows = beam.Pipeline() | beam.Create(ROWS).with_output_types(TYPE)
    with pytest.raises(ValueError, match=f'"Scale it" at line 3.*{message}'):
        apply(rows, providers, **config)


def test_mistakes_in_error_handling():
    with pytest.raises(ConfigurationError, match="error_handling: output has to name the output"):
        portable.run_inference("scale", model_uri="m", error_handling={"threshold": 1})
    with pytest.raises(ConfigurationError, match="error_handling has no 'outputs'; did you mean"):
        portable.run_inference("scale", model_uri="m", error_handling={"outputs": "bad"})


def test_what_beam_yaml_tells_of_it(providers):
    [provider] = providers
    fields = {field.name: field for field in provider.config_schema("RunInference").fields}
    assert fields["refresh_interval_s"].description == "seconds between two looks for it."
    assert provider.description("RunInference").startswith("Predicts every row with a model")


@pytest.fixture
def service(handler):
    """Beam's Python expansion service, in a process of its own, as other languages start it."""
    command = [
        sys.executable,
        "-m",
        "apache_beam.runners.portability.expansion_service_main",
        "--port={{PORT}}",
        "--fully_qualified_name_glob=runinference.*",
        "--pickle_library=cloudpickle",
        "--serve_loopback_worker",
    ]
    stub = external.ExpansionAndArtifactRetrievalStub
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(handler.parent))
        with subprocess_server.SubprocessServer(stub, command) as started:
            yield started


# Beam closes neither the pipes of the service nor those of its workers
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_from_other_languages_through_an_expansion_service(run, service):
    def call(handler, **kwargs):
        told = {
            "constructor": "runinference.portable.run_inference",
            "args": beam.Row(arg0=handler),
            "kwargs": beam.Row(features=["x"], output_type="number", **kwargs),
        }
        payload = external.ImplicitSchemaPayloadBuilder(told)
        urn = "beam:transforms:python:fully_qualified_named"
        return external.ExternalTransform(urn, payload, service)

    code = "def make(scale):\n  from scaling_module import Scale\n  return Scale('m', scale)"
    made = python_callable.PythonCallableWithSource(code)
    with run.pipeline() as pipeline:
        rows = pipeline | beam.Create(ROWS[::2]).with_output_types(TYPE)
        batching = beam.Row(max_size=10)
        run.keep(rows | call("scale", model_uri="m", scale=2.0, batching=batching), "named")
        run.keep(rows | "made" >> call(made, scale=10.0), "made")
    assert [(row.name, row.prediction) for row in run.elements("named")] == [("a", 2), ("c", 6)]
    assert [(row.name, row.prediction) for row in run.elements("made")] == [("a", 10), ("c", 30)]
    with pytest.raises(RuntimeError, match="no handler 'scal'; did you mean 'scale'"):
        beam.Pipeline() | beam.Create(ROWS).with_output_types(TYPE) | call("scal", model_uri="m")
