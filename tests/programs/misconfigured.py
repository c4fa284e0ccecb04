"""A Starlette application with a setting that is wrong."""

import sys

import uvicorn
from starlette.applications import Starlette
from starlette.middleware import Middleware

from memsession.asgi import SessionMiddleware

app = Starlette(middleware=[Middleware(SessionMiddleware, secret_key="changeme", pool="memory://")])

if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]), lifespan=sys.argv[2])
