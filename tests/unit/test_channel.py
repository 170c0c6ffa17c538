"""What a device tells of its channel follows the plan's changes."""

from builders import planned

from edge_nodes.devices import asking
from scenarios import channel, plan

SECOND, MS = 10**9, 10**6


def plan_of(**more: object) -> plan.Plan:
    radio = {"rate": "100 Mbit/s", "delay": "4 ms"}
    return planned(network={"gnbs": [{"name": "square", "radio": radio}]}, **more)


def test_without_changes_the_rate_is_the_radios() -> None:
    made = plan_of()
    assert [channel.rate_bps(made, made.devices[0], "square", time) for time in (0, 9 * SECOND)] == [100_000_000] * 2


def test_a_slower_link_of_its_own_is_what_counts() -> None:
    own = {"rate": "50 Mbit/s", "down": {"rate": "8 Mbit/s"}}
    made = plan_of(devices=[{"name": "phone", "at": "square", "link": own}])
    assert channel.rate_bps(made, made.devices[0], "square", 0) == 8_000_000


def test_a_change_counts_from_its_time_on_and_only_towards_the_device() -> None:
    dynamics = [
        {"link": "square-radio", "at": "2 s", "towards": "down", "rate": "16 Mbit/s"},
        {"link": "square-radio", "at": "3 s", "towards": "up", "rate": "8 Mbit/s"},
        {"link": "square-radio", "at": "4 s", "rate": "24 Mbit/s", "delay": "30 ms"},
    ]
    made = plan_of(dynamics=dynamics)
    rates = [
        channel.rate_bps(made, made.devices[0], "square", t)
        for t in (2 * SECOND - 1, 2 * SECOND, 3 * SECOND, 4 * SECOND)
    ]
    assert rates == [100_000_000, 16_000_000, 16_000_000, 24_000_000]
    before, after = (channel.round_trip_ns(made, made.devices[0], "square", t) for t in (0, 4 * SECOND))
    frame = 1514 * 8 * SECOND
    beside = 20_000 + frame // (40 * 10**9)  # the library's own link, 10 us each way
    assert (
        before == 8 * MS + 2 * (frame // 100_000_000) + beside
    )  # a frame's time on the radio and on the device's own link
    assert after == 60 * MS + frame // 24_000_000 + frame // 100_000_000 + beside


def test_above_a_library_is_the_way_to_the_central_one() -> None:
    made = plan_of()
    links = {"edge": 20_000, "gnb": 2 * MS, "region": 10 * MS, "central": 10 * MS}
    assert channel.above_ns(made, "square-edge") == sum(links.values())
    assert channel.above_ns(made, "region-local") == sum(links.values()) - links["gnb"]


def test_between_two_gnbs_is_what_is_not_on_the_way_of_both() -> None:
    gnbs = [
        {"name": name, "link": {"rate": "1 Gbit/s", "delay": delay}} for name, delay in (("a", "1 ms"), ("b", "2 ms"))
    ]
    regions = [
        {"name": "west", "link": {"rate": "1 Gbit/s", "delay": "4 ms"}, "gnbs": gnbs},
        {"name": "east", "link": {"rate": "1 Gbit/s", "delay": "8 ms"}, "gnbs": [gnbs[0] | {"name": "c"}]},
    ]
    made = planned(network={"regions": regions}, devices=[{"name": "phone", "at": "a"}])
    assert channel.between_ns(made, "a", "a") == 0
    assert channel.between_ns(made, "a", "b") == channel.between_ns(made, "b", "a") == 2 * (1 + 2) * MS
    assert channel.between_ns(made, "a", "c") == 2 * (1 + 4 + 8 + 1) * MS


def test_a_device_tells_of_the_cell_that_it_is_in_by_now() -> None:
    gnbs = [
        {"name": name, "radio": {"rate": rate, "delay": "4 ms"}}
        for name, rate in (("a", "100 Mbit/s"), ("b", "8 Mbit/s"))
    ]
    made = planned(
        duration="5 s", network={"gnbs": gnbs}, devices=[{"name": "phone", "at": "a", "route": {"2 s": "b"}}]
    )
    before, after = (
        asking.ask(
            made,
            made.devices[0],
            "a",
            "phone-1",
            "digits",
            since_ns=since,
            time_left_ns=0,
            memory_bytes=0,
            power_w=None,
        )
        for since in (2 * SECOND - 1, 2 * SECOND)
    )
    assert (before.channel_bps, after.channel_bps) == (100_000_000, 8_000_000)
    assert before.round_trip_ns == channel.round_trip_ns(made, made.devices[0], "a", 0)
    there = channel.round_trip_ns(made, made.devices[0], "b", 0)
    assert after.round_trip_ns == there + channel.between_ns(made, "a", "b") > there
