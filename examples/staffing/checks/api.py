"""Asks the API what its description allows and what it does not, as each role: no answer 5xx, none that the description does not have.

  scripts/service api [examples for each operation] [seed]
"""

import os
import subprocess
import sys

from service import Place, Service, fail, say

SCHEMATHESIS = os.environ.get("SCHEMATHESIS", "schemathesis")
WHO = ("owner-7", "employee-223", "manager-1")


def check(place, service, login, examples, seed):
    url = f"{service.urls[0]}/api"
    command = [SCHEMATHESIS, "run", f"{url}/openapi.json", "--url", url, "--no-color", "--continue-on-failure", "--workers", "2"]
    command += ["--max-examples", str(examples), "--seed", str(seed), "--exclude-path", "/logout"]
    # Without the cookie is another client's test: here somebody has logged in.
    command += ["-H", f"Cookie: {service.log_in(login)}", "--generation-with-security-parameters", "false"]
    log = place.folder / f"schemathesis-{login}.txt"
    with open(log, "w") as output:
        failed = subprocess.run(command, cwd=place.folder, stdout=output, stderr=subprocess.STDOUT).returncode
    said = log.read_text()
    if failed:
        sys.exit(f"{said}\napi: as {login} the API and its description disagree")
    counted = [line.strip() for line in said.splitlines() if "generated" in line or "operations" in line.lower() or "cases" in line]
    say(f"as {login}: {'; '.join(counted[-4:])}")


def main():
    examples = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    with Place() as place:
        service = Service(place, "service", "--no-limits")
        for login in WHO:
            check(place, service, login, examples, seed)
        if service.processes[0].poll() is not None:
            fail("the service has ended")


main()
