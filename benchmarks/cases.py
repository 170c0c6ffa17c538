"""What `make fidelity` measures: each case is an order to guests and a judge of their answers."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from benchmarks import theory
from benchmarks.guests import Order
from benchmarks.network import lines, plan_of, there_and_back
from benchmarks.tables import Row
from benchmarks.theory import FULL_FRAME, Gilbert, Line
from scenarios import tables
from scenarios.plan import Plan

MS, SECOND = 1_000_000, 1_000_000_000
SMALL, FULL = 56, 1472  # ping's payloads: frames of 98 and 1514 bytes
PING_HEADERS = theory.ETHERNET + theory.IP + theory.ICMP
UDP_HEADERS = theory.ETHERNET + theory.IP + theory.UDP
RATES = {
    "0.1 Mbit/s": 100_000,
    "1 Mbit/s": 1_000_000,
    "10 Mbit/s": 10_000_000,
    "100 Mbit/s": 100_000_000,
    "1 Gbit/s": 1_000_000_000,
    "10 Gbit/s": 10_000_000_000,
    "40 Gbit/s": 40_000_000_000,
}
FASTEST_OF_MININET = 1_000_000_000  # TCLink takes a bandwidth of at most 1000 Mbit/s
SLOWEST_OF_MININET = 10_000_000  # below, iperf3 waits for its end without sleeping behind TCLink's long queue, for ever


@dataclass(frozen=True)
class Case:
    """`judge` makes the rows of its section's table of the answers, which are those of all `orders` one after the "
    "other."""

    name: str
    orders: tuple[Order, ...]
    judge: Callable[[list[Any]], list[Row]]


@dataclass(frozen=True)
class Section:
    title: str
    note: str
    columns: tuple[str, ...]
    cases: list[Case]


def scenario(rate: str, core: str, hop: str = "{rate: RATE, delay: 5 us}") -> str:
    """One hop: from nef to central. Four: from nef to phone1, or phone2, whose own links have no delay."""
    return f"""
name: fidelity
network:
  core: {core}
  regions:
    - name: west
      link: {hop}
      gnbs: [{{name: a, link: {hop}, radio: {hop}}}]
slices: [{{name: video, guarantee: 50 %}}, {{name: default}}]
devices: [{{name: phone, count: 2, at: a}}]
traffic: [{{from: central, to: phone2, slice: video, rate: 1 Mbit/s}}, {{from: phone2, to: central, slice: video, rate: 1 Mbit/s}}]
""".replace("RATE", rate)


# Goodput


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


# Round trips

ROUND_TRIPS = (0.1, 1.0, 10.0, 100.0, 500.0)  # ms of propagation, there and back
RTT_RATES = ("10 Mbit/s", "100 Mbit/s", "1 Gbit/s", "10 Gbit/s")


def tolerance(expected_ns: float) -> float:
    return max(10_000, expected_ns / 1000)


def rtt_scenario(rate: str, round_trip_ms: float) -> str:
    ns = round(round_trip_ms * MS / 2)
    return scenario(rate, f"{{rate: RATE, delay: {ns} ns}}", f"{{rate: RATE, delay: {ns // 3} ns}}")


def idle() -> Section:
    return Section(
        "Round-trip time, idle",
        "The mean of 10 pings. Theory: at every hop, there and back, the delay and the time to send the whole frame. "
        "nef's own link (40 Gbit/s, 10 us) is a hop more. Limit: 0.1 % or 10 us, whichever is more. Stock Mininet: a "
        "chain of TCLinks of the same delay, beside what theory gives for it.",
        (
            "delay, both ways",
            "rate",
            "hops",
            "frame, B",
            "theory, ms",
            "measured, ms",
            "error, us",
            "stock Mininet's error, us",
        ),
        [idle_case(rate, delay) for delay in ROUND_TRIPS for rate in RTT_RATES],
    )


