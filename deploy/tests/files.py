"""What can be said of the files of deploy/ without starting anything: that the tools accept them, that nothing is open to others, that each
alert is tested and explained, and that no page is mentioned that is not there.
"""

import json
import os
import re
import shutil
import subprocess

import yaml

from common import DEPLOY, ROOT, fail, say

COMPOSE = ("compose.yaml", "compose.tls.yaml", "compose.sentinel.yaml", "compose.sentinel.tls.yaml")
REPOSITORY = "https://github.com/staleproof/staleproof/blob/main/"


def check(what, is_so):
    if not is_so:
        fail(what)


def compose_files():
    for name in COMPOSE:
        text = (DEPLOY / name).read_text()
        services = yaml.safe_load(text)["services"]
        for service, settings in services.items():
            what = f"{name}, {service}"
            for port in settings.get("ports", []):
                check(f"{what}: port {port} is open to others", port.startswith("127.0.0.1:"))
            image = settings.get("image")
            if image and "build" not in settings:
                check(f"{what}: {image} is no certain release", re.search(r":v?\d+\.\d+", image))
            if name == "compose.yaml" or image:
                check(f"{what}: is in no profile", settings.get("profiles"))
                check(f"{what}: has no limit on its memory", settings.get("mem_limit"))
                check(f"{what}: may gain privileges", settings.get("security_opt") == ["no-new-privileges:true"])
            if "/redis/" in "".join(settings.get("entrypoint", [])):
                check(f"{what}: listens to nobody but itself", settings["environment"].get("REDIS_BIND") == "* -::*")
            for volume in settings.get("volumes", []):
                source = volume.split(":")[0]
                check(f"{what}: {source} is not there", not source.startswith(".") or (DEPLOY / source).exists())
        # Each use says what to do where there is none.
        unguarded = [use for use in re.findall(r"\$\{[A-Z]+_PASSWORD[^}]*\}", text) if ":?set " not in use and not repeated(text, use)]
        check(f"{name}: {unguarded} may be empty", not unguarded)


def repeated(text, use):
    """The second time in a line the first has made sure of it."""
    return all(":?set " in line.split(use)[0] for line in text.splitlines() if use in line)


def compose_tool():
    """Compose itself, where there is one: it needs no engine to read the files. The first one understood profiles, but no `name`."""
    if shutil.which("docker") and subprocess.run(["docker", "compose", "version"], capture_output=True).returncode == 0:
        command = ["docker", "compose"]
    elif shutil.which("docker-compose"):
        command = ["docker-compose"]
    else:
        say("there is no Compose here to read its files")
        return
    for others in ([], ["compose.tls.yaml"], ["compose.sentinel.yaml"], ["compose.sentinel.yaml", "compose.sentinel.tls.yaml"]):
        files = [DEPLOY / name for name in ["compose.yaml", *others]]
        nameless = DEPLOY / ".compose.check.yaml"
        try:
            if command == ["docker-compose"]:
                nameless.write_text(re.sub(r"(?m)^name: .*\n", "", files[0].read_text()))
                files[0] = nameless
            arguments = [part for file in files for part in ("-f", str(file))]
            everything = [part for profile in ("redis", "valkey", "sentinel", "monitoring", "staffing") for part in ("--profile", profile)]
            passwords = {"REDIS_PASSWORD": "one", "GRAFANA_PASSWORD": "two"}
            without = {key: value for key, value in os.environ.items() if key not in passwords}
            read = subprocess.run([*command, *arguments, *everything, "config"], env=without | passwords, capture_output=True, text=True)
            check(f"{others or files}: {read.stderr}", read.returncode == 0)
            refused = subprocess.run([*command, *arguments, "config"], env=without, capture_output=True, text=True, cwd="/")
            check(f"{others}: no password is no error", refused.returncode != 0 and "set REDIS_PASSWORD" in refused.stderr)
        finally:
            nameless.unlink(missing_ok=True)
    say(f"{' '.join(command)} accepts the files, and no missing password")


