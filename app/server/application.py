"""The web application: routes, the WebSocket, the page, and how it starts and stops."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Annotated

from fastapi import FastAPI, Query, Request, Response, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from fastapi.staticfiles import StaticFiles
from livesam.app.server import exchange_routes, routes
from livesam.app.server.connection import Connections
from livesam.app.server.models import Refusal
from livesam.app.server.problems import problem_of
from livesam.app.server.security import Security
from livesam.app.server.studio import Studio
from starlette.exceptions import HTTPException

PAGE = Path(__file__).resolve().parents[1] / "page" / "built"


def make_app(studio: Studio) -> FastAPI:
    """The application of a server; it opens the model when it starts, and closes the studio when it ends."""
    from livesam.engine.models.adapted import program_version

    @contextlib.asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        # Each session may hold a thread for as long as its answer takes; asyncio's own pool has six on two cores.
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(studio.settings.limits.sessions + 8))
        opening = asyncio.create_task(asyncio.to_thread(studio.open))
        try:
            yield
        finally:
            await opening
            await app.state.connections.close()
            await asyncio.to_thread(studio.close)

    app = FastAPI(title="livesam", version=program_version(), lifespan=life, docs_url=None, redoc_url=None)
    app.state.studio, app.state.connections = studio, Connections(studio)
    app.include_router(routes.router)
    app.include_router(exchange_routes.router)
    _add_watching(app, studio)

    @app.websocket("/api/session")
    async def session(
        socket: WebSocket,
        domain: Annotated[str, Query(max_length=1000)] = "default",
        private: Annotated[str | None, Query(max_length=1000)] = None,
    ) -> None:
        await app.state.connections.serve(socket, domain, private)

    if (PAGE / "index.html").is_file():
        app.mount("/", StaticFiles(directory=PAGE, html=True), name="page")
    _add_refusals(app)
    app.add_middleware(Security, settings=studio.settings, metrics=studio.metrics)  # the outermost: it sees all first
    return app


def _add_watching(app: FastAPI, studio: Studio) -> None:
    """What whoever runs the server looks at."""

    @app.get("/healthz")
    def healthz() -> dict[str, str]:
        """The process answers."""
        return {"status": "ok"}

    @app.get("/readyz", responses={503: {"model": Refusal}})
    def readyz() -> JSONResponse:
        """The model is open and warm."""
        if studio.why_not() is not None:
            # Nobody shows a token here, and an exception's words may name what lies on this machine.
            failed = "the model could not be opened: the server's log says why"
            return _refusal(503, "not_ready", failed if studio.has_failed else "the model is being opened")
        return JSONResponse({"status": "ready"})

    @app.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    def metrics() -> Response:
        """Counters in Prometheus' text format."""
        for decoder in studio.decoders():
            decoder.report(studio.metrics)
        return Response(studio.metrics.text(), media_type="text/plain; version=0.0.4; charset=utf-8")


def _add_refusals(app: FastAPI) -> None:
    """Every error in one form, ``{"error": {"code", "message"}}``."""

    @app.exception_handler(RequestValidationError)
    async def not_understood(request: Request, error: RequestValidationError) -> JSONResponse:
        said = "; ".join(f"{'.'.join(str(part) for part in one['loc'])}: {one['msg']}" for one in error.errors())
        return _refusal(422, "bad_request", said[:1000])

    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> JSONResponse:
        code = {404: "not_found", 405: "method_not_allowed"}.get(error.status_code, "refused")
        answer = _refusal(error.status_code, code, str(error.detail))
        answer.headers.update(error.headers or {})
        return answer

    @app.exception_handler(Exception)
    async def failed(request: Request, error: Exception) -> JSONResponse:
        problem = problem_of(error)
        return _refusal(problem.status, problem.code, problem.message)

    for kind in (ValueError, OSError):
        app.add_exception_handler(kind, failed)
    from livesam.engine.values.errors import LivesamError

    app.add_exception_handler(LivesamError, failed)


def _refusal(status: int, code: str, message: str) -> JSONResponse:
    return JSONResponse({"error": {"code": code, "message": message}}, status)
