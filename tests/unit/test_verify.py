"""What two digests and their versions say."""

import json

from insitu import program
from insitu.verify import MOST_SHOWN, RECORD, compare, differences

ON_RECORD = {"digest": "sha256:aa", "versions": {"kernel": "7.3", "torch": "2.13", "numpy": "2.4"}}


def test_equal_digests_are_the_same_bits_whatever_the_versions() -> None:
    here = {"digest": "sha256:aa", "versions": {"kernel": "7.4"}}
    assert compare(ON_RECORD, here) == (True, ["sha256:aa: the same bits as on record"])


def test_the_version_that_differs_is_named() -> None:
    here = {"digest": "sha256:bb", "versions": ON_RECORD["versions"] | {"torch": "2.14"}}
    assert compare(ON_RECORD, here) == (
        False,
        ["sha256:bb: on record is sha256:aa", "torch: on record 2.13, here 2.14"],
    )


def test_a_package_more_or_less_is_a_difference() -> None:
    assert differences({"a": "1", "b": "2"}, {"b": "2", "c": "3"}) == [
        "a: on record 1, here none",
        "c: on record none, here 3",
    ]


def test_other_bits_from_the_same_versions_are_insitus_fault() -> None:
    outcome = compare(ON_RECORD, ON_RECORD | {"digest": "sha256:bb"})
    assert not outcome.equal
    assert "fault of insitu" in outcome.lines[-1]


def test_many_differences_are_counted() -> None:
    here = {"digest": "sha256:bb", "versions": {f"package{n}": "1" for n in range(20)}}
    outcome = compare(ON_RECORD | {"versions": {}}, here)
    assert len(outcome.lines) == 1 + MOST_SHOWN + 1
    assert outcome.lines[-1] == "12 more versions differ"


def test_the_digest_on_record_is_that_of_this_code() -> None:
    """When it fails: `make record` runs hello.yaml and puts its digest on record."""
    recorded = json.loads(RECORD.read_text())["versions"]["insitu"]
    assert program.key() == recorded
