"""The pipeline of the guide to Beam YAML runs as its command says, from file to file."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import yaml
from apache_beam.yaml import yaml_provider

from runinference import portable

PAGE = Path(__file__).parents[2] / "docs" / "guides" / "beam-yaml.md"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE.read_text(), re.MULTILINE | re.DOTALL)


def blocks(language):
    return [text for found, text in BLOCKS if found == language]


def test_the_pipeline_of_the_guide(tmp_path):
    def run(*command):
        done = subprocess.run(
            [sys.executable, *command], cwd=tmp_path, capture_output=True, text=True, timeout=300
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    make, show = blocks("python")
    run("-c", make)
    (tmp_path / "flowers.yaml").write_text(blocks("yaml")[0])
    [command] = [text for text in blocks("console") if "apache_beam.yaml.main" in text]
    python, *arguments = shlex.split(command.removeprefix("$ "))
    assert python == "python"
    run(*arguments)
    printed = run("-c", f"import pyarrow.parquet\n{show}")
    assert sorted(printed.splitlines()) == blocks("text")[0].splitlines()


def test_the_file_of_providers_says_what_the_guide_says():
    [told] = yaml.safe_load(blocks("yaml")[0])["providers"]
    with open(portable.PROVIDERS) as file:
        assert yaml.safe_load(file) == [told]


def test_the_guide_names_every_option():
    [provider] = yaml_provider.load_providers(portable.PROVIDERS)
    page = PAGE.read_text()
    for field in provider.config_schema("RunInference").fields:
        assert field.name == "options" or f"`{field.name}`" in page
