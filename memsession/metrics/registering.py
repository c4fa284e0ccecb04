"""Into a registry of Prometheus, or an error that says what to do."""

from collections.abc import Callable
from typing import TypeVar

import prometheus_client
from prometheus_client import CollectorRegistry

from memsession.errors import ConfigurationError

T = TypeVar("T")


def chosen(registry: CollectorRegistry | None) -> CollectorRegistry:
    """This registry, or else the one that everybody uses."""
    return prometheus_client.REGISTRY if registry is None else registry


def registered(what: str, register: Callable[[], T]) -> T:
    """What `register` gives.

    Raises:
        ConfigurationError: there are metrics of these names already.
    """
    try:
        return register()
    except ValueError as error:
        raise ConfigurationError(
            f"the registry has the metrics of a {what} already: make one, and use it everywhere (or give each a "
            f"registry=CollectorRegistry() of its own)"
        ) from error
