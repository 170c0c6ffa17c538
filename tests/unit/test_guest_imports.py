"""What the guest's processes import is paid for at each start of a run: the host's packages are not among it."""

import subprocess
import sys

import pytest

HOSTS = {"click", "dask", "plotly", "polars", "pydantic", "rich", "ruamel"}


@pytest.mark.parametrize("process", ["insitu.guest", "controller.app"])
def test_a_process_of_the_guest_starts_without_the_packages_of_the_host(process: str) -> None:
    program = f"import sys, {process}; print(*sys.modules)"
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", program], capture_output=True, text=True, check=True)
    imported = {name.partition(".")[0] for name in done.stdout.split()}
    assert process.partition(".")[0] in imported and not imported & HOSTS
