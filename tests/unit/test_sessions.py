"""The northbound's client: a grant, or a refusal that says why; never another exception."""

import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from edge_nodes.choosing.policies import Candidate
from edge_nodes.models.manifest import Variant
from edge_nodes.tiers.sessions import Grant, Northbound, Refused, Wish

HERE = "127.0.0.1"
SMALL = Candidate(Variant("d1w1b1", 1, 1, 1, (0,), 100, 1, 1, 0.75, 0.01, 0.9), 90, 4000)
ASKED = Wish(
    "10.0.0.9",
    "10.0.0.8",
    "models",
    "phone-1",
    8000,
    7_500_000_000,
    2_500_000_000,
    [SMALL],
    "http://10.0.0.8:5000/told",
)


@asynccontextmanager
async def nef(answer: Callable[[web.Request], Awaitable[web.StreamResponse]]) -> AsyncIterator[Northbound]:
    """The client of a service that gives every request this answer."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", answer)
    runner = web.AppRunner(app, shutdown_timeout=1)
    await runner.setup()
    site = web.TCPSite(runner, HERE, 0)
    await site.start()
    async with aiohttp.ClientSession() as http:
        yield Northbound(http, HERE, runner.addresses[0][1])
    await runner.cleanup()


async def test_a_downloads_session_is_asked_for_with_its_candidates_and_granted() -> None:
    seen = []

    async def grant(request: web.Request) -> web.Response:
        seen.append((request.method, request.path, await request.json()))
        return web.json_response({"sessionId": "s1", "rate": 4000, "variant": "d1w1b1"}, status=201)

    async with nef(grant) as northbound:
        assert await northbound.create(ASKED) == Grant("s1", 4000, "d1w1b1")
    body = {
        "device": {"ipv4Address": {"publicAddress": "10.0.0.9", "privateAddress": "10.0.0.9"}},
        "applicationServer": {"ipv4Address": "10.0.0.8"},
        "slice": "models",
        "download": "phone-1",
        "rate": 8000,
        "deadline_ns": 7_500_000_000,
        "time_left_ns": 2_500_000_000,
        "duration_ns": 4_000_000_000,
        "candidates": [{"variant": "d1w1b1", "bytes": 90, "accuracy": 0.75, "rate": 4000}],
        "sink": "http://10.0.0.8:5000/told",
    }
    assert seen == [("POST", "/insitu/v1/downloads", body)]


async def test_a_session_is_ended_by_its_id() -> None:
    seen = []

    async def note(request: web.Request) -> web.Response:
        seen.append((request.method, request.path))
        return web.Response(status=404)  # it has expired meanwhile

    async with nef(note) as northbound:
        await northbound.delete("s1")
    assert seen == [("DELETE", "/quality-on-demand/v1/sessions/s1")]


@pytest.mark.parametrize(
    ("status", "body", "why"),
    [
        (409, '{"message": "nothing left"}', "nothing left"),
        (409, "{}", "409"),
        (409, "[]", "409"),
        (500, "Internal Server Error", "500"),
        (201, "{}", "201"),
        (201, '{"sessionId": "s1"}', "201"),
        (201, "\xff", "201"),
    ],
)
async def test_every_other_answer_is_a_refusal_that_says_why(status: int, body: str, why: str) -> None:
    async def refuse(_: web.Request) -> web.Response:
        return web.Response(status=status, body=body.encode("latin-1"))

    async with nef(refuse) as northbound:
        with pytest.raises(Refused, match=why):
            await northbound.create(ASKED)


async def test_a_nef_that_is_down_is_a_refusal() -> None:
    with socket.socket() as taken:
        taken.bind((HERE, 0))  # nobody listens
        async with aiohttp.ClientSession() as http:
            with pytest.raises(Refused, match="does not answer"):
                await Northbound(http, HERE, taken.getsockname()[1]).create(ASKED)


async def test_a_nef_that_hangs_up_is_a_refusal() -> None:
    async def hang_up(request: web.Request) -> web.StreamResponse:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async with nef(hang_up) as northbound:
        with pytest.raises(Refused, match="does not answer"):
            await northbound.create(ASKED)


async def test_a_nef_that_never_answers_is_a_refusal_when_the_session_would_be_over() -> None:
    with socket.socket() as silent:
        silent.bind((HERE, 0))
        silent.listen()
        async with aiohttp.ClientSession() as http:
            northbound = Northbound(http, HERE, silent.getsockname()[1])
            with pytest.raises(Refused, match="does not answer"):
                await northbound.create(ASKED._replace(time_left_ns=1))
