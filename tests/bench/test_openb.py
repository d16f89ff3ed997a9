"""Lists of the openb format are read, and what is not one is refused in words."""

import gzip
import random
from pathlib import Path

import pytest

from placement import openb, replay
from vgpu.placement import choice

NODES = "sn,cpu_milli,memory_mib,gpu,model\nn-0,64000,262144,2,T4\n"
PODS = """\
name,cpu_milli,memory_mib,num_gpu,gpu_milli,gpu_spec
p-1,4000,1024,1,{milli},T4|P100
p-0,1000,1024,0,0,
"""


def written(path: Path, text: str) -> Path:
    if path.suffix == ".gz":
        path.write_bytes(gzip.compress(text.encode()))
    else:
        path.write_text(text)
    return path


@pytest.mark.parametrize("suffix", [".csv", ".csv.gz"])
def test_nodes_and_pods_are_read_plain_or_packed(tmp_path: Path, suffix: str) -> None:
    (machine,) = openb.machines(written(tmp_path / f"nodes{suffix}", NODES))
    first, second = openb.pods(written(tmp_path / f"pods{suffix}", PODS.format(milli=460)))

    assert (machine.gpus, machine.model, machine.cpu_milli) == (2, "T4", 64000)
    assert (first.name, first.gpus) == ("p-0", 0)
    assert (second.shape.requests.compute_percent, second.shape.models) == (46, frozenset({"T4", "P100"}))


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("lots", "expected the column"),
        (NODES.replace("64000", "many"), "whole number from 0 on as cpu_milli, found 'many'"),
        (NODES.replace(",2,", ",-2,"), "whole number from 0 on as gpu, found '-2'"),
        (NODES.replace(",2,", ",0,"), "expected nodes with GPUs"),
        ("\x00", "expected"),
    ],
)
def test_what_is_no_node_list_is_refused_in_words(tmp_path: Path, text: str, words: str) -> None:
    with pytest.raises(openb.BadListError, match=words):
        openb.machines(written(tmp_path / "nodes.csv", text))


@pytest.mark.parametrize("milli", ["455", "2000", "0", ""])
def test_a_share_that_no_slice_can_have_is_refused(tmp_path: Path, milli: str) -> None:
    with pytest.raises(openb.BadListError, match="gpu_milli"):
        openb.pods(written(tmp_path / "pods.csv", PODS.format(milli=milli)))


@pytest.mark.parametrize("name", ["nothing.csv", "broken.csv.gz"])
def test_a_file_that_is_missing_or_broken_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "broken.csv.gz").write_bytes(gzip.compress(NODES.encode())[:30])

    with pytest.raises(openb.BadListError, match="expected a node or pod list"):
        openb.machines(tmp_path / name)


def test_a_mix_that_is_learned_on_the_way_places_what_fits(tmp_path: Path) -> None:
    machines = openb.machines(written(tmp_path / "nodes.csv", NODES))
    listed = openb.pods(written(tmp_path / "pods.csv", PODS.format(milli=500)))
    cluster, player = replay.Cluster(machines), replay.Learning()
    for room in cluster.rooms.values():
        player.see(room)

    placed = 0
    for number, pod in enumerate(openb.stream(listed, capacity_milli=4000, draw=random.Random(1))):
        asked = replay.request(pod, number)
        place = player.place(asked)
        if isinstance(place, choice.Placement):
            player.see(cluster.take(asked, place))
            placed += pod.gpu_milli

    assert placed == 2000
