"""PyTorch as a device imports it does what it does otherwise."""

import subprocess
import sys

PROGRAM = """
import inspect, sys
before = inspect.getmodule
{imports}
import torch
torch.manual_seed(0)
with torch.inference_mode():
    net = torch.nn.Sequential(torch.nn.Conv2d(1, 8, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(288, 10))
    print(net(torch.rand(4, 1, 8, 8)).sum().item().hex(), inspect.getmodule is before)
import torch._meta_registrations
print(hasattr(torch._meta_registrations, "meta_mm"))
"""


def run(imports: str) -> str:
    return subprocess.run(
        [sys.executable, "-c", PROGRAM.format(imports=imports)], capture_output=True, text=True, check=True
    ).stdout


def test_results_and_what_is_imported_later_are_the_same() -> None:
    lean = run("from edge_nodes.devices import eager_torch; eager_torch.load()")
    assert lean == run("")
    assert lean.split()[1:] == ["True", "True"]
