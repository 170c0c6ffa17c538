"""What can be wrong with a scenario although each of its parts is well written: references, sums, sizes."""

import difflib
from collections.abc import Collection, Iterator, Mapping, Sequence
from fractions import Fraction

from scenarios import own_policies, payloads
from scenarios.device_classes import DEVICE_CLASSES
from scenarios.faults import Fault
from scenarios.figures import figures
from scenarios.links import TOWARDS, Dynamics, LinkSpec, problem
from scenarios.profiles import offered
from scenarios.quantity import show
from scenarios.schema import Device, Scenario, Situation
from scenarios.shaping import needs_wire, queue_problem, timeline, way_problem

Place = tuple[str | int, ...]
Finding = tuple[Place, str]
Models = Mapping[str, Collection[str]]  # the names of each model's variants

POLICIES = {
    "slicing": ("none", "static", "deadline", "fair", "joint"),
    "caching": ("lru", "lfu", "popularity", "pinned"),
    "prefetch": ("none", "situations"),
}
COMPRESSION = ("full", "device", "adaptive", "file")
FIXED = "fixed:"  # and a variant's name: a compression policy too
OF_PACKETS = (
    "loss",
    "bursts",
    "corrupt",
    "duplicate",
    "reorder",
    "queue",
    "aqm",
)  # settings of a link that act on single packets
MOST_SHOWN = 8
RESERVED_NAMES = ("central", "nef", "core")
MOST_SLICES = 64  # queues from this number on are sessions'
LEAST_GUARANTEE = 8000  # bit/s of a slice on any link: a full packet in one and a half seconds
# A device costs a guest about 1.5 MB (its namespace, queues and sockets): 2,000 fill the 3 GB that a guest has.
MOST_DEVICES = 2000
MOST_CAPTURES = 32  # each has a buffer of 8 MB


def problems(scenario: Scenario, shipped: Models | None = None) -> list[Finding]:
    """Everything that is wrong, each with its place; `shipped` are the models that ship (None: what names one is not checked)."""
    if too_many := list(_size(scenario)):
        return too_many  # naming them all would take long
    checks = (
        _names, _cross_links, _segments, _devices, _links, _slices, _profiles, _dynamics, _faults, _traffic, _policies,
        _captures, _expectations,
    )  # fmt: skip
    found = [finding for check in checks for finding in check(scenario)]
    own = scenario.libraries.central.models
    models = None if shipped is None else {**shipped, **(own.variants if own else {})}
    situations = _situations(scenario, None if models is None else sorted(models))
    found += [*situations, *_models(scenario, shipped or {}), *_compression(scenario, models)]
    return [*found, *payloads.problems(scenario, models or {})]


def gnb_names(scenario: Scenario) -> list[str]:
    return [gnb.name for region in scenario.network.regions for gnb in region.gnbs]


def slice_names(scenario: Scenario) -> list[str]:
    names = [entry.name for entry in scenario.slices]
    return names if "default" in names else ["default", *names]


def host_names(scenario: Scenario) -> list[str]:
    locals_ = [f"{region.name}-local" for region in scenario.network.regions]
    edges = [f"{gnb}-edge" for gnb in gnb_names(scenario)]
    return ["central", "nef", *locals_, *edges, *(name for device in scenario.devices for name in device.names)]


def link_names(scenario: Scenario) -> list[str]:
    """Each host has a link of its own, a region one to the core, a gNB one to its region and one to its cell; and the user's."""
    radios = [f"{gnb}-radio" for gnb in gnb_names(scenario)]
    own = [*(region.name for region in scenario.network.regions), *gnb_names(scenario), *host_names(scenario)]
    return [*radios, *(f"{name}-link" for name in own), *(link.name for link in scenario.network.links)]


def switch_names(scenario: Scenario) -> list[str]:
    return [*_upper_switches(scenario), *(f"{gnb}-cell" for gnb in gnb_names(scenario))]


def _upper_switches(scenario: Scenario) -> list[str]:
    return ["core", *(region.name for region in scenario.network.regions), *gnb_names(scenario)]


def matching(situations: Sequence[Situation], application: str, gnb: str, time: int) -> Situation | None:
    """The first situation of an application that holds at a gNB at a time (ns)."""
    return next(
        (
            s
            for s in situations
            if s.model.partition("@")[0] == application
            and s.location in (None, gnb)
            and s.time.start <= time
            and (s.time.end is None or time < s.time.end)
        ),
        None,
    )


