import pathlib

from vgpu_agent.csi import generate


def test_the_messages_are_those_of_the_proto_files(tmp_path: pathlib.Path) -> None:
    """Run ``python -m vgpu_agent.csi.generate`` after a change of them."""
    assert generate.generate(tmp_path) == 0

    made = sorted(tmp_path.rglob("*_pb2.py*"))
    assert len(made) == 4
    for fresh in made:
        committed = generate.ROOM / fresh.relative_to(tmp_path)
        assert fresh.read_text() == committed.read_text()
