"""Whom a request means: hosts of the plan, by the addresses that CAMARA's bodies have. Pure."""

from collections.abc import Collection, Iterator
from ipaddress import IPv4Address, IPv4Network

from msgspec import UNSET, UnsetType

from controller.northbound.bodies import ApplicationServer, Device, PortsSpec
from controller.northbound.errors import ApiError
from controller.session import Ports
from scenarios.plan import Plan

MOST_SERVERS = 16  # of one session: as many as CAMARA's list of addresses has
MOST_RANGES = 16  # of ports on each side of one session: a switch has entries for each


class Directory:
    """The devices and other hosts of a network, which has IPv4 and no address translation."""

    def __init__(self, plan: Plan) -> None:
        self._devices = {host.ip: host.name for host in plan.hosts if host.role == "device"}
        self._hosts = {host.name: IPv4Address(host.ip) for host in plan.hosts}
        self._at = {address: name for name, address in self._hosts.items()}
        self.slices = {device.host: device.slice for device in plan.devices}

    def device(self, asked: Device | UnsetType) -> tuple[str, Device]:
        """The host, and the one identifier that says so. Raises ApiError: MISSING_, UNSUPPORTED_ or IDENTIFIER_NOT_FOUND."""
        if asked is UNSET:
            raise ApiError(422, "MISSING_IDENTIFIER", "the request has no device, and no access token tells it")
        address = asked.ipv4_address
        if address is UNSET:
            raise ApiError(422, "UNSUPPORTED_IDENTIFIER", "devices of this network are known by ipv4Address alone")
        host = self._devices.get(address.public_address)
        if host is None or address.private_address not in (UNSET, address.public_address):
            wanted = address.public_address if host is None else address.private_address
            raise ApiError(404, "IDENTIFIER_NOT_FOUND", f"no device has the address {wanted}")
        return host, Device(ipv4_address=address)

    def servers(self, asked: ApplicationServer, device: str) -> list[str]:
        """The hosts that an application server's addresses match, other than the device. Raises ApiError."""
        networks = list(_networks(asked))
        if all(network.num_addresses == 1 for network in networks):
            named = {self._at.get(network.network_address) for network in networks}
        else:
            named = {name for name, address in self._hosts.items() if any(address in network for network in networks)}
        found = [name for name in self._hosts if name in named and name != device]
        if not found:
            raise ApiError(
                422, "SERVICE_NOT_APPLICABLE", "no host of this network is an application server as asked for"
            )
        if len(found) > MOST_SERVERS:
            message = (
                f"the application server's addresses match {len(found)} hosts; a session has at most {MOST_SERVERS}"
            )
            raise ApiError(422, "SERVICE_NOT_APPLICABLE", message)
        return found

    def address(self, host: str) -> str | None:
        """Where to reach what a URI calls a host: a name of the plan, or an IPv4 address."""
        if host in self._hosts:
            return str(self._hosts[host])
        try:
            return str(IPv4Address(host))
        except ValueError:
            return None


def ranges(asked: PortsSpec | UnsetType) -> tuple[Ports, ...]:
    """The ports in as few ranges as say it; empty where nothing is said. Raises ApiError."""
    if asked is UNSET:
        return ()
    if asked.ranges is not UNSET and any(part.last < part.first for part in asked.ranges):
        raise ApiError(400, "OUT_OF_RANGE", "a range of ports ends before it begins")
    merged: list[Ports] = []
    for first, last in sorted(_said(asked)):
        if merged and first <= merged[-1].last + 1:
            merged[-1] = Ports(merged[-1].first, max(last, merged[-1].last))
        else:
            merged.append(Ports(first, last))
    if len(merged) > MOST_RANGES:
        raise ApiError(
            400, "OUT_OF_RANGE", f"{len(merged)} separate ranges of ports; a session has at most {MOST_RANGES}"
        )
    return tuple(merged)


def overlap(one: Collection[Ports], other: Collection[Ports]) -> bool:
    """Whether a port is in both; nothing said is every port."""
    return not one or not other or any(a.first <= b.last and b.first <= a.last for a in one for b in other)


def _said(asked: PortsSpec) -> Iterator[tuple[int, int]]:
    if asked.ranges is not UNSET:
        yield from ((part.first, part.last) for part in asked.ranges)
    if asked.ports is not UNSET:
        yield from ((port, port) for port in asked.ports)


def _networks(asked: ApplicationServer) -> Iterator[IPv4Network]:
    """The IPv4 part; there is no host with an IPv6 address."""
    if asked.ipv4_address is not UNSET:
        address, _, width = asked.ipv4_address.partition("/")
        plain = ".".join(str(int(octet)) for octet in address.split("."))
        yield IPv4Network(f"{plain}/{width or 32}", strict=False)
    if asked.ip_addresses is not UNSET:
        yield from (IPv4Network(address) for address in asked.ip_addresses if ":" not in address)
