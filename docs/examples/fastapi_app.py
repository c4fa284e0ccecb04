import os

from fastapi import FastAPI

from memsession import Pool
from memsession.asgi import SessionMiddleware
from memsession.fastapi import CurrentSession

app = FastAPI()
app.add_middleware(
    SessionMiddleware,
    secret_key=os.environ["SECRET_KEY"],
    pool=Pool(os.environ["MEMSESSION_POOL"]),
)


@app.post("/login/{user_id}")
async def login(user_id: int, session: CurrentSession) -> dict[str, int]:
    session["user_id"] = user_id  # the ID is renewed by itself when this key changes
    return {"logins": session.increment("logins")}


@app.post("/cart/{article}")
async def buy(article: str, session: CurrentSession) -> dict[str, list[str]]:
    cart = session.setdefault("cart", {"items": []})
    cart["items"].append(article)  # nested changes are saved, too
    return {"items": cart["items"]}


@app.post("/logout")
async def logout(session: CurrentSession) -> dict[str, bool]:
    session.invalidate()
    return {"bye": True}
