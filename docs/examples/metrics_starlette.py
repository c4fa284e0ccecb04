import os

from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from memsession import Pool
from memsession.asgi import SessionMiddleware, session_of
from memsession.metrics.prometheus import PoolCollector, PrometheusMetrics

pool = Pool(os.environ["MEMSESSION_POOL"])
sessions = PrometheusMetrics(pool=pool)
memcached = PoolCollector(pool)


async def home(request: Request) -> PlainTextResponse:
    return PlainTextResponse(f"Visit {session_of(request).increment('visits')}")


def metrics(_: Request) -> Response:  # a plain def: Starlette calls it in a thread
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)


app = Starlette(
    routes=[Route("/", home), Route("/metrics", metrics)],
    middleware=[
        Middleware(
            SessionMiddleware,
            secret_key=os.environ["SECRET_KEY"],
            pool=pool,
            observe=sessions,
            skip=["/metrics"],
        )
    ],
)
