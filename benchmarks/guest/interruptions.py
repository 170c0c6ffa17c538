"""Handovers in the network of /run/out/plan.json, as a stream and a transfer see them, with a session and without.

The rover goes to and fro; /run/out/result.json gets what each handover looked like.
"""

from typing import Any

from emulation import OUT, emulation, read_plan, write_result
from moving import Moving

from insitu.control import Control
from insitu.handovers import Handovers
from scenarios import recording

SESSION_BPS = 40_000_000


def main() -> None:
    plan, control = read_plan(), Control()
    rows: list[dict[str, Any]] = []
    with emulation(plan, control) as (network, _):
        recorder = recording.Recorder(OUT / "events", "machine")
        moving = Moving(network, Handovers(network, control, recorder))
        for told, with_session in ((True, False), (True, True), (False, False)):
            session = moving.reserve("rover", SESSION_BPS)["sessionId"] if with_session else ""
            rows.append({"told": told, "session": with_session, "udp": moving.hand_over("central", told=told)})
            rows[-1]["tcp"] = moving.download(told=told)
            if session:
                moving.end(session)
        recorder.close()
    write_result({"rows": rows})


main()
