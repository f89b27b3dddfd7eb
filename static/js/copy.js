// Copy a message as it was written, or one block of code.
async function write(text) {
  if (navigator.clipboard) return navigator.clipboard.writeText(text);
  // Without HTTPS only the computer itself has the clipboard API; others get the old way.
  const area = document.createElement("textarea");
  area.value = text;
  area.className = "visually-hidden";
  document.body.append(area);
  area.select();
  document.execCommand("copy");
  area.remove();
}

function textFor(button) {
  if (button.dataset.copy) return document.querySelector(button.dataset.copy).content.textContent;
  return button.closest(".code").querySelector("code").textContent;
}

document.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-copy], [data-copy-code]");
  if (!button) return;
  await write(textFor(button));
  button.classList.add("copied");
  if (!button.dataset.copy) button.textContent = "Copied";
  document.querySelector("#announcer").textContent = "Copied";
  setTimeout(() => {
    button.classList.remove("copied");
    if (!button.dataset.copy) button.textContent = "Copy";
  }, 1600);
});