def rules():
    file = DEPLOY / "prometheus/rules/staleproof.yml"
    subprocess.run(["promtool", "check", "rules", str(file)], check=True, stdout=subprocess.DEVNULL)
    tests = DEPLOY / "prometheus/tests/staleproof.yml"
    told = subprocess.run(["promtool", "test", "rules", str(tests)], capture_output=True, text=True)
    check(told.stdout + told.stderr, told.returncode == 0)
    fires, silent = {}, set()
    for test in yaml.safe_load(tests.read_text())["tests"]:
        for expression in test["promql_expr_test"]:
            alert = re.search(r'alertname="(\w+)"', expression["expr"])[1]
            if expression["exp_samples"]:
                fires[alert] = expression["exp_samples"][0]["labels"]
            else:
                silent.add(alert)
    guide = (ROOT / "docs/DEPLOYMENT.md").read_text()
    headings = {heading.lower() for heading in re.findall(r"(?m)^#+ (\w+)$", guide)}
    alerts = [rule for group in yaml.safe_load(file.read_text())["groups"] for rule in group["rules"] if "alert" in rule]
    for rule in alerts:
        name = rule["alert"]
        check(f"{name} is not seen to fire in {tests.name}", name in fires)
        check(f"{name} is not seen to be silent in {tests.name}", name in silent)
        check(f"{name} has no severity", rule["labels"]["severity"] in ("critical", "warning", "info"))
        page, _, anchor = rule["annotations"]["runbook_url"].partition("#")
        check(f"{name} links to {page}", page == f"{REPOSITORY}docs/DEPLOYMENT.md")
        check(f"{name} links to #{anchor}, which docs/DEPLOYMENT.md does not have", anchor == name.lower() and anchor in headings)
        for label in re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"] + rule["annotations"]["description"]):
            check(f"{name} speaks of {label}, which it does not have", f'{label}="' in fires[name])
    say(f"promtool accepts the rules; {len(alerts)} alerts fire where they should, are silent where they should, and are explained")


def dashboard():
    text = (DEPLOY / "grafana/dashboards/staleproof.json").read_text()
    metrics = set(re.findall(r"`(staleproof_\w+)`", (ROOT / "docs/OPERATIONS.md").read_text()))
    for metric in sorted(metrics):
        check(f"{metric} is not on the dashboard", metric in text)
    panels = json.loads(text)["panels"]
    taken = {}
    for panel in panels:
        place = panel["gridPos"]
        check(f"{panel['title']} is wider than the page", place["x"] + place["w"] <= 24)
        for x in range(place["x"], place["x"] + place["w"]):
            for y in range(place["y"], place["y"] + place["h"]):
                check(f"{panel['title']} lies on {taken.get((x, y))}", (x, y) not in taken)
                taken[x, y] = panel["title"]
    say(f"all {len(metrics)} metrics are on the dashboard of {len(panels)} panels")


def guide():
    """Files and commands that it mentions are there."""
    text = (ROOT / "docs/DEPLOYMENT.md").read_text()
    for path in re.findall(r"`((?:deploy|scripts|docs|examples)/[\w./-]+)`", text):
        check(f"docs/DEPLOYMENT.md mentions {path}, which is not there", (ROOT / path).exists() or path in ("deploy/.env", "deploy/tls/files"))
    for link in re.findall(r"\]\(([\w./-]+\.md)(?:#[\w-]+)?\)", text):
        check(f"docs/DEPLOYMENT.md links to {link}, which is not there", (ROOT / "docs" / link).exists())


def dockerfile():
    """What the build copies has to be let through to it, and nothing that is secret."""
    copied = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
    members = re.search(r"(?m)^members = \[(.*)\]", (ROOT / "Cargo.toml").read_text())[1]
    for member in re.findall(r'"([^"]+)"', members):
        check(f"{member} is kept from the build by .dockerignore", member == "." or member.split("/")[0] in copied)
    version = re.search(r"FROM rust:(\d+)\.(\d+)", (DEPLOY / "Dockerfile").read_text())
    needed = re.search(r'rust-version = "(\d+)\.(\d+)"', (ROOT / "examples/staffing/Cargo.toml").read_text())
    check("the Dockerfile's Rust is too old", tuple(map(int, version.groups())) >= tuple(map(int, needed.groups())))


if __name__ == "__main__":
    compose_files()
    compose_tool()
    rules()
    dashboard()
    guide()
    dockerfile()
