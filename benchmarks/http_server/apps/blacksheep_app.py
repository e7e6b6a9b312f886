"""BlackSheep, which binds the body to a dataclass."""

from blacksheep import Application, FromJSON, Response, json

from http_server.exchange import GREETING, Person, summary
from under_uvicorn import serve

app = Application()


@app.router.get("/greeting")
async def greeting() -> Response:
    """Answer one small JSON value."""
    return json({"data": GREETING})


@app.router.post("/people")
async def add_person(person: FromJSON[Person]) -> Response:
    """Bind the body, and answer a part of it."""
    return json({"data": summary(person.value)}, status=201)


if __name__ == "__main__":
    serve(app)
