from starlette.websockets import WebSocket

from memsession.asgi import session_of


async def chat(socket: WebSocket) -> None:
    session = session_of(socket)
    session.increment("chats")
    await socket.accept()  # saves, and sets the cookie of a new session
    async for message in socket.iter_text():
        await session.save()  # stores what was changed, and asks whether the session is still good
        if session.ended:
            await socket.close(1008, "You have logged out.")
            return
        session["last_message"] = message
        await socket.send_text(message)
