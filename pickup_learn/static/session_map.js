// The session map: the IdP's sessions, and below each what hangs on it. What should be over and is not is red.

import { el } from "./dom.js";
import { follow, get } from "./follow.js";
import { clockOf } from "./words.js";

const page = document.getElementById("session-map");
const find = (name) => page.querySelector(`[data-part=${name}]`);
const drawn = new Map(); // sid → {state, item}: only what has changed is drawn again
let sessions = [];

async function refresh() {
  sessions = await get("api/sessions");
  draw();
}

function draw() {
  const people = [...new Set(sessions.map(({ person }) => person).filter(Boolean))].sort();
  fill(find("person"), people);
  const wanted = find("person").value;
  const shown = sessions.filter(({ person }) => !wanted || person === wanted).sort((a, b) => Number(isOver(a)) - Number(isOver(b)));
  const items = shown.map(itemOf);
  for (const [sid, { item }] of drawn) if (!items.includes(item)) item.remove(), drawn.delete(sid);
  items.forEach((item, index) => {
    if (find("tree").children[index] !== item) find("tree").insertBefore(item, find("tree").children[index] ?? null);
  });
  find("empty").hidden = shown.length > 0;
  const late = shown.filter((session) => session.ended_at && session.apps.some((app) => isLate(session, app))).length;
  const active = shown.filter(({ ended_at }) => !ended_at).length;
  const summary = `${active} active, ${shown.length - active} ended${late ? `; in ${late} of these something is still open` : ""}`;
  if (find("summary").textContent !== summary) find("summary").textContent = summary;
}

function fill(select, people) {
  const now = JSON.stringify(people);
  if (select.dataset.now === now) return;
  select.dataset.now = now;
  const chosen = select.value;
  select.replaceChildren(new Option("Everybody", ""), ...people.map((name) => new Option(name, name, false, name === chosen)));
}

const isLate = ({ ended_at }, { sessions: own }) => Boolean(ended_at) && own.some((session) => !session.ended_at);
const isOver = (session) => Boolean(session.ended_at) && !session.apps.some((app) => isLate(session, app));

function itemOf(session) {
  const state = JSON.stringify(session);
  const known = drawn.get(session.sid);
  if (known?.state === state) return known.item;
  const item = ofSession(session);
  if (known) {
    const hadFocus = known.item.contains(document.activeElement);
    known.item.replaceWith(item);
    if (hadFocus) item.querySelector("a").focus();
  }
  drawn.set(session.sid, { state, item });
  return item;
}

function ofSession(session) {
  const { sid, person, started_at, ended_at, reason, apps, tokens } = session;
  const link = el("a", { href: `./?sid=${encodeURIComponent(sid)}` }, "Messages", el("span", { class: "unseen" }, ` of ${sid}`));
  return el(
    "li",
    { class: "card", "data-sid": sid },
    node(ended_at ? "ended" : "active", `IdP session of ${person ?? "a user"}`, el("code", {}, sid), lifeOf(started_at, ended_at, reason), link),
    el("ul", {}, ...apps.map((app) => ofApp(session, app)), tokens && ofTokens(tokens)),
  );
}

function ofApp(session, app) {
  const late = isLate(session, app);
  const over = !late && app.sessions.every(({ ended_at }) => ended_at);
  return el(
    "li",
    { "data-app": app.name },
    node(late ? "late" : over ? "ended" : "active", app.label, ...(late ? [`should be over: ${whyLate(app.delivery)}`] : [])),
    el("ul", {}, ...app.sessions.map((own) => ofAppSession(session, own))),
  );
}

function ofAppSession(session, { started_at, ended_at, tabs }) {
  const state = ended_at ? "ended" : session.ended_at ? "late" : "active";
  return el(
    "li",
    {},
    node(state, "App session", `${lifeOf(started_at, ended_at)}${state === "late" ? ", still open" : ""}`),
    tabs ? el("ul", {}, el("li", { "data-tabs": tabs }, node(state, ...ofTabs(tabs, ended_at)))) : null,
  );
}

// The tabs of a browser share one event stream, so only browsers can be counted while the session is active.
function ofTabs(count, isOver) {
  if (isOver) return [count === 1 ? "Open tab" : `${count} open tabs`, "told at once"];
  return [count === 1 ? "1 browser has a tab open" : `${count} browsers have a tab open`];
}

function ofTokens({ access, refresh, offline, alive }) {
  const count = (number, name) => (number ? `${number} ${name}${number === 1 ? "" : "s"}` : null);
  const kinds = [count(access, "access token"), count(refresh, "refresh token")].filter(Boolean).join(", ");
  const why = !alive ? "revoked with the session" : offline ? `good without the session: offline_access (${offline})` : "good while the session is active";
  return el("li", { "data-tokens": true }, node(alive ? "active" : "ended", kinds, why));
}

function whyLate(delivery) {
  if (!delivery) return "not told yet";
  const { state, attempt, next_at, why } = delivery;
  const reason = why ? ` (${why})` : "";
  if (state === "waiting" && attempt) return `waiting for retry ${attempt}${next_at ? `, next at ${clockOf(next_at).slice(0, 8)}` : ""}${reason}`;
  if (state === "waiting") return "being told now";
  if (state === "failed") return `the IdP does not try again${reason}`;
  return "told, and its session is still open";
}

const lifeOf = (start, end, reason) =>
  `since ${clockOf(start).slice(0, 8)}${end ? `, ended ${clockOf(end).slice(0, 8)}${reason ? `: ${reason}` : ""}` : ""}`;

const node = (state, name, ...about) =>
  el("div", { class: "node", "data-state": state }, el("strong", {}, name), ...about.map((part) => part && el("span", {}, part)));

follow(refresh, (text) => (find("status").textContent = text));
find("person").addEventListener("change", draw);
page.dataset.ready = "";
