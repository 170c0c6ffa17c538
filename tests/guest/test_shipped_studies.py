"""Each study that ships, in a tiny form, through all of its code: runs, answer, figure."""

from functools import partial
from pathlib import Path

import pytest

from insitu.vm.kernel import Kernel
from studies import study
from studies.caching import study as caching
from studies.connectivity import study as connectivity
from studies.slicing import study as slicing


@pytest.fixture(autouse=True, scope="module")
def _prepared(kernel: Kernel, library: Path) -> None:
    """Kernel and models are there before anything runs."""


def made(one: study.Study, folder: Path) -> study.Answer:
    answer = study.measure(one, folder / "study")
    study.publish(one, answer, folder)
    assert answer.sentences[0] in (folder / study.README).read_text()
    assert (folder / study.FIGURE).read_text().startswith("<svg")
    return answer


def test_connectivity_finds_a_rate_over_the_bare_one(tmp_path: Path) -> None:
    answer = made(connectivity.STUDY._replace(points=connectivity.points((2.4,), (1,))[1:3]), tmp_path)
    [[size, _, _, within_a_second, _]] = answer.rows
    assert size == "2.4 MB" and 8 * 2.4 < float(within_a_second) < 1.3 * 8 * 2.4


def test_slicing_compares_policies(tmp_path: Path) -> None:
    answer = made(slicing.STUDY._replace(points=slicing.points((4,), ("none", "joint")), seeds=1), tmp_path)
    assert [row[:2] for row in answer.rows] == [["none", "4"], ["joint", "4"]]


def test_caching_takes_fewer_bytes_from_the_centre_with_caches(tmp_path: Path) -> None:
    points, cases = caching.points((1.2,), (48,)), partial(caching.cases, asks=6)
    answer = made(caching.STUDY._replace(points=points, seeds=1, cases=cases), tmp_path)
    from_centre = {row[2]: float(row[-1]) for row in answer.rows}
    assert from_centre["local"] < from_centre["edge"] < from_centre["central"]
