"""The visit counter, as `uvicorn --factory example_app.app:create_app` starts it. Its code is in the package."""

from memsession.demo.counter import create_app

__all__ = ["create_app"]
