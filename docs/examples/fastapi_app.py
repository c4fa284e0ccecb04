import os

from fastapi import FastAPI, Request

from memsession import Pool
from memsession.asgi import SessionMiddleware, session_of

app = FastAPI()
app.add_middleware(
    SessionMiddleware,
    secret_key=os.environ["SECRET_KEY"],
    pool=Pool(os.environ["MEMSESSION_POOL"]),
)


@app.post("/login/{user_id}")
async def login(user_id: int, request: Request) -> dict[str, int]:
    session = session_of(request)
    session["user_id"] = user_id  # the ID is renewed by itself when this key changes
    return {"logins": session.increment("logins")}


@app.post("/cart/{article}")
async def buy(article: str, request: Request) -> dict[str, list[str]]:
    cart = session_of(request).setdefault("cart", {"items": []})
    cart["items"].append(article)  # nested changes are saved, too
    return {"items": cart["items"]}


@app.post("/logout")
async def logout(request: Request) -> dict[str, bool]:
    session_of(request).invalidate()
    return {"bye": True}
