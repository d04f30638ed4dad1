"""Registries of builders, which are discovered by importing the modules of a package."""

from __future__ import annotations

import difflib
import importlib
import inspect
import pkgutil
from functools import partial
from typing import Any, Callable, Dict, Iterable, List, TypeVar

from .errors import UserError

Builder = TypeVar("Builder", bound=Callable[..., Any])


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """The end of a sentence about an unknown name: ``": did you mean 'digits'?"`` where one is near, else ``"."``."""
    near = difflib.get_close_matches(name, list(names), n=1)
    return f": did you mean {near[0]!r}?" if near else "."


def options_of(builder: Callable[..., Any]) -> Dict[str, inspect.Parameter]:
    """The parameters of a function or a class; of one that passes ``**keywords`` on, those of its base class too."""
    found: Dict[str, inspect.Parameter] = {}
    for one in inspect.getmro(builder) if inspect.isclass(builder) else [builder]:
        if inspect.isclass(one) and not {"__init__", "__new__"} & set(vars(one)):
            continue
        parameters = inspect.signature(one).parameters.values()
        for parameter in parameters:
            if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                found.setdefault(parameter.name, parameter)
        if all(parameter.kind != parameter.VAR_KEYWORD for parameter in parameters):
            break
    return found


class Registry:
    """The builders of one kind of thing, by name.

    Parameters:
        kind: what is built, for error messages: "model", "dataset", "task".
        package: the package whose modules are imported when a name is looked up first.
    """

    def __init__(self, kind: str, package: str) -> None:
        self._kind = kind
        self._package = package
        self._builders: Dict[str, Callable[..., Any]] = {}

    def register(self, builder: Builder) -> Builder:
        """A decorator: the function or class is found by its name, a class by its attribute ``name``.

        Raises:
            ValueError: there is another one of that name.
        """
        name = getattr(builder, "name", builder.__name__)
        if name in self._builders:
            other = self._builders[name]
            raise ValueError(f"there is a {self._kind} {name!r} already: {other.__module__}.{other.__qualname__}")
        self._builders[name] = builder
        return builder

    def names(self) -> List[str]:
        """All names, sorted."""
        package = importlib.import_module(self._package)
        for module in pkgutil.iter_modules(package.__path__):
            importlib.import_module(f"{self._package}.{module.name}")
        return sorted(self._builders)

    def find(self, name: str) -> Callable[..., Any]:
        """The builder of that name.

        Raises:
            UserError: there is none.
        """
        names = self.names()
        if name not in self._builders:
            near = did_you_mean(name, names)
            of_ones_own = "one of your own takes --import MODULE"
            all_names = f" The {self._kind}s are {', '.join(names)}; {of_ones_own}" if near == "." else ""
            raise UserError(f"there is no {self._kind} {name!r}{near}{all_names}")
        return self._builders[name]

    def build(self, name: str, **options: Any) -> Any:
        """What the builder of that name makes of the options.

        Whatever the builder itself raises stays what it is.

        Raises:
            UserError: there is no such builder, or it has no such option.
        """
        return self.bind(name, **options)()

    def bind(self, name: str, **options: Any) -> Callable[[], Any]:
        """What builds later; names are checked at once.

        Raises:
            UserError: there is no such builder, or it has no such option.
        """
        builder = self.find(name)
        known = options_of(builder)
        for option in options:
            if option not in known:
                raise UserError(
                    f"{self._kind} {name!r} has no option {option!r}{did_you_mean(option, known)} "
                    f"Its options are {', '.join(known) or 'none'}"
                )
        missing = [key for key, p in known.items() if p.default is p.empty and key not in options]
        if missing:
            raise UserError(f"{self._kind} {name!r} needs the option {missing[0]!r}")
        return partial(builder, **options)
