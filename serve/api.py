"""The routes: judgements to make, fetch, watch and delete; the model, health, metrics; the page and its files."""
from __future__ import annotations

import asyncio
import contextlib
import errno
import json
from collections import Counter
from pathlib import Path
from typing import Any, AsyncIterator
from urllib.parse import quote

from fastapi import APIRouter, Depends, FastAPI, Query, Request
from fastapi.security import HTTPBearer
from starlette.requests import ClientDisconnect
from starlette.responses import FileResponse, HTMLResponse, PlainTextResponse, Response, StreamingResponse

from serve import answers, problems
from serve.answers import refusals
from serve.counters import as_text
from serve.desk import Desk
from serve.docs import as_page
from serve.guard import FILES, Guard, client_of
from serve.judgement import ENDED, Judgement
from serve.options import ServeOptions
from serve.problems import Problem
from serve.sniff import kinds
from serve.uploads import MOST_FILES, OVERHEAD, Receiver, own_folder, steady

HERE = Path(__file__).parent
HEARTBEAT_S = 15.0       # seconds after which a silent stream of events shows that it lives
UPLOAD_S = 900.0         # seconds that an upload may take
EVENTS = {"text/event-stream": {"schema": {"type": "string"}}}
OF_ALL = {403: "a page of another server asked", 421: "without a token, only names of this machine are answered",
          422: "a parameter is missing or wrong", 500: "internal server error"}
OF_TOKENS = {401: "the token is missing or wrong", 429: "too many wrong tokens; Retry-After says when to go on"}
OF_ONE = {404: "no such judgement: unknown, deleted, or forgotten"}
OF_UPLOADS = {400: "the body cannot be read", 408: "the upload is too slow, or took too long", 413: "too large",
              415: "no clip or picture, or no multipart body", 422: "no file in the body, or too many",
              429: "too many uploads, waiting files or wrong tokens; Retry-After says when to go on",
              507: "the disk is full"}
SHEET_POLICY = "sandbox; default-src 'none'; img-src data:; style-src 'unsafe-inline'; frame-ancestors 'none'"


def shown(desk: Desk, judgement: Judgement) -> dict[str, Any]:
    """Return a judgement as its client sees it."""
    return {"id": judgement.id, "url": f"/v1/judgements/{judgement.id}", "name": judgement.upload.name,
            "n_bytes": judgement.upload.n_bytes, "state": judgement.state,
            "before": desk.place(judgement) if judgement.state == "queued" else 0, "n_frames": judgement.n_frames,
            "result": judgement.result, "problem": judgement.problem,
            "faces": f"/v1/judgements/{judgement.id}/faces" if judgement.state == "done" else None,
            "sheet": f"/v1/judgements/{judgement.id}/sheet" if judgement.sheet else None}


def make_app(model: Path, options: ServeOptions) -> FastAPI:
    """Make the app with its worker, which runs as long as the app. Raises CheckpointError.

    model: path of a checkpoint.
    """
    from classify.models.card import read_card
    from classify.models.shipped import SHIPPED

    card = read_card(model)
    desk, statuses = Desk(model, options), Counter[int]()

    @contextlib.asynccontextmanager
    async def alive(app: FastAPI) -> AsyncIterator[None]:
        with own_folder() as folder:
            app.state.folder = folder
            running, forgetting = asyncio.create_task(desk.run()), asyncio.create_task(desk.forget())
            yield
            forgetting.cancel()
            running.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await running

    app = FastAPI(title="Was the face in this video swapped?", version="1", lifespan=alive, docs_url=None,
                  redoc_url=None)
    app.state.desk = desk
    problems.install(app)
    band = card.get("calibration")
    about = {"model": card["model_id"], "shipped": model == SHIPPED, "demo": bool(card.get("demo")),
             "threshold": card["threshold"], "crop": card.get("crop", "face"), "max_bytes": options.max_bytes,
             "max_files": MOST_FILES, "kinds": kinds(),
             "keep_s": options.keep, "band": [band["low"], band["high"]] if band else None}
    # The guard checks the token before any route; the routes only name it in their description.
    routes = APIRouter(dependencies=[Depends(HTTPBearer(auto_error=False))] if options.token else [],
                       responses=refusals(OF_ALL | OF_TOKENS if options.token else OF_ALL))
    _judgement_routes(routes, desk, options)
    _other_routes(app, routes, desk, about, statuses)
    app.routes.extend(routes.routes)  # included as a router they would hide the methods that a 405 names
    app.add_middleware(Guard, options=options, counted=lambda status: statuses.update([status]))
    return app


