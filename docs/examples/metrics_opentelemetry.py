import os

from fastapi import FastAPI

from memsession import Pool
from memsession.asgi import SessionMiddleware
from memsession.fastapi import CurrentSession
from memsession.metrics.opentelemetry import OpenTelemetryMetrics

pool = Pool(os.environ["MEMSESSION_POOL"])
app = FastAPI()
app.add_middleware(
    SessionMiddleware,
    secret_key=os.environ["SECRET_KEY"],
    pool=pool,
    observe=OpenTelemetryMetrics(pool=pool),
)


@app.get("/")
async def home(session: CurrentSession) -> dict[str, int]:
    return {"visits": session.increment("visits")}
