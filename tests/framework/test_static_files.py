"""The files of a folder, over real HTTP."""

import os
from email.utils import formatdate
from pathlib import Path

import httpx
import pytest

from kvik import App, Context
from support import serving

pytestmark = pytest.mark.usefixtures("both_protocols")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "public/sub/.cache").mkdir(parents=True)
    (tmp_path / "public/.git").mkdir()
    (tmp_path / "public/a b.txt").write_text("content")
    (tmp_path / "public/sub/é.css").write_text("css")
    (tmp_path / "public/sub/index.html").write_text("sub's index")
    (tmp_path / "secret.txt").write_text("secret")
    for hidden in (".env", ".git/config", ".git/index.html", "sub/.cache/x"):
        (tmp_path / "public" / hidden).write_text("secret")
    (tmp_path / "public/out.txt").symlink_to(tmp_path / "secret.txt")
    (tmp_path / "public/out").symlink_to(tmp_path)
    (tmp_path / "public/ring").symlink_to("ring")
    (tmp_path / "public/config.txt").symlink_to(tmp_path / "public/.git/config")
    return tmp_path / "public"


async def _get(client: httpx.AsyncClient, path: str, **options: str) -> httpx.Response:
    """Ask for a path as it is, without httpx's tidying."""
    request = client.build_request("GET", "/", headers=options)
    request.url = request.url.copy_with(raw_path=path.encode())
    return await client.send(request)


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/s/a%20b.txt", 200),
        ("/s//a%20b.txt", 200),
        ("/s/sub/%C3%A9.css", 200),
        ("/s/sub/", 200),
        ("/s/sub", 307),
        ("/s/none.txt", 404),
        ("/s/", 404),
        ("/s", 404),
        ("/s/../secret.txt", 404),
        ("/s/%2e%2e/secret.txt", 404),
        ("/s/..%2fsecret.txt", 404),
        ("/s/sub/%2e%2e/%2e%2e/secret.txt", 404),
        ("/s/out.txt", 404),
        ("/s/out/secret.txt", 404),
        ("/s/.env", 404),
        ("/s/%2eenv", 404),
        ("/s/.git/config", 404),
        ("/s/.git", 404),
        ("/s/.git/", 404),
        ("/s/sub/../.git/config", 404),
        ("/s/sub/.cache/x", 404),
        ("/s/sub%2f.cache%2fx", 404),
        ("/s/config.txt", 404),
        ("/s/ring", 404),
        ("/s/%00", 404),
        ("/s/a%20b.txt%00.css", 404),
        ("/s//etc/passwd", 404),
        ("/s/%2fetc/passwd", 404),
        ("/s/" + "x" * 5000, 404),
        ("/s/%ff", 400),
    ],
)
async def test_static_files_stay_in_their_folder(path: str, status: int, folder: Path) -> None:
    """Files of the folder are served with ETag; what leads out of it, or begins with a dot, is a 404."""
    app = App()
    app.add_static_files("/s", folder)
    async with serving(app) as client:
        answer = await _get(client, path)
    assert answer.status_code == status
    assert "secret" not in answer.text
    assert ("etag" in answer.headers) is (status == 200)


async def test_a_folder_is_answered_with_its_index(folder: Path) -> None:
    """`index.html` of the folder itself and of one in it, there with the slash that relative links need."""
    (folder / "index.html").write_text("home")
    app = App()
    app.add_static_files("/", folder)
    async with serving(app) as client:
        assert (await client.get("/")).text == "home"
        assert (await client.get("/sub/")).text == "sub's index"
        moved = await client.get("/sub?a=1")
    assert (moved.status_code, moved.headers["location"]) == (307, f"{client.base_url}/sub/?a=1")


async def test_what_is_not_there_is_answered_with_the_folders_404(folder: Path) -> None:
    """`404.html` has status 404, for hidden files too."""
    (folder / "404.html").write_text("lost?")
    app = App()
    app.add_static_files("/s", folder)
    async with serving(app) as client:
        answers = [await client.get(path) for path in ("/s/none", "/s/.env", "/s/sub/none/", "/none")]
    assert [(answer.status_code, answer.text == "lost?") for answer in answers] == [(404, True)] * 3 + [
        (404, False)
    ]