def _unknown(kind: str, name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1, cutoff=0.6)
    some = ", ".join(known[:MOST_SHOWN]) + (", …" if len(known) > MOST_SHOWN else "")
    return f'no {kind} "{name}"; ' + (f'did you mean "{near[0]}"?' if near else f"known are {some}")


def _size(scenario: Scenario) -> Iterator[Finding]:
    total = sum(device.count or 1 for device in scenario.devices)
    if total > MOST_DEVICES:
        reason = "a device takes 1.5 MB, and a guest has 3 GB"
        yield ("devices",), f"{total} devices do not fit one machine ({reason}); use at most {MOST_DEVICES}"


def _names(scenario: Scenario) -> Iterator[Finding]:
    """Every node and group has a name of its own; so have those that are made for a region or a gNB."""
    taken = dict.fromkeys(RESERVED_NAMES, "the network itself")
    named: list[tuple[Place, str, list[str]]] = []
    for r, region in enumerate(scenario.network.regions):
        place: Place = ("network", "regions", r)
        named.append((place, f"region {region.name}", [region.name, f"{region.name}-local"]))
        for g, gnb in enumerate(region.gnbs):
            made = [gnb.name, f"{gnb.name}-cell", f"{gnb.name}-edge"]
            named.append(((*place, "gnbs", g), f"gNB {gnb.name}", made))
    for d, device in enumerate(scenario.devices):
        named.append((("devices", d), f"device {device.name}", [device.name, *device.names]))
    for place, owner, names in named:
        if twice := next((name for name in names if name in taken), None):
            yield (*place, "name"), f'the name "{twice}" is already taken by {taken[twice]}; choose another'
        taken = dict.fromkeys(names, owner) | taken


def _cross_links(scenario: Scenario) -> Iterator[Finding]:
    """A link of the user's own is between two switches, and has a name of its own."""
    switches, links = _upper_switches(scenario), link_names(scenario)
    taken = links[: len(links) - len(scenario.network.links)]
    for number, link in enumerate(scenario.network.links):
        place: Place = ("network", "links", number)
        for key, switch in (("from", link.first), ("to", link.second)):
            if switch not in switches:
                yield (*place, key), _unknown("switch", switch, switches)
        if link.first == link.second:
            yield (*place, "to"), f'"{link.second}" would be linked to itself; name another switch'
        elif link.name in taken:
            yield place, f'the name "{link.name}" is already taken by another link; write a "name"'
        taken.append(link.name)


def _segments(scenario: Scenario) -> Iterator[Finding]:
    """Many segments that travel as one packet are also lost as one."""
    if scenario.network.segments == "exact":
        return
    for place, link in written_links(scenario):
        ways = [link.towards(way) for way in TOWARDS]
        for setting in OF_PACKETS:
            if any(getattr(way, setting) for way in ways):
                yield (*place, setting), 'would act on 64 kB at once; leave it out, or write "segments: exact"'


def _devices(scenario: Scenario) -> Iterator[Finding]:
    gnbs, slices = gnb_names(scenario), slice_names(scenario)
    run = show(scenario.duration, "time")
    for d, device in enumerate(scenario.devices):
        if device.at not in gnbs:
            yield ("devices", d, "at"), _unknown("gNB", device.at, gnbs)
        if device.device_class not in DEVICE_CLASSES:
            yield ("devices", d, "class"), _unknown("device class", device.device_class, list(DEVICE_CLASSES))
        if device.slice not in slices:
            yield ("devices", d, "slice"), _unknown("slice", device.slice, slices)
        for number, (time, gnb) in enumerate(device.route.items()):
            if gnb not in gnbs:
                yield ("devices", d, "route", number), _unknown("gNB", gnb, gnbs)
            if not 0 < time < scenario.duration:
                what = f"{show(time, 'time')} is not within the run; write a time after 0 s and before {run}"
                yield ("devices", d, "route", number), what


