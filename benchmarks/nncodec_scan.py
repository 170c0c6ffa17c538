"""Codes tensors with NNCodec at several quantisation parameters: `python nncodec_scan.py TENSORS.npz OUT < request.json`.

Runs in an environment of its own (see `nncodec`). The request: `{qp: {tensor: its own qp}}`. What is decoded at a quantisation
parameter goes to `OUT/QP.npz`; the bytes at each go to standard output, as JSON.
"""

import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np


def without_frameworks() -> None:
    """Let the codec be imported without PyTorch, TensorFlow and torchvision, which it needs for none of what is done here."""
    framework = ModuleType("nncodec.framework")
    for name in ("pytorch_model", "tensorflow_model", "use_case_init"):
        setattr(framework, name, None)
    sys.modules["nncodec.framework"] = framework


def main(tensors: Path, out: Path) -> None:
    without_frameworks()
    from nncodec import nnc

    request = json.load(sys.stdin)
    values = dict(np.load(tensors))
    sizes = {}
    for qp, own in request.items():
        # The settings are the package's defaults but for dependent quantisation and row skipping, which are made sure of.
        stream = nnc.compress(
            {name: value.copy() for name, value in values.items()},
            bitstream_path=str(out / f"{qp}.nnc"),
            qp=int(qp),
            qp_per_tensor=own,
            use_dq=True,
            row_skipping=True,
            return_bitstream=True,
        )
        decoded = nnc.decompress(stream)
        arrays: dict[str, Any] = {name: np.asarray(decoded[name]).reshape(values[name].shape) for name in values}
        np.savez(out / f"{qp}.npz", **arrays)
        sizes[qp] = len(stream)
    json.dump(sizes, sys.stdout)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
