"""The command that says whether this machine gives the bits on record."""

import subprocess
import sys
from pathlib import Path


def test_this_machine_gives_the_bits_on_record_or_names_the_version_that_differs(library: Path) -> None:
    done = subprocess.run([sys.executable, "-m", "insitu.cli", "verify"], capture_output=True, text=True)
    assert "fault of insitu" not in done.stdout
    assert (done.returncode, "the same bits" in done.stdout) in ((0, True), (1, False)), done.stderr
    assert done.returncode == 0 or ": on record " in done.stdout
