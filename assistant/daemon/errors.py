"""How errors look over HTTP: the OpenAI shape, with the Korean message that people read."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from assistant.errors import (
    AudioError,
    BusyError,
    DamsoError,
    DiskFullError,
    DocumentError,
    DocumentNotFoundError,
    DocumentTooLargeError,
    MessageError,
    MessageTooLongError,
    ToolError,
    TrafficError,
    UnsupportedFormatError,
)

# The first class that fits decides, so that subclasses come before their parents.
_STATUSES: tuple[tuple[type[DamsoError], int], ...] = (
    (BusyError, 429),
    (DocumentNotFoundError, 404),
    (DocumentTooLargeError, 413),
    (MessageTooLongError, 413),
    (UnsupportedFormatError, 415),
    (DocumentError, 422),
    (ToolError, 422),
    (AudioError, 422),
    (TrafficError, 422),
    (MessageError, 400),
    (DiskFullError, 507),
)
_HTTP_MESSAGES = {404: "그런 주소는 없어요.", 405: "이 주소에는 그 방법으로 요청할 수 없어요."}
RETRY_SECONDS = 5


def error_body(message: str, code: str, status: int) -> dict[str, Any]:
    """The OpenAI error object.

    Args:
        message: Korean text for people.
        code: short machine-readable name.
        status: HTTP status, which decides the error's type.
    """
    kind = "invalid_request_error" if status < 500 else "server_error"
    return {"error": {"message": message, "type": kind, "code": code, "param": None}}


def status_of(error: DamsoError) -> int:
    """The HTTP status of an error; 500 for those that are nobody's request's fault."""
    return next((status for kind, status in _STATUSES if isinstance(error, kind)), 500)


def damso_error_body(error: DamsoError) -> dict[str, Any]:
    """The OpenAI error object of one of our errors; its code is the class's name."""
    return error_body(str(error), type(error).__name__, status_of(error))


def install_error_handlers(app: FastAPI) -> None:
    """Make every error of the application answer in one shape."""
    app.add_exception_handler(DamsoError, _on_damso_error)
    app.add_exception_handler(RequestValidationError, _on_invalid)
    app.add_exception_handler(HTTPException, _on_http_error)
    app.add_exception_handler(Exception, _on_fault)


def _on_damso_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, DamsoError)
    status = status_of(error)
    headers = {"Retry-After": str(RETRY_SECONDS)} if status == 429 else None
    return JSONResponse(damso_error_body(error), status, headers)


def _on_invalid(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)
    places = sorted({".".join(map(str, fault["loc"])) for fault in error.errors()})
    message = f"요청의 모양이 맞지 않아요. 고칠 곳: {', '.join(places)}"
    return JSONResponse(error_body(message, "invalid_request", 400), 400)


def _on_http_error(_: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    message = _HTTP_MESSAGES.get(error.status_code, "요청을 처리할 수 없어요.")
    return JSONResponse(
        error_body(message, f"http_{error.status_code}", error.status_code), error.status_code, error.headers
    )


def _on_fault(_: Request, __: Exception) -> JSONResponse:
    message = "담소 안에서 문제가 생겼어요. 다시 해 보시고, 계속되면 damso doctor로 살펴봐 주세요."
    return JSONResponse(error_body(message, "internal_error", 500), 500)
