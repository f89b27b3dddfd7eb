// The page stays at its end while a reply grows, but only for a reader who is there.
const NEAR = 40;
const root = document.documentElement;
const jump = document.querySelector("#jump");
let follows = true;
let lastY = scrollY;

function distance() {
  return root.scrollHeight - innerHeight - scrollY;
}

function toEnd() {
  follows = true;
  window.scrollTo({ top: root.scrollHeight, behavior: "instant" });
  lastY = scrollY;
  jump.hidden = true;
}

// Only a reader scrolls up, and the first pixel counts: otherwise the page would pull back.
document.addEventListener("scroll", () => {
  if (scrollY < lastY && distance() > 1) follows = false;
  else if (distance() < NEAR) follows = true;
  lastY = scrollY;
  jump.hidden = follows || distance() < NEAR;
}, { passive: true });

document.addEventListener("htmx:wsBeforeSend", (event) => {
  if (event.target.id === "composer") follows = true;
});
document.addEventListener("htmx:wsAfterMessage", () => {
  if (follows) toEnd();
  else jump.hidden = distance() < NEAR;
});
jump.addEventListener("click", (event) => {
  event.preventDefault();
  toEnd();
});

if (!location.hash || location.hash === "#end") {
  toEnd();
  requestAnimationFrame(toEnd);
} else {
  follows = distance() < NEAR;
}
