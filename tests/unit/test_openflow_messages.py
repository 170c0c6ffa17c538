"""What goes to switches, read back by os-ken's own parser: a bundle holds what it was given, all under one number."""

from os_ken.ofproto import ofproto_protocol, ofproto_v1_3, ofproto_v1_3_parser

from controller import messages
from controller.slices import Entry

PROTOCOL = ofproto_protocol.ProtocolDesc(version=ofproto_v1_3.OFP_VERSION)
ENTRIES = [
    Entry("s", 0, 30, (("eth_type", 0x800), ("ip_proto", 6), ("ipv4_src", "10.0.0.1"), ("tcp_src", p)), 64, cookie=64)
    for p in (5000, (4096, 0xF000))
]


def parsed(data: bytes) -> ofproto_v1_3_parser.MsgBase:
    kind, length = data[1], int.from_bytes(data[2:4], "big")
    assert length == len(data)
    xid = int.from_bytes(data[4:8], "big")
    return ofproto_v1_3_parser.msg_parser(PROTOCOL, 4, kind, length, xid, data)


def test_a_bundle_is_os_kens() -> None:
    """os-ken makes the same bytes from a message that it has not serialised."""
    for entry in ENTRIES:
        inner = messages.added(PROTOCOL, entry)
        add = messages.bundled(PROTOCOL, [inner])[0]
        theirs = ofproto_v1_3_parser.ONFBundleAddMsg(PROTOCOL, 1, ofproto_v1_3.ONF_BF_ATOMIC, parsed_flow(entry), [])
        theirs.set_xid(0)
        theirs.serialize()
        assert add == bytes(theirs.buf)


def parsed_flow(entry: Entry) -> ofproto_v1_3_parser.OFPFlowMod:
    parser, ofproto = ofproto_v1_3_parser, ofproto_v1_3
    actions = [parser.OFPActionSetQueue(entry.queue)]
    to_route = [parser.OFPInstructionActions(ofproto.OFPIT_APPLY_ACTIONS, actions), parser.OFPInstructionGotoTable(1)]
    flow = parser.OFPFlowMod(
        PROTOCOL,
        cookie=entry.cookie,
        priority=entry.priority,
        match=parser.OFPMatch(**dict(entry.match)),
        instructions=to_route,
    )
    flow.set_xid(0)
    return flow


def test_every_message_of_a_transaction_has_its_number_the_inner_ones_too() -> None:
    parts = [*messages.bundled(PROTOCOL, [messages.added(PROTOCOL, e) for e in ENTRIES]), messages.barrier(PROTOCOL)]
    whole, numbers = messages.numbered(parts, 0x01020304), []
    while whole:
        length = int.from_bytes(whole[2:4], "big")
        numbers.append(whole[4:8])
        if whole[1] == 4 and length > 24:
            numbers.append(whole[28:32])
        whole = whole[length:]
    assert numbers == [b"\1\2\3\4"] * 6


def test_all_of_a_session_goes_by_its_cookie() -> None:
    data = messages.removed_all(PROTOCOL, 64)
    assert data[8:24] == (64).to_bytes(8, "big") + b"\xff" * 8
    assert (data[24], data[25]) == (ofproto_v1_3.OFPTT_ALL, ofproto_v1_3.OFPFC_DELETE)
