"""A web service around a Predictor: pictures, points or arrays in, the results of ``infer`` out, as JSON."""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import threading
import time
from functools import partial
from io import BytesIO
from typing import Any, AsyncGenerator, AsyncIterator, Awaitable, Callable, Dict, List, Sequence, Tuple, Union

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
from ..data.preprocessing import served_preprocess
from ..postprocess import decoded, served_form_of
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
    form = served_form_of(description)
    preprocess = served_preprocess(description)

    def run(batch: np.ndarray) -> List[Dict[str, Any]]:
        return decoded(form, predictor(batch), description["labels"])

    batcher = Batcher(run, limits.max_batch, limits.max_wait_ms, predictor.max_concurrency, limits.max_waiting)
    metrics = Metrics(batcher)

    @contextlib.asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        async with batcher.started():
            yield

    no_pages: Dict[str, Any] = dict.fromkeys(("docs_url", "redoc_url", "openapi_url"))
    app = FastAPI(title="ppcoordconv", redirect_slashes=False, lifespan=lifespan, **no_pages)

    async def body(request: Request) -> AsyncGenerator[bytes, None]:
        size, limit = 0, int(limits.max_body_mb * 2**20)
        async for chunk in request.stream():
            size += len(chunk)
            if size > limit:
                raise Refused(413, f"a request has at most {limits.max_body_mb} MiB")
            yield chunk

    async def received(request: Request) -> List[Sent]:
        kind, _, parameters = request.headers.get("content-type", "").lower().partition(";")
        kind = kind.strip()
        if kind == "multipart/form-data" and isinstance(preprocess, Preprocess):
            if "charset" in parameters:
                raise Refused(415, "a multipart body takes no charset; names are in UTF-8")
            try:
                sent = await _InMemory(request.headers, body(request), max_files=10_000, max_fields=0).parse()
            except (MultiPartException, ValueError, KeyError) as error:  # which of them depends on the version
                reason = getattr(error, "message", error)
                raise Refused(400, f"the multipart body can't be read as files: {reason}") from error
            files = [file for _, file in sent.multi_items() if isinstance(file, UploadFile)]
            check_count(len(files))
            named = [(file.filename or str(number), await file.read()) for number, file in enumerate(files)]
            limit = limits.max_megapixels
            return [(name, partial(preprocess.decode, BytesIO(data), name, limit)) for name, data in named]
        if kind != "application/json":
            pictures = "pictures as multipart/form-data, or " if isinstance(preprocess, Preprocess) else ""
            raise Refused(415, f'this model takes {pictures}JSON, as application/json: {{"inputs": [...]}}')
        text = b"".join([chunk async for chunk in body(request)])
        inputs = await asyncio.to_thread(inputs_in, text)
        check_count(len(inputs))
        return [(str(number), partial(from_json, value)) for number, value in enumerate(inputs)]

    def check_count(count: int) -> None:
        if count > limits.max_waiting:
            raise Refused(413, f"a request has at most {limits.max_waiting} inputs, got {count}")

    def from_json(value: Any) -> Prepared:
        value = preprocess.from_value(value)
        return preprocess(value), value.shape

    async def result(name: str, ready: Union[Prepared, UserError]) -> Dict[str, Any]:
        if isinstance(ready, UserError):
            return {"input": name, "error": str(ready)}
        x, size = ready
        found = await batcher(x)
        metrics.inputs.inc()
        return {"input": name, **(found if "error" in found else await asyncio.to_thread(placed, found, size))}

    def placed(found: Dict[str, Any], size: Sequence[int]) -> Dict[str, Any]:
        return form.as_plain(form.to_image(found, preprocess, size))

    async def answered(sent: List[Sent]) -> List[Dict[str, Any]]:
        with batcher.reserved(len(sent)):
            is_given_up = threading.Event()
            try:
                ready = await asyncio.to_thread(prepared, sent, is_given_up)
            finally:
                is_given_up.set()
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
        metrics.requests.labels(str(error.status_code)).inc()
        return JSONResponse({"error": message}, error.status_code, error.headers)

    @app.get("/health")
    async def health() -> Dict[str, str]:
        return {"status": "ok", "served_form": description["served_form"]}

    @app.get("/metrics")
    async def metrics_text() -> PlainTextResponse:
        return PlainTextResponse(generate_latest(metrics.registry), media_type=CONTENT_TYPE_LATEST)

    return app


def prepared(sent: List[Sent], is_given_up: threading.Event) -> List[Union[Prepared, UserError]]:
    """What the network takes of each, or what is wrong with it, until it is given up."""
    ready: List[Union[Prepared, UserError]] = []
    for _, prepare in sent:
        if is_given_up.is_set():
            break
        ready.append(one := value_or_error(prepare))
        if isinstance(one, ImageTooLargeError):
            raise Refused(413, str(one))
    return ready


def inputs_in(text: bytes) -> List[Any]:
    """Those of a body ``{"inputs": [...]}``."""
    try:
        # A pixel, "[0,0,0],", and a point, "[1,2],", take so many bytes, and a list of nothing as much memory as they.
        if text.count(b"[") > 16 + len(text) / 5 or text.count(b"{") > 16:
            raise ValueError
        inputs = json.loads(text)["inputs"]
    except (ValueError, KeyError, TypeError, RecursionError):
        inputs = None
    if not isinstance(inputs, list):
        raise Refused(400, 'the body takes JSON of the form {"inputs": [...]}')
    return inputs


async def _within(seconds: float, work: Awaitable[Any], status: int, message: str) -> Any:
    try:
        return await asyncio.wait_for(work, seconds)
    except asyncio.TimeoutError:
        raise Refused(status, f"{message} within {seconds} s") from None
