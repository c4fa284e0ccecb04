"""The asyncio client: plans run over one shared, pipelined connection to each node."""

from memsession.aio.client import AsyncClient

__all__ = ["AsyncClient"]
