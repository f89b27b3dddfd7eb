// The list of models asks for its state at every tick: only while somebody can see it.
const EVERY_MS = 2000;

function tick() {
  if (document.visibilityState === "visible") {
    document.body.dispatchEvent(new Event("library-tick"));
  }
}

setInterval(tick, EVERY_MS);
document.addEventListener("visibilitychange", tick);

// The plan of a model that does not simply fit is shown in a dialog.
const plan = document.querySelector("#plan");
plan?.addEventListener("htmx:afterSwap", () => plan.open || plan.showModal());
plan?.addEventListener("htmx:afterRequest", () => plan.close());
