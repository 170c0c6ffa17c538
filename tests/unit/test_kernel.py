"""Getting, building and caching the guest's kernel, with a source tree that builds in no time."""

import shutil
import subprocess
import tarfile
from pathlib import Path

import pytest

from insitu.vm import kernel, source
from insitu.vm.kernel import KernelError, find_or_build, lost_options, release_of, version_of

MAKEFILE = """\
# SPDX-License-Identifier: GPL-2.0
VERSION = 7
PATCHLEVEL = 3
SUBLEVEL = 4
EXTRAVERSION =

tinyconfig mrproper:
\t@true
olddefconfig:
\tcp wanted .config
linux:
\t@echo "  CC      init/main.o"
\tcp arch/um/os-Linux/util.c linux
"""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("INSITU_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def unpatched(patch: str) -> dict[str, str]:
    """The files that a patch of one hunk per file changes, as they were before it."""
    files: dict[str, list[str]] = {}
    for line in patch.splitlines():
        if line.startswith("--- "):
            lines = files.setdefault(line.split("/", 1)[1], [])
        elif line.startswith("@@"):
            lines += [""] * (int(line.split("-")[1].split(",")[0]) - 1)
        elif line[:1] in (" ", "-"):
            lines.append(line[1:])
    return {name: "\n".join(lines) + "\n" for name, lines in files.items()}


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """A source tree as the builder sees one: it takes the patch and the configuration, and "builds"."""
    tree = tmp_path / "linux-7.3"
    tree.mkdir()
    (tree / "scripts/kconfig").mkdir(parents=True)
    (tree / "Makefile").write_text(MAKEFILE)
    for patch in kernel._PATCHES:
        for name, before in unpatched(patch.read_text()).items():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            (tree / name).write_text(before)
    merge = tree / "scripts/kconfig/merge_config.sh"
    merge.write_text('#!/bin/sh\ncp "$3" wanted\n')
    merge.chmod(0o755)
    return tree


def build(path: Path) -> tuple[kernel.Kernel, list[str]]:
    lines: list[str] = []
    return find_or_build(lines.append, path), lines


def test_builds_a_folder_once(tree: Path, cache: Path) -> None:
    built, lines = build(tree)
    assert (built.version, built.seccomp) == ("7.3.4", True)
    assert "memset(buf, 0, len)" in built.path.read_text()
    assert sorted(path.name for path in built.path.parent.iterdir()) == ["config", "kernel.json", "linux"]
    assert any("building Linux 7.3.4" in line for line in lines)
    assert build(tree) == (built, [])
    assert not (tree / ".config").exists()


def test_builds_a_tarball(tree: Path, tmp_path: Path) -> None:
    tarball = tmp_path / "linux.tar.xz"
    with tarfile.open(tarball, "w:xz") as archive:
        archive.add(tree, "linux-7.3")
    built, _ = build(tarball)
    assert built.version == "7.3.4"
    assert built.sha256 == build(tree)[0].sha256


def test_takes_a_source_that_is_patched_already(tree: Path) -> None:
    for patch in kernel._PATCHES:
        subprocess.run(["patch", "-p1", "-i", str(patch)], cwd=tree, check=True, capture_output=True)
    assert "memset(buf, 0, len)" in build(tree)[0].path.read_text()


def test_anything_that_it_is_made_from_makes_another(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = build(tree)[0].path
    (tree / "added.c").write_text("")
    second = build(tree)[0].path
    monkeypatch.setitem(kernel._STAMP, "KBUILD_BUILD_TIMESTAMP", "2026-01-01")
    third = build(tree)[0].path
    assert len({first, second, third}) == 3


def test_old_kernels_are_refused_or_warned_of(tree: Path) -> None:
    makefile = tree / "Makefile"
    makefile.write_text(MAKEFILE.replace("= 7\n", "= 6\n").replace("= 3\n", "= 12\n"))
    built, lines = build(tree)
    assert not built.seccomp
    assert any("warning: Linux 6.12.4 is 1.6 times slower" in line for line in lines)
    makefile.write_text(MAKEFILE.replace("= 7\n", "= 6\n").replace("= 3\n", "= 1\n"))
    with pytest.raises(KernelError, match=r"is Linux 6\.1\.4; 6\.12 or newer is needed"):
        build(tree)


def test_a_failing_build_says_why_and_leaves_nothing(tree: Path, cache: Path) -> None:
    failing = "linux:\n\t@echo 'main.c:1: error: no such thing'; false\n"
    (tree / "Makefile").write_text(MAKEFILE.replace("linux:\n", failing))
    with pytest.raises(KernelError, match=r"make failed: main\.c:1: error: no such thing \(all of it: .*build\.log\)"):
        build(tree)
    assert [path.name for path in cache.iterdir() if not path.name.endswith(".lock")] == ["kernel-build.log"]


def test_a_dropped_option_is_named(tree: Path) -> None:
    (tree / "Makefile").write_text(MAKEFILE.replace("cp wanted .config", "grep -v NETEM wanted >.config"))
    with pytest.raises(KernelError, match="Linux 7.3.4 cannot be built with CONFIG_NET_SCH_NETEM$"):
        build(tree)


def test_missing_tools_are_named_as_packages(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    found = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name in ("flex", "xz") else found(name))
    with pytest.raises(KernelError, match="apt-get install flex xz-utils$"):
        build(tree)


def test_what_is_no_source_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KernelError, match="neither a kernel's source"):
        build(tmp_path)


def test_without_apt_a_source_must_be_given(monkeypatch: pytest.MonkeyPatch) -> None:
    found = shutil.which
    monkeypatch.setattr(shutil, "which", lambda name: None if name == "apt-get" else found(name))
    with pytest.raises(KernelError, match="has no apt; give a kernel's source"):
        find_or_build(lambda line: None)


def test_the_default_needs_apt_only_once(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def newest(scratch: Path, report: source.Report) -> source.Source:
        asked.append(scratch)
        return source.Tree(tree)

    monkeypatch.setattr(kernel, "newest_package", newest)
    first = find_or_build(lambda line: None)
    monkeypatch.setenv("PATH", "")  # so nothing could be run either
    assert find_or_build(lambda line: None) == first
    assert len(asked) == 1 and not asked[0].exists()


def test_versions(tree: Path) -> None:
    assert version_of(tree) == "7.3.4"
    assert release_of("6.12.1-rt4") == (6, 12)
    (tree / "Makefile").write_text("all:\n")
    with pytest.raises(KernelError, match="tells no version"):
        version_of(tree)


def test_lost_options() -> None:
    wanted = "CONFIG_A=y\nCONFIG_B=y\n# CONFIG_C is not set\n# CONFIG_D is not set\n# a comment\n"
    assert lost_options(wanted, "CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=y\n") == ["CONFIG_B", "CONFIG_C"]
