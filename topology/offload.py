"""What an interface may leave to its hardware, or to the kernel in its place (ethtool's features)."""

import array
import fcntl
import socket
import struct

CHECKSUMS, SEGMENTATION, MERGING = 0x17, 0x1F, 0x2C  # ETHTOOL_STXCSUM, _STSO, _SGRO
_SIOCETHTOOL = 0x8946


def switch(interface: str, feature: int, on: bool) -> None:
    """Switches a feature of an interface of this thread's namespace."""
    value = array.array("B", struct.pack("=II", feature, on))
    request = struct.pack("@16sP", interface.encode(), value.buffer_info()[0])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCETHTOOL, request)
