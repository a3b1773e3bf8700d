"""Starts what deploy/redis and deploy/tls are for: one server, one with TLS, a group with sentinels whose primary is killed. The library's own
doctor finds nothing wrong with any of them.
"""

import os
import subprocess
import urllib.parse
from concurrent.futures import ThreadPoolExecutor

from common import DEPLOY, PASSWORD, Place, cli, doctor, fail, free_port, healthy, say, wait


def check(what, is_so):
    if not is_so:
        fail(what)


def settings(port, *names, tls=None):
    return [cli(port, "CONFIG", "GET", name, tls=tls).partition("\n")[2] for name in names]


def no_password():
    outside = {key: value for key, value in os.environ.items() if key != "REDIS_PASSWORD"}
    refused = subprocess.run([str(DEPLOY / "redis/start")], env=outside, capture_output=True, text=True)
    check(f"without a password: {refused.stderr}", refused.returncode != 0 and "set REDIS_PASSWORD" in refused.stderr)


def single(place):
    port = free_port()
    # One that a shell, a configuration and a URL each treat in a way of their own.
    password = 'a"b\\c d$e#f'
    place.redis("single", port, REDIS_PASSWORD=password, REDIS_MAXMEMORY="64mb")
    check("another password is let in", not healthy(port, REDIS_PASSWORD=PASSWORD))
    url = f"redis://:{urllib.parse.quote(password, safe='')}@127.0.0.1:{port}/0"
    found = doctor(url)
    check(f"the doctor finds something wrong with deploy/redis/redis.conf: {found}", not found)
    arguments = subprocess.run(["ps", "-eo", "args"], capture_output=True, text=True).stdout
    check("the password is in a command line", password not in arguments)
    check("the file with the password is open to others", not (place.folder / "single/redis.effective.conf").stat().st_mode & 0o077)

    port = free_port()
    place.redis("plain", port, REDIS_MAXMEMORY="64mb")
    found = settings(port, "maxmemory", "maxmemory-policy", "appendonly", "appendfsync", "no-appendfsync-on-rewrite", "save", "client-output-buffer-limit")
    expected = ["67108864", "allkeys-lru", "yes", "everysec", "yes", "", "normal 0 0 0 slave 268435456 67108864 60 pubsub 33554432 8388608 60"]
    check(f"the settings are {found}", found == expected)
    check("it listens to others", settings(port, "bind") == ["127.0.0.1 -::1"])
    port = free_port()
    place.redis("volatile", port, REDIS_APPENDONLY="no", REDIS_BIND="127.0.0.1")
    check("REDIS_APPENDONLY=no has an append-only file", settings(port, "appendonly", "maxmemory", "bind") == ["no", "268435456", "127.0.0.1"])
    check("there is one on the disk", not (place.folder / "volatile/appendonlydir").exists())
    say("deploy/redis: password, limit, policy and append-only file are in force, and the doctor finds nothing wrong")


def tls(place):
    folder = place.folder / "tls"
    made = lambda *names: subprocess.run([str(DEPLOY / "tls/certificates"), str(folder), *names], check=True, capture_output=True)
    made()
    authority = (folder / "ca.crt").read_bytes()
    certificate = (folder / "redis.crt").read_bytes()
    made("cache.internal", "10.1.2.3")
    check("the authority was not kept", (folder / "ca.crt").read_bytes() == authority)
    check("the certificate was not made anew", (folder / "redis.crt").read_bytes() != certificate)
    check("the folder is open to others", not folder.stat().st_mode & 0o077 and not (folder / "ca.key").stat().st_mode & 0o077)
    names = subprocess.run(["openssl", "x509", "-in", str(folder / "redis.crt"), "-noout", "-ext", "subjectAltName"], capture_output=True, text=True).stdout
    check(f"the names are {names}", "DNS:cache.internal" in names and "IP Address:10.1.2.3" in names and "DNS:redis-1" in names)

    port = free_port()
    place.redis("secure", port, REDIS_TLS_DIR=str(folder))
    url = f"rediss://:{PASSWORD}@localhost:{port}/0"
    found = doctor(url, SSL_CERT_FILE=str(folder / "ca.crt"))
    check(f"the doctor finds something wrong over TLS: {found}", not found)
    # The authorities of the machine do not know it.
    distrusted = doctor(url)
    check(f"an unknown authority is trusted: {distrusted}", "UnknownIssuer" in distrusted)
    check("it speaks without TLS, too", not healthy(port, REDIS_TLS_DIR=""))
    say("deploy/tls: the certificates are trusted by whom they should be, and the doctor finds nothing wrong over TLS")
    return folder


