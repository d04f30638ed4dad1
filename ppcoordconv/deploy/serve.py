"""A web service around a Predictor: pictures, points or arrays in, the results of ``infer`` out, as JSON."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import signal
import socket
import time
from functools import partial
from io import BytesIO
from typing import Any, AsyncGenerator, AsyncIterator, Awaitable, Callable, Dict, Iterator, List, Tuple, Union

import numpy as np
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from starlette.datastructures import UploadFile
from starlette.exceptions import HTTPException
from starlette.formparsers import MultiPartException, MultiPartParser
from starlette.requests import ClientDisconnect

from ..data.images import ImageTooLargeError, Preprocess
from ..data.inputs import Prepared, value_or_error
from ..data.preprocessing import preprocess_of
from ..postprocess import SERVED, decoded
from ..utils.errors import UserError
from ..utils.limits import Limits
from .batching import Batcher, QueueFull
from .predictor import Predictor

# An input's name, and what reads it for the network.
Sent = Tuple[str, Callable[[], Prepared]]


class Refused(Exception):  # noqa: N818 - an answer, not an error of this program
    """A request is answered by a status and a sentence."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class _InMemory(MultiPartParser):
    # Larger parts would be written to the disk; a body's size is limited before.
    max_file_size = spool_max_size = 2**40


class Metrics:
    """What ``GET /metrics`` tells, in Prometheus's text format."""

    def __init__(self, batcher: Batcher) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counter("ppcoordconv_requests", "Requests answered", ["status"], registry=self.registry)
        self.seconds = Histogram("ppcoordconv_request_seconds", "From a request to its answer", registry=self.registry)
        self.inputs = Counter("ppcoordconv_inputs", "Inputs that the model has run", registry=self.registry)
        waiting = Gauge("ppcoordconv_waiting_inputs", "Inputs that wait for the model", registry=self.registry)
        waiting.set_function(lambda: batcher.waiting)


