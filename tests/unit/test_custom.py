"""A user's topology file: what it gives, and what is said when it gives nothing."""

import sys
from pathlib import Path

import pytest

from topology import custom

FILE = """
from mininet.topo import LinearTopo, Topo

class Star(Topo):
    def build(self, n=2, prefix="h"):
        switch = self.addSwitch("s1")
        for number in range(n):
            self.addLink(self.addHost(f"{prefix}{number}"), switch)

class Wrong(Topo):
    def build(self):
        self.addLink("a", "b")

topos = {"star": Star, "six": lambda: Star(6), "number": lambda: 3}
"""


@pytest.fixture(autouse=True)
def same_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "path", list(sys.path))


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "t.py").write_text(FILE)
    return tmp_path / "t.py"


@pytest.mark.parametrize(
    ("wanted", "hosts"),
    [
        ("Star", ["h0", "h1"]),
        ("star", ["h0", "h1"]),
        ("star,3,prefix=x", ["x0", "x1", "x2"]),
        ("six", [f"h{n}" for n in range(6)]),
        ("LinearTopo,3", ["h1", "h2", "h3"]),
    ],
)
def test_a_class_or_an_entry_of_topos_with_arguments(file: Path, wanted: str, hosts: list[str]) -> None:
    assert custom.load(file, wanted).hosts() == hosts


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ("moon", ": no topology moon; it has Star, Wrong, number, six, star"),
        ("Wrong", ":12: KeyError: 'a'"),
        ("Star,1,a,b", ": Star,1,a,b: TypeError: Star.build() takes from 1 to 3 positional arguments but 4 were given"),
        ("star,depth=1", ": star,depth=1: TypeError: Star.build() got an unexpected keyword argument 'depth'"),
        ("number", ": number makes a int; what is wanted is a mininet.topo.Topo"),
    ],
)
def test_what_cannot_be_made_is_one_line(file: Path, wanted: str, said: str) -> None:
    with pytest.raises(custom.TopologyError) as raised:
        custom.load(file, wanted)
    assert str(raised.value) == f"{file}{said}"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("\ndef (", ":2: SyntaxError: invalid syntax (t.py, line 2)"),
        ("import nothing_of_that_name", ":1: ModuleNotFoundError: No module named 'nothing_of_that_name'"),
        ("raise SystemExit('two\\nlines')", ":1: SystemExit: two"),
        ("", ": no topology X; it has none"),
    ],
)
def test_a_file_that_fails_is_one_line(file: Path, text: str, said: str) -> None:
    file.write_text(text)
    with pytest.raises(custom.TopologyError) as raised:
        custom.load(file, "X")
    assert str(raised.value) == f"{file}{said}"


def test_a_file_finds_what_lies_beside_it(file: Path) -> None:
    (file.parent / "beside_it.py").write_text(FILE)
    file.write_text("from beside_it import Star")
    assert custom.load(file, "Star").switches() == ["s1"]
