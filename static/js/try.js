// “Try it”: one call from the page, shown as it goes over the wire.
const MOST_CHARACTERS = 200_000;
let running = null;

const part = (name) => document.querySelector(`[data-try-${name}]`);

function show(name, text) {
  part(name).textContent = text;
}

function append(text) {
  const answer = part("answer");
  const atEnd = answer.scrollHeight - answer.scrollTop - answer.clientHeight < 40;
  const left = MOST_CHARACTERS - answer.textContent.length;
  if (left > 0) answer.append(text.slice(0, left));
  if (atEnd) answer.scrollTop = answer.scrollHeight;
}

function status(text, kind) {
  show("status", text);
  part("status").className = `badge ${kind}`;
}

// Where a key is needed, the cookie of this page's session stands for it.
const session = () => ("trySession" in document.querySelector("[data-try]").dataset ? "\nCookie: mlx-gui-key=…" : "");

async function call(path, body, signal) {
  const began = performance.now();
  const seconds = () => `${((performance.now() - began) / 1000).toFixed(2)} s`;
  const headers = { "Content-Type": "application/json" };
  show("request", `POST ${path} HTTP/1.1\nHost: ${location.host}\nContent-Type: application/json${session()}\n\n${body}`);
  show("headers", "");
  show("answer", "");
  show("time", "");
  status("waiting", "busy");
  part("key").hidden = true;
  try {
    const response = await fetch(path, { method: "POST", headers, body, signal });
    const line = `${response.status} ${response.statusText}`;
    part("key").hidden = response.status !== 401;
    status(line, response.ok ? "busy" : "bad");
    show("headers", [...response.headers].map(([name, value]) => `${name}: ${value}`).join("\n"));
    show("time", `first byte after ${seconds()}`);
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    for (let piece; !(piece = await reader.read()).done; ) append(piece.value);
    status(line, response.ok ? "ok" : "bad");
    show("time", `${part("time").textContent}, whole after ${seconds()}`);
  } catch (error) {
    if (running?.signal !== signal) return; // another call has taken its place
    status(signal.aborted ? "stopped" : "failed", signal.aborted ? "warn" : "bad");
    if (!signal.aborted) append(`\n${error.message}`);
  }
}

document.addEventListener("submit", async (event) => {
  if (!event.target.matches("[data-try]")) return;
  event.preventDefault();
  running?.abort();
  const mine = (running = new AbortController());
  part("exchange").hidden = false;
  part("stop").disabled = false;
  await call(part("path").value, part("body").value, mine.signal);
  if (running !== mine) return;
  if (document.activeElement === part("stop")) part("send").focus();
  part("stop").disabled = true;
});

// Another model fills the page anew: what still runs would write where nobody looks.
document.addEventListener("htmx:beforeSwap", (event) => {
  if (event.detail.target.id !== "filled") return;
  const before = running;
  running = null;
  before?.abort();
});

document.addEventListener("click", (event) => {
  if (event.target.closest("[data-try-stop]")) running?.abort();
});

document.addEventListener("change", (event) => {
  if (!event.target.matches("[data-try-path]")) return;
  const example = document.querySelector(`[data-try-example="${event.target.value}"]`);
  part("body").value = example.content.textContent;
});
