"""Flow entries as OpenFlow 1.3 messages. Pure: bytes, without a transaction's number, which `numbered` writes into them.

A change of several entries is one bundle (ONF extension 230), so a switch has all of it or nothing. Its first message opens it.

Packed here, because os-ken and Ryu take ten times as long, which was a third of what a session cost the controller.
"""

import socket
import struct
from collections.abc import Sequence

from controller.slices import ROUTE, Entry

_VERSION = 4
_EXPERIMENTER, _FLOW_MOD, _BARRIER_REQUEST = 4, 14, 20
_HEADER = struct.Struct("!BBHI")  # version, type, length, transaction
_FLOW = struct.Struct(
    "!BBHIQQBBHHHIIIHxx"
)  # header; cookie, mask, table, command, timeouts, priority, buffer, out, flags
_ADD, _DELETE, _DELETE_STRICT = 0, 3, 4
_ALL_TABLES, _ANY, _NO_BUFFER = 0xFF, 0xFFFFFFFF, 0xFFFFFFFF
_WHOLE = 0xFFFFFFFFFFFFFFFF  # the mask that compares all of a cookie
_MATCH = struct.Struct("!HH")  # type, length without padding
_OXM = struct.Struct("!HBB")  # class, field and whether there is a mask, length
_BASIC, _OXM_MATCH = 0x8000, 1
_FIELDS = {  # number, bytes
    "in_port": (0, 4),
    "eth_dst": (3, 6),
    "eth_type": (5, 2),
    "ip_proto": (10, 1),
    "ipv4_src": (11, 4),
    "ipv4_dst": (12, 4),
    "tcp_src": (13, 2),
    "tcp_dst": (14, 2),
    "udp_src": (15, 2),
    "udp_dst": (16, 2),
}
_INSTRUCTION = struct.Struct("!HHB3x")  # type, length, table
_GOTO, _APPLY = 1, 4
_SET_QUEUE = struct.Struct("!HHI")
_OUTPUT = struct.Struct("!HHIH6x")
_SET_FIELD = struct.Struct("!HH10s2x")
_ACT_OUTPUT, _ACT_QUEUE, _ACT_SET_FIELD, _MOST_TO_CONTROLLER = 0, 21, 25, 0xFFE5

_IN_BUNDLE = struct.Struct("!BBHIIIIxxH")  # header, experimenter, its type, bundle, flags
_CONTROL = struct.Struct("!BBHIIIIHH")  # the same with what is to be done
_ONF, _CONTROL_MESSAGE, _ADD_MESSAGE, _COMMIT = 0x4F4E4600, 2300, 2301, 4
_ATOMIC = 1  # ONF_BF_ATOMIC
_BUNDLE = 1  # its number; a switch has one at a time from us

_XID = struct.Struct("!I")
_XID_AT = 4  # in every message
_INNER_AT = 24  # a bundle's message begins there in the one that adds it, and has to have the same number


def added(entry: Entry) -> bytes:
    """Adds an entry, or gives the one of the same match and priority other actions."""
    actions = b""
    if entry.queue is not None:
        actions += _SET_QUEUE.pack(_ACT_QUEUE, _SET_QUEUE.size, entry.queue)
    if entry.mac is not None:
        actions += _SET_FIELD.pack(_ACT_SET_FIELD, _SET_FIELD.size, _field("eth_dst", entry.mac))
    if entry.port is not None:
        actions += _OUTPUT.pack(_ACT_OUTPUT, _OUTPUT.size, entry.port, _MOST_TO_CONTROLLER)
    instructions = _INSTRUCTION.pack(_APPLY, _INSTRUCTION.size + len(actions), 0) + actions
    if entry.port is None:
        instructions += _INSTRUCTION.pack(_GOTO, _INSTRUCTION.size, ROUTE)
    return _flow_mod(_ADD, entry, instructions)


def removed(entry: Entry) -> bytes:
    """Removes the entry of this match and priority."""
    return _flow_mod(_DELETE_STRICT, entry._replace(cookie=0))


def removed_all(cookie: int) -> bytes:
    """Removes all entries with a cookie, from all tables."""
    return _flow_mod(_DELETE, Entry("", _ALL_TABLES, 0, (), cookie=cookie), mask=_WHOLE)


def bundled(messages: Sequence[bytes]) -> list[bytes]:
    """The messages as one change that a switch carries out whole or not at all."""
    commit = _CONTROL.pack(_VERSION, _EXPERIMENTER, _CONTROL.size, 0, _ONF, _CONTROL_MESSAGE, _BUNDLE, _COMMIT, _ATOMIC)
    return [*(_in_bundle(message) for message in messages), commit]


def barrier() -> bytes:
    """The switch answers when it has carried out all that came before."""
    return _HEADER.pack(_VERSION, _BARRIER_REQUEST, _HEADER.size, 0)


def numbered(messages: Sequence[bytes], xid: int) -> bytes:
    """One transaction: all messages with its number, which the answers will have too."""
    whole, start = bytearray(b"".join(messages)), 0
    for message in messages:
        _XID.pack_into(whole, start + _XID_AT, xid)
        if _is_in_bundle(message):
            _XID.pack_into(whole, start + _INNER_AT + _XID_AT, xid)
        start += len(message)
    return bytes(whole)


def _flow_mod(command: int, entry: Entry, instructions: bytes = b"", mask: int = 0) -> bytes:
    fields = b"".join(_field(name, value) for name, value in entry.match)
    match = _MATCH.pack(_OXM_MATCH, _MATCH.size + len(fields)) + fields
    rest = match.ljust(-(-len(match) // 8) * 8, b"\0") + instructions
    head = (_VERSION, _FLOW_MOD, _FLOW.size + len(rest), 0, entry.cookie, mask, entry.table, command, 0, 0)
    return _FLOW.pack(*head, entry.priority, _NO_BUFFER, _ANY, _ANY, 0) + rest


def _field(name: str, value: str | int | tuple[int, int]) -> bytes:
    """OXM: a field with its value, or with value and mask."""
    number, size = _FIELDS[name]
    if isinstance(value, tuple):
        data = b"".join(part.to_bytes(size, "big") for part in value)
    elif isinstance(value, int):
        data = value.to_bytes(size, "big")
    else:
        data = bytes.fromhex(value.replace(":", "")) if ":" in value else socket.inet_aton(value)
    return _OXM.pack(_BASIC, number << 1 | isinstance(value, tuple), len(data)) + data


def _in_bundle(message: bytes) -> bytes:
    size = _IN_BUNDLE.size + len(message)
    return _IN_BUNDLE.pack(_VERSION, _EXPERIMENTER, size, 0, _ONF, _ADD_MESSAGE, _BUNDLE, _ATOMIC) + message


def _is_in_bundle(message: bytes) -> bool:
    return message[1] == _EXPERIMENTER and len(message) > _INNER_AT
