"""What goes to switches is what os-ken would send; a bundle holds what it was given, all under one number."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from os_ken.ofproto import ofproto_protocol, ofproto_v1_3
from os_ken.ofproto import ofproto_v1_3_parser as parser

from controller import messages
from controller.slices import Entry

PROTOCOL = ofproto_protocol.ProtocolDesc(version=ofproto_v1_3.OFP_VERSION)
ADDRESS = st.integers(0, 255).map(lambda number: f"10.0.3.{number}")
PORT = st.integers(0, 0xFFFF) | st.tuples(st.just(4096), st.sampled_from([0xF000, 0xFFF8]))


@st.composite
def entries(draw: st.DrawFn) -> Entry:
    match: list[tuple[str, Any]] = [("in_port", draw(st.integers(1, 0xFF00)))] if draw(st.booleans()) else []
    if draw(st.booleans()):
        match.append(("eth_type", 0x800))
        if protocol := draw(st.sampled_from([None, "tcp", "udp"])):
            match.append(("ip_proto", {"tcp": 6, "udp": 17}[protocol]))
        match += [(name, draw(ADDRESS)) for name in ("ipv4_src", "ipv4_dst") if draw(st.booleans())]
        if protocol:
            match += [(f"{protocol}_{side}", draw(PORT)) for side in ("src", "dst") if draw(st.booleans())]
    cookie = draw(st.integers(0, 0xEFFE))
    table, priority = draw(st.integers(0, 1)), draw(st.integers(0, 30))
    queue = draw(st.none() | st.integers(0, 0xEFFE))
    if draw(st.booleans()):
        return Entry("s", table, priority, tuple(match), queue, cookie=cookie)
    mac = draw(st.sampled_from([None, "00:00:0a:00:03:ff"]))
    return Entry("s", table, priority, tuple(match), queue, mac, draw(st.integers(1, 0xFF00)), cookie)


def theirs(entry: Entry) -> Any:
    """The message that os-ken makes."""
    actions = []
    if entry.queue is not None:
        actions.append(parser.OFPActionSetQueue(entry.queue))
    if entry.mac is not None:
        actions.append(parser.OFPActionSetField(eth_dst=entry.mac))
    if entry.port is not None:
        actions.append(parser.OFPActionOutput(entry.port))
    instructions = [parser.OFPInstructionActions(ofproto_v1_3.OFPIT_APPLY_ACTIONS, actions)]
    if entry.port is None:
        instructions.append(parser.OFPInstructionGotoTable(1))
    return parser.OFPFlowMod(
        PROTOCOL,
        cookie=entry.cookie,
        table_id=entry.table,
        priority=entry.priority,
        match=parser.OFPMatch(**dict(entry.match)),
        instructions=instructions,
        out_port=ofproto_v1_3.OFPP_ANY,
        out_group=ofproto_v1_3.OFPG_ANY,
    )


def serialised(message: Any) -> bytes:
    message.xid = 0
    message.serialize()
    return bytes(message.buf)


def parsed(data: bytes) -> Any:
    kind, length = data[1], int.from_bytes(data[2:4], "big")
    assert length == len(data)
    return parser.msg_parser(PROTOCOL, 4, kind, length, int.from_bytes(data[4:8], "big"), data)


@given(entries())
def test_an_entry_is_added_as_os_ken_adds_it(entry: Entry) -> None:
    assert messages.added(entry) == serialised(theirs(entry))


@given(entries())
def test_an_entry_is_removed_by_its_match_and_priority(entry: Entry) -> None:
    message = parsed(messages.removed(entry))
    assert (message.command, message.table_id) == (ofproto_v1_3.OFPFC_DELETE_STRICT, entry.table)
    assert (message.priority, dict(message.match.items())) == (entry.priority, dict(entry.match))
    assert (message.cookie_mask, message.out_port, message.out_group) == (0, 0xFFFFFFFF, 0xFFFFFFFF)


@given(entries())
def test_a_bundle_is_os_kens(entry: Entry) -> None:
    """os-ken makes it from a message that it has not serialised."""
    add, commit = messages.bundled([serialised(theirs(entry))])
    assert add == serialised(parser.ONFBundleAddMsg(PROTOCOL, 1, ofproto_v1_3.ONF_BF_ATOMIC, theirs(entry), []))
    asks = ofproto_v1_3.ONF_BCT_COMMIT_REQUEST
    assert commit == serialised(parser.ONFBundleCtrlMsg(PROTOCOL, 1, asks, ofproto_v1_3.ONF_BF_ATOMIC, []))


def test_a_barrier_is_os_kens() -> None:
    assert messages.barrier() == serialised(parser.OFPBarrierRequest(PROTOCOL))


@given(st.lists(entries(), min_size=1, max_size=3))
def test_every_message_of_a_transaction_has_its_number_the_inner_ones_too(some: list[Entry]) -> None:
    parts = [*messages.bundled([messages.added(entry) for entry in some]), messages.barrier()]
    whole, numbers = messages.numbered(parts, 0x01020304), []
    while whole:
        length = int.from_bytes(whole[2:4], "big")
        numbers.append(whole[4:8])
        if whole[1] == 4 and length > 24:
            numbers.append(whole[28:32])
        whole = whole[length:]
    assert numbers == [b"\1\2\3\4"] * (2 * len(some) + 2)


def test_all_of_a_session_goes_by_its_cookie() -> None:
    message = parsed(messages.removed_all(64))
    assert (message.cookie, message.cookie_mask) == (64, 0xFFFFFFFFFFFFFFFF)
    assert (message.table_id, message.command) == (ofproto_v1_3.OFPTT_ALL, ofproto_v1_3.OFPFC_DELETE)
    assert (dict(message.match.items()), message.out_port) == ({}, ofproto_v1_3.OFPP_ANY)
