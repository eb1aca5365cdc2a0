"""The Serve application: the same answers as the network itself, and none without the token."""

import asyncio
import json
import socket
import urllib.error
import urllib.request

import numpy as np
import pytest

from raynas.service.predictor import Predictor
from raynas.tables import InputError

TOKEN = "a token of some length"


@pytest.fixture(scope="module")
def home(tmp_path_factory, ray_here):
    import raynas

    folder = tmp_path_factory.mktemp("runs")
    raynas.search(
        "genome_cnn", data="fashion_mnist_mini", trials=1, epochs=1, limits="flops <= 2e6", name="one", home=folder,
        progress=False,
    )  # fmt: skip
    return folder


@pytest.fixture(scope="module")
def images():
    from raynas.data import load

    return load("fashion_mnist_mini").validation.images[:8]


def test_predictions_are_the_networks(home, images):
    import torch

    import raynas
    from raynas.data import load

    data = load("fashion_mnist_mini")
    network = raynas.model(raynas.open(home / "one"))
    batch = torch.from_numpy((images.astype("float32") - data.mean.astype("float32")) / data.std.astype("float32"))
    with torch.no_grad():
        expected = network(batch.permute(0, 3, 1, 2)).softmax(dim=1).numpy()
    found = Predictor("one", home)(images.tolist())
    assert np.allclose(found.probabilities, expected, atol=1e-5)
    assert len(found.classes) == 10
    grey = Predictor("one", home)(images[..., 0].tolist())
    assert np.allclose(grey.probabilities, found.probabilities, atol=1e-5)


@pytest.mark.parametrize(
    "bad", [[], [1, 2], [[[1.0] * 28] * 27], [[["x"] * 28] * 28], [[[1.0] * 28, [1.0]]], [[[float("nan")] * 28] * 28]]
)
def test_what_is_no_image_is_refused(home, bad):
    with pytest.raises(InputError, match=r"images are \(N, 28, 28, 1\) or \(N, 28, 28\)"):
        Predictor("one", home)(bad)


def test_no_start_without_a_token(monkeypatch):
    pytest.importorskip("fastapi")
    from raynas.service.serve import token

    for value in ("", "  ", "short"):
        monkeypatch.setenv("RAYNAS_SERVE_TOKEN", value)
        with pytest.raises(InputError, match="RAYNAS_SERVE_TOKEN"):
            token()


BEARER = {b"authorization": f"Bearer {TOKEN}".encode(), b"content-type": b"application/json"}


def ask(application, chunks, headers=BEARER, path="/predict"):
    """The status and answer of an ASGI application, and how many of the body's `chunks` it read."""
    rest, sent = list(chunks), []

    async def receive():
        return {"type": "http.request", "body": rest.pop(0), "more_body": bool(rest)}

    async def send(message):
        sent.append(message)

    scope = {"type": "http", "method": "POST", "path": path, "query_string": b"", "headers": list(headers.items())}
    asyncio.run(application(scope, receive, send))
    return sent[0]["status"], json.loads(sent[1]["body"]), len(chunks) - len(rest)


@pytest.fixture
def guarded(monkeypatch):
    """An application with the body of the real one behind its guard; 1000 bytes are too many."""
    fastapi = pytest.importorskip("fastapi")
    from raynas.service.guard import Guard
    from raynas.service.serve import Images

    application = fastapi.FastAPI()
    application.add_middleware(Guard, token=lambda: TOKEN, largest=999)

    @application.post("/predict")
    def count(body: Images):
        return len(body.images)

    return application


OTHERS = ["", TOKEN, "Bearer wrong", f"Basic {TOKEN}", f"bearer {TOKEN}", f"Bearer {TOKEN}x", "Bearer "]


