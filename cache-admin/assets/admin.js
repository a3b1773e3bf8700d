// Live numbers and events. Everything else is there without it.
"use strict";

(() => {
  // An address with a password in it, as a browser may have been given, is none that scripts may ask.
  const at = (path) => new URL(path, location.origin + location.pathname);
  const pause = document.getElementById("pause");
  let paused = false;

  // The page itself is asked for again, and its live parts are exchanged: what is shown is made in one place, on the server.
  async function refresh() {
    const answer = await fetch(at(location.search || location.pathname), { cache: "no-store", credentials: "same-origin", headers: { accept: "text/html" } });
    if (!answer.ok && answer.status !== 503) throw new Error(String(answer.status));
    const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
    for (const old of document.querySelectorAll("[data-live]")) {
      const next = old.id && fresh.getElementById(old.id);
      if (next && !old.contains(document.activeElement) && old.innerHTML !== next.innerHTML) {
        old.replaceWith(document.importNode(next, true));
      }
    }
  }

  async function tick() {
    if (!paused && !document.hidden) {
      try {
        await refresh();
        pause.textContent = "Pause updates";
      } catch {
        pause.textContent = "No answer; retrying";
      }
    }
    setTimeout(tick, 2000);
  }

  if (document.querySelector("main [data-live]")) {
    pause.hidden = false;
    pause.addEventListener("click", () => {
      paused = !paused;
      pause.textContent = paused ? "Resume updates" : "Pause updates";
    });
    setTimeout(tick, 2000);
  }

  const form = document.getElementById("events-form");
  if (!form) return;
  const list = document.getElementById("events");
  const state = document.getElementById("events-state");
  const stop = document.getElementById("events-pause");
  const most = 200;
  let source = null;

  function duration(seconds) {
    if (seconds < 0.001) return `${Math.round(seconds * 1e6)} µs`;
    if (seconds < 1) return `${Number((seconds * 1e3).toPrecision(3))} ms`;
    return `${Number(seconds.toPrecision(3))} s`;
  }

  function details(event) {
    const all = [];
    if (event.ok === false) all.push("failed");
    if (event.what) all.push(event.what);
    if (event.kind === "filled" && event.seconds !== undefined) all.push(`for ${duration(event.seconds)}`);
    else if (event.seconds !== undefined) all.push(duration(event.seconds));
    if (event.kind === "skipped") all.push(`${event.number} events not shown`);
    else if (event.number) all.push(`and ${event.number} more`);
    return all.join(", ");
  }

  // Text only: keys are what users of the service make them.
  function element(name, text, kind) {
    const made = document.createElement(name);
    made.textContent = text;
    if (kind) made.className = kind;
    return made;
  }

  const classes = { invalidated: "warn", degraded: "bad", mismatched: "bad", unreadable: "warn", stale: "warn", recovered: "good", hit: "good" };

  function show(event) {
    const item = document.createElement("li");
    item.append(
      element("time", new Date(event.at).toLocaleTimeString()),
      element("span", event.kind, `badge ${classes[event.kind] || ""}`),
      element("code", event.key || (event.targets || []).join(", ")),
      element("span", details(event), "what"),
    );
    list.prepend(item);
    while (list.children.length > most) list.lastElementChild.remove();
  }

  function listen() {
    if (source) source.close();
    source = null;
    const boxes = [...form.elements.kind];
    const kinds = boxes.filter((box) => box.checked).map((box) => box.value);
    if (paused || kinds.length === 0) {
      state.textContent = paused ? "paused" : "nothing is chosen";
      return;
    }
    state.textContent = "connecting…";
    source = new EventSource(at(kinds.length === boxes.length ? "api/events" : `api/events?kinds=${kinds.join(",")}`));
    source.onopen = () => { state.textContent = "live"; };
    source.onerror = () => { state.textContent = source.readyState === EventSource.CLOSED ? "refused: too many listeners, or no longer authorised" : "connecting…"; };
    source.onmessage = (message) => show(JSON.parse(message.data));
  }

  form.hidden = false;
  form.addEventListener("change", listen);
  form.addEventListener("submit", (event) => event.preventDefault());
  stop.addEventListener("click", () => {
    paused = !paused;
    stop.textContent = paused ? "Resume" : "Pause";
    listen();
  });
  document.getElementById("events-clear").addEventListener("click", () => list.replaceChildren());
  window.addEventListener("pagehide", () => source && source.close());
  listen();
})();
