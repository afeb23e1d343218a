"""What goes wrong, as application/problem+json (RFC 9457)."""
from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.routing import Match


class Problem(Exception):
    """A request that is refused. status: of HTTP. detail: what, and what to do. headers: of the answer."""

    def __init__(self, status: int, detail: str, **headers: str):
        super().__init__(detail)
        self.status, self.detail = status, detail
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


def as_problem(status: int, detail: str) -> dict[str, Any]:
    """Return a problem as the object of application/problem+json (RFC 9457)."""
    return {"type": "about:blank", "title": HTTPStatus(status).phrase, "status": status, "detail": detail}


def answer(problem: Problem) -> JSONResponse:
    """Return the response for a problem."""
    return JSONResponse(as_problem(problem.status, problem.detail), problem.status, problem.headers,
                        "application/problem+json")


def install(app: FastAPI) -> None:
    """Every error of the app leaves as a problem; an internal error says nothing of its cause."""

    async def refused(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, Problem)
        return answer(error)

    async def unknown(request: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, HTTPException)
        headers = dict(error.headers or {})
        if error.status_code == 405:  # starlette names the methods of the first route with this path only
            headers["Allow"] = ", ".join(sorted({method for route in request.app.routes for method in route.methods
                                                 if route.matches(request.scope)[0] is not Match.NONE}))
        return answer(Problem(error.status_code, str(error.detail), **headers))

    async def invalid(_: Request, error: Exception) -> JSONResponse:
        assert isinstance(error, RequestValidationError)
        said = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        return answer(Problem(422, said))

    async def bug(_: Request, __: Exception) -> JSONResponse:
        return answer(Problem(500, "internal server error; see the log"))

    app.add_exception_handler(Problem, refused)
    app.add_exception_handler(HTTPException, unknown)
    app.add_exception_handler(RequestValidationError, invalid)
    app.add_exception_handler(Exception, bug)
