"""How many requests of one owner two instances let pass while both are asked as fast as they can, beside the quota.

  scripts/service limits [minutes]
"""

import subprocess
import sys

import wrk
from service import Place, Service, fail, say

QUOTA = 200
BOUND = 0.02


def main():
    minutes = int(sys.argv[1]) if len(sys.argv) > 1 else 2
    with Place() as place:
        service = Service(place, "service", instances=2)
        cookie = service.log_in("owner-7")
        # Two seconds less: a window that begins with the first request ends after this.
        seconds = 60 * minutes - 2
        both = [subprocess.Popen(wrk.command(f"{url}/api/me", cookie, seconds), stdout=subprocess.PIPE, text=True) for url in service.urls]
        said = [wrk.Said(process.communicate()[0]) for process in both]
    if any(one.lost for one in said):
        fail("connections were lost")
    asked, passed = sum(one.requests for one in said), sum(one.requests - one.refused for one in said)
    error = passed / (QUOTA * minutes) - 1
    each = " and ".join(f"{one.requests - one.refused}" for one in said)
    say(f"{asked} requests in {seconds} s, {sum(one.rate for one in said):.0f} a second; {passed} passed ({each}) of {QUOTA * minutes}: {error:+.1%}")
    if abs(error) > BOUND:
        fail(f"more than {BOUND:.0%} off")


main()
