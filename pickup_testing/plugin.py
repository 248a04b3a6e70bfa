"""The pytest fixtures ``pickup_idp``, ``pickup_browser`` and ``pickup_receiver``."""

from collections.abc import Iterator

import pytest

from pickup_testing import Browser, Idp, Receiver, start_idp


@pytest.fixture(scope="session")
def pickup_idp() -> Iterator[Idp]:
    """An :class:`Idp` for the whole test run, on a free port of localhost.

    People and clients that one test adds exist in the following tests too. For other options, such as a seed file,
    override this fixture in your conftest.py: ``with start_idp(seed=…) as idp: yield idp``.
    """
    with start_idp() as idp:
        yield idp


@pytest.fixture
def pickup_browser(pickup_idp: Idp) -> Browser:
    """A new :class:`Browser`, without cookies. For a second one: ``pickup_idp.browser()``."""
    return pickup_idp.browser()


@pytest.fixture
def pickup_receiver() -> Iterator[Receiver]:
    """A :class:`Receiver` on a free port of localhost: it records logout tokens in place of an app."""
    with Receiver() as receiver:
        yield receiver
