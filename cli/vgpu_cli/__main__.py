"""The entry point ``kubectl-vgpu``, which kubectl runs as ``kubectl vgpu``."""

import gc

from vgpu_cli.app import app


def main() -> None:
    """Runs the command line and ends the process with its exit code."""
    gc.disable()  # a command is short, and would only walk over a large cluster that is all still in use
    app(prog_name="kubectl vgpu")


if __name__ == "__main__":
    main()
