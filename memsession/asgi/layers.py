"""What lies within an ASGI application: its layers of middleware, and applications that are mounted in it."""

from collections import deque
from collections.abc import Iterator
from typing import Any

from memsession.asgi.middleware import SessionMiddleware
from memsession.errors import ConfigurationError
from memsession.pool import Pool


def layers(app: Any) -> Iterator[Any]:
    """An application and all that lies within, outermost first."""
    seen: set[int] = set()
    waiting = deque([app])
    while waiting:
        layer = waiting.popleft()
        if id(layer) in seen:
            continue
        seen.add(id(layer))
        yield layer
        if hasattr(layer, "build_middleware_stack"):
            # As Starlette itself does it when the first request comes.
            layer.middleware_stack = layer.middleware_stack or layer.build_middleware_stack()
        within = [getattr(layer, name, None) for name in ("middleware_stack", "app")]
        routes = getattr(layer, "routes", None) or ()
        waiting.extend(inner for inner in (*within, *(getattr(route, "app", None) for route in routes)) if inner)


def reload(app: Any, pool: Pool | str, *, scope_key: str = "session") -> Pool:
    """`SessionMiddleware.reload`, for the middleware that Starlette or FastAPI has made of an application's options.

    Raises:
        ConfigurationError: there is none with that `scope_key`, or the two pools cannot follow each other.
    """
    middlewares = [layer for layer in layers(app) if isinstance(layer, SessionMiddleware)]
    for layer in middlewares:
        layer.check()
    ours = [layer for layer in middlewares if layer.scope_key == scope_key]
    if not ours:
        raise ConfigurationError(
            f"reload(app, pool): the application has no memsession.asgi.SessionMiddleware with "
            f"scope_key={scope_key!r}: add it, or give the application that has it"
        )
    for layer in ours:
        layer.check(pool)
    return [layer.reload(pool) for layer in ours][-1]
