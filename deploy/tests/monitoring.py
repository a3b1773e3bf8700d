"""A real Prometheus asks two instances of staffing under load, one of its web service, and a real Redis that is stopped, killed and too small. Then every query of the
dashboard and every rule has to answer with data.

What is shipped is what runs: only addresses and intervals are replaced.
"""

import json
import re
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

from common import DEPLOY, PASSWORD, ROOT, STAFFING, Place, doctor, fail, free_port, say, wait

sys.path.insert(0, str(ROOT / "examples/staffing/checks"))
from service import Service, post  # noqa: E402

# For every `rate` there are then several samples.
INTERVAL = "1s"
RATE_INTERVAL = "10s"
RANGE = "2m"


class Prometheus:
    def __init__(self, port):
        self.base = f"http://127.0.0.1:{port}"

    def get(self, path, **arguments):
        with urllib.request.urlopen(f"{self.base}{path}?{urllib.parse.urlencode(arguments)}", timeout=10) as answer:
            return json.load(answer)["data"]

    def samples(self, query):
        """The values of a query that are numbers."""
        try:
            found = self.get("/api/v1/query", query=query)["result"]
        except urllib.error.HTTPError as error:
            fail(f"Prometheus refuses {query!r}: {json.load(error)['error']}")
        return [float(sample["value"][1]) for sample in found if sample["value"][1] != "NaN"]

    def value(self, query):
        return max(self.samples(query), default=0.0)


def configuration(folder, ports):
    """The shipped configuration, with the addresses of this check."""
    text = (DEPLOY / "prometheus/prometheus.yml").read_text()
    targets = (DEPLOY / "prometheus/targets/redis.yml").read_text()
    (folder / "redis.yml").write_text(replaced(targets, {"redis://redis:6379": f"redis://127.0.0.1:{ports['redis']}"}))
    instances = ", ".join(f'"127.0.0.1:{ports[name]}"' for name in ("first", "second", "web"))
    text = replaced(
        text,
        {
            "dns_sd_configs: [{ names: [staffing], type: A, port: 9464, refresh_interval: 10s }]": f"static_configs: [{{ targets: [{instances}] }}]",
            "/etc/targets/redis.yml": str(folder / "redis.yml"),
            "redis-exporter:9121": f"127.0.0.1:{ports['exporter']}",
            '"127.0.0.1:9090"': f'"127.0.0.1:{ports["prometheus"]}"',
            "rules/*.yml": str(DEPLOY / "prometheus/rules/*.yml"),
            "_interval: 15s": f"_interval: {INTERVAL}",
        },
    )
    (folder / "prometheus.yml").write_text(text)
    return folder / "prometheus.yml"


def replaced(text, pairs):
    for old, new in pairs.items():
        if old not in text:
            fail(f"{old!r} is not in the shipped file: this check has to know what is")
        text = text.replace(old, new)
    return text


def start_all(place, ports):
    redis = place.redis("redis", ports["redis"], REDIS_MAXMEMORY="3mb")
    url = f"redis://:{PASSWORD}@127.0.0.1:{ports['redis']}/0"
    # Too small it is on purpose; nothing else may be wrong.
    found = doctor(url)
    if found:
        fail(f"the doctor finds something wrong with deploy/redis/redis.conf: {found}")
    place.start("exporter", "prometheus-redis-exporter", "-web.listen-address", f"127.0.0.1:{ports['exporter']}", REDIS_ADDR="", REDIS_PASSWORD=PASSWORD)
    database = f"sqlite:{place.folder}/staffing.sqlite"
    # It fills the database.
    web = Service(place, "web", redis=url, database=database)
    ports["web"] = urllib.parse.urlsplit(web.urls[0]).port
    file = configuration(place.folder, ports)
    subprocess.run(["promtool", "check", "config", str(file)], check=True, stdout=subprocess.DEVNULL)
    place.start(
        "prometheus", "prometheus", f"--config.file={file}", f"--storage.tsdb.path={place.folder}/data",
        f"--web.listen-address=127.0.0.1:{ports['prometheus']}", "--log.level=warn",
    )
    for name in ("first", "second"):
        listen = f"127.0.0.1:{ports[name]}"
        place.start(
            name, STAFFING, "load", "--listen", listen, "--rate", "400", "--writes", "20", "--verify", "0.2",
            REDIS_URL=url, DATABASE_URL=database,
        )
        wait(f"{name} is healthy", lambda at=listen: subprocess.run([STAFFING, "health", "--at", at], capture_output=True).returncode == 0, 60)
    return redis, web


class User:
    """Somebody who uses the web service: every block of the kit."""

    def __init__(self, web):
        self.web, self.url = web, web.urls[0]
        self.cookie = web.log_in("owner-7")
        # An open page, which is told of gaps.
        self.events = self.get("/events/shifts?object=7")
        for path in ("/api/near?longitude=13.4&latitude=52.5&metres=100000", "/api/payments"):
            self.get(path).close()
        post(f"{self.url}/api/objects/7/slots", {"day": "2026-11-05", "starts": 600, "ends": 660, "capacity": 1}, self.cookie)
        # A stranger, for longer than strangers are let in.
        for _ in range(70):
            try:
                urllib.request.urlopen(f"{self.url}/login").close()
            except urllib.error.HTTPError as error:
                if error.code == 429:
                    return
                raise
        fail("strangers may ask as often as they like")

    def get(self, path):
        return urllib.request.urlopen(urllib.request.Request(self.url + path, headers={"cookie": self.cookie}), timeout=30)

    def go_on(self):
        """Also without Redis."""
        self.get("/api/me").close()
        post(f"{self.url}/api/payments", {"plan": "basic"}, self.cookie)


