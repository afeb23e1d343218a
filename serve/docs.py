"""The page of the API, which needs nothing from elsewhere."""
from __future__ import annotations

import html
from typing import Any


def as_page(schema: dict[str, Any]) -> str:
    """Write the schema as a page for people."""
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
