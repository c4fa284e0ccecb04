"""The blocking client: plans run over plain sockets, sent to all nodes first and then read from all."""

from memsession.blocking.client import BlockingClient

__all__ = ["BlockingClient"]
