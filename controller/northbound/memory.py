"""What the northbound has to know after the controller was killed: each resource as bytes, and as it was."""

from dataclasses import replace

import msgspec

from controller.northbound.resources import Resource
from controller.sessions import NETWORK, Sessions


class _Kept(msgspec.Struct):
    resource: Resource  # without its parts
    parts: list[str]  # the ids of their sessions


def encoded(resource: Resource) -> msgspec.Raw:
    kept = _Kept(replace(resource, parts=[]), [part.request.id for part in resource.parts])
    return msgspec.Raw(msgspec.json.encode(kept))


def decoded(content: msgspec.Raw, sessions: Sessions, now_ns: int) -> Resource:
    """The resource with those of its sessions that there still are. One that has lost a session has ended: so has one that was
    not set up yet, for nobody has heard of it."""
    kept = msgspec.json.decode(content, type=_Kept)
    resource = kept.resource
    resource.parts = [sessions.sessions[id] for id in kept.parts if id in sessions.sessions]
    if not resource.ended and (not resource.set_up or len(resource.parts) < len(kept.parts)):
        resource.ended, resource.ended_ns = NETWORK, now_ns
    return resource
