"""``python -m vgpu_docs``: writes the reference pages; ``--check`` only compares."""

import sys
from collections.abc import Callable
from pathlib import Path

import click

from vgpu_docs import api, chart, cli, metrics

REFERENCE = Path(__file__).parents[1] / "reference"
PAGES: dict[str, Callable[[], str]] = {
    "api.md": api.page,
    "chart.md": chart.page,
    "cli.md": cli.page,
    "metrics.md": metrics.page,
}
NOTICE = "<!-- Written by `make generate`; change what it describes. -->\n\n"


def stale() -> dict[Path, str]:
    """The pages that are missing or differ, and what they should be."""
    found = {REFERENCE / name: NOTICE + write() for name, write in PAGES.items()}
    return {path: text for path, text in found.items() if not path.exists() or path.read_text() != text}


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; fail where a page is stale.")
def main(check: bool) -> None:
    """Bring docs/reference up to date."""
    for path, text in stale().items():
        if check:
            sys.exit(f"{path} is stale: run make generate")
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        print(f"written: {path}")


if __name__ == "__main__":
    main()