async def test_a_file_that_the_client_has_is_not_sent_again(folder: Path) -> None:
    """304 by ETag, in any line of If-None-Match, and by If-Modified-Since; the ETag goes first."""
    os.utime(folder / "a b.txt", (1_000_000, 1_000_000))
    app = App()
    app.add_static_files("/s", folder)

    async def status(*headers: tuple[str, str]) -> int:
        answer = await client.get("/s/a b.txt", headers=list(headers))
        assert (answer.content == b"") is (answer.status_code == 304)
        return answer.status_code

    async with serving(app) as client:
        etag = (await client.get("/s/a b.txt")).headers["etag"]
        before, since = formatdate(999_999, usegmt=True), formatdate(1_000_000, usegmt=True)
        assert await status(("If-None-Match", etag)) == 304
        assert await status(("If-None-Match", f'"x", W/{etag}')) == 304
        assert await status(("If-None-Match", '"x"'), ("If-None-Match", etag)) == 304
        assert await status(("If-None-Match", "*")) == 304
        assert await status(("If-Modified-Since", since)) == 304
        assert await status(("If-Modified-Since", before)) == 200
        assert await status(("If-Modified-Since", since), ("If-None-Match", '"x"')) == 200


async def test_head_and_ranges(folder: Path) -> None:
    """HEAD has GET's headers and no body; a part of a file can be asked for."""
    app = App()
    app.add_static_files("/s", folder)
    async with serving(app) as client:
        head = await client.head("/s/a b.txt")
        part = await client.get("/s/a b.txt", headers={"Range": "bytes=1-3"})
        beyond = await client.get("/s/a b.txt", headers={"Range": "bytes=100-"})
    assert (head.status_code, head.headers["content-length"], head.content) == (200, "7", b"")
    assert (part.status_code, part.text, part.headers["content-range"]) == (206, "ont", "bytes 1-3/7")
    assert beyond.status_code == 416


async def test_files_are_read_and_nothing_else(folder: Path) -> None:
    """Other methods are 405; OPTIONS, which browsers ask before, is answered with what there is."""
    app = App()
    app.add_static_files("/s", folder)
    async with serving(app) as client:
        post = await client.post("/s/a b.txt")
        preflight = await client.options(
            "/s/a b.txt", headers={"Origin": "https://a.example", "Access-Control-Request-Method": "GET"}
        )
    assert (post.status_code, post.headers["allow"]) == (405, "GET, HEAD, OPTIONS")
    assert (preflight.status_code, preflight.headers["allow"]) == (200, "GET, HEAD, OPTIONS")
    assert preflight.headers["access-control-allow-origin"] == "*"
    assert preflight.headers["access-control-allow-methods"] == "GET, HEAD, OPTIONS"


async def test_routes_go_before_files(folder: Path) -> None:
    """What a route has is the route's, the folder's own path too; probes are never hidden by a file."""
    (folder / "index.html").write_text("home")
    (folder / "favicon.ico").write_text("icon")
    app = App()
    app.add_static_files("/", folder)

    @app.get("/")
    async def home(_: Context) -> str:
        return "mine"

    @app.post("/sub/")
    async def add(_: Context) -> str:
        return "added"

    async with serving(app) as client:
        assert (await client.get("/")).json() == {"data": "mine"}
        assert (await client.post("/sub")).json() == {"data": "added"}
        assert (await client.get("/sub/")).text == "sub's index"
        assert (await client.get("/.well-known/alive")).json() == {"data": {"status": "UP"}}
        assert (await client.get("/favicon.ico")).text == "icon"


async def test_a_folder_below_a_parameter(folder: Path) -> None:
    """Files can be served below a path with parameters."""
    app = App()
    app.add_static_files("/t/{tenant}/files", folder)
    async with serving(app) as client:
        assert (await client.get("/t/a%2Fb/files/a b.txt")).text == "content"


def test_a_folder_that_is_not_there_is_refused() -> None:
    """A missing folder is told when the app is made, not at the first request."""
    with pytest.raises(ValueError, match="there is no folder 'none'"):
        App().add_static_files("/s", "none")


async def test_the_folder_stays_when_the_program_goes_elsewhere(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A relative folder is one of the working directory when it was added."""
    app = App()
    monkeypatch.chdir(tmp_path)
    app.add_static_files("/s", folder.name)
    monkeypatch.chdir("/")
    async with serving(app) as client:
        assert (await client.get("/s/a b.txt")).text == "content"
