// Writing: the field grows, Enter sends, and it empties once its text is on its way.
const page = document.querySelector(".chat-page");
const RECONNECTS_BY_ITSELF = [1006, 1011, 1012, 1013];
const REFUSED = 4003;

function grow(area) {
  if (CSS.supports("field-sizing", "content")) return;
  area.style.height = "auto";
  area.style.height = `${area.scrollHeight + 2}px`;
}

function isBusy() {
  return document.querySelector("#stop") !== null;
}

document.addEventListener("input", (event) => {
  if (event.target.matches("[data-grow]")) grow(event.target);
});

document.addEventListener("keydown", (event) => {
  const area = event.target;
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  // A setting belongs to the same form, but Enter there must not send a message.
  if (area.matches("input[form=composer]")) event.preventDefault();
  if (!area.matches("[data-enter]")) return;
  event.preventDefault();
  if (area.value.trim() && !isBusy()) area.form.requestSubmit();
});

page.addEventListener("htmx:wsConfigSend", (event) => {
  if (event.target.id !== "composer") return;
  const { text, question } = event.detail.parameters;
  if (isBusy() || !(text.trim() || question)) {
    event.preventDefault();
    return;
  }
  const area = document.querySelector("#text");
  area.value = "";
  grow(area);
});

page.addEventListener("htmx:wsOpen", () => page.classList.remove("offline"));
page.addEventListener("htmx:wsClose", (event) => {
  page.classList.add("offline");
  const { event: close, socketWrapper } = event.detail;
  if (close.code !== REFUSED && !RECONNECTS_BY_ITSELF.includes(close.code)) {
    setTimeout(() => socketWrapper.reconnect(), 1000);
  }
});

// The first message names the chat; the window's title follows the heading.
page.addEventListener("htmx:wsAfterMessage", () => {
  const title = `${document.querySelector("#chat-title").textContent} · MLX GUI`;
  if (document.title !== title) document.title = title;
});

for (const area of document.querySelectorAll("[data-grow]")) grow(area);
// On a phone the keyboard would cover what was just opened.
if (matchMedia("(pointer: fine)").matches && !location.hash) document.querySelector("#text").focus({ preventScroll: true });
