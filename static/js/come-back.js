// The server restarts. Once another one answers than the one that said so, go on.
const here = document.querySelector("[data-comes-back]");

async function look() {
  const { comesBack, started, then, moves } = here.dataset;
  try {
    const answer = await fetch(comesBack, { cache: "no-store", mode: moves ? "no-cors" : "cors" });
    // At a new port it is another origin, whose answer cannot be read; that there is one is enough.
    if (moves || (answer.ok && (await answer.json()).started_at !== started)) {
      location.replace(then);
      return;
    }
  } catch {
    // Nobody listens yet.
  }
  setTimeout(look, 500);
}

if (here) setTimeout(look, 500);
