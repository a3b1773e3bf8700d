// The calendar reads itself anew when something changes at its object. Without scripts it does so when it is loaded.
"use strict";
const calendar = document.getElementById("calendar");
if (calendar) {
  let isReading = false, isStale = false;
  const read = async () => {
    isStale = true;
    if (isReading) return;
    isReading = true;
    while (isStale) {
      isStale = false;
      try {
        const answer = await fetch(location.href);
        const fresh = answer.ok && new DOMParser().parseFromString(await answer.text(), "text/html").getElementById("calendar");
        // Not while somebody writes there: then as soon as they leave.
        const isWriting = document.activeElement?.matches("#calendar input");
        if (isWriting) document.activeElement.addEventListener("blur", read, { once: true });
        else if (fresh) calendar.replaceChildren(...fresh.childNodes);
      } catch { /* The events' connection ends as well, and leads to another reading. */ }
    }
    isReading = false;
  };
  let opened = 0;
  const events = new EventSource(calendar.dataset.events);
  events.addEventListener("changed", read);
  events.addEventListener("gap", read);
  // Whatever happened between the page and the connection, or while there was none.
  events.addEventListener("open", () => { opened += 1; calendar.dataset.opened = opened; read(); });
}
