"""A library that has a user's own models beside those that ship."""

import hashlib
import os
import shutil
from pathlib import Path

from safetensors.numpy import load_file, save_file

from edge_nodes.publication import published
from insitu import cache

HELD_OUT = "held_out.safetensors"


class BrokenLibrary(Exception):
    """A folder of models is not whole; the message says which file is not as it should be."""


def joined(shipped: Path, own: Path) -> Path:
    """A folder with the models of both libraries, each object of `own` verified; made once for each content.

    Raises BrokenLibrary, or OSError where the cache cannot be written.
    """
    described = [*sorted((own / "manifests").glob("*.json")), own / HELD_OUT, shipped / HELD_OUT]
    try:
        contents = [hashlib.sha256(file.read_bytes()).hexdigest() for file in described]
    except OSError as error:
        raise BrokenLibrary(f"{error.filename}: {error.strerror}; publish the model again") from None
    key = hashlib.sha256(" ".join([shipped.name, *contents]).encode()).hexdigest()[:16]

    def join(folder: Path) -> None:
        if faults := published.faults(own):
            raise BrokenLibrary(faults[0])
        for kind in ("manifests", "blocks", "programs"):
            (folder / kind).mkdir()
            for file in (shipped / kind).glob("*"):
                os.link(file, folder / kind / file.name)
            for file in (own / kind).glob("*"):
                (folder / kind / file.name).unlink(
                    missing_ok=True
                )  # a link to a file that ships must not be written to
                shutil.copyfile(file, folder / kind / file.name)
        save_file(load_file(shipped / HELD_OUT) | load_file(own / HELD_OUT), folder / HELD_OUT)

    return cache.cached("joined", key, join)
