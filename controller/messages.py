"""Flow entries as OpenFlow 1.3 messages. Pure: bytes, without a transaction's number, which `numbered` writes into them.

A change of several entries is one bundle (ONF extension 230), so a switch has all of it or nothing. Its first message opens it.
"""

import struct
from collections.abc import Sequence
from typing import Any

from controller.slices import ROUTE, Entry

_XID = struct.Struct("!I")
_XID_AT = 4  # in every message
_INNER_AT = 24  # a bundle's message begins there in the one that adds it, and has to have the same number
_ATOMIC = 1  # ONF_BF_ATOMIC
_WHOLE = 0xFFFFFFFFFFFFFFFF  # the mask that compares all of a cookie
_BUNDLE = 1  # its number; a switch has one at a time from us


def added(protocol: Any, entry: Entry) -> bytes:
    """Adds an entry, or gives the one of the same match and priority other actions. `protocol` is any datapath of os-ken or Ryu."""
    parser, ofproto = protocol.ofproto_parser, protocol.ofproto
    actions = []
    if entry.queue is not None:
        actions.append(parser.OFPActionSetQueue(entry.queue))
    if entry.mac is not None:
        actions.append(parser.OFPActionSetField(eth_dst=entry.mac))
    if entry.port is not None:
        actions.append(parser.OFPActionOutput(entry.port))
    instructions = [parser.OFPInstructionActions(ofproto.OFPIT_APPLY_ACTIONS, actions)]
    if entry.port is None:
        instructions.append(parser.OFPInstructionGotoTable(ROUTE))
    match = parser.OFPMatch(**dict(entry.match))
    return _bytes(
        parser.OFPFlowMod(
            protocol,
            cookie=entry.cookie,
            table_id=entry.table,
            priority=entry.priority,
            match=match,
            instructions=instructions,
        )
    )


def removed(protocol: Any, entry: Entry) -> bytes:
    """Removes the entry of this match and priority."""
    parser, ofproto = protocol.ofproto_parser, protocol.ofproto
    return _bytes(
        parser.OFPFlowMod(
            protocol,
            command=ofproto.OFPFC_DELETE_STRICT,
            table_id=entry.table,
            priority=entry.priority,
            match=parser.OFPMatch(**dict(entry.match)),
            out_port=ofproto.OFPP_ANY,
            out_group=ofproto.OFPG_ANY,
        )
    )


def removed_all(protocol: Any, cookie: int) -> bytes:
    """Removes all entries with a cookie, from all tables."""
    parser, ofproto = protocol.ofproto_parser, protocol.ofproto
    return _bytes(
        parser.OFPFlowMod(
            protocol,
            cookie=cookie,
            cookie_mask=_WHOLE,
            command=ofproto.OFPFC_DELETE,
            table_id=ofproto.OFPTT_ALL,
            out_port=ofproto.OFPP_ANY,
            out_group=ofproto.OFPG_ANY,
        )
    )


def bundled(protocol: Any, messages: Sequence[bytes]) -> list[bytes]:
    """The messages as one change that a switch carries out whole or not at all."""
    parser, ofproto = protocol.ofproto_parser, protocol.ofproto
    commit = parser.ONFBundleCtrlMsg(protocol, _BUNDLE, ofproto.ONF_BCT_COMMIT_REQUEST, _ATOMIC, [])
    return [*(_in_bundle(message) for message in messages), _bytes(commit)]


def barrier(protocol: Any) -> bytes:
    """The switch answers when it has carried out all that came before."""
    return _bytes(protocol.ofproto_parser.OFPBarrierRequest(protocol))


def numbered(messages: Sequence[bytes], xid: int) -> bytes:
    """One transaction: all messages with its number, which the answers will have too."""
    whole, start = bytearray(b"".join(messages)), 0
    for message in messages:
        _XID.pack_into(whole, start + _XID_AT, xid)
        if _is_in_bundle(message):
            _XID.pack_into(whole, start + _INNER_AT + _XID_AT, xid)
        start += len(message)
    return bytes(whole)


_ADD = struct.Struct("!BBHIIIIxxH")  # ofp_header, experimenter, its type, bundle, flags
_VERSION, _EXPERIMENTER, _ONF, _ADD_MESSAGE = 4, 4, 0x4F4E4600, 2301


def _in_bundle(message: bytes) -> bytes:
    """os-ken's ONFBundleAddMsg takes a message, not its bytes."""
    size = _ADD.size + len(message)
    return _ADD.pack(_VERSION, _EXPERIMENTER, size, 0, _ONF, _ADD_MESSAGE, _BUNDLE, _ATOMIC) + message


def _is_in_bundle(message: bytes) -> bool:
    return message[1] == _EXPERIMENTER and len(message) > _INNER_AT


def _bytes(message: Any) -> bytes:
    message.set_xid(0)
    message.serialize()
    return bytes(message.buf)
