"""Find handlers by name without importing them.

A distribution registers a handler with an entry point of the group ``runinference.handlers``::

    [project.entry-points."runinference.handlers"]
    acme = "acme_runinference:AcmeHandler"
"""

from __future__ import annotations

import contextlib
import dataclasses
import inspect
from collections.abc import Collection, Iterable
from typing import Any

import importlib_metadata
from packaging.requirements import InvalidRequirement, Requirement
from packaging.utils import canonicalize_name

from runinference._version import __version__
from runinference.entry_points import Registration, registrations
from runinference.errors import (
    BrokenHandlerError,
    ConfigurationError,
    DuplicateHandlerError,
    ForbiddenHandlerError,
    IncompatibleHandlerError,
    NotAHandlerError,
    UnknownHandlerError,
)
from runinference.hints import did_you_mean, nearest
from runinference.policy import plugin_refusal

__all__ = ["HandlerInfo", "available_handlers", "create_handler", "handler_class"]

GROUP = "runinference.handlers"

_OF_BEAM = """
adk-agent anthropic gemini huggingface-keyed-tensor huggingface-pipeline huggingface-tensor
onnx-numpy pytorch-keyed-tensor pytorch-tensor sklearn-numpy sklearn-pandas tensorflow-numpy
tensorflow-tensor tensorrt-numpy vertex-ai-json vllm-chat vllm-completions xgboost-datatable
xgboost-numpy xgboost-pandas xgboost-scipy
"""

# Names of this project's own handlers, which only its own distributions can take.
_OWN_HANDLERS = {
    **{f"beam-{name}": "runinference-beam" for name in _OF_BEAM.split()},
    "onnx-numpy": "runinference-onnx",
    "open-inference-grpc": "runinference-open-inference",
    "open-inference-http": "runinference-open-inference",
    "sklearn-numpy": "runinference-sklearn",
    "sklearn-pandas": "runinference-sklearn",
    "torch-keyed": "runinference-pytorch",
    "torch-tensor": "runinference-pytorch",
    "transformers-pipeline": "runinference-transformers",
    "xgboost-numpy": "runinference-xgboost",
    "xgboost-pandas": "runinference-xgboost",
}


@dataclasses.dataclass(frozen=True, order=True)
class HandlerInfo:
    """A registered handler; nothing of it has been imported.

    Attributes:
        name: what finds it: the entry point's name, with ``distribution:`` before it where another
            distribution has the plain name.
        distribution: what ``pip`` calls the plugin.
        version: of the distribution.
        target: ``module:Class``.
        requires: what the distribution requires of ``runinference``, as in its metadata; or "".
    """

    name: str
    distribution: str
    version: str
    target: str
    requires: str = ""


@dataclasses.dataclass(frozen=True)
class _Found:
    info: HandlerInfo
    entry: importlib_metadata.EntryPoint


def available_handlers() -> list[HandlerInfo]:
    """All handlers of the installed distributions, by name; importing none of them.

    Without those of distributions that the environment forbids (see :mod:`runinference.policy`).

    Of a name that several distributions register, and of a foreign registration of a name of this
    project's own, each is listed as ``distribution:name``.
    """
    return sorted(found.info for found in _discover())


def handler_class(name: str) -> type[Any]:
    """The class (or function) behind a name.

    Args:
        name: a handler's name, or ``distribution:name`` where several have it.

    Raises:
        UnknownHandlerError: nobody registers the name.
        DuplicateHandlerError: several distributions register it.
        ForbiddenHandlerError: the environment forbids the distribution that registers it.
        IncompatibleHandlerError: its plugin asks for another version of this package.
        BrokenHandlerError: its plugin cannot be imported.
        NotAHandlerError: it has no ``load_model`` and ``run_inference``.
    """
    found = _find(name)
    info = found.info
    plugin = f"handler {name!r} of {info.distribution} {info.version}"
    _check_gate(info, plugin)
    try:
        loaded = found.entry.load()
    except (Exception, SystemExit) as error:
        raise BrokenHandlerError(
            f"{plugin} cannot be imported from {info.target!r}: {type(error).__name__}: {error}. "
            "Install what it lacks, upgrade it, or uninstall it"
        ) from error
    if not isinstance(loaded, type) or not all(
        callable(getattr(loaded, method, None)) for method in ("load_model", "run_inference")
    ):
        raise NotAHandlerError(
            f"{plugin}: {info.target!r} is {loaded!r:.100}, not a class with load_model() and "
            "run_inference(). Report it to the plugin's author"
        )
    return loaded


