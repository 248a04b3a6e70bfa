"""gunicorn's settings as a module."""

import gc
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
    """The settings as a module. They change this process's umask and garbage collection, which are restored."""
    mask = os.umask(0o077)
    loader = SourceFileLoader("gunicorn_conf", str(FILE))
    spec = importlib.util.spec_from_loader("gunicorn_conf", loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    gc.enable()
    yield module
    os.umask(mask)
