"""Events in the log."""

import logging

import pytest

from vgpu_kube import logs

logger = logging.getLogger("test")


def test_an_event_is_one_line_with_its_fields(caplog: pytest.LogCaptureFixture) -> None:
    logs.event(
        logger, logging.WARNING, "claim bound", claim="team/llm", node="gpu-2", reason="no room", note=""
    )

    assert caplog.messages == ["claim bound claim=team/llm node=gpu-2 reason='no room' note=''"]


def test_line_breaks_in_a_field_stay_in_its_line(caplog: pytest.LogCaptureFixture) -> None:
    logs.event(logger, logging.WARNING, "request refused", reason="first\nsecond")

    assert "\n" not in caplog.messages[0]