def provoke(place, ports, prometheus, redis, user):
    """Everything that does not happen by itself."""
    wait("all instances and Redis are asked", lambda: len(prometheus.samples("up == 1")) == 5 and prometheus.value("redis_up") == 1)
    wait("acknowledgements and evictions", lambda: prometheus.value("staleproof_invalidation_lag_seconds_count") > 20
         and prometheus.value("redis_evicted_keys_total") > 0)

    say("Redis is stopped")
    redis.send_signal(signal.SIGSTOP)
    wait("an instance says that it is without Redis", lambda: prometheus.value("staleproof_degraded") == 1)
    user.go_on()
    wait("writings wait", lambda: prometheus.value("staleproof_kit_waiting") > 0)
    wait("invalidations are queued", lambda: prometheus.value("staleproof_journal_depth") > 0)
    wait("the outage counts", lambda: prometheus.value("staleproof_degraded_seconds_total") >= 1)
    redis.send_signal(signal.SIGCONT)
    wait("all have joined it again", lambda: prometheus.samples("staleproof_degraded") == [0, 0, 0])

    say("Redis is killed and started again")
    redis.kill()
    redis.wait()
    wait("it is missed", lambda: prometheus.value("staleproof_degraded") == 1 and prometheus.samples("redis_up") == [0])
    place.redis("redis", ports["redis"], REDIS_MAXMEMORY="3mb")
    wait("all have joined it again", lambda: prometheus.samples("staleproof_degraded") == [0, 0, 0] and prometheus.value("redis_up") == 1)
    wait("what it had is fenced", lambda: prometheus.value("staleproof_store_fences_total") > 0)
    wait("the queue is replayed", lambda: prometheus.value("staleproof_store_replayed_total") > 0)
    wait("and said", lambda: prometheus.samples('ALERTS{alertname="StaleproofFenced",alertstate="firing"}'))


def dashboard_queries():
    """Each query, with what it is for."""
    dashboard = json.loads((DEPLOY / "grafana/dashboards/staleproof.json").read_text())
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            yield f"variable {variable['name']}", variable["query"]["query"]
    for annotation in dashboard["annotations"]["list"]:
        yield f"annotation {annotation['name']}", annotation["expr"]
    for panel in dashboard["panels"]:
        for target in panel.get("targets", []):
            yield f"panel {panel['title']!r}, {target['refId']}", target["expr"]


def with_variables(query):
    query = re.sub(r"\$(namespace|instance|function|redis)\b", ".*", query)
    query = query.replace("$__rate_interval", RATE_INTERVAL).replace("$__range", RANGE)
    if "$" in query:
        fail(f"an unknown variable is in {query!r}")
    return query


def compared(query):
    """What an alert compares: present, whether or not it is so bad that it fires."""
    return re.split(r"\bunless\b(?: on \([^)]*\))?", re.sub(r"\s*(?:[=!<>]=|[<>])\s*[0-9][0-9.e+]*", "", query))


def evaluate(prometheus):
    """What has no data."""
    empty, count = [], 0
    for what, query in dashboard_queries():
        query = with_variables(query)
        asked = re.fullmatch(r"label_values\((.+), (\w+)\)", query)
        if asked:
            found = prometheus.get(f"/api/v1/label/{asked[2]}/values", **{"match[]": asked[1]})
        else:
            found = prometheus.samples(query)
        count += 1
        if not found:
            empty.append(f"{what}: {query}")
    for group in prometheus.get("/api/v1/rules")["groups"]:
        for rule in group["rules"]:
            count += 1
            if rule["health"] != "ok":
                empty.append(f"rule {rule['name']}: {rule.get('lastError', rule['health'])}")
            for query in compared(rule["query"]) if rule["type"] == "alerting" else [rule["name"]]:
                if not prometheus.samples(query):
                    empty.append(f"rule {rule['name']}: {query}")
    return empty, count


def main():
    began = time.monotonic()
    ports = {name: free_port() for name in ("redis", "exporter", "prometheus", "first", "second")}
    prometheus = Prometheus(ports["prometheus"])
    with Place() as place:
        redis, web = start_all(place, ports)
        provoke(place, ports, prometheus, redis, User(web))
        # Rates over the ordinary again take a few seconds.
        deadline = time.monotonic() + 15
        while (found := evaluate(prometheus))[0] and time.monotonic() < deadline:
            time.sleep(1)
        empty, count = found
        alerts = [alert["labels"]["alertname"] for alert in prometheus.get("/api/v1/alerts")["alerts"]]
        if empty:
            fail("without data are\n  " + "\n  ".join(empty))
    say(f"{count} queries and rules have data, after {time.monotonic() - began:.0f} s; alerts meanwhile: {', '.join(sorted(set(alerts)))}")


if __name__ == "__main__":
    main()
