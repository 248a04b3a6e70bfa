// Keeps the console's ledger up to date: fetches the table every two seconds while the page is visible.
// Without this script the user has the link "Refresh".

import { complete } from "../pickup/page.js";

const PAUSE = 2000; // milliseconds between two requests
const ATTENTION = 15 * 60 * 1000; // then polling stops, because it would keep the operator's session alive

const UP_TO_DATE = "The list updates automatically.";
const BEHIND = "The list is not up to date: the server does not answer, or you are logged out. Refresh the page.";
const STILL = "Updates are paused.";

const ledger = document.getElementById("ledger");
const button = document.getElementById("live");
const words = document.getElementById("live-words");
const refresh = document.getElementById("refresh");
let until = Date.now() + ATTENTION;
let isPressed = false;

const table = new URL(location.href);
table.searchParams.set("part", "table");

const isLive = () => button.getAttribute("aria-pressed") === "true";

// Do not replace the table during a click or a text selection.
const isInUse = () => isPressed || !getSelection().isCollapsed;

function set(live) {
  button.setAttribute("aria-pressed", String(live));
  say(live ? UP_TO_DATE : STILL);
  until = Date.now() + ATTENTION;
}

// Screen readers announce it only when it changes.
function say(text) {
  if (words.textContent !== text) {
    words.textContent = text;
  }
}

async function ask() {
  const response = await fetch(table, { redirect: "error" });
  if (!response.ok) {
    throw new Error(`The server answers ${response.status}.`);
  }
  const html = await response.text();
  if (isLive() && !isInUse()) {
    show(html);
  }
}

// Keeps the open and closed details, and the focus.
function show(html) {
  const wasOpen = new Map([...ledger.querySelectorAll("details")].map((element) => [element.id, element.open]));
  const focused = ledger.contains(document.activeElement) ? document.activeElement : null;
  const key = focused && (focused.id || focused.parentElement.id || focused.getAttribute("href"));
  ledger.innerHTML = html;
  complete(ledger);
  for (const element of ledger.querySelectorAll("details")) {
    element.open = wasOpen.get(element.id) ?? element.open;
  }
  if (key) {
    const same = [...ledger.querySelectorAll("a, button, summary")];
    same.find((element) => [element.id, element.parentElement.id, element.getAttribute("href")].includes(key))?.focus();
  }
}

async function run() {
  if (isLive() && document.visibilityState === "visible") {
    if (Date.now() > until) {
      set(false);
    } else {
      const text = await ask().then(() => UP_TO_DATE, () => BEHIND);
      say(isLive() ? text : STILL);
    }
  }
  setTimeout(run, PAUSE);
}

button.addEventListener("click", () => set(!isLive()));
for (const kind of ["pointerdown", "keydown"]) {
  addEventListener(kind, () => (until = Date.now() + ATTENTION));
}
addEventListener("pointerdown", () => (isPressed = true));
for (const kind of ["pointerup", "pointercancel"]) {
  addEventListener(kind, () => (isPressed = false));
}
button.hidden = words.hidden = false;
refresh.hidden = true;
setTimeout(run, PAUSE);
