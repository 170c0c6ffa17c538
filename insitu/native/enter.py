"""`python enter.py PROGRAM ARGUMENT…`: starts a program as process 1 of namespaces of its own, and ends with its status.

Whatever runs in those namespaces dies with process 1, and the kernel then frees their network and their mounts. Process 1 is
killed when this process dies, however it dies, or gets SIGTERM; this process ends when nothing is left in the namespaces.
"""

import ctypes
import os
import select
import signal
import sys

MOUNT, UTS, IPC, PID, NET = 0x00020000, 0x04000000, 0x08000000, 0x20000000, 0x40000000
_PR_SET_PDEATHSIG = 1


def main() -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(MOUNT | UTS | IPC | PID | NET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"namespaces: {os.strerror(number)}")
    # Blocked, so that a signal that comes early waits for `sigwait`
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM, signal.SIGCHLD})
    alive, we_live = os.pipe()
    child = os.fork()
    if not child:
        os.close(we_live)
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if select.select([alive], [], [], 0)[0]:  # the parent died before we asked
            os._exit(1)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGCHLD})
        os.execv(sys.argv[1], sys.argv[1:])
    while signal.sigwait({signal.SIGTERM, signal.SIGCHLD}) == signal.SIGTERM:
        os.kill(child, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main())
