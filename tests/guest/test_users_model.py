"""A user's own module, published by the command, is what devices download and run."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from edge_nodes.models.programs import result_of
from edge_nodes.publication import situations
from insitu.vm.kernel import Kernel

PROGRAM = """
from torch import nn
def build():
    first = nn.Flatten(), nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU()
    return nn.Sequential(*first, nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
"""
DATA = """
from edge_nodes.publication import situations
def held_out():
    part = situations.split()[2]
    return part.images, part.labels
def inverted():
    images, labels = held_out()
    return 1 - images, labels
"""
SCENARIO = """
name: mine
duration: 4 s
network: {gnbs: [{name: square}]}
libraries: {central: {models: ./my-library}}
devices: [{name: phone, count: 2, at: square, infer: 5/s, application: signs}]
situations: [{time: 1 s.., model: signs@inverted}, {model: signs}]
"""


def insitu(folder: Path, *arguments: str) -> str:
    command = [sys.executable, "-m", "insitu.cli", *arguments]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def train(folder: Path, name: str, inverted: bool) -> None:
    torch.manual_seed(0)
    module, part = result_of(PROGRAM.encode(), folder / "my_model.py", "build"), situations.split()[0]
    images = 1 - part.images if inverted else part.images
    optimizer = torch.optim.Adam(module.parameters(), 3e-3)
    for _ in range(60):
        optimizer.zero_grad()
        nn.functional.cross_entropy(module(images), part.labels).backward()
        optimizer.step()
    save_file(module.state_dict(), folder / f"{name}.safetensors")


@pytest.fixture(scope="module")
def folder(kernel: Kernel, library: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a user has: files, a library that was made of them, and a scenario."""
    folder = tmp_path_factory.mktemp("user")
    for name, text in (("my_model.py", PROGRAM), ("my_data.py", DATA), ("mine.yaml", SCENARIO)):
        (folder / name).write_text(text)
    for name, data in (("signs", "held_out"), ("signs@inverted", "inverted")):
        train(folder, name, inverted=data == "inverted")
        files = "--weights", f"{name}.safetensors", "--eval", f"my_data.py:{data}"
        insitu(folder, "library", "publish", "my_model.py:build", *files, "--name", name)
    return folder


@pytest.fixture(scope="module")
def summaries(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(insitu(folder, "run", "mine.yaml", "--out", f"run{n}", "--json")) for n in (1, 2)]


def test_devices_download_a_users_specialisation_and_see_again(summaries: list[dict[str, Any]]) -> None:
    first = summaries[0]
    assert first["verdict"]["status"] == "VALID"
    assert first["downloads"]["requested"] == first["downloads"]["on_time"] == 2
    assert first["accuracy"]["after"] > first["accuracy"]["before"] + 0.3


def test_such_a_run_repeats_to_the_bit(summaries: list[dict[str, Any]]) -> None:
    assert summaries[0]["digest"] == summaries[1]["digest"]
