"""Calls: one request of a blocking application and its session, for the adapters of WSGI and of Flask.

    open     wait for the turn in exclusive mode, then load
    commit   before the head leaves
    answer   what has to go with the head; the turn is over
    end      after the last byte: what was changed and not saved is told

A call is also what `session.save()` and `session.modify()` talk to. Several threads or greenlets of one request may:
the store is asked for one thing at a time.
"""

import os
import threading
import time
from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar
from wsgiref.types import WSGIEnvironment

from memsession.blocking import BlockingClient
from memsession.errors import LockLost, PoolUnavailable, SessionBusy, UpdateUnconfirmed
from memsession.lifecycle import Settings
from memsession.memory import BlockingMemoryClient
from memsession.plans import Plan
from memsession.pool import Pool
from memsession.service import Service
from memsession.session import Ledger, Session

T = TypeVar("T")
Texts = list[tuple[str, str]]

UNAVAILABLE: Final = (PoolUnavailable, UpdateUnconfirmed, SessionBusy, LockLost)
"""What is answered by 503, while no head has left."""


class Sessions:
    """What all requests of an application share: the client of its pool, and the lifecycle."""

    def __init__(self, given: Settings, make_session: Callable[[Ledger], Session]) -> None:
        self.make_session = make_session
        self._service: Service[BlockingClient | BlockingMemoryClient] = Service(
            given, direct=BlockingClient, in_process=BlockingMemoryClient
        )
        self.client = self._service.client
        self.node_names = self._service.node_names
        self._met = 0
        self.adopt(given)

    def adopt(self, given: Settings) -> None:
        """Go by other settings from the next request on; the pool and its connections stay."""
        self.mark = f"memsession.wsgi.{given.cookie.name}"
        self.lifecycle = self._service.lifecycle(given, self.make_session)

    def reload(self, pool: Pool | str) -> Pool:
        """Use another pool from now on; see `memsession.asgi.SessionMiddleware.reload`."""
        return self._service.reload(pool)

    def skips(self, environ: WSGIEnvironment) -> bool:
        """Whether there is no session at the request's path."""
        return self.lifecycle.skips(_path(environ))

    def meet(self) -> None:
        """Before a process asks the first thing: learn the pool's clock, by which new sessions are stamped."""
        if self._met != os.getpid():
            self.client.greet()
            self._service.caretaker.start()
            self._met = os.getpid()


class Call:
    """See the top of this file.

    `refused`: the visitor gets a 503, and nothing is committed. `failed`: the application raised something that it
    did not handle, so nothing of it is saved. `raises`: nobody is there to be answered 503 (a test asks, no visitor).
    """

    def __init__(self, sessions: Sessions, environ: WSGIEnvironment, *, debug: bool) -> None:
        self.refused = self.failed = self.raises = False
        self.context = 0
        self._lifecycle = sessions.lifecycle
        self._sessions = sessions
        self._environ = environ
        self._debug = debug
        self._over = False
        self._one_at_a_time = threading.RLock()
        cookie = environ.get("HTTP_COOKIE")
        # PEP 3333: strings of the environment stand for bytes, as Latin-1.
        cookies = [cookie.encode("latin-1", "replace")] if cookie else ()
        self._visit = self._lifecycle.arrive(cookies, https=environ.get("wsgi.url_scheme") in ("https", "wss"))
        self._visit.ledger.store = self
        self.session = sessions.make_session(self._visit.ledger)

    @property
    def answered(self) -> bool:
        """Whether the head has left, or is about to and cannot be changed any more."""
        return self._visit.answered

    def open(self) -> None:
        """Load the session, if the visitor has one.

        Raises:
            PoolUnavailable, SessionBusy: answer 503.
        """
        visit, lifecycle = self._visit, self._lifecycle
        if visit.ticket is None:
            visit.session = self.session
            return
        if lifecycle.needs_turn(visit, self._environ.get("REQUEST_METHOD", ""), _path(self._environ)):
            while (pause := self._run(lifecycle.claim(visit))) is not None:
                time.sleep(pause)
        self._run(lifecycle.load(visit))
        assert isinstance(visit.session, Session)  # noqa: S101 - made by make_session
        self.session = visit.session

    def save(self) -> None:
        """Commit now."""
        self._check()
        self._run(self._lifecycle.save(self._visit))

    def modify(self, key: str, fn: Callable[[Any], Any], default: Any) -> Any:
        """Read, compute and write one key as one step."""
        self._check()
        return self._run(self._lifecycle.modify(self._visit, key, fn, default))

    def commit(self, status: int) -> None:
        """Perform what the request did, and is answered with `status`.

        Nothing, after an unhandled error or for a request that was refused.

        Raises:
            PoolUnavailable, UpdateUnconfirmed, LockLost: answer 503, with no cookie.
            UnstorableValue, SessionTooLarge: nothing was written.
        """
        if not self.failed and not self.refused:
            self._run(self._lifecycle.commit(self._visit, status))

    def fail(self) -> None:
        """The application raised something: nothing of it is saved; changes made after the head had left are told."""
        if self.answered:
            self._debug = False  # one error is enough
        else:
            self.failed = True

    def refuse(self) -> None:
        """The answer is a 503 without a cookie."""
        self._visit.answered = self.refused = True

    def answer(self, headers: Iterable[tuple[str, str]]) -> Texts:
        """The head leaves: what has to be added to its headers. Other requests of the session have their turn."""
        self._give_back()
        if self.refused:
            return []
        there = ((name.lower().encode("latin-1"), value.encode("latin-1", "replace")) for name, value in headers)
        host = self._environ.get("HTTP_HOST", "").encode("latin-1", "replace")
        added = self._lifecycle.answer(self._visit, there, [(b"host", host)])
        return [(name.decode("latin-1").title(), value.decode("latin-1")) for name, value in added]

    def end(self) -> None:
        """The request is over. May be called again; then it does nothing.

        Raises:
            RuntimeError: under `debug`, the session was changed after the head had left and `save()` was not called.
        """
        if self._over:
            return
        self._over = True
        self._give_back()
        if not self.failed and not self.refused and self._lifecycle.forgot(self._visit) and self._debug:
            raise RuntimeError(
                "the session was changed after the response had begun, and the changes are lost: call "
                "session.save() after such changes, or make them before the response's first byte"
            )

    def _check(self) -> None:
        if self.refused:
            raise PoolUnavailable("no memcached node of this session answered: are they running?")

    def _give_back(self) -> None:
        if self._visit.owner is not None:
            self._run(self._lifecycle.end_turn(self._visit))

    def _run(self, plan: Plan[T]) -> T:
        with self._one_at_a_time:
            self._sessions.meet()
            return self._sessions.client.run(plan, deadline=self._lifecycle.deadline(self._visit))


def _path(environ: WSGIEnvironment) -> str:
    raw: str = environ.get("SCRIPT_NAME", "") + environ.get("PATH_INFO", "")
    return raw.encode("latin-1", "replace").decode("utf-8", "replace")
