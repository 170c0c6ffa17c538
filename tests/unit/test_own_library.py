"""A library that has a user's own models beside those that ship."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from builders import digest_of, manifest_of, publish
from safetensors.numpy import load_file, save_file

from insitu import own_library
from insitu.own_library import BrokenLibrary, joined

SHARED, MINE = b"s" * 40, b"m" * 50


def held_out(folder: Path, *models: str) -> None:
    images = {f"{model}/images": np.zeros((2, 1, 8, 8), np.float32) for model in models}
    save_file(images | {f"{model}/labels": np.array([1, 2]) for model in models}, folder / own_library.HELD_OUT)


@pytest.fixture
def shipped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INSITU_CACHE", str(tmp_path / "cache"))
    folder = tmp_path / "cache" / "library-1"
    publish(folder, (manifest_of("digits", [SHARED], v={"blocks": [0]}), [SHARED]))
    held_out(folder, "digits")
    return folder


@pytest.fixture
def own(tmp_path: Path) -> Path:
    publish(tmp_path / "own", (manifest_of("letters", [SHARED, MINE], v={"blocks": [0, 1]}), [SHARED, MINE]))
    held_out(tmp_path / "own", "letters")
    return tmp_path / "own"


def test_it_has_the_models_blocks_and_images_of_both(shipped: Path, own: Path) -> None:
    both = joined(shipped, own)
    assert {file.name for file in (both / "manifests").iterdir()} == {"digits.json", "letters.json"}
    assert {digest_of(file.read_bytes()) for file in (both / "blocks").iterdir()} == {
        digest_of(SHARED),
        digest_of(MINE),
    }
    assert {name.partition("/")[0] for name in load_file(both / own_library.HELD_OUT)} == {"digits", "letters"}
    assert joined(shipped, own) == both


def test_what_is_published_anew_is_joined_anew(shipped: Path, own: Path) -> None:
    before = joined(shipped, own)
    publish(own, (manifest_of("letters", [MINE], v={"blocks": [0]}), [MINE]))
    assert joined(shipped, own) != before


def remove(file: Path) -> None:
    file.unlink()


def spoil(file: Path) -> None:
    file.write_bytes(b"{}" + file.read_bytes()[2:])


@pytest.mark.parametrize("damage", [remove, spoil])
@pytest.mark.parametrize("what", ["manifests/letters.json", f"blocks/{digest_of(MINE)[7:]}", own_library.HELD_OUT])
def test_what_is_broken_is_said_in_a_line_and_nothing_is_left(shipped: Path, own: Path, damage: Any, what: str) -> None:
    if what.startswith("manifests") and damage is remove:
        pytest.skip("a folder without manifests is refused when the scenario is read")
    damage(own / what)
    with pytest.raises(BrokenLibrary) as caught:
        joined(shipped, own)
    assert str(own / what) in str(caught.value) and "publish" in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1
    assert not list(shipped.parent.glob("joined-*"))


def test_images_that_are_missing_are_named(shipped: Path, own: Path) -> None:
    held_out(own, "words")
    with pytest.raises(BrokenLibrary, match="letters: it has no held-out inputs .*; publish the model again$"):
        joined(shipped, own)
