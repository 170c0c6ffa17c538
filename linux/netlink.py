"""Routing netlink: many settings in one system call, in any namespace.

Own code because nothing at hand sets netem's 64-bit rate, its delay in ns and its seed, and because a socket for each of a
thousand namespaces has to be cheap. Numbers are those of linux/rtnetlink.h, if_link.h, if_addr.h and neighbour.h.
"""

import itertools
import os
import socket
import struct
from collections.abc import Iterator, Sequence
from typing import NamedTuple

REQUEST, ACK, REPLACE, EXCLUSIVE, CREATE, DUMP = 0x1, 0x4, 0x100, 0x200, 0x400, 0x300
NEW = REQUEST | ACK | CREATE | EXCLUSIVE
RTM_NEWLINK, RTM_DELLINK, RTM_NEWADDR, RTM_NEWROUTE, RTM_NEWNEIGH = 16, 17, 20, 24, 28
_ERROR, _DONE = 2, 3
_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_LINK = struct.Struct("=BxHiII")  # ifinfomsg: family, type, index, flags, change
_UP = 1
# As many messages as surely fit a socket buffer together with their acknowledgements.
_BATCH = 64


class Message(NamedTuple):
    """One request: its type, flags, body, and what it is for (for the error)."""

    kind: int
    flags: int
    body: bytes
    what: str


class NetlinkError(OSError):
    """The kernel refused a setting; the message says which."""


class Netlink:
    """A routing socket of the namespace that this thread is in."""

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 21)
        self._socket.bind((0, 0))
        self._sequence = itertools.count(1)

    def close(self) -> None:
        self._socket.close()

    def request(self, messages: Sequence[Message]) -> None:
        """Carries out all messages in order. Raises NetlinkError for the first that the kernel refuses."""
        for start in range(0, len(messages), _BATCH):
            batch = messages[start : start + _BATCH]
            # Only the last is acknowledged, which saves a system call for each of the others; a refusal comes in any case
            numbers = [next(self._sequence) for _ in batch]
            parts = [_packed(part, number, part.flags & ~ACK) for part, number in zip(batch, numbers, strict=True)]
            parts[-1] = _packed(batch[-1], numbers[-1], batch[-1].flags)
            self._socket.send(b"".join(parts))
            answered, refused = 0, None
            while answered != numbers[-1]:
                for _, answered, payload in self._receive():
                    code = -struct.unpack_from("=i", payload)[0]
                    if code and refused is None:
                        what = batch[numbers.index(answered)].what
                        refused = NetlinkError(code, f"{what}: {os.strerror(code)}")
            if refused is not None:
                raise refused

    def dump(self, kind: int, body: bytes) -> Iterator[bytes]:
        """The bodies of all answers to a dump request."""
        number = next(self._sequence)
        self._socket.send(_packed(Message(kind, REQUEST | DUMP, body, "dump"), number, REQUEST | DUMP))
        while True:
            for answer, _, payload in self._receive():
                if answer == _DONE:
                    return
                if answer == _ERROR:
                    raise NetlinkError(-struct.unpack_from("=i", payload)[0], "dump refused")
                yield payload

    def _receive(self) -> Iterator[tuple[int, int, bytes]]:
        data = self._socket.recv(1 << 17)
        offset = 0
        while offset < len(data):
            length, kind, _, number, _ = _HEADER.unpack_from(data, offset)
            yield kind, number, data[offset + _HEADER.size : offset + length]
            offset += _aligned(length)


def attribute(kind: int, payload: bytes) -> bytes:
    return (_ATTRIBUTE.pack(_ATTRIBUTE.size + len(payload), kind) + payload).ljust(
        _aligned(_ATTRIBUTE.size + len(payload)), b"\0"
    )


