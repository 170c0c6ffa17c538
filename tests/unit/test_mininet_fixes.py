"""The places of Mininet that the machine has mended are still there to be mended."""

import ast

from insitu.vm.mininet_fixes import mended_files


def test_debians_mininet_has_the_text_that_is_mended() -> None:
    mended = mended_files()
    assert {file.name for file in mended} == {"net.py", "cli.py"}
    for file, text in mended.items():
        ast.parse(text)
        assert text != file.read_text()