def sentinels(place, tls):
    """A group, over TLS or without."""
    ports = [free_port() for _ in range(3)]
    watchers = [free_port() for _ in range(3)]
    secured = {"REDIS_TLS_DIR": str(tls), "SSL_CERT_FILE": f"{tls}/ca.crt"} if tls else {}
    group = {
        "REDIS_ANNOUNCE": "localhost", "REDIS_PRIMARY": f"localhost:{ports[0]}", "SENTINELS": " ".join(f"localhost:{port}" for port in watchers),
    } | secured
    servers = [place.redis(f"server-{port}", port, **group) for port in ports]
    for port in watchers:
        directory = place.folder / f"sentinel-{port}"
        directory.mkdir()
        # As shipped, but sooner.
        place.start(
            f"sentinel-{port}", DEPLOY / "redis/sentinel", REDIS_PASSWORD=PASSWORD, REDIS_DIR=str(directory), SENTINEL_PORT=str(port),
            SENTINEL_ANNOUNCE="localhost", REDIS_PRIMARY=group["REDIS_PRIMARY"], SENTINEL_DOWN_AFTER="1000", **secured,
        )
    ask = lambda port, *words: cli(port, *words, tls=tls)
    known = lambda port: dict(zip(*[iter(ask(port, "SENTINEL", "MASTER", "staleproof").splitlines())] * 2))
    for port in watchers:
        wait(f"sentinel {port} is healthy", lambda: healthy(port, REDIS_PASSWORD=PASSWORD, **secured))
        wait("it knows all", lambda: (known(port)["num-slaves"], known(port)["num-other-sentinels"]) == ("2", "2"))

    hosts = ",".join(f"localhost:{port}" for port in watchers)
    url = f"{'rediss' if tls else 'redis'}+sentinel://:{PASSWORD}@{hosts}/staleproof?sentinel_pass={PASSWORD}"
    wait("the replicas are there", lambda: ask(ports[0], "INFO", "replication").count("state=online") == 2)
    found = doctor(url, **secured)
    check(f"the doctor finds something wrong with the group: {found}", not found)

    servers[0].kill()
    servers[0].wait()
    primary = lambda: int(ask(watchers[0], "SENTINEL", "GET-MASTER-ADDR-BY-NAME", "staleproof").splitlines()[1])
    wait("the sentinels have named another primary", lambda: primary() != ports[0])
    wait("it takes writes", lambda: ask(primary(), "SET", "proof", "1") == "OK")
    # It asks who is the primary by now, so that it never is one beside it.
    place.redis(f"server-{ports[0]}", ports[0], **group)
    roles = ask(ports[0], "ROLE").splitlines()
    check(f"the old primary came back as {roles}", roles[0] == "slave" and int(roles[2]) == primary())
    wait("all are there again", lambda: ask(primary(), "INFO", "replication").count("state=online") == 2)
    found = doctor(url, **secured)
    check(f"the doctor finds something wrong after the failover: {found}", not found)
    how = "over TLS" if tls else "with sentinels"
    say(f"a group {how}: a killed primary is replaced, comes back as a replica, and the doctor finds nothing wrong before and after")


if __name__ == "__main__":
    no_password()
    with Place() as place:
        single(place)
        certificates = tls(place)
        # Side by side: a failover is waiting for the most part.
        with ThreadPoolExecutor() as pool:
            for group in [pool.submit(sentinels, place, how) for how in (None, certificates)]:
                group.result()
