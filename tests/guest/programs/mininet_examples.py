"""Runs commands one after the other, each at a terminal of its own, as a person at Mininet's prompt would.

Argument: a JSON object, name -> [command, lines to type at the prompts]. Prints one, name -> [exit status, output].
"""

import json
import os
import pty
import sys

PROMPT = b"mininet> "


def at_a_terminal(command: list[str], lines: list[str]) -> tuple[int, str]:
    pid, terminal = pty.fork()
    if pid == 0:
        os.execvp(command[0], command)
    output, left = b"", [*lines, "exit"]
    while True:
        try:
            data = os.read(terminal, 1 << 16)
        except OSError:  # the other side has closed it
            break
        output += data
        if output.endswith(PROMPT) and left:
            os.write(terminal, left.pop(0).encode() + b"\n")
    os.close(terminal)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), output.decode().replace("\r", "")


print(json.dumps({name: at_a_terminal(*asked) for name, asked in json.loads(sys.argv[1]).items()}))
