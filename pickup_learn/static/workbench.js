// The token workbench: fills in the form, sends the token, and shows what the receiver made of it.

import { checks, notice } from "./checks.js";
import { fill } from "./dom.js";
import { follow, get } from "./follow.js";
import { clockOf, nameOf } from "./words.js";

const KEPT = "pickup workbench"; // the form, while an operator is in the console
const SECONDS = 120; // until the token expires
const page = document.getElementById("workbench");
const find = (name) => page.querySelector(`[data-part=${name}]`);
const form = find("form");
const { to, session, mistake, typ, key, csrf_token: csrf } = form.elements;
const values = [...form.querySelectorAll("[data-claim]")];
const ticks = [...form.querySelectorAll("[data-has]")];
const mistakes = JSON.parse(page.dataset.mistakes);
const text = JSON.stringify;
const seconds = () => Math.floor(Date.now() / 1000);
let sessions = [];
let builtAt = 0; // when the form was filled in
let sent = null; // the token that waits for its verdict: app, claims, and the record's number before it
let judged = null; // the token whose session is watched

// --- the form ---

const clientOf = (app) => `pickup-${app}`;
const otherApp = () => [...to.options].map(({ value }) => value).find((name) => name !== to.value);
const chosenSession = () => sessions.find(({ sid }) => sid === session.value);
const appIn = (one, name) => one.apps.find((app) => app.name === name);
const isActive = (app) => Boolean(app) && app.sessions.some(({ ended_at }) => ended_at === null);

function fillSessions() {
  const found = sessions.filter((one) => one.ended_at === null || isActive(appIn(one, to.value)) || one.sid === session.value);
  const words = ({ person, started_at, apps }) => `${person ?? "someone"}, since ${clockOf(started_at).slice(0, 5)}: ${apps.map(({ label }) => label).join(", ") || "no app"}`;
  const options = found.map((one) => [one.sid, words(one)]);
  const now = text(options);
  if (session.dataset.now === now) return false;
  const before = session.value;
  session.dataset.now = now;
  session.replaceChildren(...options.map(([sid, text]) => new Option(text, sid)), new Option("a session that does not exist", ""));
  if (options.some(([sid]) => sid === before)) session.value = before;
  return session.value !== before;
}

// A right token for the app and the session, with the chosen mistake.
function build() {
  const { claims: wrong, typ: type, key: signer } = mistakes.find(({ name }) => name === mistake.value);
  builtAt = seconds();
  const { sid = "no-such-session", sub = "nobody" } = chosenSession() ?? {};
  const events = { "http://schemas.openid.net/event/backchannel-logout": {} };
  const right = { iss: page.dataset.issuer, aud: clientOf(to.value), iat: 0, exp: SECONDS - 5, jti: crypto.randomUUID?.() ?? String(Math.random()), events, sub, sid };
  const claims = { ...right, ...wrong };
  if (wrong.aud) claims.aud = clientOf(otherApp());
  if (wrong.iss) claims.iss = wrong.iss === "own" ? page.dataset.ownIssuer : `${page.dataset.issuer}/`;
  for (const time of ["iat", "exp"]) claims[time] += builtAt;
  write(claims);
  typ.value = type;
  key.value = signer;
}

function write(claims) {
  for (const field of values) {
    const value = claims[field.dataset.claim];
    field.value = field.dataset.built = value === undefined || value === null ? "" : typeof value === "string" ? value : text(value);
  }
  for (const tick of ticks) tick.checked = ![undefined, null].includes(claims[tick.dataset.has]);
}

// Times that the learner has not changed are counted from the sending.
function renewTimes() {
  const later = seconds() - builtAt;
  builtAt += later;
  for (const field of values.filter(({ dataset }) => ["iat", "exp"].includes(dataset.claim))) {
    if (field.value === field.dataset.built) field.value = field.dataset.built = Number(field.value) + later;
  }
}

