// Shows the signed-out card the moment the session ends. Without this script the next click leads to the sign-in.
//
// The tabs of a browser share one event stream, because a browser opens at most six connections to a site: with one
// stream per tab the seventh page would not load. The tab that holds the lock listens and informs the others.

import { here, typingIsKept, watchTyping } from "./typed.js";

const page = document.getElementById("signed-out"); // the card's template; its data attributes describe this page
const POLL_MS = 2000; // how often to poll if no stream is available,
const POLLS = 15; // and how many polls to make before requesting a stream again
const TICK_MS = 5000; // a clock that missed three ticks was suspended
const SILENCE_MS = 15000; // a stream silent for so long is broken; the server sends a heartbeat every second

const others = new BroadcastChannel(`relying party ${page.dataset.live}`);
let source; // the event stream, in the tab that holds the lock
let giveUp; // stops waiting for the lock
let letGo; // releases the lock
let timer;
let lastTick = Date.now();
let lastWord = 0;
let over = false;

function listen() {
  stop();
  if (!navigator.locks) return poll(Infinity); // browsers have locks on https and on localhost only
  const waiting = new AbortController();
  giveUp = () => waiting.abort();
  const listening = () => new Promise((resolve) => ((letGo = resolve), open()));
  navigator.locks.request(others.name, { signal: waiting.signal }, listening).catch(() => {}); // given up
}

function open() {
  lastWord = Date.now();
  source = new EventSource(page.dataset.live);
  source.addEventListener("beat", () => (lastWord = Date.now()));
  source.addEventListener("signed-out", ({ data }) => {
    source.close();
    others.postMessage(JSON.parse(data));
    look(JSON.parse(data));
  });
  source.addEventListener("error", () => {
    // Closed permanently: all streams are in use, or the server is down. Poll instead.
    if (source.readyState === EventSource.CLOSED) poll(POLLS);
  });
}

function poll(times) {
  timer = setTimeout(async () => {
    await look();
    if (over) others.postMessage(null);
    else if (times > 1) poll(times - 1);
    else listen();
  }, POLL_MS);
}

function stop() {
  source?.close();
  giveUp?.();
  letGo?.();
  clearTimeout(timer);
  source = giveUp = letGo = undefined;
}

// Checks whether this page's session is still the browser's. `ending` is the stream's message about the end.
async function look(ending) {
  let now;
  try {
    const answer = await fetch(page.dataset.status, { headers: { Accept: "application/json" }, cache: "no-store" });
    now = await answer.json();
  } catch {
    now = {}; // the app is down; that does not end the session
  }
  if (now.signed_in === true) {
    if (now.session !== page.dataset.session) replaced(now.person === page.dataset.person);
  } else if (ending || now.signed_in === false) {
    signedOut(ending ?? now);
  }
}

function signedOut({ reason, at, by_logout_token: byLogoutToken }) {
  if (over) return;
  show("You are logged out", reason, byLogoutToken);
  const card = document.querySelector("[data-session-ended]");
  if (at) card.querySelector("[data-at]").textContent = ` at ${new Date(at * 1000).toLocaleTimeString("sv-SE")}`;
  if (here()) card.querySelector("[data-again]").href += `?next=${encodeURIComponent(here())}`;
}

// Someone signed in again with this browser. The page belongs to the older session, so its forms no longer work.
function replaced(bySamePerson) {
  show("This page is out of date", bySamePerson ? "You signed in again." : "A different user signed in with this browser.");
  const again = document.querySelector("[data-session-ended] [data-again]");
  again.href = location.href;
  again.textContent = "Open it again";
  if (!bySamePerson) document.querySelector("[data-session-ended] [data-kept]")?.remove();
}

function show(title, reason, byLogoutToken = false) {
  if (!over) document.title = `Logged out – ${document.title}`;
  over = true;
  stop();
  const card = page.content.cloneNode(true);
  card.querySelector("h1").textContent = title;
  card.querySelector("[data-reason]").textContent = reason;
  if (!byLogoutToken) for (const part of card.querySelectorAll("[data-by-logout-token]")) part.remove();
  if (!typingIsKept()) card.querySelector("[data-kept]").remove();
  card.firstElementChild.dataset.sessionEnded = "";
  document.body.dataset.session = "ended";
  const main = document.querySelector("main") ?? document.body;
  main.replaceChildren(card);
  main.querySelector("[role=alert]").focus();
}

function tick() {
  const slept = Date.now() - lastTick > 3 * TICK_MS;
  const silent = source?.readyState === EventSource.OPEN && Date.now() - lastWord > SILENCE_MS;
  lastTick = Date.now();
  if (over || !(slept || silent)) return;
  listen();
  look();
}

watchTyping(page.dataset);
listen();
setInterval(tick, TICK_MS);
others.addEventListener("message", ({ data }) => look(data ?? undefined));
addEventListener("pagehide", stop);
addEventListener("pageshow", ({ persisted }) => {
  if (!persisted) return;
  // Restored from the browser's cache: the page may be outdated, so ask the server.
  if (!over) listen();
  look();
});
document.addEventListener("visibilitychange", () => document.hidden || look());
