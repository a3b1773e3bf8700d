"""Asks the API what its description allows and what it does not, as each role: no answer 5xx, none that the description does not have.

  scripts/service api [examples for each operation] [seed]
"""

import json
import os
import re
import subprocess
import sys

from service import Place, Service, asked, fail, say

SCHEMATHESIS = os.environ.get("SCHEMATHESIS", "schemathesis")
WHO = ("owner-7", "employee-223", "manager-1")


# Which known ids an operation is asked with, three times of four; else with whatever its description allows or forbids.
IDS = {"^/owners/": "owners", "^/contracts/": "contracts", "^/objects/": "objects", "^/employees/": "employees", "^/shifts/": "shifts"}
BODIES = {"object_id": "objects", "slot_id": "slots", "employee_id": "employees", "login": "logins"}


def known(url, manager, login):
    """Ids that there are and that concern a user, so that not everything is refused because it is nobody's."""
    role, number = login.split("-")
    owner, employee = (7, 223) if role != "employee" else (None, int(number))
    shifts = asked(f"{url}/employees/{employee}/shifts", manager)
    owner = owner or asked(f"{url}/objects/{shifts[0]['shift']['object_id']}", manager)["owner_id"]
    objects = [line["object"]["id"] for line in asked(f"{url}/owners/{owner}/objects", manager)]
    contracts = [line["contract"] for line in asked(f"{url}/owners/{owner}/contracts", manager)["lines"]]
    if role == "employee":
        objects = sorted({line["shift"]["object_id"] for line in shifts})
    crew = [line["shift"] for object_id in objects for line in asked(f"{url}/objects/{object_id}/shifts", manager)]
    slots = [slot["id"] for object_id in objects for slot in asked(f"{url}/objects/{object_id}/slots", manager)]
    if role == "employee":
        crew = [shift for shift in crew if shift["employee_id"] == employee]
        contracts = [contract for contract in contracts if contract["employee_id"] == employee] or contracts
    return {
        "owners": [owner],
        "objects": objects,
        "contracts": [contract["id"] for contract in contracts],
        "employees": [employee, *(contract["employee_id"] for contract in contracts)][: 1 if role == "employee" else 20],
        "shifts": [shift["id"] for shift in crew],
        "slots": slots,
        "logins": [login],
    }


def configuration(ids):
    lines = []
    for name, values in ids.items():
        lines += [f"[dictionaries.{name}]", f"values = {json.dumps(values[:50])}"]
    lines += ["[parameters]"]
    lines += [f'"body.{field}" = {{ dictionary = "{name}", probability = 0.75 }}' for field, name in BODIES.items()]
    for path, name in IDS.items():
        lines += ["[[operations]]", f'include-path-regex = "{path}"', f'parameters = {{ "path.id" = {{ dictionary = "{name}", probability = 0.75 }} }}']
    return "\n".join(lines)


def check(place, service, login, ids, examples, seed):
    url = f"{service.urls[0]}/api"
    file, log = place.folder / f"{login}.toml", place.folder / f"{login}.txt"
    file.write_text(configuration(ids))
    command = [SCHEMATHESIS, "--config-file", str(file), "run", f"{url}/openapi.json", "--url", url, "--no-color", "--continue-on-failure"]
    command += ["--max-examples", str(examples), "--seed", str(seed), "--exclude-path", "/logout"]
    # Somebody has logged in throughout.
    command += ["-H", f"Cookie: {service.log_in(login)}", "--generation-with-security-parameters", "false"]
    with open(log, "w") as output:
        failed = subprocess.run(command, cwd=place.folder, stdout=output, stderr=subprocess.STDOUT).returncode
    said = log.read_text()
    if failed:
        sys.exit(f"{said}\napi: as {login} the API and its description disagree")
    say(f"as {login}: {re.search('[0-9]+ generated.*', said)[0]}; {re.search('Tested: .*', said)[0].lower()} operations")
    if os.environ.get("WARNINGS"):
        print(said[said.find("= WARNINGS") :])


def main():
    examples = int(sys.argv[1]) if len(sys.argv) > 1 else 100
    seed = int(sys.argv[2]) if len(sys.argv) > 2 else 1
    with Place() as place:
        service = Service(place, "service", "--no-limits")
        url, manager = f"{service.urls[0]}/api", service.log_in("manager-1")
        for login in WHO:
            check(place, service, login, known(url, manager, login), examples, seed)
        if service.processes[0].poll() is not None:
            fail("the service has ended")


main()