def idle_case(rate: str, round_trip_ms: float) -> Case:
    text = rtt_scenario(rate, round_trip_ms)
    plan = plan_of(text)
    cases = [(target, payload) for target in ("central", "phone1") for payload in (SMALL, FULL)]
    steps = [
        {"do": "ping", "source": "nef", "target": t, "count": 10, "interval_s": 0.1, "payload": p} for t, p in cases
    ]
    name = f"rtt {rate} {round_trip_ms:g} ms"
    orders = [Order(name, steps, text)]
    with_stock = RATES[rate] <= FASTEST_OF_MININET
    stock_line = [
        Line(RATES[rate], round(round_trip_ms * MS / 2)),
        Line(RATES[rate], round(round_trip_ms * MS / 2 / 4)),
    ]
    if with_stock:
        for hops, line in zip((1, 4), stock_line, strict=True):
            pings = [
                {"do": "ping", "source": "h1", "target": "h2", "count": 10, "interval_s": 0.1, "payload": p}
                for p in (SMALL, FULL)
            ]
            chain = {"hops": hops, "rate_mbps": RATES[rate] / 1e6, "delay": f"{line.delay_ns / 1000:g}us"}
            orders.append(Order(f"stock {name} {hops}", pings, stock=chain))

    def judge(answers: list[Any]) -> list[Row]:
        rows = []
        for place, (target, payload) in enumerate(cases):
            hops, frame = {"central": 1, "phone1": 4}[target], payload + PING_HEADERS
            expected = theory.one_way(there_and_back(plan, "nef", target), frame)
            measured = answers[place]["mean_ms"] * MS
            beside = ""
            if with_stock:
                ideal = theory.one_way([stock_line[place // 2]] * 2 * hops, frame)
                beside = f"{(answers[len(cases) + place]['mean_ms'] * MS - ideal) / 1000:+.0f}"
            holds = abs(measured - expected) <= tolerance(expected) and answers[place]["received"] == 10
            cells = (
                f"{round_trip_ms:g} ms",
                rate,
                str(hops),
                str(frame),
                f"{expected / MS:.3f}",
                f"{measured / MS:.3f}",
            )
            rows.append(Row((*cells, f"{(measured - expected) / 1000:+.1f}", beside), holds))
        return rows

    return Case(name, tuple(orders), judge)


def saturated() -> Section:
    return Section(
        "Round-trip time beside a saturated slice",
        "nef pings phone1 in the default slice while the slice `video` fills three links of the path in both "
        "directions, core to region to gNB to cell, with full frames (central to phone2 and back, at 102 % of the "
        "rate). Theory: a line that sends slices packet by packet lets a packet wait for at most the one that is being "
        "sent, at each of the three, each way: between the idle round trip and that much more. insitu's slices share a "
        "link by HTB, whose burst lends the line to a slice within its guarantee at once: it stays at the lower bound. "
        "Limit: least and most within the bounds, give or take 0.1 % or 10 us.",
        ("delay, both ways", "rate", "frame, B", "theory, ms", "least, ms", "mean, ms", "most, ms"),
        [saturated_case(rate, delay) for delay in ROUND_TRIPS for rate in RTT_RATES],
    )


def saturated_case(rate: str, round_trip_ms: float) -> Case:
    text = rtt_scenario(rate, round_trip_ms)
    plan = plan_of(text)
    there = lines(plan, "nef", "phone1")
    frame_s = theory.serialisation(RATES[rate], FULL_FRAME) / SECOND
    interval = max(0.002, round(20 * frame_s, 3))
    lead = max(0.005, 10 * frame_s)
    seconds = 2 * lead + 10 * interval + 0.005
    away = theory.one_way(there, SMALL + PING_HEADERS) / SECOND  # when the answers start
    # central's link has the core's delay, nef's has 10 us: the flood starts so much earlier to be on the core's links in time
    earlier = plan_delay(plan, "central-link") / SECOND
    flood = {"rate_bps": RATES[rate] * 102 // 100, "seconds": seconds}
    forth = {**flood, "source": "central", "target": "phone2", "port": 20000, "start_s": 0.0}
    back = {**flood, "source": "phone2", "target": "central", "port": 20001, "start_s": earlier + away}
    steps = [
        {
            "do": "ping_beside", "floods": [forth, back], "ping_start_s": earlier + lead,
            "source": "nef", "target": "phone1", "count": 10, "interval_s": interval, "payload": payload,
        }
        for payload in (SMALL, FULL)
    ]  # fmt: skip
    name = f"beside {rate} {round_trip_ms:g} ms"

    def judge(answers: list[Any]) -> list[Row]:
        rows = []
        for payload, answer in zip((SMALL, FULL), answers, strict=True):
            frame = payload + PING_HEADERS
            low = theory.one_way(there_and_back(plan, "nef", "phone1"), frame)
            high = low + 2 * theory.longest_wait(there[1:4])
            least, mean, most = (answer[key] for key in ("least_ms", "mean_ms", "most_ms"))
            holds = (
                least * MS >= low - tolerance(low) and most * MS <= high + tolerance(high) and answer["received"] == 10
            )
            cells = (f"{round_trip_ms:g} ms", rate, str(frame), f"{low / MS:.3f} … {high / MS:.3f}")
            rows.append(Row((*cells, f"{least:.3f}", f"{mean:.3f}", f"{most:.3f}"), holds and answer["full"]))
        return rows

    return Case(name, (Order(name, steps, text),), judge)


def plan_delay(plan: Plan, link: str) -> int:
    return next(entry.ends[0].shape.delay_ns for entry in plan.links if entry.name == link)


# Chance

PROBES = 10_000
PROBE = 100  # bytes of payload


def chance() -> Section:
    return Section(
        "Loss and jitter",
        f"{PROBES} UDP probes one way over one hop, with the kernel's time stamps. Counts: the 99 % interval of what was"
        " set (binomial; for Gilbert–Elliott that of the Markov chain). Distributions: delays by Kolmogorov–Smirnov's "
        "test, lengths of loss bursts by the chi² test against the geometric distribution. Limit: inside the interval, "
        "p of at least 0.01.",
        ("set", "figure", "theory", "measured", "p"),
        [
            *(loss_case(percent) for percent in (0.1, 1.0, 10.0)),
            gilbert_case("simple", Gilbert(0.01, 0.25)),
            gilbert_case("Elliott", Gilbert(0.02, 0.10, loss_bad=0.7, loss_good=0.01)),
            jitter_case("uniform"),
            *(jitter_case(name, tables.distribution(name)) for name in ("normal", "pareto")),
        ],
    )


def probes(name: str, core: str, interval_ns: int) -> tuple[Order, Plan]:
    """Probes from nef to central."""
    text = scenario("1 Gbit/s", core)
    series = {
        "do": "series",
        "source": "nef",
        "target": "central",
        "count": PROBES,
        "interval_ns": interval_ns,
        "payload": PROBE,
    }
    return Order(name, [series], text), plan_of(text)


def lost_of(answers: list[Any]) -> list[bool]:
    return [not delays for delays in answers[-1]["delays_ns"]]


def loss_case(percent: float) -> Case:
    share = percent / 100
    order, _ = probes(f"loss {percent:g} %", f"{{rate: RATE, delay: 1 ms, loss: {percent:g} %}}", MS)

    def judge(answers: list[Any]) -> list[Row]:
        lost = lost_of(answers)
        rows = [count_row(f"loss {percent:g} %", sum(lost), theory.count_interval(share, len(lost)))]
        bursts = theory.run_lengths(lost)
        if len(bursts) >= 50:  # fewer tell nothing of how long they are
            rows.append(burst_row(f"loss {percent:g} %", bursts, 1 - share))
        return rows

    return Case(order.name, (order,), judge)


def gilbert_case(kind: str, chain: Gilbert) -> Case:
    shares = {"enter": chain.enter, "leave": chain.leave, "loss": chain.loss_bad, "outside": chain.loss_good}
    setting = ", ".join(f"{name}: {100 * share:g} %" for name, share in shares.items())
    order, _ = probes(f"gilbert {kind}", f"{{rate: RATE, delay: 1 ms, bursts: {{{setting}}}}}", MS)

    def judge(answers: list[Any]) -> list[Row]:
        lost = lost_of(answers)
        what = f"Gilbert–Elliott {setting}"
        rows = [count_row(what, sum(lost), chain.interval(len(lost)))]
        if chain.loss_bad == 1 and chain.loss_good == 0:
            rows.append(burst_row(what, theory.run_lengths(lost), chain.leave))
            gaps = theory.run_lengths([not gone for gone in lost])
            verdict = theory.geometric_fits(gaps, chain.enter)
            cells = (
                what,
                "length of gaps, mean",
                f"{1 / chain.enter:.2f}",
                f"{sum(gaps) / len(gaps):.2f}",
                f"{verdict.p_value:.3f}",
            )
            rows.append(Row(cells, verdict.fits))
        return rows

    return Case(order.name, (order,), judge)


def count_row(what: str, count: int, interval: tuple[float, float]) -> Row:
    low, high = interval
    return Row((what, "packets lost", f"{low:.0f} … {high:.0f}", str(count), ""), low <= count <= high)


def burst_row(what: str, bursts: list[int], leave: float) -> Row:
    verdict = theory.geometric_fits(bursts, leave)
    mean = sum(bursts) / len(bursts)
    return Row(
        (what, "length of bursts, mean", f"{1 / leave:.2f}", f"{mean:.2f}", f"{verdict.p_value:.3f}"), verdict.fits
    )


def jitter_case(kind: str, distribution: tables.Distribution | None = None) -> Case:
    """10 ms around 50 ms, uniform or by a table."""
    core = f"{{rate: RATE, delay: 50 ms, jitter: 10 ms, distribution: {kind}}}"
    order, plan = probes(f"jitter {kind}", core, 100 * MS)

    def judge(answers: list[Any]) -> list[Row]:
        sample = [delay for delays in answers[-1]["delays_ns"] for delay in delays]
        centre, spread = theory.one_way(lines(plan, "nef", "central"), PROBE + UDP_HEADERS), 10 * MS
        expected = theory.table(centre, spread, distribution.table) if distribution else theory.uniform(centre, spread)
        verdict = theory.distribution_fits(sample, expected)
        mean = sum(sample) / len(sample)
        what = f"50 ms ± {spread // MS} ms, {kind}"
        cells = (what, "delay, mean, ms", f"{centre / MS:.3f}", f"{mean / MS:.3f}", f"{verdict.p_value:.3f}")
        return [Row(cells, verdict.fits and len(sample) == PROBES)]

    return Case(order.name, (order,), judge)


# Queues


def queues() -> Section:
    return Section(
        "Queues",
        "A burst of full UDP frames, faster than the link, meets a FIFO queue: how many arrive, and how long the last "
        "one took. Theory: Lindley's recursion with a finite room. Without `queue:` it is counted in packets, and what is "
        "under way on the link takes room too; with it in bytes, and a packet takes room until its sending begins. "
        "Limit: as many arrive, each within 10 us of its time, and from 1 Gbit/s on 34 us: there a host lets a packet "
        "that follows others wait for the next one, 24 us at most, as a network card does.",
        (
            "rate",
            "delay",
            "room",
            "burst",
            "sent every",
            "arrive, theory",
            "arrive",
            "last one, theory, ms",
            "last one, ms",
        ),
        [
            queue_case("10 Mbit/s", "5 ms", 400, 0),
            queue_case("10 Mbit/s", "5 ms", 400, 600_000),
            queue_case("100 Mbit/s", "0 ms", 1000, 0),
            queue_case("1 Gbit/s", "1 ms", 5000, 6_000),
            queue_case("10 Mbit/s", "5 ms", 400, 0, "60 kB"),
            queue_case("10 Mbit/s", "5 ms", 400, 600_000, "100 ms"),
            queue_case("1 Gbit/s", "1 ms", 5000, 6_000, "1 MB"),
        ],
    )


def queue_case(rate: str, delay: str, count: int, interval_ns: int, queue: str = "") -> Case:
    text = scenario(rate, f"{{rate: RATE, delay: {delay}{', queue: ' + queue if queue else ''}}}")
    plan = plan_of(text)
    step = {
        "do": "series",
        "source": "nef",
        "target": "central",
        "count": count,
        "interval_ns": interval_ns,
        "payload": FULL,
    }
    name = f"queue {rate} {interval_ns} ns {queue}"
    shape = next(end.shape for link in plan.links if link.name == "central-link" for end in link.ends if end.port)
    room = shape.queue.bytes if shape.queue else shape.limit

    def judge(answers: list[Any]) -> list[Row]:
        access, line = lines(plan, "nef", "central")
        sent = [stamp - answers[0]["sent_ns"][0] for stamp in answers[0]["sent_ns"]]
        at_port = theory.fifo(sent, [FULL_FRAME] * count, access, count)
        passed = theory.fifo(
            [p.left_ns or 0 for p in at_port],
            [FULL_FRAME] * count,
            line,
            room,
            in_bytes=shape.queue is not None,
            until="begun" if shape.queue else "arrived",
        )
        delays = answers[0]["delays_ns"]
        # in the order of arrival: which of two packets half a us apart found the room that was just made is no matter
        expected = [(p.left_ns, p.left_ns - at) for p, at in zip(passed, sent, strict=True) if p.left_ns is not None]
        measured = [(at + found[0], found[0]) for found, at in zip(delays, sent, strict=True) if found]
        pairs = zip(expected, measured, strict=False)
        allowed = 10_000 if RATES[rate] < 10**9 else 34_000
        exact = len(expected) == len(measured) and all(abs(e[0] - m[0]) <= allowed for e, m in pairs)
        cells = (
            rate, delay, f"{room} {'B' if shape.queue else 'packets'}", str(count),
            f"{interval_ns / 1000:g} us" if interval_ns else "at once",
            str(len(expected)), str(len(measured)), f"{expected[-1][1] / MS:.3f}", f"{measured[-1][1] / MS:.3f}",
        )  # fmt: skip
        return [Row(cells, exact)]

    return Case(name, (Order(name, [step], text),), judge)


# One flow on a long fat path


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


def sections() -> list[Section]:
    return [goodput(), idle(), saturated(), chance(), queues(), long_path()]