def _slices(scenario: Scenario) -> Iterator[Finding]:
    names = [entry.name for entry in scenario.slices]
    for s, name in enumerate(names):
        if name in names[:s]:
            yield ("slices", s, "name"), f'the name "{name}" is already taken by another slice; choose another'
    if (count := len(slice_names(scenario))) > MOST_SLICES:
        yield ("slices",), f"with the default one these are {count} slices; a link has room for {MOST_SLICES}"
    offered: dict[str, str] = {}
    for s, entry in enumerate(scenario.slices):
        for profile in entry.profiles:
            if offered.setdefault(profile, entry.name) != entry.name:
                yield (
                    ("slices", s, "profiles"),
                    f'slice "{offered[profile]}" offers "{profile}" too; leave it to one of them',
                )
    guaranteed = sum(entry.guarantee or 0 for entry in scenario.slices)
    without = [name for name in slice_names(scenario) if name not in {e.name for e in scenario.slices if e.guarantee}]
    if guaranteed > 1:
        yield ("slices",), f"the guarantees add up to {show(guaranteed, 'share')}; they may add up to 100 %"
    elif without and guaranteed == 1:
        yield ("slices",), f'the guarantees leave nothing for slice "{without[0]}", which has none; leave it 1 %'
    else:
        name, share = least_share(scenario)
        rate = share * slowest_rate(scenario)
        if rate < LEAST_GUARANTEE:
            least = show(LEAST_GUARANTEE, "rate")
            yield ("slices",), f'slice "{name}" has {show(rate, "rate")} on the slowest link; give it at least {least}'


def _profiles(scenario: Scenario) -> Iterator[Finding]:
    names = [profile.name for profile in scenario.profiles]
    for p, name in enumerate(names):
        if name in names[:p]:
            yield ("profiles", p, "name"), f'the name "{name}" is already taken by another profile; choose another'
    known = [profile.name for profile in offered(scenario.profiles)]
    for s, entry in enumerate(scenario.slices):
        for profile in entry.profiles:
            if profile not in known:
                yield ("slices", s, "profiles"), _unknown("profile", profile, known)


def least_share(scenario: Scenario) -> tuple[str, Fraction]:
    """The slice that has the smallest share of every link, and that share."""
    shares = {entry.name: entry.guarantee for entry in scenario.slices if entry.guarantee}
    without = [name for name in slice_names(scenario) if name not in shares]
    shares |= {name: (1 - sum(shares.values())) / Fraction(len(without)) for name in without}
    return min(shares.items(), key=lambda item: item[1])


def slowest_rate(scenario: Scenario) -> int:
    return min(spec.towards(way).rate for _, spec in written_links(scenario) for way in TOWARDS)


def described_links(scenario: Scenario) -> dict[str, LinkSpec]:
    """The links between switches and the central site's, by their names."""
    found = {"central-link": scenario.network.core}
    for region in scenario.network.regions:
        found[f"{region.name}-link"] = region.link
        for gnb in region.gnbs:
            found |= {f"{gnb.name}-link": gnb.link, f"{gnb.name}-radio": gnb.radio}
    return found | {link.name: link for link in scenario.network.links}


def written_links(scenario: Scenario) -> Iterator[tuple[Place, LinkSpec]]:
    """Every link that is written, with its place."""
    yield ("network", "core"), scenario.network.core
    for r, region in enumerate(scenario.network.regions):
        place: Place = ("network", "regions", r)
        yield (*place, "link"), region.link
        for g, gnb in enumerate(region.gnbs):
            yield (*place, "gnbs", g, "link"), gnb.link
            yield (*place, "gnbs", g, "radio"), gnb.radio
    for number, link in enumerate(scenario.network.links):
        yield ("network", "links", number), link
    for d, device in enumerate(scenario.devices):
        if device.link is not None:
            yield ("devices", d, "link"), device.link


def _links(scenario: Scenario) -> Iterator[Finding]:
    for place, spec in written_links(scenario):
        ways = [spec.towards(way) for way in TOWARDS]
        wired = any(map(needs_wire, ways))
        if wired and (wrong := next(filter(None, map(queue_problem, ways)), "")):
            yield (*place, "queue"), wrong
        elif wrong := next(filter(None, (way_problem(way, wired=wired) for way in ways)), ""):
            yield place, wrong


def _dynamics(scenario: Scenario) -> Iterator[Finding]:
    links = described_links(scenario) | {
        f"{name}-link": device.link for device in scenario.devices for name in device.names if device.link is not None
    }
    share = least_share(scenario)[1]
    for d, change in enumerate(scenario.dynamics):
        place: Place = ("dynamics", d)
        if change.link not in links:
            yield (*place, "link"), _unknown("link", change.link, list(links))
        elif change.window.start >= scenario.duration:
            yield place, f"begins when the run of {show(scenario.duration, 'time')} has ended"
        elif any(_overlap(change, other) for other in scenario.dynamics[:d]):
            yield (
                place,
                f"another change of {change.link} gives the same value at that time; let one end before the other",
            )
        else:
            yield from _course(scenario, place, change, links[change.link], share)


