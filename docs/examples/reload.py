import asyncio
import os
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from starlette.applications import Starlette

from memsession import Pool
from memsession.asgi import SessionMiddleware, reload

SERVERS = Path("servers.txt")  # one address in each line
SECRET_KEY = os.environ["SECRET_KEY"]


def pool() -> Pool:
    return Pool(*SERVERS.read_text().split(), copies=2)


@asynccontextmanager
async def lifespan(app: Starlette) -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, lambda: reload(app, pool()))
    yield


def make_app() -> Starlette:
    app = Starlette(lifespan=lifespan)
    app.add_middleware(SessionMiddleware, secret_key=SECRET_KEY, pool=pool())
    return app
