"""NNCodec, the implementation of the MPEG standard for neural networks (ISO/IEC 15938-17), in an environment of its own.

P. Haase et al., "NNCodec: An Open Source Software Implementation of the Neural Network Coding ISO/IEC Standard", 2023.
"""

import hashlib
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from insitu import cache

Floats = NDArray[np.float32]
REQUIREMENTS = (
    "nncodec==2.1.3",
    "numpy==1.26.4",
)  # it takes no later NumPy; what else it names is not needed to code tensors
SCAN = Path(__file__).with_name("nncodec_scan.py")


class Coded(NamedTuple):
    """What NNCodec makes of tensors at one quantisation parameter."""

    qp: int
    bytes: int
    tensors: dict[str, Floats]


def parameter(step: float) -> int:
    """Return the quantisation parameter whose step is the largest up to this one: (4 + qp mod 4) 2^(floor(qp / 4) - 2)."""
    fraction, exponent = np.frexp(step)  # 0.5 to 1
    return int(4 * exponent + np.floor(8 * fraction) - 8)


def scan(tensors: Mapping[str, Floats], parameters: Mapping[int, Mapping[str, int]]) -> list[Coded]:
    """Code tensors at each quantisation parameter, some of them at their own. Dependent quantisation is on."""
    python = _environment() / "bin" / "python"
    with tempfile.TemporaryDirectory() as folder:
        values, out = Path(folder) / "tensors.npz", Path(folder)
        np.savez(values, allow_pickle=False, **_plain(tensors))
        request = json.dumps({qp: dict(own) for qp, own in parameters.items()})
        command = [str(python), "-I", str(SCAN), str(values), str(out)]  # -I: `nncodec` is the package, not this module
        done = subprocess.run(command, input=request, stdout=subprocess.PIPE, text=True, check=True)
        sizes = {int(qp): size for qp, size in json.loads(done.stdout).items()}
        return [Coded(qp, size, dict(np.load(out / f"{qp}.npz"))) for qp, size in sizes.items()]


def _plain(tensors: Mapping[str, Floats]) -> dict[str, Any]:
    return {name: np.ascontiguousarray(value) for name, value in tensors.items()}


def _environment() -> Path:
    key = hashlib.sha256(f"{sys.version} {REQUIREMENTS}".encode()).hexdigest()[:16]
    return cache.cached("nncodec", key, _install)


def _install(folder: Path) -> None:
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    pip = [str(folder / "bin" / "python"), "-m", "pip", "install", "-q", "--no-deps", *REQUIREMENTS]
    subprocess.run(pip, check=True)
