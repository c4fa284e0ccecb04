"""A wrong setting and a real web server: it does not come up, and says why."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
PATIENCE_S = 30


@pytest.mark.parametrize("lifespan", ["auto", "on"])
def test_uvicorn_does_not_start_with_a_wrong_setting(lifespan):
    """Starlette makes its middleware at the first call, and uvicorn by default takes an error there for an old
    application: so the middleware has to tell it.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    ran = subprocess.run(
        [sys.executable, "-W", "ignore", "tests/programs/misconfigured.py", str(port), lifespan],
        cwd=PROJECT,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )

    assert ran.returncode != 0
    assert "secret_key is a placeholder" in ran.stderr
    assert "startup failed" in ran.stderr
    assert "Uvicorn running" not in ran.stderr
