"""How do several commands share one set of options?"""

from __future__ import annotations

import functools
import inspect
from typing import TYPE_CHECKING, Any

from app.cli.key_options import given

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["taking"]


def taking(options: Mapping[str, Any], parameter: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Give a command the options of a set in place of one of its parameters, which gets what was given of them.

    Args:
        options: annotations that typer reads, by the names of the options; each may be left out.
        parameter: what the command calls them: a mapping of what was given, by the same names.
    """

    def with_options(command: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(command)
        def run(**values: Any) -> None:
            gathered = given(**{name: values.pop(name) for name in options})
            command(**values, **{parameter: gathered})

        own = inspect.signature(command, eval_str=True)
        shared = [
            inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=None, annotation=annotation)
            for name, annotation in options.items()
        ]
        parameters = [
            part for each in own.parameters.values() for part in (shared if each.name == parameter else [each])
        ]
        vars(run)["__signature__"] = own.replace(parameters=parameters)  # what typer asks for options
        return run

    return with_options
