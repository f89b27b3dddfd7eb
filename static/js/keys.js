// The keyboard, as the help behind "More" describes it.
const isMac = navigator.platform.startsWith("Mac");

function isTyping(element) {
  return element.matches("input, textarea, select, [contenteditable]");
}

document.addEventListener("keydown", (event) => {
  const command = isMac ? event.metaKey : event.ctrlKey;
  if (command && event.key.toLowerCase() === "k") {
    event.preventDefault();
    document.querySelector("#new-chat").click();
    return;
  }
  if (event.key === "Escape" && !document.querySelector(":popover-open")) {
    document.querySelector("#stop")?.click();
    return;
  }
  if (event.metaKey || event.ctrlKey || event.altKey || isTyping(event.target)) return;
  if (event.key === "/") {
    event.preventDefault();
    document.querySelector("#text").focus();
  }
  if (event.key === "?") document.querySelector("#help").showPopover();
});
