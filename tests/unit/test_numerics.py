"""The same bits on every processor: what one machine can play of others.

Three ways to another processor: MKL made to believe that an Intel one runs it, whose branches differ; an emulated Intel and an
emulated AMD without AVX-512, with other caches, and whose approximate instructions give other results than any silicon's;
and another number of cores.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from edge_nodes.models import numerics

PROJECT = Path(__file__).resolve().parent.parent.parent
INTEL = "int mkl_serv_intel_cpu_true(void) { return 1; }\nint mkl_serv_intel_cpu(void) { return 1; }\n"

Bits = dict[str, str]


def _bits(library: Path, environment: dict[str, str], emulator: tuple[str, ...] = ()) -> Bits:
    command = [*emulator, sys.executable, str(Path(__file__).with_name("bits.py")), str(library)]
    # Nothing of this machine's environment: what it says of MKL or OpenMP would count too.
    env = {"PATH": os.environ["PATH"], "PYTHONPATH": str(PROJECT), "PYTHONDONTWRITEBYTECODE": "1", **environment}
    done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    found: Bits = json.loads(done.stdout)
    return found


def _differing(one: Bits, other: Bits) -> list[str]:
    assert one.keys() == other.keys()
    return [name for name in one if one[name] != other[name]]


@pytest.fixture(scope="module")
def here(library: Path) -> Bits:
    return _bits(library, numerics.ENVIRONMENT)


@pytest.fixture(scope="module")
def intel(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A library to preload that makes MKL take this processor for one of Intel's."""
    source = tmp_path_factory.mktemp("intel") / "intel.c"
    source.write_text(INTEL)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", source.with_suffix(".so"), source], check=True)
    return str(source.with_suffix(".so"))


@pytest.mark.parametrize("instructions", ["SSE4_2", "AVX2", "AVX512"])
def test_mkls_branches_for_intel_give_the_same_bits(library: Path, here: Bits, intel: str, instructions: str) -> None:
    played = {"LD_PRELOAD": intel, "MKL_ENABLE_INSTRUCTIONS": instructions}
    assert not _differing(_bits(library, numerics.ENVIRONMENT | played), here)


@pytest.mark.parametrize("processor", ["Haswell", "EPYC,l3-cache=off"])
def test_an_emulated_processor_gives_the_same_bits(library: Path, here: Bits, processor: str) -> None:
    assert not _differing(_bits(library, numerics.ENVIRONMENT, ("qemu-x86_64", "-cpu", processor)), here)


def test_the_number_of_cores_does_not_matter(library: Path, here: Bits) -> None:
    mask = os.sched_getaffinity(0)
    if len(mask) == 1:
        pytest.skip("one core only")
    os.sched_setaffinity(0, {min(mask)})
    try:
        assert not _differing(_bits(library, numerics.ENVIRONMENT), here)
    finally:
        os.sched_setaffinity(0, mask)


@pytest.mark.parametrize("setting", ["MKL_CBWR", "OMP_NUM_THREADS"])
def test_without_a_setting_there_would_be_other_bits(library: Path, here: Bits, setting: str) -> None:
    """So this module sees it when a setting is lost. (On a machine without AVX-512 the other ones change nothing.)"""
    if setting == "OMP_NUM_THREADS" and len(os.sched_getaffinity(0)) == 1:
        pytest.skip("one core only")
    rest = {name: value for name, value in numerics.ENVIRONMENT.items() if name != setting}
    if setting == "OMP_NUM_THREADS":
        rest |= {"OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"}
    assert _differing(_bits(library, rest), here)


def test_square_roots_are_those_of_ieee_to_one_place() -> None:
    values = torch.cat([torch.tensor([0.0, 1.0, 4.0]), torch.rand(1000, generator=torch.Generator().manual_seed(0))])
    exact = values.double().sqrt()
    assert (numerics.sqrt(values).double() - exact).abs().max() <= 2**-23
    assert numerics.sqrt(values)[:3].tolist() == [0, 1, 2]
