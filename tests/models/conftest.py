from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def toy_audioldm2(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A toy-size AudioLDM2, in a folder as published ones are."""
    from tests.toys.audioldm2 import make_audioldm2

    return make_audioldm2(tmp_path_factory.mktemp("weights") / "toy-audioldm2")
