"""The machine's end of its channel to the controller: JSON lines about what the plan does to devices and links.

`{"prepare": {"device": D, "place": n}}`: device D will be at its attachment n; `{"execute": …}`: now. The controller answers each
by `{"prepared": …}` and `{"executed": …}`, with the same device and place. It may also be gone: then there is no answer.
`{"changed": {"number": n}}`: the plan's change of that number is carried out.
"""

import contextlib
import json
import select
import socket
import time
from typing import Literal

Asked = Literal["prepare", "execute"]
Done = Literal["prepared", "executed"]


class Control:
    """A channel for as long as a controller lives; one that is started again gets another."""

    def __init__(self) -> None:
        self._socket, _ = socket.socketpair()
        self._begun = b""  # a line of which the rest has not come
        self._answers: set[tuple[str, str, int]] = set()

    def controllers_end(self) -> socket.socket:
        """The controller's end of a new channel; whoever starts the controller closes it here."""
        self._socket.close()
        self._socket, theirs = socket.socketpair()
        self._begun = b""
        self._answers.clear()
        return theirs

    def ask(self, what: Asked, device: str, place: int) -> None:
        """Asks a controller that is there; where none is, nothing will be answered."""
        self._send(what, {"device": device, "place": place})

    def tell_of_change(self, number: int) -> None:
        """The plan's change of that number is carried out, or was before this controller was started. Nothing is answered."""
        self._send("changed", {"number": number})

    def is_done(self, what: Done, device: str, place: int, limit_s: float = 0) -> bool:
        """Whether the controller has answered, at the latest after so many seconds of the machine's time."""
        end = time.monotonic() + limit_s
        while (what, device, place) not in self._answers:
            readable, _, _ = select.select([self._socket], [], [], max(0, end - time.monotonic()))
            if not readable or not self._read():
                return False
        self._answers.remove((what, device, place))
        return True

    def _send(self, what: str, about: dict[str, str | int]) -> None:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self._socket.sendall(json.dumps({what: about}).encode() + b"\n")

    def _read(self) -> bool:
        """Takes what has come; False when the controller is gone."""
        try:
            received = self._socket.recv(1 << 16)
        except ConnectionResetError:
            return False
        *lines, self._begun = (self._begun + received).split(b"\n")
        for line in lines:
            ((what, about),) = json.loads(line).items()
            self._answers.add((what, about["device"], about["place"]))
        return bool(received)
