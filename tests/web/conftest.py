"""gunicorn's settings as a module."""

import importlib.util
import os
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from pathlib import Path
from types import ModuleType

import pytest

FILE = Path(__file__).parents[2] / "gunicorn.conf.py"


@pytest.fixture
def conf() -> Iterator[ModuleType]:
    """The settings as a module. They change this process's umask, so it is restored."""
    mask = os.umask(0o077)
    loader = SourceFileLoader("gunicorn_conf", str(FILE))
    spec = importlib.util.spec_from_loader("gunicorn_conf", loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    yield module
    os.umask(mask)