// Objects, lists and times are JSON. A sub of digits is text.
function valueOf({ value, dataset }) {
  if (!/^[[{"]/.test(value) && !["iat", "exp"].includes(dataset.claim)) return value;
  try {
    return JSON.parse(value);
  } catch {
    return value;
  }
}

function read() {
  const chosen = new Set(ticks.filter(({ checked }) => checked).map(({ dataset }) => dataset.has));
  return Object.fromEntries(values.filter(({ dataset }) => chosen.has(dataset.claim)).map((field) => [field.dataset.claim, valueOf(field)]));
}

// --- sending ---

const say = (words) => (find("status").textContent = words);

async function send() {
  renewTimes();
  const claims = read();
  // Everything is read before the first answer: meanwhile the form may change.
  const token = { to: to.value, typ: typ.value, claims: text(claims) };
  const signer = key.value;
  const fields = { to: to.value, session: session.value, mistake: mistake.value, typ: typ.value, key: signer };
  judged = null;
  fill(find("verdict"));
  const { last } = await get("api/messages?limit=1");
  sent = { to: token.to, claims, after: last };
  if (signer === "right") {
    sessionStorage.setItem(KEPT, text({ fields, sent }));
    location.assign(`${page.dataset.console}?${new URLSearchParams({ app: clientOf(token.to), typ: token.typ, claims: token.claims })}`);
    return;
  }
  const answer = await fetch(page.dataset.send, { method: "POST", body: new URLSearchParams({ csrf_token: csrf.value, key: signer, ...token }) });
  if ([403, 502, 503].includes(answer.status)) return fill(find("verdict"), notice("bad", (await answer.json()).error));
  if (!answer.ok) return fill(find("verdict"), notice("bad", "The token cannot be made. Load this page again."));
  again();
}

function restore() {
  const kept = JSON.parse(sessionStorage.getItem(KEPT));
  sessionStorage.removeItem(KEPT);
  if (!kept) return false;
  for (const [name, value] of Object.entries(kept.fields)) form.elements[name].value = value;
  write(kept.sent.claims);
  sent = kept.sent;
  return true;
}

// --- the verdict ---

const NAMES = ["iat", "exp", "jti", "sid", "sub"]; // enough to know the token by

function isSent({ kind, to: receiver, tokens }) {
  const claims = tokens.find(({ name }) => name === "logout_token")?.claims;
  return kind === "backchannel_logout" && receiver === sent.to && claims && NAMES.every((name) => text(claims[name]) === text(sent.claims[name]));
}

async function judge() {
  const { messages } = await get(`api/messages?after=${sent.after}`);
  const message = messages.findLast(isSent);
  if (!message || message.status === undefined) return;
  judged = { ...sent, one: await get(`api/checks/${encodeURIComponent(message.key)}`) };
  sent = null;
}

function draw() {
  const { one, to: app, claims } = judged;
  const failed = one.checks.find(({ result }) => result === "failed");
  const verdict = !one.answered
    ? notice("warn", `${nameOf(app)} did not answer.`)
    : one.refusal
      ? notice("bad", `${nameOf(app)} refused the token: “${one.refusal}”${failed ? ` The check is ${failed.name}, ${failed.clause}.` : ""}`)
      : notice("good", `${nameOf(app)} accepted the token.`);
  const state = text([one, survival(app, claims)]);
  if (find("verdict").dataset.state === state && find("verdict").firstChild) return;
  find("verdict").dataset.state = state;
  fill(find("verdict"), verdict, notice("", survival(app, claims)), checks(one, true, page.dataset.source));
}

function survival(app, { sid }) {
  const found = sessions.find((one) => one.sid === sid);
  if (!found || !appIn(found, app)) return `${nameOf(app)} has no session with this sid.`;
  return isActive(appIn(found, app)) ? `The session at ${nameOf(app)} continues.` : `The session at ${nameOf(app)} has ended.`;
}

async function refresh() {
  sessions = await get("api/sessions");
  if (fillSessions() && !sent && !judged) build();
  if (sent) await judge();
  if (judged) draw();
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  send().catch(() => say("Pickup Learn does not answer."));
});
for (const field of [to, session, mistake]) {
  field.addEventListener("change", () => {
    if (field === to) fillSessions();
    build();
  });
}

sessions = await get("api/sessions");
fillSessions();
if (!restore()) build();
const again = follow(refresh, say, (name) => ["message", "events", "reset"].includes(name));
page.dataset.ready = "";
