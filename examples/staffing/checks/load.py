"""Answers and SQL statements with the cache and without, in turn.

  scripts/service load [seconds] [rounds]
"""

import json
import os
import pathlib
import statistics
import sys

import wrk
from service import Place, Service, asked, fail, post, redis_in_memory, say

OWNERS = 40
MIX = pathlib.Path(__file__).with_name("mix.lua")
REPEATED = ("/employees", "/calendar/1", "/api/owners/1/employees", "/api/objects/1/slots")


def owners(place, service):
    """A file with what mix.lua needs: who is logged in, and whom they can book where."""
    lines = []
    for owner in range(1, OWNERS + 1):
        url, cookie = service.urls[0], service.log_in(f"owner-{owner}")
        for place_of_work in asked(f"{url}/api/owners/{owner}/objects", cookie):
            object_id = place_of_work["object"]["id"]
            free = [slot for slot in asked(f"{url}/api/objects/{object_id}/slots", cookie) if slot["taken"] < slot["capacity"]]
            if free:
                break
        else:
            fail(f"owner {owner} has no seat left this week")
        hire = {"object_id": object_id, "name": "Bea Berg", "trade": "cook", "starts_on": "2026-11-02", "hourly_cents": 2000}
        employee = json.load(post(f"{url}/api/contracts", hire, cookie))["employee_id"]
        lines.append(f"{cookie} {owner} {object_id} {free[0]['id']} {employee}\n")
    file = place.folder / "owners"
    file.write_text("".join(lines))
    return file


def measure(service, url, cookie, seconds, **more):
    wrk.run(url, cookie, 1, **more)
    before = service.statements()
    said = wrk.run(url, cookie, seconds, **more)
    said.statements = service.statements() - before
    if said.lost:
        fail(f"{url}: connections were lost")
    return said


def row(name, with_it, without):
    """A line of the table, of the medians of all rounds."""
    def middle(rounds, what):
        return statistics.median(map(what, rounds))

    def pair(what, form):
        one, other = middle(with_it, what), middle(without, what)
        return f"{one:{form}}, {other:{form}}", one, other

    rates, faster, slower = pair(lambda said: said.rate, ",.0f")
    medians, quick, slow = pair(lambda said: said.median, ".2f")
    tails, _, _ = pair(lambda said: said.p99, ".1f")
    sql, _, _ = pair(lambda said: said.statements / said.seconds, ",.0f")
    each, few, many = pair(lambda said: 1000 * said.statements / said.requests, ",.0f")
    print(f"| {name} | {rates}: {faster / slower:.1f} x | {medians}: {1 - quick / slow:.0%} less | {tails} | {sql} | {each}: {1 - few / many:.0%} less |", flush=True)


def main():
    seconds, rounds = (int(sys.argv[place]) if len(sys.argv) > place else default for place, default in ((1, 5), (2, 3)))
    with Place() as place:
        redis = redis_in_memory(place)
        both = [Service(place, name, "--no-limits", *flags, redis=redis) for name, flags in (("with", ()), ("without", ("--no-cache",)))]
        cookie, mixed = both[0].log_in("owner-1"), owners(place, both[0])
        load = os.getloadavg()[0]
        print(f"with the cache, without; {rounds} rounds of {seconds} s; load {load:.1f} before")
        print("| | requests a second | median, ms | p99, ms | SQL statements a second | for 1,000 requests |")
        print("|---|---|---|---|---|---|", flush=True)
        for name in (*REPEATED, "mix"):
            said = ([], [])
            for number in range(rounds):
                for which in (0, 1)[:: 1 if number % 2 else -1]:
                    service = both[which]
                    if name == "mix":
                        more = {"script": MIX, "arguments": (mixed,)}
                        one = measure(service, service.urls[0], None, seconds, **more)
                    else:
                        one = measure(service, service.urls[0] + name, cookie, seconds)
                        if one.refused:
                            fail(f"{name}: {one.refused} answers were no success")
                    said[which].append(one)
            row(name, *said)
            refused = [one.refused / one.requests for rounds_of in said for one in rounds_of]
            if max(refused) > 0:
                say(f"{name}: up to {max(refused):.2%} refused")


main()
