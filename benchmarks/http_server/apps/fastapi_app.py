"""FastAPI, which binds the body to a pydantic dataclass."""

from fastapi import FastAPI

from http_server.exchange import GREETING, Person, summary
from under_uvicorn import serve

app = FastAPI()


@app.get("/greeting")
async def greeting() -> dict[str, dict[str, object]]:
    """Answer one small JSON value."""
    return {"data": GREETING}


@app.post("/people", status_code=201)
async def add_person(person: Person) -> dict[str, dict[str, object]]:
    """Bind the body, and answer a part of it."""
    return {"data": summary(person)}


if __name__ == "__main__":
    serve(app)
