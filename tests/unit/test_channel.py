"""What a device tells of its channel follows the plan's changes."""

from builders import planned

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
    assert (before, after) == (8 * MS + 20_000, 60 * MS + 20_000)  # the host beside the switch adds 10 us each way
