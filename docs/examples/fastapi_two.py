from typing import Annotated

from fastapi import Depends

from memsession import AsyncSession
from memsession.fastapi import session_under

AdminSession = Annotated[AsyncSession, Depends(session_under("admin_session"))]
