"""What every story gets: a stack, people's browsers, the services' records.

By default the suite starts three services for itself and ends them afterwards. Other stacks are reached with
``--base``; what the suite may do to them besides using them is said by ``--control``.
"""

import os
import shutil
from collections.abc import Callable, Collection, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import pytest
from playwright.sync_api import Browser, BrowserContext, BrowserType, expect

from e2e import table
from e2e.apps import App
from e2e.capabilities import LEFT_OUT, NOT_APPLICABLE, REFUSED, not_applicable, unknown
from e2e.device import Device
from e2e.operator import Operator
from e2e.parties import Parties, chosen
from e2e.pictures import Camera, LessonCamera
from e2e.record import Record, refusals
from e2e.stack import SERVICES, OwnProcesses, Stack, StackControl, running_stack
from e2e.third_party import allowing_browser
from pickup_web import localhost

NewDevice: TypeAlias = Callable[..., Device]
Can: TypeAlias = Callable[..., bool]
Figure: TypeAlias = Callable[[str, str], None]

HEADLESS = "chromium-headless-shell"  # as in scripts/browser: a third of the processor time, but no windows
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
QUIET = ("--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-first-run")
PATIENCE = 10_000  # milliseconds until a condition of no story in particular must be true

STACK = pytest.StashKey[Stack]()
PARTIES = pytest.StashKey[Parties]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Our options beside those of pytest-playwright."""
    group = parser.getgroup("pickup", "The stack under test")
    group.addoption(
        "--base",
        default="",
        metavar='"IDP DISPATCH MANAGER LEARN"',
        help="Base URLs of a stack that runs already, or the word `running`: what `make up` started here.",
    )
    group.addoption(
        "--control",
        default="",
        choices=["", "local", "compose", "none"],
        help="How to stop, kill and change services of that stack: by scripts/service (local, compose) or not at all.",
    )
    group.addoption(
        "--provider", default="", metavar="NAME|FILE", help="Another provider: a name of e2e/providers, or a file."
    )
    group.addoption("--app", default="", metavar="NAME|FILE", help="Another app in Manager's place, in the same way.")
    group.addoption("--table", default="", metavar="FILE", help="Write the table of results there, as JSON.")
    group.addoption("--pictures", action="store_true", help="Take the pictures of README and tutorial.")
    group.addoption("--figures", action="store_true", help="Measure the logout instead of telling the stories.")


def pytest_configure(config: pytest.Config) -> None:
    """Names below .localhost are this machine; a failure leaves a picture."""
    localhost.install()
    try:
        config.stash[PARTIES] = chosen(config.getoption("provider"), config.getoption("app"))
    except LookupError as error:
        raise pytest.UsageError(str(error)) from error
    if not config.getoption("base") and (names := config.stash[PARTIES].not_started):
        raise pytest.UsageError(f"The tests cannot start {names[0]}: use BASE=running (docs/regression.md).")
    config.addinivalue_line("markers", "needs(*capabilities): not applicable without them (e2e/capabilities.py)")
    config.addinivalue_line("markers", "figures: measures and asserts nothing; runs with --figures only")
    if config.option.screenshot == "off":
        config.option.screenshot = "only-on-failure"
    expect.set_options(timeout=PATIENCE)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Either the stories or the figures. The longest stories come first, so that none runs alone at the end."""
    wanted = [item for item in items if bool(item.get_closest_marker("figures")) is config.getoption("figures")]
    if os.environ.get("PICKUP_THOROUGH") != "1":
        wanted = [item for item in wanted if not item.get_closest_marker("thorough")]
    config.hook.pytest_deselected(items=[item for item in items if item not in wanted])
    for item in wanted:
        skip_if_not_applicable(item, config.stash[PARTIES].can)
    items[:] = sorted(wanted, key=lambda item: item.get_closest_marker("thorough") is None)


def skip_if_not_applicable(item: pytest.Item, can: Collection[str]) -> None:
    """What a story needs as a whole is known before anything starts."""
    needed = [name for mark in item.iter_markers("needs") for name in mark.args]
    assert not unknown(needed), f"{item.nodeid} needs {unknown(needed)}, which e2e/capabilities.py does not list"
    if missing := next((name for name in needed if name not in can), ""):
        item.add_marker(pytest.mark.skip(reason=NOT_APPLICABLE + missing))


# --- the stack ----------------------------------------------------------------


