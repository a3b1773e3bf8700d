"""What checks share that start programs: processes that end with the check, free ports, waiting."""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

DEPLOY = pathlib.Path(__file__).resolve().parent.parent
ROOT = DEPLOY.parent
STAFFING = os.environ.get("STAFFING", str(ROOT / "target/debug/staffing"))
PASSWORD = "s3cret"
# What it says stands behind its name.
CHECK = pathlib.Path(sys.argv[0]).stem


def say(text):
    print(f"{CHECK}: {text}", flush=True)


def fail(text):
    sys.exit(f"{CHECK}: {text}")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def wait(what, condition, seconds=30):
    """Waits until the condition answers something true, and answers that."""
    deadline = time.monotonic() + seconds
    while True:
        try:
            found = condition()
        except (OSError, subprocess.CalledProcessError):
            found = None
        if found:
            return found
        if time.monotonic() > deadline:
            fail(f"in vain for {seconds} s: {what}")
        time.sleep(0.1)


class Place:
    """A temporary folder, and the processes that were started in it. All end with it."""

    def __enter__(self):
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="staleproof-deploy-"))
        self.started = []
        return self

    def __exit__(self, failure, *_):
        for process in self.started:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()
        if failure:
            for log in sorted(self.folder.glob("*.log")):
                print(f"-- {log.name}\n{log.read_text(errors='replace')[-2000:]}", file=sys.stderr)
        shutil.rmtree(self.folder)

    def start(self, name, *command, **environment):
        """Starts a program whose output goes to a file. Variables of this environment that name servers do not count."""
        outside = {key: value for key, value in os.environ.items() if not key.startswith(("REDIS_", "STALEPROOF_", "DATABASE_URL"))}
        with open(self.folder / f"{name}.log", "a") as log:
            process = subprocess.Popen([str(part) for part in command], stdout=log, stderr=log, env=outside | environment)
        self.started.append(process)
        return process

    def redis(self, name, port, **environment):
        """A server as deploy/redis/start starts it, once it answers."""
        directory = self.folder / name
        directory.mkdir(exist_ok=True)
        environment = {"REDIS_PASSWORD": PASSWORD, "REDIS_DIR": str(directory), "REDIS_PORT": str(port)} | environment
        process = self.start(name, DEPLOY / "redis/start", **environment)
        wait(f"{name} is healthy", lambda: healthy(port, **environment))
        return process


def healthy(port, **environment):
    """What a container's health check says."""
    command = [str(DEPLOY / "redis/health"), str(port)]
    quiet = subprocess.DEVNULL
    return subprocess.run(command, env=os.environ | environment, stdout=quiet, stderr=quiet).returncode == 0


def cli(port, *words, tls=None):
    """What a server answers."""
    command = ["redis-cli", "--no-auth-warning", "-p", str(port)]
    command += ["--tls", "--cacert", f"{tls}/ca.crt"] if tls else []
    answer = subprocess.run([*command, *words], env=os.environ | {"REDISCLI_AUTH": PASSWORD}, capture_output=True, text=True, check=True)
    return answer.stdout.strip()


def doctor(url, **environment):
    """What the library's own examination of a Redis says: an empty text if nothing is wrong."""
    answer = subprocess.run([STAFFING, "doctor"], env=os.environ | {"REDIS_URL": url} | environment, capture_output=True, text=True)
    said = (answer.stdout + answer.stderr).strip()
    return "" if answer.returncode == 0 and said.startswith("nothing is wrong with ") else said
