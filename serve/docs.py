"""The description of the API, and a page of it that needs nothing from elsewhere."""
from __future__ import annotations

import html
from typing import Any

from serve.judgement import STATES
from serve.uploads import MOST_FILES

REFUSALS = {"post": {"400": "the body cannot be read", "403": "another server's page asked", "408": "too slow",
                     "413": "too large", "415": "no clip or picture, or no multipart body",
                     "422": "no file in the body, or too many", "429": "too often, or too many files wait"},
            "get": {"422": "a parameter is missing or wrong"}, "delete": {}}


def described(schema: dict[str, Any], with_token: bool) -> dict[str, Any]:
    """FastAPI's schema with what it cannot know: bodies, judgements, problems, the token."""
    schemas = schema.setdefault("components", {}).setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    schemas["Problem"] = _object(type="string", title="string", status="integer", detail="string")
    schemas["Judgement"] = _object(id="string", url="string", name="string", n_bytes="integer", before="integer",
                                   n_frames="integer")
    schemas["Judgement"]["properties"] |= {"state": {"type": "string", "enum": list(STATES)},
                                           "result": {"type": ["object", "null"]},
                                           "problem": {"anyOf": [_ref("Problem"), {"type": "null"}]},
                                           "faces": {"type": ["string", "null"]},
                                           "sheet": {"type": ["string", "null"]}}
    schemas["Judgements"] = {"type": "object", "required": ["judgements"],
                             "properties": {"judgements": {"type": "array", "items": _ref("Judgement")}}}
    if with_token:
        schema["components"]["securitySchemes"] = {"token": {"type": "http", "scheme": "bearer"}}
    for path, methods in schema["paths"].items():
        for method, route in methods.items():
            _describe(path, method, route, with_token and path != "/healthz")
    return schema


def _describe(path: str, method: str, route: dict[str, Any], with_token: bool) -> None:
    if with_token:
        route["security"] = [{"token": []}]
    refusals = dict(REFUSALS[method]) if path == "/v1/judgements" else {}
    if path.startswith("/v1/judgements") and method != "post":
        refusals["404"] = "no such judgement"
    if path.endswith("/sheet"):
        refusals |= {"409": "the judgement is not done", "410": "the sheet made room for newer ones"}
    if path.endswith("/faces"):
        refusals["409"] = "the judgement is not done"
    if with_token:
        refusals |= {"401": "the token is missing or wrong", "429": "too often"}
    answers = {code: said for code, said in route["responses"].items() if code != "422"}
    answers |= {code: {"description": why, "content": {"application/problem+json": {"schema": _ref("Problem")}}}
                for code, why in refusals.items()}
    many = path == "/v1/judgements"
    if path.endswith("/events"):
        events = {"type": "string", "description": "Server-sent events; the data of each is a Judgement as JSON"}
        answers["200"]["content"] = {"text/event-stream": {"schema": events}}
    elif path.startswith("/v1/judgements") and method != "delete" and not path.endswith(("/sheet", "/faces")):
        good = "202" if method == "post" else "200"
        answers[good]["content"] = {"application/json": {"schema": _ref("Judgements" if many else "Judgement")}}
    if path == "/healthz":
        answers["503"] = {**answers["200"], "description": "The model is being loaded, or cannot be"}
    if method == "post":
        file = {"type": "array", "items": {"type": "string", "format": "binary"}, "minItems": 1,
                "maxItems": MOST_FILES}
        form = {"type": "object", "required": ["file"], "properties": {"file": file}, "additionalProperties": False}
        route["requestBody"] = {"required": True, "content": {"multipart/form-data": {
            "schema": form, "encoding": {"file": {"contentType": "image/png, image/jpeg, video/mp4, video/webm"}}}}}
        answers["202"]["headers"] = {"Location": {"schema": {"type": "string"}}}
    route["responses"] = answers


def _object(**types: str) -> dict[str, Any]:
    return {"type": "object", "required": list(types), "properties": {n: {"type": t} for n, t in types.items()}}


def _ref(name: str) -> dict[str, str]:
    return {"$ref": f"#/components/schemas/{name}"}


def as_page(schema: dict[str, Any]) -> str:
    """The schema for people."""
    rows = []
    for path, methods in schema["paths"].items():
        for method, route in methods.items():
            codes = "".join(f"<li><code>{code}</code> {html.escape(said['description'])}"
                            for code, said in sorted(route["responses"].items()))
            text = html.escape(route.get("description", ""))
            rows.append(f"<section><h2><code>{method.upper()} {html.escape(path)}</code></h2>"
                        f"<p>{html.escape(route['summary'])}. {text}</p><ul>{codes}</ul></section>")
    title = html.escape(schema["info"]["title"])
    return ("<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
            "<title>API</title><link rel=icon href=data:,><link rel=stylesheet href=/page.css>"
            f"<main><h1>API</h1><p>{title} The same for programs: <a href=/openapi.json>openapi.json</a>.</p>"
            f"{''.join(rows)}</main></html>")
