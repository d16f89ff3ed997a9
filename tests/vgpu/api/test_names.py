"""Names: what one room writes, another one finds."""

from pathlib import Path

import yaml

from vgpu.api import names

CRDS = Path(__file__).parents[3] / "crds"


def test_the_crds_define_the_kinds_that_are_named() -> None:
    found = {
        (crd["spec"]["names"]["kind"], crd["spec"]["names"]["plural"])
        for crd in (yaml.safe_load(path.read_text()) for path in CRDS.glob("*.yaml"))
    }

    assert found == {
        (names.POOL_KIND, names.POOL_PLURAL),
        (names.CLAIM_KIND, names.CLAIM_PLURAL),
        (names.NODE_KIND, names.NODE_PLURAL),
    }


def test_the_crds_serve_the_group_and_version_that_are_named() -> None:
    for path in CRDS.glob("*.yaml"):
        spec = yaml.safe_load(path.read_text())["spec"]

        assert spec["group"] == names.GROUP
        assert [version["name"] for version in spec["versions"]] == [names.VERSION]
        assert f"{spec['names']['plural']}.{spec['group']}" == path.stem + ".vgpu.dev"