def create_app(predictor: Predictor, limits: Limits = Limits()) -> FastAPI:  # noqa: B008 - it is frozen
    """The service, for any ASGI server.

    ``POST /predict`` takes pictures as multipart/form-data, or JSON ``{"inputs": [...]}``: points ``[x, y]`` in pixels,
    or pictures ``[H][W][3]``, whole numbers 0 to 255, as the model takes them. It answers ``{"results": [...]}``, each
    what ``infer`` prints: "input" (the file's name, or the position) and the served form's keys, or "error".
    ``GET /health`` answers once the model can run, ``GET /metrics`` for Prometheus.
    """
    description = predictor.description
    preprocess = preprocess_of(description["preprocess"])
    form = SERVED.build(description["served_form"])

    def run(batch: np.ndarray) -> List[Dict[str, Any]]:
        return decoded(form, predictor(batch), description["labels"])

    batcher = Batcher(run, limits.max_batch, limits.max_wait_ms, predictor.max_concurrency, limits.max_waiting)
    metrics = Metrics(batcher)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with batcher.started():
            yield

    app = FastAPI(title="ppcoordconv", docs_url=None, redoc_url=None, openapi_url=None, lifespan=lifespan)

    async def body(request: Request) -> AsyncGenerator[bytes, None]:
        size, limit = 0, int(limits.max_body_mb * 2**20)
        async for chunk in request.stream():
            size += len(chunk)
            if size > limit:
                raise Refused(413, f"a request has at most {limits.max_body_mb} MiB")
            yield chunk

    async def received(request: Request) -> List[Sent]:
        kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind == "multipart/form-data" and isinstance(preprocess, Preprocess):
            try:
                sent = await _InMemory(request.headers, body(request), max_files=10_000, max_fields=0).parse()
            except (MultiPartException, ValueError, KeyError) as error:  # which of them depends on the version
                reason = getattr(error, "message", error)
                raise Refused(400, f"the multipart body can't be read: {reason}") from error
            files = [file for _, file in sent.multi_items() if isinstance(file, UploadFile)]
            named = [(file.filename or str(number), await file.read()) for number, file in enumerate(files)]
            limit = limits.max_megapixels
            return [(name, partial(preprocess.decode, BytesIO(data), name, limit)) for name, data in named]
        if kind != "application/json":
            pictures = "pictures as multipart/form-data, or " if isinstance(preprocess, Preprocess) else ""
            raise Refused(415, f'this model takes {pictures}JSON, as application/json: {{"inputs": [...]}}')
        text = b"".join([chunk async for chunk in body(request)])
        try:
            inputs = json.loads(text)["inputs"]
        except (ValueError, KeyError, TypeError, RecursionError):
            inputs = None
        if not isinstance(inputs, list):
            raise Refused(400, 'the body takes JSON of the form {"inputs": [...]}')
        return [(str(number), partial(from_json, value)) for number, value in enumerate(inputs)]

    def from_json(value: Any) -> Prepared:
        value = preprocess.from_value(value)
        return preprocess(value), value.shape

    def prepared(sent: List[Sent]) -> List[Union[Prepared, UserError]]:
        ready = [value_or_error(prepare) for _, prepare in sent]
        for one in ready:
            if isinstance(one, ImageTooLargeError):
                raise Refused(413, str(one))
        return ready

    async def result(name: str, ready: Union[Prepared, UserError]) -> Dict[str, Any]:
        if isinstance(ready, UserError):
            return {"input": name, "error": str(ready)}
        x, size = ready
        found = await batcher(x)
        metrics.inputs.inc()
        return {"input": name, **(found if "error" in found else form.to_image(found, preprocess, size))}

    async def answered(sent: List[Sent]) -> List[Dict[str, Any]]:
        if len(sent) > limits.max_waiting:
            raise Refused(413, f"a request has at most {limits.max_waiting} inputs, got {len(sent)}")
        with batcher.reserved(len(sent)):
            ready = await asyncio.to_thread(prepared, sent)
            return list(await asyncio.gather(*(result(name, one) for (name, _), one in zip(sent, ready))))

    @app.post("/predict")
    async def predict(request: Request) -> Response:
        start = time.perf_counter()
        try:
            sent = await _within(limits.timeout, received(request), 408, "the request did not arrive")
            results = await _within(limits.timeout, answered(sent), 503, "the request was not answered")
            response = JSONResponse({"results": results})
        except Refused as refused:
            response = JSONResponse({"error": str(refused)}, refused.status)
            if refused.status in (408, 413):
                # The rest of the body need not be read.
                response.headers["connection"] = "close"
        except QueueFull:
            message = f"{limits.max_waiting} inputs are taken at once, and others wait; try again later"
            response = JSONResponse({"error": message}, 429, {"retry-after": "1"})
        except ClientDisconnect:
            response = JSONResponse({"error": "the client has gone"}, 499)
        except UserError as error:
            response = JSONResponse({"error": str(error)}, 500)
        except Exception:
            logging.getLogger("uvicorn.error").exception("POST /predict")
            response = JSONResponse({"error": "the service failed; its log says why"}, 500)
        metrics.requests.labels(str(response.status_code)).inc()
        metrics.seconds.observe(time.perf_counter() - start)
        return response

    @app.exception_handler(HTTPException)
    async def not_there(request: Request, error: HTTPException) -> Response:
        asked = f"{request.method} {request.url.path}"
        message = f"{asked}: {error.detail}; there are POST /predict, GET /health and GET /metrics"
        return JSONResponse({"error": message}, error.status_code, error.headers)

    @app.get("/health")
    async def health() -> Dict[str, str]:
        return {"status": "ok", "served_form": description["served_form"]}

    @app.get("/metrics")
    async def metrics_text() -> PlainTextResponse:
        return PlainTextResponse(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return app


async def _within(seconds: float, work: Awaitable[Any], status: int, message: str) -> Any:
    try:
        return await asyncio.wait_for(work, seconds)
    except asyncio.TimeoutError:
        raise Refused(status, f"{message} within {seconds} s") from None


def listen(host: str, port: int) -> socket.socket:
    """A socket whose connections send an answer's head and body at once.

    asyncio sees to that for its own sockets alone; with others each answer would wait 40 ms for a client's delayed ACK.
    """
    try:
        listening = socket.create_server((host, port))
    except (OSError, OverflowError) as error:
        raise UserError(f"can't listen on {host}, port {port}: {error}") from error
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


def serve(predictor: Predictor, limits: Limits, host: str, port: int, say: Callable[[str], None]) -> None:
    """Serves until SIGINT or SIGTERM, after which the requests that run are finished.

    Raises:
        UserError: nothing can listen there.
    """
    import uvicorn

    listening = listen(host, port)

    class Server(uvicorn.Server):
        async def startup(self, sockets: Any = None) -> None:
            await super().startup(sockets)
            if self.started:
                say(f"serving on http://{host}:{listening.getsockname()[1]}; Ctrl-C ends it")

        @contextlib.contextmanager
        def capture_signals(self) -> Iterator[None]:
            # uvicorn's own raises the signal again at the end, which would make an orderly end a failure.
            before = {number: signal.signal(number, self.handle_exit) for number in (signal.SIGINT, signal.SIGTERM)}
            try:
                yield
            finally:
                for number, handler in before.items():
                    signal.signal(number, handler)

    config = uvicorn.Config(
        create_app(predictor, limits),
        log_level="warning",
        # A request may take the time to arrive, and again to be answered.
        timeout_graceful_shutdown=int(2 * limits.timeout) + 1,
        # A client that pauses between its requests should not find its connection closed at once.
        timeout_keep_alive=max(5, int(limits.timeout)),
    )
    with listening:
        Server(config).run([listening])
