"""Whose provider and whose apps the stories are told about: our own, unless PROVIDER and APP say otherwise."""

import importlib
import importlib.util
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TypeVar

from e2e.apps import App
from e2e.apps.pickup import Pickup as PickupApp
from e2e.providers import Provider
from e2e.providers.pickup import Pickup as PickupProvider

FOLDER = Path(__file__).parent
Party = TypeVar("Party", Provider, App)


@dataclass(frozen=True)
class Parties:
    """The provider, and the app in Manager's place. Dispatch is always ours, because a story needs a second app."""

    provider: type[Provider] = PickupProvider
    app: type[App] = PickupApp

    @property
    def are_ours(self) -> bool:
        """Whether everything is Pickup's."""
        return self.provider is PickupProvider and self.app is PickupApp

    @property
    def not_started(self) -> list[str]:
        """Those that the tests cannot start: neither ours, nor with a ``start`` of its own."""
        is_known = {
            self.provider.__name__: self.provider is PickupProvider or self.provider.start is not Provider.start,
            self.app.__name__: self.app is PickupApp or self.app.start is not App.start,
        }
        return [name for name, is_started in is_known.items() if not is_started]

    @property
    def can(self) -> frozenset[str]:
        """What the provider can do and what both apps can do."""
        return self.provider.can | (PickupApp.can & self.app.can)


def chosen(provider: str, app: str) -> Parties:
    """By their names (a file of ``e2e/providers`` or ``e2e/apps``) or by the path of a file."""
    return Parties(
        class_in("providers", provider or "pickup", Provider),  # type: ignore[type-abstract]
        class_in("apps", app or "pickup", App),  # type: ignore[type-abstract]
    )


def class_in(folder: str, name: str, kind: type[Party]) -> type[Party]:
    """The one class of that kind that the file defines."""
    path = Path(name) if name.endswith(".py") else FOLDER / folder / f"{name.replace('-', '_')}.py"
    if not path.is_file():
        known = sorted(file.stem for file in (FOLDER / folder).glob("[a-z]*.py"))
        raise LookupError(f"There is no file {path}. Known {folder}: {', '.join(known)}; or name a file of your own.")
    module = load(path, f"e2e.{folder}.{path.stem}")
    found = [
        value
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, kind) and value.__module__ == module.__name__
    ]
    if len(found) != 1:
        raise LookupError(f"{path} must define one class that is derived from {kind.__name__}; it has {len(found)}.")
    return found[0]


def load(path: Path, name: str) -> ModuleType:
    """The module in that file: the one that is imported already, if it is one of ours."""
    if path.parent.parent == FOLDER:
        return importlib.import_module(name)
    spec = importlib.util.spec_from_file_location(f"{name}_of_others", path)
    assert spec
    assert spec.loader
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
