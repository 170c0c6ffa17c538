"""What Linux says of a TCP connection, and how much it may take before it has sent it."""

import fcntl
import socket
import struct
import termios

from edge_nodes.choosing.deadline import Sight

_INFO_BYTES = 152
_ACKNOWLEDGED, _MIN_ROUND_TRIP = 120, 148  # offsets in struct tcp_info (linux/tcp.h)
_UNKNOWN = 2**32 - 1
_LEAST_PACE = 1000  # bytes/s: no link is slower, whatever a device says
_NO_PACE = 2 ** (8 * struct.calcsize("@L")) - 1
_SO_MAX_PACING_RATE = 47  # linux/asm-generic/socket.h


def sight(connection: socket.socket, now_ns: int) -> Sight:
    """Raises OSError."""
    info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _INFO_BYTES)
    (acknowledged,) = struct.unpack_from("=Q", info, _ACKNOWLEDGED)
    (round_trip_us,) = struct.unpack_from("=I", info, _MIN_ROUND_TRIP)
    (waiting,) = struct.unpack("=i", fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, b"\0" * 4))
    return Sight(now_ns, acknowledged, waiting, 0 if round_trip_us == _UNKNOWN else round_trip_us * 1000)


def pace(connection: socket.socket, bytes_per_s: int | None) -> None:
    """From now on no more payload leaves, not in bursts either: a queue before a slower link does not overflow in slow start.

    None lets it leave as it likes. Raises OSError.
    """
    rate = struct.pack("@L", _NO_PACE if bytes_per_s is None else max(_LEAST_PACE, bytes_per_s))
    connection.setsockopt(socket.SOL_SOCKET, _SO_MAX_PACING_RATE, rate)


def limit_unsent(connection: socket.socket, size: int) -> None:
    """From now on the connection takes bytes only while fewer than `size` wait to be sent. Raises OSError."""
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, size)
