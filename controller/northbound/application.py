"""The northbound as a WSGI application: paths, headers and forms of HTTP; what is asked for is the handlers' affair."""

import re
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Any, NamedTuple

from msgspec import json

from controller.northbound.calls import Answer, Call
from controller.northbound.errors import ApiError, invalid

# The longest body that the definitions allow has 65,536 ports and as many ranges on both sides: 4.2 MB
LONGEST_BODY = 5_000_000
_CORRELATOR = re.compile(r"[a-zA-Z0-9\-_:;./<>{}]{0,256}")
_BEARER = re.compile(r"Bearer +(?P<token>[A-Za-z0-9\-._~+/]+=*)", re.IGNORECASE)  # RFC 6750

Handler = Callable[[Call], Answer]
StartResponse = Callable[[str, list[tuple[str, str]]], Any]


class Route(NamedTuple):
    """`path` may have one group, the resource; `has_body` says whether a body is wanted."""

    method: str
    path: str
    handler: Handler
    has_body: bool = True


class Application:
    def __init__(self, routes: Iterable[Route]) -> None:
        self._routes = [(re.compile(route.path), route) for route in routes]

    def __call__(self, environ: dict[str, Any], start_response: StartResponse) -> list[bytes]:
        correlator = environ.get("HTTP_X_CORRELATOR")
        headers = []
        if correlator is not None and _CORRELATOR.fullmatch(correlator):
            headers.append(("x-correlator", correlator))
        try:
            answer = self._answer(environ, correlator, headers)
        except ApiError as error:
            answer = Answer(error.status, error.info())
            if error.status == HTTPStatus.UNAUTHORIZED:
                headers.append(("WWW-Authenticate", "Bearer"))
        if answer.body is None:
            data = b""
        else:
            data = json.encode(answer.body)
            headers += [("Content-Type", "application/json"), ("Content-Length", str(len(data)))]
        if environ["REQUEST_METHOD"] == "HEAD":
            data = b""
        start_response(f"{answer.status} {HTTPStatus(answer.status).phrase}", headers)
        return [data]

    def _answer(self, environ: dict[str, Any], correlator: str | None, headers: list[tuple[str, str]]) -> Answer:
        path, method = environ["PATH_INFO"], environ["REQUEST_METHOD"]
        fitting = [(match, route) for pattern, route in self._routes if (match := pattern.fullmatch(path))]
        if not fitting:
            raise ApiError(404, "NOT_FOUND", f"there is no resource {path}")
        found = next(((match, route) for match, route in fitting if route.method == method), None)
        if found is None:
            allowed = ", ".join(route.method for _, route in fitting)
            headers.append(("Allow", allowed))
            raise ApiError(405, "METHOD_NOT_ALLOWED", f"{path} takes {allowed}")
        if correlator is not None and not _CORRELATOR.fullmatch(correlator):
            raise invalid("x-correlator has characters that it may not have, or over 256")
        match, route = found
        body = _body(environ) if route.has_body else b""
        resource = match.group(1) if match.re.groups else ""
        return route.handler(Call(resource, body, _client(environ), correlator))


def _client(environ: dict[str, Any]) -> str:
    """Who asks: there is no authorisation server, so a bearer token is a client's name, and no token is one too."""
    given = environ.get("HTTP_AUTHORIZATION")
    if given is None:
        return ""
    if not (match := _BEARER.fullmatch(given)):
        raise ApiError(401, "UNAUTHENTICATED", "the Authorization header has no bearer token")
    return match["token"]


def _body(environ: dict[str, Any]) -> bytes:
    chunked = "chunked" in environ.get("HTTP_TRANSFER_ENCODING", "").lower()
    said = environ.get("CONTENT_LENGTH") or "0"
    if not said.isdecimal():
        raise invalid(f'the Content-Length "{said}" is not a number')
    length = LONGEST_BODY + 1 if chunked else int(said)
    data: bytes = environ["wsgi.input"].read(min(length, LONGEST_BODY + 1)) if length else b""
    if len(data) > LONGEST_BODY:
        raise ApiError(413, "CONTENT_TOO_LARGE", f"a body has at most {LONGEST_BODY} bytes")
    kind = environ.get("CONTENT_TYPE", "").partition(";")[0].strip().lower()
    if data and kind != "application/json":
        raise ApiError(415, "UNSUPPORTED_MEDIA_TYPE", "a body is application/json")
    return data
