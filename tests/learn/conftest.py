"""Pickup Learn for each test. Its database is a copy of one that was made once for all tests."""

import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import START, close
from tests.learn.rows import four_clicks
from tests.learn.services import World


@pytest.fixture(scope="session")
def snapshots(tmp_path_factory: pytest.TempPathFactory, no_settings_from_outside: None) -> Path:  # noqa: ARG001 # first
    """The folders ``new`` and ``four clicks``, each with Learn's database at that point."""
    source, kept = tmp_path_factory.mktemp("learn"), tmp_path_factory.mktemp("snapshots")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "time", lambda: START)
        made = World(source)
        close(made.app)  # which writes everything into one file
        shutil.copytree(source, kept / "new")
        made.tell(four_clicks())
        made.poll()
        close(made.app)
        shutil.copytree(source, kept / "four clicks")
    return kept


@pytest.fixture
def learn_folder(tmp_path: Path, snapshots: Path) -> Path:
    """A folder with Learn's database, in which nothing was recorded."""
    shutil.copytree(snapshots / "new", tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture
def world(learn_folder: Path) -> Iterator[World]:
    """Pickup Learn, and services that have recorded nothing."""
    made = World(learn_folder)
    yield made
    close(made.app)


@pytest.fixture
def after_four_clicks(tmp_path: Path, snapshots: Path) -> Iterator[World]:
    """Pickup Learn, which has read what the services recorded of the four clicks."""
    shutil.copytree(snapshots / "four clicks", tmp_path, dirs_exist_ok=True)
    made = World(tmp_path)
    made.tell(four_clicks())
    yield made
    close(made.app)
