"""`python -m serve.app`: the page and the API, on this machine by default."""
from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path

from classify.models.shipped import SHIPPED
from extract.decoding.media import Limits, set_limits
from pipeline.errors import OptionsError, command
from pipeline.options import add_flags, from_flags
from serve.options import ServeOptions


@command
def main(argv: list[str] | None = None) -> int:
    """Run the command; return its exit status."""
    parser = argparse.ArgumentParser(
        prog="python -m serve.app", description="Judge clips from a browser or a program: a page at /, the API "
        "described at /docs. Uploads are deleted once judged.")
    parser.add_argument("--model", type=Path, default=SHIPPED, help="checkpoint (default: the shipped detector)")
    add_flags(parser, ServeOptions, Limits)
    arguments = parser.parse_args(argv)
    named = os.environ.pop("SERVE_TOKEN", "") or None  # `make serve` names an empty one where none is given
    if named and getattr(arguments, "token", None) is None:
        arguments.token = named
    options = from_flags(ServeOptions, arguments)
    set_limits(from_flags(Limits, arguments))
    try:
        import uvicorn

        from serve.api import make_app
        from serve.connections import Server, allow_descriptors, proxies_of
    except ImportError as error:
        raise OptionsError(f"{error.name} is not installed: pip install -e '.[serve]', or make setup") from None

    app = make_app(arguments.model, options)
    host = f"[{options.host}]" if ":" in options.host else options.host
    print(f"serve: http://{host}:{options.port}/ judges with {arguments.model.name}; Ctrl-C ends it", flush=True)
    allow_descriptors()
    Server(uvicorn.Config(app, host=options.host, port=options.port, log_level="warning", server_header=False,
                          timeout_graceful_shutdown=2, **proxies_of(options)), app.state.desk.close).run()
    return 0


if __name__ == "__main__":
    sys.exit(main())
