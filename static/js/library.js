// The list of models asks for its state at every tick: only while somebody can see it.
const EVERY_MS = 2000;

function tick() {
  if (document.visibilityState === "visible") {
    document.body.dispatchEvent(new Event("library-tick"));
  }
}

setInterval(tick, EVERY_MS);
document.addEventListener("visibilitychange", tick);
