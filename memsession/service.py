"""What every adapter keeps for an application: the pool in use, the client that asks it, and the caretaker."""

from collections.abc import Callable
from threading import RLock
from typing import Any, Generic, Protocol, TypeVar

from memsession.caretaker import Caretaker
from memsession.events import Observer, guarded
from memsession.lifecycle import Lifecycle, Placing, Settings, build, pool_of
from memsession.pool import Pool
from memsession.secret import secret_keys


class Client(Protocol):
    """What clients of both kinds have in common."""

    def now_ms(self) -> int:
        """The pool's clock."""
        ...

    def is_up(self, node: str) -> bool:
        """Whether the node is not known to be out."""
        ...

    def adopt(self, pool: Pool) -> None:
        """Ask the nodes of another pool from now on."""
        ...


C = TypeVar("C", bound=Client)
C_co = TypeVar("C_co", bound=Client, covariant=True)


class MakeClient(Protocol[C_co]):
    """A client's class."""

    def __call__(self, pool: Pool, *, observe: Observer | None = None) -> C_co:
        """A client of `pool`."""
        ...


class Service(Generic[C]):
    """See the top of this file. `client` and `caretaker` are the adapter's to start and to stop.

    Raises:
        ConfigurationError: the pool or the secret key is wrong.
    """

    def __init__(self, given: Settings, *, direct: MakeClient[C], in_process: MakeClient[C]) -> None:
        pool = pool_of(given.pool)
        self.placing = Placing(pool)
        self.caretaker = Caretaker(
            pool,
            keys=secret_keys(given.secret_key),
            lifetime=given.lifetime,
            observe=given.observe,
            options=given.upkeep,
        )
        self.node_names = tuple(node.name for node in pool.nodes)
        self._lock = RLock()
        observe = self.caretaker.listening(guarded(given.observe))
        self.client = (in_process if pool.in_process else direct)(pool, observe=observe)

    def lifecycle(self, given: Settings, make_session: Callable[[Any], Any]) -> Lifecycle:
        """A lifecycle by these settings; by these it goes behind the requests as well."""
        self.caretaker.go_by(secret_keys(given.secret_key), given.lifetime)
        return build(
            given,
            placing=self.placing,
            senses=self.client,
            make_session=make_session,
            missed=self.caretaker.missed,
        )

    def reload(self, pool: Pool | str) -> Pool:
        """Put another pool in the place of the one in use, which becomes its `previous`; return it as it is used now.

        May be called from any thread.

        Raises:
            ConfigurationError: the two cannot follow each other; nothing has changed.
        """
        with self._lock:
            succeeding = self.successor(pool)
            self.client.adopt(succeeding)
            self.placing.pool = succeeding
            self.caretaker.adopt(succeeding)
        return succeeding

    def successor(self, pool: Pool | str) -> Pool:
        """What `reload` would put in the place of the pool in use.

        Raises:
            ConfigurationError: the two cannot follow each other.
        """
        return self.placing.successor(pool_of(pool), moved=self.caretaker.has_moved)
