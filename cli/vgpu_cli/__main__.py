"""The entry point ``kubectl-vgpu``, which kubectl runs as ``kubectl vgpu``."""

import gc
import os
import sys

from vgpu_cli import ending

DEBUG = "VGPU_DEBUG"
"""Environment variable that shows where an unforeseen error came from."""


def main() -> None:
    """Runs the command line and ends the process with its exit code."""
    ending.heed_interrupt()
    ending.heed_reader()
    gc.disable()  # a command is short, and would only walk over a large cluster that is all still in use
    from vgpu_cli import app, faults  # takes a moment, in which people may have changed their mind

    try:
        app.app(prog_name="kubectl vgpu")
    except Exception as error:  # whatever it is, people get a sentence; a defect of ours is one to report
        if os.environ.get(DEBUG):
            raise
        sys.stderr.write(
            f"Error: unforeseen {type(error).__name__}: {error}; {DEBUG}=1 shows where, report it\n"
        )
        sys.exit(faults.FOUND)


if __name__ == "__main__":
    main()
