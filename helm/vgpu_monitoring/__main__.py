"""``python -m vgpu_monitoring``: writes dashboards and alerts into the chart; ``--check`` only compares."""

import json
import sys
from pathlib import Path

import click
import yaml

from vgpu_monitoring import alerts, dashboards, panels

CHART = Path(__file__).parents[1] / "vgpu"
NOTICE = "# Written by `make generate` from helm/vgpu_monitoring/alerts.py; change it there.\n"


def files() -> dict[Path, str]:
    """What should stand in the chart, by path."""
    pages = {
        CHART / "dashboards" / f"{page.uid}.json": json.dumps(panels.render(page), indent=2) + "\n"
        for page in dashboards.PAGES
    }
    rules = yaml.safe_dump(alerts.rules(), sort_keys=False, width=110)
    return {**pages, CHART / "alerts" / "vgpu.yaml": NOTICE + rules}


def stale() -> list[Path]:
    """The files that are missing or differ."""
    return [path for path, text in files().items() if not path.exists() or path.read_text() != text]


@click.command()
@click.option("--check", is_flag=True, help="Write nothing; fail where a file is stale.")
def main(check: bool) -> None:
    """Bring the chart's dashboards and alerts up to date."""
    for path in stale():
        if check:
            sys.exit(f"{path} is stale: run make generate")
        path.parent.mkdir(exist_ok=True)
        path.write_text(files()[path])
        print(f"written: {path}")


if __name__ == "__main__":
    main()
