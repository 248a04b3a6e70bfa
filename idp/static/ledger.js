// The ledger of the console keeps itself up to date: every two seconds the table is asked for again, while somebody
// looks at it. Without this script there is the link "Refresh".

const PAUSE = 2000; // milliseconds between two questions
const ATTENTION = 15 * 60 * 1000; // an open page alone must not keep its session alive for ever

const ledger = document.getElementById("ledger");
const button = document.getElementById("live");
const words = document.getElementById("live-words");
const refresh = document.getElementById("refresh");
let until = Date.now() + ATTENTION;

const table = new URL(location.href);
table.searchParams.set("part", "table");

const isLive = () => button.getAttribute("aria-pressed") === "true";

function set(live) {
  button.setAttribute("aria-pressed", String(live));
  words.textContent = live ? "The list keeps itself up to date." : "The list stands still.";
  until = Date.now() + ATTENTION;
}

async function ask() {
  const response = await fetch(table, { redirect: "error" }).catch(() => null);
  if (response === null) {
    words.textContent = "The list is not up to date: the server does not answer, or you are signed out. Refresh the page.";
    return;
  }
  if (response.ok && isLive()) {
    show(await response.text());
    words.textContent = "The list keeps itself up to date.";
  }
}

// What was open stays open, and who was at a control stays there.
function show(html) {
  const open = [...ledger.querySelectorAll("details[open]")].map((element) => element.id);
  const focused = ledger.contains(document.activeElement) ? document.activeElement : null;
  const key = focused && (focused.id || focused.parentElement.id || focused.getAttribute("href"));
  ledger.innerHTML = html;
  for (const id of open) {
    document.getElementById(id)?.setAttribute("open", "");
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
      await ask();
    }
  }
  setTimeout(run, PAUSE);
}

button.addEventListener("click", () => set(!isLive()));
for (const kind of ["pointerdown", "keydown"]) {
  addEventListener(kind, () => (until = Date.now() + ATTENTION));
}
button.hidden = words.hidden = false;
refresh.hidden = true;
setTimeout(run, PAUSE);
