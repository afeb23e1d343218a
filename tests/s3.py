"""A fixture: a bucket of a local S3 server. tests that want one name s3 and s3_server as theirs."""
import importlib.util
import os
import shutil
import socket
import subprocess
import time
import urllib.request

import pytest

from pipeline import storage

SERVER = os.environ.get("MOTO_SERVER") or shutil.which("moto_server")


@pytest.fixture(scope="session")
def s3_server(tmp_path_factory):
    """Where it listens. moto cannot be installed beside the pinned python-dateutil; for an environment of its own:
    python3 -m venv m && m/bin/pip install 'moto[s3]' flask flask-cors; MOTO_SERVER=m/bin/moto_server."""
    if not SERVER:
        pytest.skip("no moto_server on the PATH or in MOTO_SERVER")
    if not all(map(importlib.util.find_spec, ("fsspec", "pyarrow"))):
        pytest.skip("the extra remote is not installed")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with open(tmp_path_factory.mktemp("s3") / "log", "w") as log:
        server = subprocess.Popen([SERVER, "-p", str(port)], stdout=log, stderr=log)
    try:
        for _ in range(300):
            with socket.socket() as door:
                if not door.connect_ex(("127.0.0.1", port)):
                    break
            assert server.poll() is None, "moto_server ended"
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait()


@pytest.fixture
def s3(s3_server, monkeypatch, request):
    """A folder of a new bucket, as a Remote; the environment leads there."""
    for name, value in (("AWS_ENDPOINT_URL", s3_server), ("AWS_ACCESS_KEY_ID", "x"), ("AWS_SECRET_ACCESS_KEY", "x"),
                        ("AWS_REGION", "us-east-1")):
        monkeypatch.setenv(name, value)
    bucket = f"b{abs(hash(request.node.nodeid))}"
    urllib.request.urlopen(urllib.request.Request(f"{s3_server}/{bucket}", method="PUT")).close()
    storage._filesystem.cache_clear()
    yield storage.Remote("s3", f"{bucket}/folder")
    storage._filesystem.cache_clear()
