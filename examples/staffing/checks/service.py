"""The web service as a check starts it: instances on one Redis of their own and one database, and users who log in."""

import json
import os
import pathlib
import re
import socket
import sys
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[3]
sys.path.insert(0, str(ROOT / "deploy/tests"))
from common import Place, fail, free_port, say, wait  # noqa: E402,F401

# The build that is checked. Figures are taken of a release build.
PROGRAM = os.environ.get("STAFFING", str(ROOT / "target/debug/staffing"))


class Service:
    """Instances with the same flags, at `urls`, on a Redis in memory and the database of DATABASE_URL, or else a file of SQLite."""

    def __init__(self, place, name, *flags, instances=1, redis=None, database=None):
        redis = redis or redis_in_memory(place)
        database = database or os.environ.get("DATABASE_URL") or f"sqlite:{place.folder / 'staffing.sqlite'}"
        self.logs, self.urls, self.processes = [], [], []
        for number in range(instances):
            port, log = free_port(), place.folder / f"{name}-{number}.log"
            command = [PROGRAM, "serve", "--listen", f"127.0.0.1:{port}", "--redis", redis, "--database", database]
            process = place.start(log.stem, *command, *flags, RUST_LOG="warn")
            wait(f"{log.stem} listens", lambda: "listens" in log.read_text() or gone(process, log), seconds=120)
            self.processes.append(process)
            self.logs.append(log)
            self.urls.append(f"http://127.0.0.1:{port}")

    def log_in(self, login, instance=0):
        """A session's cookie."""
        post(f"{self.urls[instance]}/api/login/code", {"login": login})
        sent = re.compile(rf"^code      {re.escape(login)} (\S+)$", re.MULTILINE)
        log = self.logs[instance]
        code = wait(f"a code for {login}", lambda: sent.findall(log.read_text()))[-1]
        answer = post(f"{self.urls[instance]}/api/login", {"login": login, "code": code})
        return answer.headers["set-cookie"].split(";")[0]

    def statements(self, instance=0):
        """How many SQL statements an instance has run."""
        with urllib.request.urlopen(f"{self.urls[instance]}/metrics") as page:
            return int(re.search(rb"^staffing_sql_statements_total (\d+)$", page.read(), re.MULTILINE)[1])


def redis_in_memory(place):
    """The URL of a Redis without files."""
    port = free_port()
    place.start(f"redis-{port}", "redis-server", "--port", port, "--bind", "127.0.0.1", "--save", "", "--dir", place.folder)
    wait("Redis answers", lambda: socket.create_connection(("127.0.0.1", port)))
    return f"redis://127.0.0.1:{port}"


def gone(process, log):
    if process.poll() is not None:
        fail(f"{log.stem} has ended: {log.read_text()[-1000:]}")


def post(url, body, cookie=""):
    request = urllib.request.Request(url, json.dumps(body).encode(), {"content-type": "application/json", "cookie": cookie})
    return urllib.request.urlopen(request)


def asked(url, cookie):
    with urllib.request.urlopen(urllib.request.Request(url, headers={"cookie": cookie})) as answer:
        return json.load(answer)
