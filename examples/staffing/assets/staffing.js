// The calendar reads itself anew when something changes at its object. Without scripts it does so when it is loaded.
"use strict";
const calendar = document.getElementById("calendar");
if (calendar) {
  let isReading = false, isStale = false, isPressed = false;
  const wait = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
  // What somebody writes, presses or is asked is not taken from under their hands.
  const isWritten = (field) => field === document.activeElement || field.value !== field.defaultValue;
  const isInUse = () => isPressed || calendar.querySelector("details[open]") || [...calendar.querySelectorAll("input:not([type=hidden])")].some(isWritten);
  const read = async () => {
    isStale = true;
    if (isReading) return;
    isReading = true;
    // Where much changes it is read less often: readings count against the user's limit.
    for (let pause = 250; isStale && !isInUse(); pause = Math.min(2 * pause, 2000)) {
      isStale = false;
      try {
        const answer = await fetch(location.href);
        if (answer.status === 429) {
          isStale = true;
          await wait(1000 * (Number(answer.headers.get("retry-after")) || 1));
        } else if (answer.ok) {
          const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("calendar");
          if (fresh && isInUse()) isStale = true;
          else if (fresh) calendar.replaceChildren(...fresh.childNodes);
        }
      } catch { /* The events' connection ends as well, and leads to another reading. */ }
      await wait(pause);
    }
    isReading = false;
  };
  // After the event: then it is known who has the focus, and a click has come.
  const catchUp = () => setTimeout(() => { isPressed = false; if (isStale) read(); });
  calendar.addEventListener("pointerdown", () => { isPressed = true; });
  for (const end of ["pointerup", "pointercancel"]) document.addEventListener(end, catchUp);
  calendar.addEventListener("focusout", () => setTimeout(() => { if (isStale) read(); }));
  // This does not bubble.
  calendar.addEventListener("toggle", catchUp, true);
  let opened = 0;
  const listen = () => {
    const events = new EventSource(calendar.dataset.events);
    events.addEventListener("changed", read);
    events.addEventListener("gap", read);
    // Whatever happened between the page and the connection, or while there was none.
    events.addEventListener("open", () => { opened += 1; calendar.dataset.opened = opened; read(); });
    // Browsers connect again by themselves, but not after a refusal.
    events.addEventListener("error", () => { if (events.readyState === EventSource.CLOSED) setTimeout(listen, 10000); });
  };
  listen();
}
