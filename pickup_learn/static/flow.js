// The flow page: takes the messages from the service as they come, draws them, opens the one that is chosen.

import { Detail } from "./detail.js";
import { get, listen } from "./follow.js";
import { Picture } from "./picture.js";
import { Presentation } from "./present.js";
import { Record } from "./record.js";
import { saveFlow, saveMermaid } from "./save.js";
import { clockOf } from "./words.js";

const SLOWEST = 900; // ms between two messages of a replay; what was faster stays faster

const page = document.getElementById("flow");
const find = (name) => page.querySelector(`[data-part=${name}]`);
const { complete } = await import(page.dataset.pageScript);
const record = new Record();
const explanations = await get("api/explanations");
const detail = new Detail(find("detail-body"), explanations);
const picture = new Picture(find("acts"), find("lanes"), choose);
const presentation = new Presentation(find("present"), find("presenting"), { dispatch: page.dataset.dispatch, manager: page.dataset.manager });
let services = [];
let replay = null; // the timer of the next message
let drawing = false;
let asked = askedFor(); // the message that the address asks for, until it was found

// --- what comes ---

const first = await get("api/messages");
let last = first.last; // the number of the newest message or event that came
services = first.services;
record.add(first.messages);
draw();
chooseFromAddress();

listen(() => `api/stream?after=${last}`, {
  message({ data, lastEventId }) {
    const message = JSON.parse(data);
    last = lastEventId;
    record.add([message]);
    presentation.see([message]);
    draw();
    chooseFromAddress();
  },
  services({ data }) {
    services = JSON.parse(data);
    draw();
  },
  reset() {
    record.clear();
    close();
    draw();
  },
  error: () => say("Pickup Learn does not answer. The page waits for it."),
  open: () => say(""),
});

// --- drawing: once a frame, however many messages come ---

function draw() {
  if (drawing) return;
  drawing = true;
  requestAnimationFrame(() => {
    drawing = false;
    fill(find("person"), "Everybody", record.people, record.filter.person);
    fill(find("session"), "All sessions", record.sids, record.filter.sid);
    picture.draw(record, services);
    find("empty").hidden = record.all.length > 0;
    find("lanes").hidden = record.all.length === 0;
    const total = record.filtered.length;
    find("position").textContent = record.isLive ? `${total} ${total === 1 ? "message" : "messages"}, live` : `Message ${record.position} of ${total}`;
    find("pause").setAttribute("aria-pressed", String(!record.isLive));
    find("pause").textContent = record.isLive ? "Pause" : "Go live";
    const chosen = detail.key && record.get(detail.key);
    if (chosen) picture.select(chosen.key);
    drawServices();
  });
}

function drawServices() {
  const down = services.filter(({ up }) => !up);
  const sentence = ({ label, since }) => `${label} is not reachable since ${clockOf(since).slice(0, 8)}.`;
  const notice = find("down");
  const text = down.length ? `${down.map(sentence).join(" ")} What was recorded before stays here.` : "";
  if (notice.firstElementChild.textContent !== text) notice.firstElementChild.textContent = text;
  notice.hidden = !text;
}

function fill(select, all, values, chosen) {
  const now = JSON.stringify(values);
  if (select.dataset.now === now) return;
  select.dataset.now = now;
  select.replaceChildren(new Option(all, ""), ...values.map((value) => new Option(value, value, false, value === chosen)));
}

function say(text) {
  find("status").textContent = text;
}

// --- choosing ---

function askedFor() {
  const query = new URLSearchParams(location.search);
  const wanted = { sid: query.get("sid"), state: query.get("state"), key: decodeURIComponent(location.hash.slice(1)) };
  return wanted.sid || wanted.state || wanted.key ? wanted : null;
}

function choose(key, { byKey = false } = {}) {
  const message = record.get(key);
  if (!message) return;
  page.dataset.open = "";
  const heading = detail.show(message);
  picture.show(key); // after the details have taken their place
  complete(find("detail-body"));
  history.replaceState(null, "", `#${encodeURIComponent(key)}`);
  if (!byKey && isSheet()) heading.focus({ preventScroll: true }); // there the details lie over the picture
}

const isSheet = () => getComputedStyle(find("detail")).position === "fixed";

function close() {
  if (!detail.key) return;
  const button = picture.select(detail.key);
  detail.hide();
  delete page.dataset.open;
  button?.setAttribute("aria-pressed", "false");
  button?.focus();
  history.replaceState(null, "", location.pathname + location.search);
}

// "See what happened" opens the logout of a session (?sid=…), or the one that ended with this state (?state=…).
// #KEY opens one message. What it asks for may come a moment later than this page.
function chooseFromAddress() {
  if (!asked) return;
  const { sid, state, key } = asked;
  const all = record.all;
  const act = state && all.find((message) => message.state === state)?.act.id;
  const logouts = all.filter((message) => message.kind === "backchannel_logout" && (message.sid === sid || message.act.id === act));
  const found = key ? record.get(key) : logouts.at(-1);
  if (!found) return;
  asked = null;
  requestAnimationFrame(() => requestAnimationFrame(() => choose(found.key, { byKey: true })));
}

find("close").addEventListener("click", close);

// --- the tools ---

for (const [name, property] of [["person", "person"], ["session", "sid"]]) {
  find(name).addEventListener("change", ({ target }) => {
    record.filter[property] = target.value;
    record.resume();
    draw();
  });
}

function pauseOrLive() {
  stopReplay();
  if (record.isLive) record.pause();
  else record.resume();
  draw();
}

function step(by) {
  stopReplay();
  record.step(by);
  draw();
}

function stopReplay() {
  clearTimeout(replay);
  replay = null;
}

function startReplay() {
  stopReplay();
  record.pause();
  record.position = 0;
  const next = () => {
    const [shown, coming] = record.filtered.slice(Math.max(record.position - 1, 0), record.position + 1);
    const pause = coming && record.position ? Math.min(coming.at - shown.at, SLOWEST) : SLOWEST / 2;
    replay = setTimeout(() => {
      record.step(1);
      draw();
      if (record.position < record.filtered.length) next();
      else stopReplay(), record.resume(), draw();
    }, pause);
  };
  draw();
  if (record.filtered.length) next();
}

find("pause").addEventListener("click", pauseOrLive);
find("back").addEventListener("click", () => step(-1));
find("on").addEventListener("click", () => step(1));
find("replay").addEventListener("click", startReplay);
find("save").addEventListener("click", () => saveFlow(record.acts, explanations));
find("mermaid").addEventListener("click", () => saveMermaid(record.acts));
find("fold").addEventListener("click", () => {
  const acts = [...page.querySelectorAll("details.act")];
  const open = acts.every((act) => !act.open);
  for (const act of acts) act.open = open;
  find("fold").textContent = open ? "Fold all" : "Unfold all";
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.matches("input, select, textarea")) return;
  const act = { p: () => presentation.toggle(), Escape: close, ArrowLeft: () => step(-1), ArrowRight: () => step(1) }[event.key];
  if (act) act();
});

if (new URLSearchParams(location.search).has("present")) presentation.toggle(true);
page.dataset.ready = "";