def _course(scenario: Scenario, place: Place, change: Dynamics, spec: LinkSpec, share: Fraction) -> Iterator[Finding]:
    """What is wrong with a link when a change has its way."""
    for way in TOWARDS if change.towards is None else (change.towards,):
        same = [d for d in scenario.dynamics if d.link == change.link and d.towards in (None, way)]
        states = timeline(same, spec.towards(way), scenario.duration)
        if wrong := queue_problem(spec.towards(way)):
            yield place, wrong
            return
        if wrong := next(filter(None, (problem(state) or way_problem(state, wired=True) for _, state in states)), ""):
            yield place, wrong
            return
        slowest = min((state.rate for _, state in states), default=spec.rate)
        if slowest * share < LEAST_GUARANTEE:
            rate, least = show(slowest, "rate"), show(LEAST_GUARANTEE, "rate")
            yield (
                place,
                f"a slice has {show(slowest * share, 'rate')} when the link has {rate}; leave it at least {least}",
            )
            return


def _overlap(one: Dynamics, other: Dynamics) -> bool:
    def values(change: Dynamics) -> set[str]:
        return {*change.values, *(("rate",) if change.trace else ())}

    same = one.link == other.link and values(one) & values(other)
    if not same or None not in (one.towards, other.towards) and one.towards != other.towards:
        return False
    (a, b), (c, d) = ((w.start, w.end) for w in (one.window, other.window))
    return (d is None or a < d) and (b is None or c < b)


def _faults(scenario: Scenario) -> Iterator[Finding]:
    known = {"link": link_names(scenario), "switch": switch_names(scenario), "controller": ["controller"]}
    for f, fault in enumerate(scenario.faults):
        place: Place = ("faults", f)
        run = show(scenario.duration, "time")
        if fault.name not in known[fault.kind]:
            yield (*place, fault.kind), _unknown(fault.kind, fault.name, known[fault.kind])
        elif fault.at >= scenario.duration:
            yield (*place, "at"), f"begins when the run of {run} has ended"
        elif fault.end is not None and fault.end >= scenario.duration:
            yield (*place, "for"), f"ends when the run of {run} has ended; leave it out, and it lasts to the end"
        elif any(_meet(fault, other) for other in scenario.faults[:f]):
            yield place, f"{fault.name} is down already at that time; let one fault end before the other"


def _meet(one: Fault, other: Fault) -> bool:
    same = (one.kind, one.name) == (other.kind, other.name)
    return same and (other.end is None or one.at <= other.end) and (one.end is None or other.at <= one.end)


def _situations(scenario: Scenario, models: Sequence[str] | None) -> Iterator[Finding]:
    gnbs = gnb_names(scenario)
    models = None if models is None else [*models, *scenario.payloads]
    for s, situation in enumerate(scenario.situations):
        if situation.location is not None and situation.location not in gnbs:
            yield ("situations", s, "location"), _unknown("gNB", situation.location, gnbs)
        if models is not None and situation.model not in models:
            yield ("situations", s, "model"), _unknown("model", situation.model, models)
    for d, device in enumerate(scenario.devices):
        base, _, situation_name = device.application.partition("@")
        if situation_name:
            yield ("devices", d, "application"), f'"{device.application}" fits one situation only; write "{base}"'
        elif models is not None and device.application not in models:
            yield ("devices", d, "application"), _unknown("model", device.application, models)
        elif device.application not in scenario.payloads and (gap := _gap(scenario, device)):
            yield (
                ("devices", d, "application"),
                f"no situation of {base} holds at {gap[1]} from {show(gap[0], 'time')} on; "
                f"end the situations with {{model: {base}}}",
            )


def _gap(scenario: Scenario, device: Device) -> tuple[int, str] | None:
    """When and where a device is first without a situation: that can be when it moves, or when one begins or ends."""
    gnbs = {0: device.at, **device.route}
    bounds = {time for s in scenario.situations for time in (s.time.start, s.time.end) if time is not None}
    for time in sorted(time for time in bounds | set(gnbs) if time < scenario.duration):
        gnb = gnbs[max(t for t in gnbs if t <= time)]
        if matching(scenario.situations, device.application, gnb, time) is None:
            return time, gnb
    return None


