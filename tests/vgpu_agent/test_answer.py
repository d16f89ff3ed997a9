"""What is shown of an application's own words."""

import json
import os
import pathlib

import pytest

from vgpu_agent import answer
from vgpu_client import answers


@pytest.fixture
def directory(tmp_path: pathlib.Path) -> pathlib.Path:
    (tmp_path / "usage").mkdir()
    return tmp_path


def test_a_deferred_change_is_shown_with_its_reason(directory: pathlib.Path) -> None:
    answers.tell(directory, answers.deferred("3 requests in flight"), revision=7)

    assert answer.of(directory) == "3 requests in flight"


def test_an_applied_change_says_nothing(directory: pathlib.Path) -> None:
    answers.tell(directory, answers.applied(), revision=7)

    assert answer.of(directory) == ""


@pytest.mark.parametrize(
    "written", ["", "{", "[]", "null", '{"done": false}', '{"done": false, "message": ' + "9" * 9000]
)
def test_what_cannot_be_read_says_nothing(directory: pathlib.Path, written: str) -> None:
    (directory / "usage" / "answer").write_text(written)

    assert answer.of(directory) == ""


def test_an_endless_or_unprintable_message_is_cut(directory: pathlib.Path) -> None:
    text = json.dumps({"done": False, "message": "\x1b[31m" + "a" * 1000})
    (directory / "usage" / "answer").write_text(text)

    assert answer.of(directory) == ("[31m" + "a" * 1000)[: answers.MESSAGE_MAX]


def test_a_pipe_does_not_block_the_agent(directory: pathlib.Path) -> None:
    os.mkfifo(directory / "usage" / "answer")

    assert answer.of(directory) == ""


def test_a_link_out_of_the_slice_is_not_followed(directory: pathlib.Path) -> None:
    (directory / "secret").write_text('{"done": false, "message": "secret"}')
    (directory / "usage" / "answer").symlink_to(directory / "secret")

    assert answer.of(directory) == ""
