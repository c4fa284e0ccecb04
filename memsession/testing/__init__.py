"""For the tests of those who use memsession: a pool whose nodes can fail, and the session of a test client."""

from memsession.testing.fake_pool import FakePool
from memsession.testing.transaction import SessionTransaction, session_transaction

__all__ = ["FakePool", "SessionTransaction", "session_transaction"]
