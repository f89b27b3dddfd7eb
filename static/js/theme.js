// The choice lives in a cookie, so that the server sends the page in the right theme at once.
const root = document.documentElement;
const group = document.querySelector("[data-theme-switch]");

function mark() {
  const current = root.dataset.theme || "";
  for (const button of group.querySelectorAll("button")) {
    button.setAttribute("aria-pressed", String(button.dataset.setTheme === current));
  }
}

if (group) {
  group.hidden = false;
  mark();
  group.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    const theme = button.dataset.setTheme;
    if (theme) root.dataset.theme = theme;
    else delete root.dataset.theme;
    const age = theme ? 60 * 60 * 24 * 365 : 0;
    document.cookie = `theme=${theme}; path=/; max-age=${age}; samesite=lax`;
    mark();
  });
}

// What is of no use without scripts is shown by them.
for (const element of document.querySelectorAll("[data-needs-script]")) element.hidden = false;
