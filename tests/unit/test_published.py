"""A library's folder: what is added is whole or not there at all, and whatever is wrong with it is said in a line each."""

import re
import threading
from collections.abc import Callable
from pathlib import Path

import msgspec
import numpy as np
import pytest
from safetensors.numpy import load_file

from edge_nodes.models.manifest import Manifest
from edge_nodes.publication import published
from tests.unit.builders import digest_of, manifest_of

INPUTS, LABELS = np.zeros((5, 3), np.float32), np.arange(5)
PROGRAM = b"def build(): ..."


def added(folder: Path, model: str, *blocks: bytes, program: bool = False) -> Manifest:
    manifest = manifest_of(model, blocks, whole={"blocks": range(len(blocks))})
    if program:
        network = {"kind": "python", "program": digest_of(PROGRAM).removeprefix("sha256:")}
        manifest = msgspec.structs.replace(manifest, network=network)
    contents = {digest_of(block): block for block in blocks}
    published.add(folder, manifest, contents, INPUTS, LABELS, PROGRAM if program else None)
    return manifest


def file_of(folder: Path, block: bytes) -> Path:
    return folder / "blocks" / digest_of(block).removeprefix("sha256:")


def test_models_are_added_to_what_is_there(tmp_path: Path) -> None:
    first, second = added(tmp_path, "signs", b"one", b"two"), added(tmp_path, "lights", b"two", b"three", program=True)
    assert published.manifests(tmp_path) == {"lights": second, "signs": first}
    assert sorted(file.read_bytes() for file in (tmp_path / "blocks").iterdir()) == [b"one", b"three", b"two"]
    assert set(load_file(tmp_path / "held_out.safetensors")) == {
        f"{m}/{w}" for m in ("signs", "lights") for w in ("images", "labels")
    }
    assert published.faults(tmp_path) == []


def test_a_model_takes_the_place_of_the_one_of_its_name(tmp_path: Path) -> None:
    added(tmp_path, "signs", b"one", b"two")
    second = added(tmp_path, "signs", b"one", b"three")
    assert published.manifests(tmp_path) == {"signs": second}
    assert published.faults(tmp_path) == []


def test_a_damaged_block_is_mended_by_publishing_again(tmp_path: Path) -> None:
    added(tmp_path, "signs", b"one", b"two")
    file_of(tmp_path, b"two").write_bytes(b"tow")
    assert published.faults(tmp_path) != []
    added(tmp_path, "signs", b"one", b"two")
    assert published.faults(tmp_path) == []


def test_two_that_publish_at_once_both_are_there(tmp_path: Path) -> None:
    threads = [threading.Thread(target=added, args=(tmp_path, f"m{n}", b"shared", b"%d" % n)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert set(published.manifests(tmp_path)) == {f"m{n}" for n in range(8)}
    assert published.faults(tmp_path) == []


def test_where_writing_fails_the_old_model_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = added(tmp_path, "signs", b"one")
    write = Path.write_bytes

    def full(file: Path, data: bytes) -> int:
        write(file, data[:1])
        raise OSError(28, "No space left on device")

    for fails in ("blocks", "manifests"):
        monkeypatch.setattr(
            Path,
            "write_bytes",
            lambda file, data, fails=fails: (full if file.parent.name == fails else write)(file, data),
        )
        with pytest.raises(OSError, match="No space"):
            added(tmp_path, "signs", b"two")
        assert published.manifests(tmp_path) == {"signs": first}
        assert published.faults(tmp_path) == []
        assert not [file for file in tmp_path.rglob("*") if "partial" in file.name]


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "a block is gone": (lambda f: file_of(f, b"one").unlink(), "signs: .*/blocks/.*: No such file.*; publish the model again"),
    "a block is cut": (lambda f: file_of(f, b"one").write_bytes(b"on"), "signs: .*/blocks/.*: its bytes are not"),
    "a program is gone": (lambda f: next((f / "programs").iterdir()).unlink(), "signs: .*/programs/[0-9a-f]{64}.py: No such file"),
    "a program is another": (lambda f: next((f / "programs").iterdir()).write_text("evil"), "signs: .*/programs/.*: its bytes"),
    "no held-out set": (lambda f: (f / "held_out.safetensors").unlink(), "signs: it has no held-out inputs with as many labels"),
    "a broken held-out set": (lambda f: (f / "held_out.safetensors").write_bytes(b"?"), "held_out.safetensors: not a"),
    "a broken manifest": (lambda f: (f / "manifests" / "signs.json").write_text("{"), "signs.json: not a manifest"),
    "another name": (
        lambda f: (f / "manifests" / "signs.json").rename(f / "manifests" / "lights.json"),
        "signs: no file manifests/signs.json has it",
    ),
    "no model": (lambda f: (f / "manifests" / "signs.json").unlink(), "has no model; `insitu library publish --into"),
    "no library": (lambda f: (f / "manifests").rename(f / "other"), "not a library; `insitu library publish --into"),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGE)
def test_what_is_wrong_is_said_in_one_line(tmp_path: Path, name: str) -> None:
    added(tmp_path, "signs", b"one", b"two", program=True)
    damage, said = DAMAGE[name]
    damage(tmp_path)
    (fault,) = published.faults(tmp_path)
    assert fault.startswith(str(tmp_path))
    assert re.search(said, fault), fault
    assert "\n" not in fault


def test_a_specialisation_without_its_base_is_a_fault(tmp_path: Path) -> None:
    added(tmp_path, "digits@night", b"one")
    assert published.faults(tmp_path) == [
        f"{tmp_path}: digits@night: its base model digits is not here; publish the model again"
    ]


@pytest.mark.parametrize("name", ["signs", "my_model", "signs@night", "a.b-c_d@e1"])
def test_names_that_files_and_registries_take(name: str) -> None:
    assert published.NAME.fullmatch(name)


@pytest.mark.parametrize("name", ["", "Signs", "signs@", "@night", "a/b", "..", "a@b@c", "-a", "a b", "signs\n"])
def test_names_that_they_do_not_take(name: str) -> None:
    assert not published.NAME.fullmatch(name)
