"""What an interface may leave to its hardware."""

import array
import fcntl
import socket
import struct

_SIOCETHTOOL = 0x8946
_ETHTOOL_STXCSUM = 0x17


def compute_checksums(interface: str) -> None:
    """Lets the kernel write the checksums of what leaves `interface` of this thread's namespace.

    A veth leaves them out, for its packets do not leave the kernel; but a userspace datapath takes them out of it.
    """
    value = array.array("B", struct.pack("=II", _ETHTOOL_STXCSUM, 0))
    request = struct.pack("@16sP", interface.encode(), value.buffer_info()[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCETHTOOL, request)
