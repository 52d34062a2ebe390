"""What holds for every test."""

import os
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True)
def usual_priority() -> Iterator[None]:
    """A test that leaves its process with a real-time priority would starve all that comes after it."""
    yield
    if hasattr(os, "sched_getscheduler"):
        left = os.sched_getscheduler(0)
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
        assert left == os.SCHED_OTHER
