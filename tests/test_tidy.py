"""The house rules, read from the files themselves: floors and wings, sizes, names, versions, examples."""

import ast
import importlib
import re
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[1]
HOUSE = PROJECT / "memsession"
FILE_LINES_MAX = 300
FUNCTION_LINES_MAX = 40
FORBIDDEN = {"base", "common", "helper", "helpers", "manager", "misc", "util", "utils"}

GROUND = {
    *("errors", "events", "commands", "identity", "secret", "seal", "cookies", "lifetime"),
    *("pool", "addresses", "placement", "record"),
}
FIRST = {"wire", "health", "clock", "plans", "vault"}
WEST = {"aio", "memory"}
EAST = {"session", "lifecycle"}
ROOF = {"asgi"}
FLOORS = {
    **dict.fromkeys(GROUND, 0),
    **dict.fromkeys(FIRST, 1),
    **dict.fromkeys(WEST | EAST, 2),
    **dict.fromkeys(ROOF, 3),
}
FRAMEWORKS = {"starlette": {"asgi"}, "fastapi": {"fastapi"}, "flask": {"flask"}, "django": {"django"}, "uvicorn": set()}
"""Which rooms may import them."""