@pytest.fixture(scope="session")
def stack(pytestconfig: pytest.Config, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """The stack that this run is about."""
    parties = pytestconfig.stash[PARTIES]
    if base := pytestconfig.getoption("base"):
        pytestconfig.stash[STACK] = running_stack(base, pytestconfig.getoption("control"), parties)
        yield pytestconfig.stash[STACK]
        return
    own = OwnProcesses(tmp_path_factory.mktemp("stack"), parties)
    try:
        own.start_all()
        pytestconfig.stash[STACK] = own.stack()
        yield pytestconfig.stash[STACK]
    finally:
        own.kill_all()


@pytest.fixture
def hands(stack: Stack) -> StackControl:
    """Needed by stories that break something."""
    if stack.hands is None:
        not_applicable("a test can stop services (--control)")
    return stack.hands


@pytest.fixture(scope="session")
def operator(stack: Stack) -> Operator:
    """An operator of the provider, who uses no browser."""
    return stack.provider.operator()


@pytest.fixture(scope="session")
def record(stack: Stack) -> Record:
    """Needed by stories that look behind the pages."""
    record = Record(stack)
    if not record.is_open():
        not_applicable("shows_events (PICKUP_DEMO_EVENTS is off)")
    return record


@pytest.fixture(params=["dispatch", "manager"], ids=["at Dispatch", "at Manager"])
def here(request: pytest.FixtureRequest, stack: Stack) -> App:
    """The app in which a story happens: each in turn, so such a story is told both ways round."""
    return stack.app(request.param)


@pytest.fixture
def there(stack: Stack, here: App) -> App:
    """The other app."""
    return stack.other(here)


@pytest.fixture
def can(request: pytest.FixtureRequest, stack: Stack) -> Can:
    """Whether the provider, or the given app, can do something. The table of results lists what was left out."""

    def ask(capability: str, app: App | None = None) -> bool:
        assert not unknown([capability])
        is_able = capability in (app or stack.provider).can
        if not is_able:
            request.node.user_properties.append((LEFT_OUT, capability))
        return is_able

    return ask


# --- browsers -----------------------------------------------------------------


@pytest.fixture(scope="session")
def base_url() -> None:
    """There is no one base URL; the plugin's own fixture for it is deprecated by pytest."""


@pytest.fixture(scope="session")
def browser_type_launch_args(browser_type_launch_args: dict[str, Any]) -> dict[str, Any]:
    """A Chromium that is on this machine, if there is one, and no talk of its own on the network."""
    has_window = not browser_type_launch_args.get("headless", True)
    names = BROWSERS if has_window else (HEADLESS, *BROWSERS)
    found = os.environ.get("PICKUP_CHROMIUM") or next(filter(None, map(shutil.which, names)), None)
    as_root = ["--no-sandbox"] if os.getuid() == 0 else []  # Chromium's sandbox does not work for root
    ours = {"args": [*browser_type_launch_args.get("args", []), *QUIET, *as_root]}
    return {**browser_type_launch_args, **ours, **({"executable_path": found} if found else {})}


@pytest.fixture(scope="session")
def browser_context_args(browser_context_args: dict[str, Any]) -> dict[str, Any]:
    """The same on every machine. Chromium can't be told of an authority: the plain client checks certificates."""
    own_authority = {"ignore_https_errors": True} if os.environ.get("PICKUP_CA_BUNDLE") else {}
    return {
        **own_authority,
        "locale": "en-GB",
        "timezone_id": "Europe/London",
        "color_scheme": "light",
        **browser_context_args,
    }


@pytest.fixture
def new_device(stack: Stack, new_context: Callable[..., BrowserContext]) -> Iterator[NewDevice]:
    """Makes browsers. After the story none of their consoles may have complained about anything unexpected."""
    devices: list[Device] = []

    def make(**options: Any) -> Device:
        devices.append(Device(new_context(**options), stack, options.get("user_agent", "")))
        return devices[-1]

    yield make
    complaints = [line for device in devices for line in device.unexpected_complaints()]
    assert complaints == [], "the browser's console stays silent"


@pytest.fixture
def laptop(new_device: NewDevice) -> Device:
    """The browser of the story's first person."""
    return new_device()


@pytest.fixture
def desk(
    stack: Stack,
    browser_type: BrowserType,
    tmp_path: Path,
    browser_type_launch_args: dict[str, Any],
    browser_context_args: dict[str, Any],
) -> Iterator[Device]:
    """A browser that allows third-party cookies."""
    with allowing_browser(browser_type, tmp_path, browser_type_launch_args, browser_context_args) as context:
        device = Device(context, stack)
        yield device
        assert device.unexpected_complaints() == [], "the browser's console stays silent"


@pytest.fixture
def camera(pytestconfig: pytest.Config, browser: Browser, here: App) -> Iterator[Camera]:
    """Takes pictures when asked to (``--pictures``), of the story that starts at Dispatch."""
    camera = Camera(is_on=pytestconfig.getoption("pictures") and here.service == "dispatch")
    yield camera
    camera.put_together(browser)


@pytest.fixture
def lesson_camera(pytestconfig: pytest.Config) -> LessonCamera:
    """Takes pictures for the tutorial when asked to (``--pictures``)."""
    return LessonCamera(is_on=pytestconfig.getoption("pictures"))


# --- what is said afterwards ------------------------------------------------------


@pytest.fixture
def figure(request: pytest.FixtureRequest) -> Figure:
    """Records a measured figure in the story's report, which also reaches the summary from a worker process."""
    return lambda name, value: request.node.user_properties.append((name, value))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """The figures; the table of results, if it was asked for."""
    reports = [report for kind in ("passed", "failed") for report in terminalreporter.getreports(kind)]
    properties = [one for report in reports if report.when == "call" for one in report.user_properties]
    figures = [(name, value) for name, value in properties if name not in (LEFT_OUT, REFUSED)]
    if figures:
        terminalreporter.section("figures")
        for name, value in figures:
            terminalreporter.line(f"{name}: {value}")
    if path := config.getoption("table"):
        phases = (phase for many in terminalreporter.stats.values() for phase in many)
        rows = table.rows_of(phase for phase in phases if isinstance(phase, pytest.TestReport))
        table.write(Path(path), config.stash[PARTIES], rows)
        terminalreporter.section("table")
        for line in table.lines_of(rows):
            terminalreporter.line(line)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]) -> Iterator[None]:
    """A failure shows the last lines of each service's output, where we have it, and refused logout tokens."""
    report: pytest.TestReport = yield  # type: ignore[assignment] # pytest sends what the inner hooks return
    stack = item.config.stash.get(STACK, None)
    if report.failed and stack:
        report.user_properties += [(REFUSED, line) for line in refusals(stack, since=call.start)]
    if report.failed and stack and stack.hands:
        for service in getattr(stack.hands, "services", SERVICES):
            if output := stack.hands.output(service):
                report.sections.append((f"output of {service}", output))
    return report  # type: ignore[return-value]
