// Memory over time as a stacked picture, and the ticks that keep the page fresh while it is seen.
const EVERY_MS = 5000;
const LOG_MS = 2000;
const GIB = 2 ** 30;
const box = document.querySelector("[data-samples]");
const follow = document.querySelector("#follow");
let uPlot, plot, known;

const clock = new Intl.DateTimeFormat([], { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });

const isSeen = () => document.visibilityState === "visible";
const say = (name) => document.body.dispatchEvent(new Event(name));

function toneOf(part) {
  const probe = document.createElement("span");
  probe.className = `swatch ${part.tone}`;
  box.append(probe);
  const colour = getComputedStyle(probe).color;
  probe.remove();
  return colour;
}

// From the top of the picture down: what lies lower is drawn over it.
function stacked(table) {
  const sums = [];
  let below = table.at.map(() => 0);
  for (const sizes of table.sizes) {
    below = sizes.map((size, i) => below[i] + size);
    sums.push(below.map((size) => size / GIB));
  }
  return [table.at, ...sums.reverse()];
}

function options(parts) {
  const style = getComputedStyle(box);
  const grid = { stroke: style.outlineColor, width: 1 };
  const axis = { stroke: style.color, grid, ticks: grid, font: `12px ${style.fontFamily}` };
  return {
    width: box.clientWidth,
    height: box.clientHeight,
    legend: { show: false },
    cursor: { show: false },
    scales: { y: { range: (_, low, high) => [0, high] } },
    axes: [{ ...axis, space: 90, values: (_, ticks) => ticks.map((at) => clock.format(at * 1000)) }, { ...axis, size: 60, values: (_, ticks) => ticks.map((tick) => `${tick} GB`) }],
    series: [{}, ...[...parts].reverse().map((part) => {
      const colour = toneOf(part);
      return { label: part.name, stroke: colour, fill: colour, width: 0, points: { show: false } };
    })],
  };
}

function draw() {
  plot?.destroy();
  plot = new uPlot(options(known.parts), stacked(known), box);
}

async function fetchSamples() {
  const after = known?.at.at(-1) ?? 0;
  const table = await (await fetch(`${box.dataset.samples}?after=${after}`)).json();
  const names = JSON.stringify(table.parts);
  if (!known || names !== JSON.stringify(known.parts)) {
    known = after ? await (await fetch(box.dataset.samples)).json() : table;
    draw();
  } else if (table.at.length) {
    const most = 3600 / table.every_seconds;
    known.at = [...known.at, ...table.at].slice(-most);
    known.sizes = known.sizes.map((sizes, i) => [...sizes, ...table.sizes[i]].slice(-most));
    plot.setData(stacked(known));
  }
}

async function tick() {
  if (!isSeen()) return;
  say("system-tick");
  if (box) await fetchSamples().catch(() => {}); // the server is away: the next tick asks again
}

function toEnd() {
  const log = document.querySelector(".log");
  if (log) log.scrollTop = log.scrollHeight;
}

if (box) {
  ({ default: uPlot } = await import("../vendor/uplot/uPlot.esm.js"));
  new ResizeObserver(() => plot?.setSize({ width: box.clientWidth, height: box.clientHeight })).observe(box);
  const redraw = () => known && draw();
  new MutationObserver(redraw).observe(document.documentElement, { attributeFilter: ["data-theme"] });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", redraw);
  await tick();
  setInterval(tick, EVERY_MS);
} else if (follow) {
  toEnd();
  setInterval(() => follow.checked && isSeen() && say("log-tick"), LOG_MS);
  new MutationObserver(() => follow.checked && toEnd()).observe(document.querySelector("#main"), { childList: true });
}
