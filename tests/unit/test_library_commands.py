"""`insitu library`, as a person or a script sees it: tables, JSON, exit codes, and one line for what is wrong."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from safetensors.torch import save_file

from edge_nodes.models.manifest import Manifest
from edge_nodes.models.programs import result_of
from edge_nodes.publication import published
from insitu.cli import main
from tests.conftest import PROJECT
from tests.unit.builders import manifest_of, publish
from tests.unit.registry_server import needs_registry, running_registry

PROGRAM = b"""
from torch import nn
def build():
    return nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 4))
"""
DATA = "import torch\ndef held_out():\n    return torch.arange(480.0).sin().view(40, 12), torch.arange(40) % 4\n"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A library of two models."""
    blocks = [b"one", b"two" * 1000]
    variants = {
        "d1w1b1": {"blocks": [0], "accuracy": 0.5, "macs": 1234567, "pareto": True},
        "d1w1b2": {"blocks": [0, 1], "accuracy": 0.9375},
    }
    publish(tmp_path, *((manifest_of(model, blocks, **variants), blocks) for model in ("digits", "digits@night")))
    return tmp_path


@pytest.fixture
def user(tmp_path: Path) -> Path:
    """A user's files."""
    (tmp_path / "my_model.py").write_bytes(PROGRAM)
    (tmp_path / "my_data.py").write_text(DATA)
    save_file(result_of(PROGRAM, tmp_path / "my_model.py", "build").state_dict(), tmp_path / "w.safetensors")
    return tmp_path


def insitu(*arguments: object) -> Result:
    return CliRunner().invoke(main, ["library", *map(str, arguments)])


def publishing(user: Path, *options: object) -> Result:
    files = f"{user}/my_model.py:build", "--weights", user / "w.safetensors", "--eval", f"{user}/my_data.py:held_out"
    return insitu("publish", *files, "--into", user / "library", *options)


def test_a_list_has_a_line_for_each_model(folder: Path) -> None:
    head, *lines = insitu("list", folder).stdout.splitlines()
    assert head.split() == ["model", "base", "variants", "kB", "accuracy", "%", "licence"]
    assert [line.split() for line in lines] == [
        ["digits", "2", "0.0", "to", "3.0", "50.0", "to", "93.8"],
        ["digits@night", "digits", "2", "0.0", "to", "3.0", "50.0", "to", "93.8"],
    ]


def test_a_model_is_shown_with_its_pareto_front(folder: Path) -> None:
    head, first, second = insitu("show", "digits", folder).stdout.splitlines()
    assert head.split()[:6] == ["variant", "depth", "width", "bits", "bytes", "MACs"]
    assert first.split() == ["*", "d1w1b1", "1", "1", "1", "3", "1,234,567", "1", "50.0", "0.0"]
    assert second.split() == ["d1w1b2", "1", "1", "1", "3,003", "1", "1", "93.8", "0.0"]


def test_json_is_for_scripts(folder: Path) -> None:
    listed = json.loads(insitu("list", folder, "--json").stdout)
    assert listed["digits@night"]["base"] == "digits" and listed["digits"]["bytes"] == [3, 3003]
    shown = insitu("show", "digits@night", folder, "--json").stdout
    assert Manifest.from_json(shown.strip()) == published.manifests(folder)["digits@night"]


def test_a_pipe_gets_plain_whole_lines(folder: Path) -> None:
    command = [sys.executable, "-m", "insitu.cli", "library", "show", "digits", str(folder)]
    result = subprocess.run(command, cwd=PROJECT, capture_output=True, check=True)
    assert b"\x1b" not in result.stdout and len(result.stdout.splitlines()) == 3 and result.stderr == b""


def test_publish_measures_adds_and_says_what_there_is(user: Path) -> None:
    result = publishing(user, "--licence", "MIT", "--source", "a test")
    assert result.exit_code == 0, result.stderr
    assert result.stdout.startswith("my_model: 21 variants, ")
    assert "depth: none: " in result.stderr and "width: 5 widths" in result.stderr and "d1w5b4: " in result.stderr
    assert published.faults(user / "library") == []
    shown = insitu("show", "my_model", user / "library").stdout
    assert "licence: MIT\nsource: a test\n" in shown and "float32" in shown


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["list", "nowhere"], "nowhere: not a library"),
        (["list", "http://"], "http://: write http://HOST:PORT"),
        (["show", "signs", "FOLDER"], "signs: no such model; there are digits, digits@night"),
        (["publish", "m.py:build", "--weights", "w", "--eval", "d.py:f"], "m.py: no such file"),
        (["publish", "m.py:build", "--weights", "w", "--eval", "d.py:f", "--name", "A b"], "--name A b: a model's name is"),
        (["publish", "m.py:build", "--weights", "w", "--eval", "d.py:f", "--to", "x"], "--to x: write http://HOST:PORT/NAME:TAG"),
    ],
)  # fmt: skip
def test_bad_input_is_one_line_and_exit_code_2(folder: Path, arguments: list[str], said: str) -> None:
    result = insitu(*(folder if argument == "FOLDER" else argument for argument in arguments))
    assert result.exit_code == 2
    assert result.stdout == "" and result.stderr.startswith(said) and result.stderr.count("\n") == 1


def test_a_folder_that_cannot_be_written_is_said(user: Path) -> None:
    (user / "library").write_text("a file")
    result = publishing(user)
    assert result.exit_code == 3
    assert result.stderr.splitlines()[-1].startswith(f"{user}/library: ")


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with running_registry(tmp_path_factory.mktemp("registry")) as address:
        yield address


@needs_registry
def test_publishing_to_a_registry_sends_what_is_missing_and_is_listed_there(user: Path, registry: str) -> None:
    first = publishing(user, "--name", "signs", "--to", f"http://{registry}/team/signs:base")
    assert first.exit_code == 0, first.stderr
    assert "team/signs:base: " in first.stdout and " 0 were there; sha256:" in first.stdout
    second = publishing(user, "--name", "signs", "--to", f"http://{registry}/team/signs:base")
    assert "team/signs:base: 0 blobs sent, 0.0 kB, " in second.stdout
    (_, line) = insitu("list", f"http://{registry}").stdout.splitlines()
    assert line.split()[:2] == ["team/signs:base", "21"]
    shown = insitu("show", "team/signs:base", f"http://{registry}", "--json").stdout
    assert Manifest.from_json(shown.strip()) == published.manifests(user / "library")["signs"]


def test_a_registry_that_is_down_leaves_the_model_in_its_folder(user: Path) -> None:
    result = publishing(user, "--to", "http://127.0.0.1:1/signs:base")
    assert result.exit_code == 3
    assert result.stderr.splitlines()[-1].startswith("http://127.0.0.1:1: does not answer as a registry")
    assert published.faults(user / "library") == []
