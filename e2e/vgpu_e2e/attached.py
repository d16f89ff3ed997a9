"""Becomes another program that the kernel kills as soon as the program that started it is gone.

Run as a script with the starter's process id and a command line. It is a program of its own, not a
`preexec_fn`, because code between fork and exec is not safe beside threads.
"""

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # prctl(2); survives execve(2)


def main(arguments: list[str]) -> None:
    """Ask for SIGKILL at the starter's death, then execute the command."""
    starter, command = int(arguments[0]), arguments[1:]
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != starter:  # it died before the kernel was asked
        sys.exit(1)
    os.execvp(command[0], command)


if __name__ == "__main__":
    main(sys.argv[1:])