@pytest.mark.parametrize("authorization", [None, *OTHERS])
def test_without_the_token_nothing_is_read(authorization, monkeypatch):
    pytest.importorskip("fastapi")
    from raynas.service.serve import web

    monkeypatch.setenv("RAYNAS_SERVE_TOKEN", TOKEN)
    headers = {} if authorization is None else {b"authorization": authorization.encode()}
    for body in (b"{bad", b'{"images": []}', b"0" * 100):
        for path in ("/predict", "/elsewhere"):
            status, answer, read = ask(web, [body, body], headers, path)
            assert (status, read) == (401, 0)
            assert "carry the token" in answer["detail"]


def test_with_the_token_a_body_is_read_as_far_as_it_may_be(guarded):
    body = b'{"images": [[1], [2], [3]]}'
    assert ask(guarded, [body]) == (200, 3, 1)
    assert ask(guarded, [body[:9], body[9:]]) == (200, 3, 2)
    assert ask(guarded, [body + b" " * (999 - len(body))])[:2] == (200, 3)
    for bad in (b"{bad", b'{"images": []}', b'{"images": 1}', b"{}", b"[" * 900):
        assert ask(guarded, [bad])[0] in (400, 422)


def test_a_body_too_large_is_not_read_to_its_end(guarded):
    pieces = [b'{"images": [', b"[1]," * 200, b"[1]," * 200, b"[1]," * 200, b"[1]]}"]
    status, answer, read = ask(guarded, pieces)
    assert (status, read) == (413, 3)
    assert "at most; send fewer images at once" in answer["detail"]
    assert ask(guarded, pieces, {**BEARER, b"content-length": b"1000"})[::2] == (413, 0)
    assert ask(guarded, [b'{"images": [1]}'], {**BEARER, b"content-length": b"999"})[0] == 200


def test_the_application_bounds_a_request(monkeypatch):
    pytest.importorskip("fastapi")
    from raynas.service.guard import LARGEST_MB
    from raynas.service.serve import web

    monkeypatch.setenv("RAYNAS_SERVE_TOKEN", TOKEN)
    largest = str(LARGEST_MB * 2**20 + 1).encode()
    assert ask(web, [b"{}"], {**BEARER, b"content-length": largest})[::2] == (413, 0)


@pytest.fixture(scope="module")
def address(home):
    """The application, really served by the Ray of the tests, on a free port of loopback."""
    pytest.importorskip("fastapi")
    from ray import serve

    from raynas.service.serve import Predictor as Deployment

    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = {"RAYNAS_SERVE_MODEL": "one", "RAYNAS_SERVE_TOKEN": TOKEN, "RAYNAS_HOME": str(home)}
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    bound = Deployment.options(ray_actor_options={"num_cpus": 0.1, "runtime_env": {"env_vars": settings}}).bind()
    serve.run(bound, route_prefix="/")
    yield f"http://127.0.0.1:{port}"
    serve.shutdown()


def post(url, body, authorization=f"Bearer {TOKEN}"):
    headers = {"Content-Type": "application/json", "Authorization": authorization}
    request = urllib.request.Request(url, json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)


@pytest.mark.slow
def test_served(address, home, images):
    status, answer = post(f"{address}/predict", {"images": images.tolist()})
    assert status == 200
    assert np.allclose(answer["probabilities"], Predictor("one", home)(images.tolist()).probabilities, atol=1e-5)
    for authorization in OTHERS:
        assert post(f"{address}/predict", {"images": images.tolist()}, authorization)[0] == 401
    for body in ({"images": []}, {"images": [[1]]}, {}, {"images": [[[0.0] * 28] * 28] * 1025}):
        assert post(f"{address}/predict", body)[0] == 422
    too_large = urllib.request.Request(
        f"{address}/predict",
        iter([b'{"images": [', *[b"[1]," * 2**18] * 40]),  # 40 MiB of which nobody knows before
        {"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"},
    )
    with pytest.raises(urllib.error.HTTPError, match="413"):
        urllib.request.urlopen(too_large, timeout=60)
