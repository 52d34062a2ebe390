"""What holds for every test."""

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def usual_priority() -> Iterator[None]:
    """A test that leaves its process with a real-time priority would starve all that comes after it."""
    if not hasattr(os, "sched_getscheduler"):
        yield
        return
    before = os.sched_getscheduler(0)
    yield
    if (left := os.sched_getscheduler(0)) != before:
        os.sched_setscheduler(0, before, os.sched_param(0))
    assert left == before
