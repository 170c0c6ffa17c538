"""What happened: one event schema for all processes of a run; `scenarios/recording.py` writes and reads it.

In the files `t` is ns of the machine's monotonic clock; in what is read from them it is ns since the run's start.
"""

from scenarios.records.devices import (
    BlockRejected,
    Chosen,
    Completed,
    Cut,
    Failed,
    FirstByte,
    Inference,
    Interrupted,
    Need,
    Requested,
    Resumed,
    RolledBack,
    Runnable,
    Swapped,
)
from scenarios.records.event import Event as Event
from scenarios.records.libraries import Evicted, NotKept, Prefetched, Pulled, PullFailed, Served
from scenarios.records.network import (
    Captured,
    Changed,
    Failover,
    Fault,
    Handover,
    LinkTotal,
    LinkUse,
    Received,
    Rerouted,
    SliceUse,
)
from scenarios.records.run import Checked, Clock, Ended, Idle, Lateness, Lost, Process, Ready, Setting, Started
from scenarios.records.sessions import (
    Notified,
    PolicyFailed,
    Session,
    SessionAsked,
    SessionAvailable,
    SessionChanged,
    SessionEnded,
)

AnyEvent = (
    Started | Ended | Checked | Setting | Ready | Clock | Idle | Lateness | Lost | Process
    | Need | Inference | Requested | Chosen | FirstByte | BlockRejected | Interrupted | Resumed | Cut | Runnable
    | Completed | Failed | Swapped | RolledBack
    | Served | Pulled | PullFailed | Evicted | NotKept | Prefetched
    | SessionAsked | Session | SessionAvailable | SessionChanged | SessionEnded | PolicyFailed | Notified
    | Handover | Rerouted | Fault | Failover | Changed | LinkUse | SliceUse | LinkTotal | Received | Captured
)  # fmt: skip