def _judgement_routes(app: APIRouter, desk: Desk, options: ServeOptions) -> None:
    @app.post("/v1/judgements", status_code=202, summary="Have one or several files judged",
              response_model=answers.Judgements, openapi_extra={"requestBody": answers.FORM}, responses={
                  202: {"headers": {"Location": {"schema": {"type": "string"}}}}, **refusals(OF_UPLOADS)})
    async def make(request: Request, response: Response) -> dict[str, Any]:
        """The field `file`, once or several times. The answer comes before the judgement: follow its Location."""
        client = client_of(request.scope)
        made = [desk.take(upload, client) for upload in await _received(request, desk, options, client)]
        where = made[0].id if len(made) == 1 else "?" + "&".join(f"id={judgement.id}" for judgement in made)
        response.headers["Location"] = "/v1/judgements" + (where if where.startswith("?") else f"/{where}")
        return {"judgements": [shown(desk, judgement) for judgement in made]}

    @app.get("/v1/judgements", summary="Several judgements at once", response_model=answers.Judgements,
             responses=refusals(OF_ONE))
    async def several(id: list[str] = Query(max_length=MOST_FILES)) -> dict[str, Any]:
        return {"judgements": [shown(desk, desk.get(name)) for name in id]}

    @app.get("/v1/judgements/{id}", summary="State of a judgement and, done, its result",
             response_model=answers.Judgement, responses=refusals(OF_ONE))
    async def one(id: str) -> dict[str, Any]:
        """`result` is the object that `python -m classify.video --json` prints."""
        return shown(desk, desk.get(id))

    @app.delete("/v1/judgements/{id}", status_code=204, responses=refusals(OF_ONE),
                summary="Forget a judgement, cancel it where it has not ended")
    async def delete(id: str) -> Response:
        desk.delete(desk.get(id))
        return Response(status_code=204)

    @app.get("/v1/judgements/{id}/faces", summary="Some of the judged faces, as small pictures",
             response_model=answers.Faces, responses=refusals(OF_ONE | {409: "the judgement is not done"}))
    async def faces(id: str) -> dict[str, Any]:
        """Each has `time_s`, `score`, `where` (which person, if several) and `jpeg`, a data: address."""
        judgement = desk.get(id)
        if judgement.state != "done":
            raise Problem(409, f"no faces: the judgement is {judgement.state}")
        return {"faces": judgement.faces}

    @app.get("/v1/judgements/{id}/sheet", response_class=HTMLResponse, summary="The evidence as one page",
             responses=refusals(OF_ONE | {409: "the judgement is not done", 410: "the sheet made room for newer ones"}))
    async def sheet(id: str) -> Response:
        """What `python -m classify.video --report` writes: one file that asks for nothing outside and runs nothing."""
        judgement = desk.get(id)
        if judgement.state != "done":
            raise Problem(409, f"no sheet: the judgement is {judgement.state}")
        if not judgement.sheet:
            raise Problem(410, "the sheet was deleted to make room for newer ones")
        name = quote(f"{Path(judgement.upload.name).stem}-sheet.html", safe="")
        return HTMLResponse(judgement.sheet.read_bytes(), headers={
            "content-disposition": f"inline; filename*=utf-8''{name}", "content-security-policy": SHEET_POLICY})

    @app.get("/v1/judgements/{id}/events", summary="The judgement again at each change, as server-sent events",
             response_class=StreamingResponse, responses={200: {"content": EVENTS}, **refusals(OF_ONE)})
    async def events(id: str) -> Response:
        """The data of each event is a Judgement as JSON."""
        judgement = desk.get(id)

        async def changes() -> AsyncIterator[str]:
            while True:
                changed = judgement.changed
                yield f"event: state\ndata: {json.dumps(shown(desk, judgement))}\n\n"
                if judgement.state in ENDED or desk.is_closing:
                    return
                while judgement.changed is changed:
                    try:
                        await asyncio.wait_for(changed.wait(), HEARTBEAT_S)
                    except TimeoutError:
                        yield ": still here\n\n"

        return StreamingResponse(changes(), media_type="text/event-stream")


async def _received(request: Request, desk: Desk, options: ServeOptions, client: str) -> list[Any]:
    """Receive the files of a body; the desk deletes them later. If a Problem is raised, they are deleted here."""
    admitted = 0

    def admit() -> None:
        nonlocal admitted
        desk.admit(client)
        admitted += 1

    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > options.max_bytes + OVERHEAD:
        raise Problem(413, f"upload exceeds {options.max_mb:g} MB", Connection="close")
    receiver = Receiver(request.headers.get("content-type", ""), request.app.state.folder, options.max_bytes, admit)
    try:
        async with asyncio.timeout(UPLOAD_S):
            return await receiver.receive(steady(request.stream(), options.least_kbytes_s * 1000))
    except TimeoutError:
        receiver.discard()
        raise Problem(408, f"the upload took longer than {UPLOAD_S:g} s", Connection="close") from None
    except OSError as error:
        receiver.discard()
        if error.errno not in (errno.ENOSPC, errno.EDQUOT):
            raise
        raise Problem(507, "the server's disk is full: try again later, or tell whoever runs it", Connection="close"
                      ) from None
    except ClientDisconnect:
        receiver.discard()
        raise Problem(400, "the client closed the connection during the upload") from None
    except BaseException:
        receiver.discard()
        raise
    finally:
        desk.leave(client, admitted)


def _other_routes(app: FastAPI, routes: APIRouter, desk: Desk, about: dict[str, Any], statuses: Counter[int]) -> None:
    @routes.get("/v1/model", summary="The model that judges, and what may be sent", response_model=answers.Model)
    async def model() -> dict[str, Any]:
        return about

    @app.get("/healthz", summary="200 when files can be judged, else 503", response_model=answers.Health, responses={
        503: {"model": answers.Health, "description": "The model is being loaded, or cannot be"}})
    async def health(response: Response) -> dict[str, Any]:
        state = "ready" if desk.ready.is_set() else "broken" if desk.broken else "starting"
        response.status_code = 200 if state == "ready" else 503
        return {"state": state}

    @routes.get("/metrics", response_class=PlainTextResponse, summary="Counters for Prometheus")
    async def metrics() -> Response:
        return Response(as_text(desk, statuses), media_type="text/plain; version=0.0.4; charset=utf-8")

    @app.get("/docs", include_in_schema=False)
    async def docs() -> Response:
        return HTMLResponse(as_page(app.openapi()))

    app.add_api_route("/", _file(HERE / "page.html"), include_in_schema=False)
    for name in FILES:
        app.add_api_route(f"/{name}", _file(HERE / name), include_in_schema=False)


def _file(path: Path) -> Any:
    async def send() -> Response:
        return FileResponse(path)

    return send
