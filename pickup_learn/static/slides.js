// The slides: one at a time, by keys and buttons. The address names the slide. Without this script, all are shown.

const page = document.getElementById("slides");
const slides = [...page.querySelectorAll(".slide")];
const number = page.querySelector("[data-part=number]");
const KEYS = { ArrowRight: 1, PageDown: 1, ArrowLeft: -1, PageUp: -1, Home: -Infinity, End: Infinity };
let shown = -1;

// Only the shown slide loads its frame, because each frame follows the stream of messages.
function show(index) {
  index = Math.min(Math.max(index, 0), slides.length - 1);
  if (index === shown) return;
  shown = index;
  slides.forEach((slide, at) => {
    slide.toggleAttribute("data-shown", at === index);
    const frame = slide.querySelector("iframe");
    if (frame && at === index) frame.src = frame.dataset.address;
    else frame?.removeAttribute("src");
  });
  number.textContent = `${index + 1} / ${slides.length}`;
  history.replaceState(null, "", `#${index + 1}`);
}

const move = (by) => show(shown + by);
const fromAddress = () => show((Number(location.hash.slice(1)) || 1) - 1);

document.addEventListener("keydown", (event) => {
  const by = KEYS[event.key];
  if (!by || event.altKey || event.ctrlKey || event.metaKey) return;
  event.preventDefault();
  move(by);
});
for (const button of page.querySelectorAll("[data-by]")) button.addEventListener("click", () => move(Number(button.dataset.by)));
addEventListener("hashchange", fromAddress);

document.documentElement.classList.add("showing");
page.querySelector("[data-part=bar]").hidden = false;
fromAddress();
page.dataset.ready = "";
