import os
from collections.abc import Iterable
from wsgiref.types import StartResponse, WSGIEnvironment

from memsession import Pool
from memsession.wsgi import SessionMiddleware, session_of


def counter(environ: WSGIEnvironment, start_response: StartResponse) -> Iterable[bytes]:
    session = session_of(environ)
    visits = session.increment("visits")
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [f"Visit {visits}".encode()]


app = SessionMiddleware(counter, secret_key=os.environ["SECRET_KEY"], pool=Pool(os.environ["MEMSESSION_POOL"]))
