import pathlib

import pytest

from vgpu import values
from vgpu_agent import audit
from vgpu_agent.devices import ProcessUse

GIB = values.GIB
POD = "11111111-2222-3333-4444-555555555555"
OTHER = "66666666-7777-8888-9999-000000000000"
PODS = {1: POD, 2: POD, 3: OTHER}


def found(*processes: tuple[int, int | None], accounted_gib: int) -> list[audit.Escape]:
    return audit.escapes(
        "GPU-0",
        [ProcessUse(pid=pid, memory_bytes=None if gib is None else gib * GIB) for pid, gib in processes],
        [audit.Holding(slice_id="a", pod_uids=frozenset([POD]), used_bytes=accounted_gib * GIB)],
        pod_of=PODS.get,
    )


def test_what_a_slice_accounts_for_is_no_escape() -> None:
    assert found((1, 3), (2, 4), accounted_gib=7) == []


def test_contexts_and_the_like_are_no_escape() -> None:
    assert found((1, 4), accounted_gib=3) == []


def test_memory_beyond_the_account_of_its_slice_is() -> None:
    [escape] = found((1, 30), (2, 1), accounted_gib=4)

    assert (escape.pod_uid, escape.slice_id, escape.seen_bytes) == (POD, "a", 31 * GIB)
    assert str(escape) == f"pod {POD} holds 31 GiB of GPU-0, its slice accounts for 4 GiB"


def test_a_pod_without_a_slice_on_the_device_is() -> None:
    [escape] = found((3, 2), accounted_gib=0)

    assert (escape.pod_uid, escape.slice_id) == (OTHER, None)
    assert "without a slice there" in str(escape)


def test_processes_of_the_node_and_unknown_amounts_accuse_nobody() -> None:
    assert found((9, 40), (1, None), accounted_gib=0) == []


def test_an_escape_is_told_once_while_it_lasts_and_again_when_it_returns() -> None:
    told: list[audit.Escape] = []
    auditor = audit.Auditor(told.append)
    escape = found((1, 30), accounted_gib=1)

    for seen in (escape, escape, [], escape):
        auditor.judge("GPU-0", seen)

    assert len(told) == 2


@pytest.mark.parametrize(
    "groups",
    [
        f"0::/kubepods/burstable/pod{POD}/0123abcd\n",
        f"0::/kubepods.slice/kubepods-besteffort.slice/a-pod{POD.replace('-', '_')}.slice/x\n",
        f"4:memory:/kubepods/pod{POD}/abc\n3:cpu:/other\n",
    ],
)
def test_a_process_is_known_by_its_control_group(tmp_path: pathlib.Path, groups: str) -> None:
    (tmp_path / "7").mkdir()
    (tmp_path / "7" / "cgroup").write_text(groups)

    assert audit.pod_of(7, proc=tmp_path) == POD
    assert audit.pod_of(8, proc=tmp_path) is None


def test_an_escape_stands_once_it_was_found_twice_in_a_row_and_as_it_was_found_first() -> None:
    auditor = audit.Auditor(lambda _: None)
    first, later = found((1, 30), accounted_gib=1), found((1, 40), accounted_gib=1)

    auditor.judge("GPU-0", first)
    assert auditor.standing() == {}
    auditor.judge("GPU-0", later)

    assert auditor.standing() == {POD: values.Escape(device_uuid="GPU-0", message=str(first[0]))}
    auditor.judge("GPU-0", [])
    assert auditor.standing() == {}


def test_what_lasts_on_one_device_does_not_end_with_a_look_at_another() -> None:
    auditor = audit.Auditor(lambda _: None)
    escape = found((1, 30), accounted_gib=1)

    for device, seen in (("GPU-0", escape), ("GPU-1", []), ("GPU-0", escape), ("GPU-1", [])):
        auditor.judge(device, seen)

    assert list(auditor.standing()) == [POD]
