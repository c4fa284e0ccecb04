"""A process with a caretaker and nothing else; it prints what it tells, and ends when told to. argv: the pool."""

import sys
from datetime import timedelta

from memsession import Lifetime, Pool
from memsession.caretaker import Caretaker
from memsession.secret import secret_keys
from memsession.upkeep import Upkeep, keeper, lease, pace
from tests.web import SECRET


def tell(event: object) -> None:
    print(type(event).__name__, getattr(event, "node", ""), flush=True)


keeper.TICK_S, lease.RENEW_S, lease.LEASE_S, pace.AGAIN_S = 0.02, 0.1, 3.0, 0.1
pool = Pool(sys.argv[1], timeout=timedelta(milliseconds=250))
caretaker = Caretaker(pool, keys=secret_keys(SECRET), lifetime=Lifetime(), observe=tell, options=Upkeep())
caretaker.start()
print("http://127.0.0.1:1", flush=True)
sys.stdin.readline()
