"""TCP's memory is enough for every path that there can be, the long way round a failed link too."""

from typing import Any

import pytest

from scenarios.buffers import LEAST_TCP_BUFFER, tcp_buffer
from scenarios.schema import Scenario

MS, BITS = 10**6, 8 * 10**9
RATE = 10**9


def buffer(links: list[dict[str, Any]]) -> int:
    """Two regions whose gNBs are 10 ms from the central site, and redundant links."""
    near: dict[str, Any] = {"rate": "1 Gbit/s", "delay": "4 ms"}
    gnb: dict[str, Any] = {
        "link": {"rate": "1 Gbit/s", "delay": "2 ms"},
        "radio": {"rate": "1 Gbit/s", "delay": "1 ms"},
    }
    regions = [
        {"name": "west", "link": near, "gnbs": [{"name": "quad", **gnb}]},
        {"name": "east", "link": near, "gnbs": [{"name": "market", **gnb}]},
    ]
    network = {"core": {"rate": "1 Gbit/s", "delay": "5 ms"}, "regions": regions, "links": links}
    return tcp_buffer(
        Scenario.model_validate({"name": "ring", "network": network, "devices": [{"name": "phone", "at": "quad"}]})
    )


def three_times(one_way_ms: int) -> int:
    return 3 * (RATE * 2 * one_way_ms * MS // BITS)


@pytest.mark.parametrize(
    ("link", "longest_ms"),
    [
        ({"from": "quad", "to": "market", "delay": "9 ms"}, 5 + 4 + 2 + 9 + 1),
        ({"from": "market", "to": "quad", "delay": "9 ms"}, 5 + 4 + 2 + 9 + 1),
        ({"from": "west", "to": "east", "delay": "9 ms"}, 5 + 4 + 9 + 2 + 1),
        ({"from": "quad", "to": "core", "delay": "30 ms"}, 5 + 30 + 1),
        ({"from": "quad", "to": "west", "delay": "30 ms"}, 5 + 4 + 30 + 1),
        ({"from": "quad", "to": "core", "delay": "1 ms"}, 5 + 4 + 2 + 1),
    ],
)
def test_one_flow_fills_the_longest_way(link: dict[str, Any], longest_ms: int) -> None:
    assert buffer([{"rate": "1 Gbit/s", **link}]) == max(LEAST_TCP_BUFFER, three_times(longest_ms))


def test_a_slow_redundant_link_needs_no_more_than_it_carries() -> None:
    assert buffer([{"from": "quad", "to": "core", "rate": "10 Mbit/s", "delay": "30 ms"}]) == buffer([])