def create_handler(name: str, /, *, _reserved: Collection[str] = (), **options: Any) -> Any:
    """A handler by its name, with its constructor's options.

    Args:
        name: see :func:`handler_class`.
        options: what the handler's constructor takes.

    Raises:
        HandlerLookupError: see :func:`handler_class`.
        TypeError: an option that the constructor does not take, or a required one that is missing.
        ConfigurationError: the handler has an option that the caller takes itself.
    """
    kind = handler_class(name)
    parameters = inspect.signature(kind).parameters
    taken = sorted(set(parameters) & set(_reserved))
    if taken:
        raise ConfigurationError(
            f"handler {name!r} has an option {taken[0]!r}, which RunInference takes itself: create "
            f"the handler, {kind.__name__}({taken[0]}=...), and pass it instead of its name"
        )
    for option in options:
        if option not in parameters:
            raise TypeError(_unknown_option(name, option, list(parameters)))
    missing = [
        parameter.name
        for parameter in parameters.values()
        if parameter.default is parameter.empty
        and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
        and parameter.name not in options
    ]
    if missing:
        raise TypeError(
            f"handler {name!r} needs {', '.join(f'{option}=' for option in missing)}; "
            f"it takes {', '.join(parameters)}"
        )
    handler = kind(**options)
    with contextlib.suppress(AttributeError):  # a class with __slots__ goes by its class's name
        handler.registered_name = name
    return handler


def _unknown_option(name: str, option: str, known: list[str]) -> str:
    from runinference.config import beam_replacement  # only for a message

    replacement = beam_replacement(option)
    if replacement is not None:
        return f"handler {name!r} has no option {option!r}: write {replacement}"
    hint = did_you_mean(option, known)
    return f"handler {name!r} has no option {option!r}; {hint}it takes {', '.join(known)}"


def _discover() -> list[_Found]:
    return _named([r for r in registrations(GROUP) if plugin_refusal(r.distribution) is None])


def _forbidden() -> list[_Found]:
    return _named([r for r in registrations(GROUP) if plugin_refusal(r.distribution) is not None])


def _named(registered: Iterable[Registration]) -> list[_Found]:
    by_name: dict[str, set[str]] = {}
    for one in registered:
        by_name.setdefault(one.entry.name, set()).add(one.distribution)
    found: dict[tuple[str, str], _Found] = {}
    for one in registered:
        entry, distribution = one.entry, one.distribution
        owner = _OWN_HANDLERS.get(entry.name)
        is_foreign = owner is not None and owner != distribution
        is_shared = owner is None and len(by_name[entry.name]) > 1
        name = f"{distribution}:{entry.name}" if is_foreign or is_shared else entry.name
        required = _requirement(one.requires)
        info = HandlerInfo(name, distribution, one.version, entry.value, required)
        # the first on sys.path is the one that an import would find
        found.setdefault((name, distribution), _Found(info, entry))
    return list(found.values())


def _requirement(requires: Iterable[str]) -> str:
    for text in requires:
        if not text.lower().startswith("runinference"):
            continue  # to parse them all takes some milliseconds
        try:
            requirement = Requirement(text)
        except InvalidRequirement:
            continue
        if canonicalize_name(requirement.name) == "runinference" and requirement.marker is None:
            return str(requirement.specifier)
    return ""


def _find(name: str) -> _Found:
    discovered = _discover()
    for found in discovered:
        full_name = f"{found.info.distribution}:{found.entry.name}"
        if name in (found.info.name, full_name):
            return found
    claimants = [found.info for found in discovered if found.entry.name == name]
    if len(claimants) > 1 and name not in _OWN_HANDLERS:
        who = " and ".join(f"{info.distribution} {info.version}" for info in claimants)
        raise DuplicateHandlerError(
            f"handler {name!r} is registered by {who}: pick one with "
            f"{' or '.join(repr(info.name) for info in claimants)}, or uninstall the other"
        )
    for found in _forbidden():
        info, owner = found.info, _OWN_HANDLERS.get(found.entry.name)
        is_plain = found.entry.name == name and owner in (None, info.distribution)
        if is_plain or name == f"{info.distribution}:{found.entry.name}":
            raise ForbiddenHandlerError(
                f"handler {name!r} of {info.distribution} {info.version} may not be used: "
                f"{plugin_refusal(info.distribution)}"
            )
    raise UnknownHandlerError(_unknown_message(name, [f.info.name for f in discovered], claimants))


def _unknown_message(name: str, installed: list[str], foreign: list[HandlerInfo]) -> str:
    listed = f"installed: {', '.join(sorted(installed))}" if installed else "none is installed"
    if name in _OWN_HANDLERS:
        also = f"; {foreign[0].name!r} is another one of that name" if foreign else ""
        return (
            f"handler {name!r} is not installed{also}; run: pip install {_OWN_HANDLERS[name]} "
            f"({listed})"
        )
    near = nearest(name, [*installed, *_OWN_HANDLERS])
    if near is not None and near not in installed:
        return (
            f"no handler {name!r}; did you mean {near!r}? It is not installed; "
            f"run: pip install {_OWN_HANDLERS[near]} ({listed})"
        )
    return f"no handler {name!r}; {did_you_mean(name, installed)}{listed}"


def _check_gate(info: HandlerInfo, plugin: str) -> None:
    if info.requires and not Requirement(f"runinference{info.requires}").specifier.contains(
        __version__, prereleases=True
    ):
        raise IncompatibleHandlerError(
            f"{plugin} needs runinference{info.requires}, but {__version__} is installed: "
            f"run: pip install --upgrade {info.distribution} 'runinference{info.requires}'"
        )
