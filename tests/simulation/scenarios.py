"""All scenarios; importing this module registers them."""

from . import scenarios_saves

__all__ = ["scenarios_saves"]
