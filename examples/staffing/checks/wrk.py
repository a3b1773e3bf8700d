"""wrk, and what it says."""

import re
import subprocess

MILLISECONDS = {"us": 0.001, "ms": 1.0, "s": 1000.0, "m": 60_000.0}


def command(url, cookie, seconds, connections=16, script=None, arguments=()):
    words = ["wrk", "--threads", "1", "--connections", str(connections), "--duration", f"{seconds}s", "--latency"]
    words += ["--header", f"Cookie: {cookie}"] if cookie else []
    words += ["--script", str(script)] if script else []
    return [*words, url, *(["--", *map(str, arguments)] if arguments else [])]


class Said:
    """Requests, how many a second, times in milliseconds, and how many were not answered well."""

    def __init__(self, text):
        found = re.search(r"(\d+) requests in ([\d.]+)(m|s)", text)
        if not found:
            raise ValueError(text)
        self.requests = int(found[1])
        self.seconds = float(found[2]) * (60 if found[3] == "m" else 1)
        self.rate = float(re.search(r"Requests/sec:\s+([\d.]+)", text)[1])
        times = {share: float(time) * MILLISECONDS[unit] for share, time, unit in re.findall(r"(\d+)%\s+([\d.]+)(us|ms|s|m)", text)}
        self.median, self.p99 = times["50"], times["99"]
        refused = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
        self.refused = int(refused[1]) if refused else 0
        lost = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
        self.lost = sum(map(int, lost.groups())) if lost else 0


def run(*arguments, **more):
    answer = subprocess.run(command(*arguments, **more), capture_output=True, text=True, check=True)
    return Said(answer.stdout)
