"""How much goes through: iperf3 at every rate, and one flow on a long fat path."""

from typing import Any

from benchmarks import theory
from benchmarks.cases import (
    FASTEST_OF_MININET,
    FULL,
    RATES,
    SLOWEST_OF_MININET,
    Case,
    Section,
    scenario,
)
from benchmarks.guests import Order
from benchmarks.tables import Row


def goodput() -> Section:
    return Section(
        "Goodput",
        "One flow of iperf3 for each row, counted by its receiver after the start. One hop is a switch's port of that "
        "rate, four are four of them in a row. Limit: 1 % of the framing limit, which is 1448/1514 of the rate for TCP,"
        " payload/frame for UDP (1472/1514; from 10 Gbit/s datagrams of 59192 bytes in 40 frames, since iperf3 itself "
        "takes a virtual microsecond for each that it sends or receives; at 40 Gbit/s it offers no more than what is "
        "measured, so that row has no verdict). Stock Mininet: TCP over a chain of as many "
        "TCLinks; it ignores a bandwidth over 1 Gbit/s.",
        ("rate", "hops", "by", "theory, Mbit/s", "measured, Mbit/s", "error", "stock Mininet's error"),
        [
            goodput_case(rate, target, udp)
            for rate in RATES
            for target in ("central", "phone1")
            for udp in (False, True)
        ],
    )


def goodput_case(rate: str, target: str, udp: bool) -> Case:
    rate_bps = RATES[rate]
    hops = {"central": 1, "phone1": 4}[target]
    payload, frames = (59192, 40) if rate_bps >= 10_000_000_000 else (FULL, 1)
    limit = theory.udp_goodput_in_fragments(rate_bps, payload, frames) if udp else theory.tcp_goodput(rate_bps)
    how = f"-u -l {payload} -b {rate_bps * 102 // 100}" if udp else ""
    if rate_bps <= 100_000_000:  # iperf3's own intervals are too short to hold whole packets enough
        seconds = {100_000: 300, 1_000_000: 60, 10_000_000: 20, 100_000_000: 5}[rate_bps]
        skip = 60 if rate_bps == 100_000 else 1 if rate_bps == 100_000_000 else 5
        options, skip_s = f"{how} -t {seconds} -O {skip} -i 0", 0.0
    else:
        options, skip_s = f"{how} -n {rate_bps // 8 * 45 // 100} -i 0.1", 0.1
    name = f"goodput {rate} {hops} {'udp' if udp else 'tcp'}"
    step = {"do": "iperf", "options": options, "skip_s": skip_s}
    ours = Order(name, [{**step, "source": "nef", "target": target}], scenario(rate, "{rate: RATE, delay: 5 us}"))
    stock = Order(
        f"stock {name}",
        [{**step, "source": "h1", "target": "h2"}],
        stock={"hops": hops, "rate_mbps": rate_bps / 1e6, "delay": "5us"},
    )
    with_stock = not udp and SLOWEST_OF_MININET <= rate_bps <= FASTEST_OF_MININET

    def judge(answers: list[Any]) -> list[Row]:
        measured, *others = (answer["bits_per_second"] for answer in answers)
        error = measured / limit - 1
        beside = f"{100 * (others[0] / limit - 1):+.2f} %" if others else ""
        cells = (rate, str(hops), "UDP" if udp else "TCP", mega(limit), mega(measured), f"{100 * error:+.3f} %", beside)
        offered = not udp or rate_bps < RATES["40 Gbit/s"]
        return [Row(cells, abs(error) <= 0.01 if offered else None)]

    return Case(name, (ours, stock) if with_stock else (ours,), judge)


def mega(bps: float) -> str:
    return f"{bps / 1e6:.5g}" if bps >= 1e6 else f"{bps / 1e6:.4f}"


def long_path() -> Section:
    return Section(
        "One TCP flow on a long fat path",
        "iperf3, cubic, one hop of 10 Gbit/s and 50 ms (round trip 100 ms), buffers as the plan sets them (three times the "
        "bandwidth-delay product); 10 virtual seconds, of which the last 5 are counted. Limit: 1 % of the framing "
        "limit.",
        ("rate", "delay", "theory, Mbit/s", "measured, Mbit/s", "error"),
        [long_path_case()],
    )


def long_path_case() -> Case:
    rate_bps = RATES["10 Gbit/s"]
    step = {"do": "iperf", "source": "nef", "target": "central", "options": "-t 10 -i 0.5", "skip_s": 5.0}
    order = Order("long path", [step], scenario("10 Gbit/s", "{rate: RATE, delay: 50 ms}"))

    def judge(answers: list[Any]) -> list[Row]:
        limit, measured = theory.tcp_goodput(rate_bps), answers[0]["bits_per_second"]
        error = measured / limit - 1
        return [Row(("10 Gbit/s", "50 ms", mega(limit), mega(measured), f"{100 * error:+.3f} %"), abs(error) <= 0.01)]

    return Case(order.name, (order,), judge)
