"""`python -m pipeline TARGET`: what the Makefile calls, see pipeline/make.py.

Everything is imported inside a function, so that Ctrl-C during the imports is one line and no traceback.
"""
import sys


def _main() -> int:
    try:
        if sys.argv[1:2] == ["--run"]:  # a command of this project: --run module arguments
            import runpy

            sys.argv = sys.argv[2:]
            runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
            return 0
        from pipeline.make import main

        return main()
    except KeyboardInterrupt:
        print("interrupted: run the same command again to go on", file=sys.stderr)
        return 130


if __name__ == "__main__":
    sys.exit(_main())
