"""Pictures of lines over time."""

import math
from xml.etree import ElementTree

from vgpu_e2e.localnode import picture

SVG = "{http://www.w3.org/2000/svg}"


def paths(drawn: str) -> list[str]:
    root = ElementTree.fromstring(drawn)
    return [each.attrib["d"] for each in root.iter(f"{SVG}path") if each.attrib["stroke"] != "#999999"]


def test_a_picture_is_whole_xml_with_a_line_for_each_name() -> None:
    lines = {"chat & co": [(0.0, 1.0), (10.0, 2.0)], "search": [(0.0, 2.0), (10.0, 0.0)]}

    drawn = picture.svg("two <services>", [picture.Panel(title="load", lines=lines)])

    assert len(paths(drawn)) == 2
    assert "two &lt;services&gt;" in drawn


def test_what_was_not_measured_is_a_gap_and_not_a_value() -> None:
    line = [(0.0, 1.0), (1.0, 1.0), (2.0, math.nan), (3.0, math.inf), (4.0, 1.0)]

    [path] = paths(picture.svg("", [picture.Panel(title="", lines={"p99": line})]))

    assert (path.count("M"), path.count("L")) == (2, 1)


def test_a_value_that_holds_is_drawn_as_a_stair() -> None:
    [path] = paths(
        picture.svg("", [picture.Panel(title="", lines={"n": [(0.0, 1.0), (1.0, 2.0)]}, stairs=True)])
    )

    assert "H" in path
    assert "L" not in path