def attributes(data: bytes) -> dict[int, bytes]:
    """Attribute type (without its flags) -> payload."""
    found = {}
    offset = 0
    while offset + _ATTRIBUTE.size <= len(data):
        length, kind = _ATTRIBUTE.unpack_from(data, offset)
        found[kind & 0x3FFF] = data[offset + _ATTRIBUTE.size : offset + length]
        offset += _aligned(length)
    return found


def text(value: str) -> bytes:
    return value.encode() + b"\0"


def veth(
    name: str,
    peer: str,
    mac: str | None,
    peer_mac: str | None,
    peer_namespace: int | None = None,
    *,
    group: int = 0,
    segments: int = 1,
) -> Message:
    """A pair of interfaces: `name` here, in a group, and `peer` here or in the namespace of an open file descriptor.

    Without a MAC address the kernel draws one.

    `segments` are at most in one packet; with 1, loss, queues and shares act on real packets.
    """
    there = _LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + attribute(3, text(peer)) + _ends(peer_mac, segments)
    if peer_namespace is not None:
        there += attribute(28, struct.pack("=i", peer_namespace))  # IFLA_NET_NS_FD
    info = attribute(1, text("veth")) + attribute(2, attribute(1, there))
    body = _LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + attribute(3, text(name)) + _ends(mac, segments)
    body += attribute(18, info) + attribute(27, struct.pack("=I", group))  # IFLA_LINKINFO, IFLA_GROUP
    return Message(RTM_NEWLINK, NEW, body, f"link {name}")


def delete_group(group: int) -> Message:
    """Deletes all interfaces of a group, and with a veth its peer, at once: one by one each would wait for the kernel."""
    body = _LINK.pack(socket.AF_UNSPEC, 0, 0, 0, 0) + attribute(27, struct.pack("=I", group))
    return Message(RTM_DELLINK, REQUEST | ACK, body, f"delete the interfaces of group {group}")


def up(index: int, name: str) -> Message:
    return Message(RTM_NEWLINK, REQUEST | ACK, _LINK.pack(socket.AF_UNSPEC, 0, index, _UP, _UP), f"{name} up")


def down(index: int, name: str) -> Message:
    return Message(RTM_NEWLINK, REQUEST | ACK, _LINK.pack(socket.AF_UNSPEC, 0, index, 0, _UP), f"{name} down")


def address(index: int, ip: str, prefix: int) -> Message:
    packed = socket.inet_aton(ip)
    body = struct.pack("=BBBBI", socket.AF_INET, prefix, 0, 0, index) + attribute(1, packed) + attribute(2, packed)
    return Message(RTM_NEWADDR, NEW, body, f"address {ip}")


def default_route(index: int, gateway: str) -> Message:
    """Everything goes to the gateway, which is on the link whatever its address (RTNH_F_ONLINK)."""
    body = struct.pack("=BBBBBBBBI", socket.AF_INET, 0, 0, 0, 254, 4, 0, 1, 4)
    body += attribute(5, socket.inet_aton(gateway)) + attribute(4, struct.pack("=I", index))
    return Message(RTM_NEWROUTE, NEW, body, f"route by {gateway}")


def neighbour(index: int, ip: str, mac: str) -> Message:
    """A permanent ARP entry."""
    body = struct.pack("=BBHiHBB", socket.AF_INET, 0, 0, index, 0x80, 0, 0) + attribute(1, socket.inet_aton(ip))
    return Message(RTM_NEWNEIGH, NEW, body + attribute(2, _mac(mac)), f"neighbour {ip}")


def _ends(mac: str | None, segments: int) -> bytes:
    address = b"" if mac is None else attribute(1, _mac(mac))
    return address + attribute(40, struct.pack("=I", segments))  # IFLA_ADDRESS, IFLA_GSO_MAX_SEGS


def _mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def _packed(message: Message, number: int, flags: int) -> bytes:
    length = _HEADER.size + len(message.body)
    return _HEADER.pack(length, message.kind, flags, number, 0) + message.body + b"\0" * (-length % 4)


def _aligned(length: int) -> int:
    return (length + 3) & ~3
