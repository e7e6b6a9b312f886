"""Kvik, configured by its environment."""

from kvik import App, Context

app = App()


@app.get("/greeting")
async def greeting(_: Context) -> dict[str, object]:
    """Answer one small JSON value."""
    return {"greeting": "hello", "count": 7}


if __name__ == "__main__":
    app.run()
