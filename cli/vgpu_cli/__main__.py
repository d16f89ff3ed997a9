"""The entry point ``kubectl-vgpu``, which kubectl runs as ``kubectl vgpu``."""

from vgpu_cli.app import app


def main() -> None:
    """Runs the command line and ends the process with its exit code."""
    app(prog_name="kubectl vgpu")


if __name__ == "__main__":
    main()