def _traffic(scenario: Scenario) -> Iterator[Finding]:
    groups = {device.name: device.names for device in scenario.devices}
    single = [name for names in groups.values() for name in names]
    hosts = ["central"]
    hosts += [f"{region.name}-local" for region in scenario.network.regions]
    hosts += [f"{gnb}-edge" for gnb in gnb_names(scenario)]
    ends = [*hosts, *groups, *(name for name in single if name not in groups)]
    for t, traffic in enumerate(scenario.traffic):
        if traffic.source in groups and traffic.source not in single:
            one = groups[traffic.source][0]
            yield ("traffic", t, "from"), f'"{traffic.source}" is a group; write one of its devices, such as "{one}"'
        elif traffic.source not in (*single, *hosts):
            yield ("traffic", t, "from"), _unknown("node", traffic.source, [*hosts, *single])
        if traffic.to not in ends:
            yield ("traffic", t, "to"), _unknown("node or device group", traffic.to, ends)
        elif groups.get(traffic.to, [traffic.to]) == [traffic.source]:
            yield ("traffic", t, "to"), f'"{traffic.to}" would send to itself; name another node'
        if traffic.slice not in slice_names(scenario):
            yield ("traffic", t, "slice"), _unknown("slice", traffic.slice, slice_names(scenario))
        if traffic.during.start >= scenario.duration:
            yield ("traffic", t, "during"), f"begins when the run of {show(scenario.duration, 'time')} has ended"


def _models(scenario: Scenario, shipped: Models) -> Iterator[Finding]:
    own = scenario.libraries.central.models
    if own and (twice := sorted(shipped.keys() & own.variants)):
        yield ("libraries", "central", "models"), f'the model "{twice[0]}" ships; publish yours by another name'


def _policies(scenario: Scenario) -> Iterator[Finding]:
    for kind, known in POLICIES.items():
        name = getattr(scenario.policies, kind)
        if name not in known:
            yield from (
                _own_policy(scenario, kind, known)
                if kind in own_policies.METHODS
                else [(("policies", kind), _unknown(f"{kind} policy", name, known))]
            )


def _own_policy(scenario: Scenario, kind: str, known: Sequence[str]) -> Iterator[Finding]:
    """Whether a policy that does not ship can be made."""
    name = getattr(scenario.policies, kind)
    if ":" not in name and name not in (installed := own_policies.named(kind)):
        yield ("policies", kind), _unknown(f"{kind} policy", name, [*known, *installed, "module:Class"])
        return
    try:
        own_policies.make(kind, name, scenario.policies.folder)
    except own_policies.NoPolicy as error:
        yield ("policies", kind), f'"{name}": {error}'


def _compression(scenario: Scenario, models: Models | None) -> Iterator[Finding]:
    """Whether the one variant that is to be sent is there, of every model that a device can need."""
    name = scenario.policies.compression
    if name in COMPRESSION:
        return
    variant = name.removeprefix(FIXED)
    if variant == name:
        yield from _own_policy(scenario, "compression", [*COMPRESSION, f"{FIXED}VARIANT"])
        return
    applications = {device.application for device in scenario.devices}
    for model in dict.fromkeys(situation.model for situation in scenario.situations):
        if models and model in models and model.partition("@")[0] in applications and variant not in models[model]:
            yield ("policies", "compression"), _unknown(f"variant of {model}", variant, sorted(models[model]))


def _captures(scenario: Scenario) -> Iterator[Finding]:
    links, hosts = link_names(scenario), host_names(scenario)
    switches = _upper_switches(scenario)
    groups = {device.name: device.names[0] for device in scenario.devices if device.count is not None}
    if len(scenario.capture) > MOST_CAPTURES:
        yield ("capture",), f"{len(scenario.capture)} captures do not fit one machine; name at most {MOST_CAPTURES}"
    for c, name in enumerate(scenario.capture):
        place: Place = ("capture", c)
        if name in scenario.capture[:c]:
            yield place, f'"{name}" is captured already; name it once'
        elif name in links and name in hosts:
            yield place, f'"{name}" is a link and a device; give the device another name'
        elif name in (*links, *hosts):
            continue
        elif name in switches:
            yield (
                place,
                f'"{name}" is a switch; name one of its links, such as "{"central" if name == "core" else name}-link"',
            )
        elif name in groups:
            yield place, f'"{name}" is a group; write one of its devices, such as "{groups[name]}"'
        else:
            yield place, _unknown("link or node", name, [*links, *hosts])


def _expectations(scenario: Scenario) -> Iterator[Finding]:
    known = figures(slice_names(scenario), ["nef-link", *described_links(scenario)])
    for e, expectation in enumerate(scenario.expect):
        for figure in expectation.figures:
            if figure.name not in known:
                yield ("expect", e), _unknown("figure", figure.name, known)
