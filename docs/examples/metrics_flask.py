import os

from flask import Flask, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector

from memsession import Pool
from memsession.flask import MemSession, session
from memsession.metrics.prometheus import PoolCollector, PrometheusMetrics

pool = Pool(os.environ["MEMSESSION_POOL"])
counted = PrometheusMetrics(pool=pool)

app = Flask(__name__)
app.config["SECRET_KEY"] = os.environ["SECRET_KEY"]
MemSession(app, pool=pool, observe=counted, skip=["/metrics"])


@app.get("/")
def home() -> str:
    return f"Visit {session.increment('visits')}"


@app.get("/metrics")
def metrics() -> Response:
    registry = CollectorRegistry()
    MultiProcessCollector(registry)  # what all workers have counted
    PoolCollector(pool, registry=registry)
    return Response(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
