// The token inspector: an ID token beside a logout token, and each check that the receiver made.

import { checks } from "./checks.js";
import { textOf } from "./detail.js";
import { el, marked } from "./dom.js";
import { follow, get } from "./follow.js";
import { clockOf, nameOf } from "./words.js";

const FIRST = ["typ", "events", "nonce", "lifetime", "jti", "iss", "aud", "sub", "sid", "iat", "exp", "alg", "kid"];
const ALWAYS_DIFFERENT = ["iat", "exp"]; // no mark: two tokens are not issued in the same second
const NAMES = { id_token: "ID token", logout_token: "Logout token" };

const page = document.getElementById("inspector");
const find = (name) => page.querySelector(`[data-part=${name}]`);
const explanations = await get("api/explanations");
let chosen = new URLSearchParams(location.search).get("key"); // null: the newest logout token

async function refresh() {
  const { tokens } = await get("api/tokens");
  fill(tokens);
  const key = chosen ?? tokens[0]?.key;
  const one = key ? await load(key) : null;
  find("empty").hidden = Boolean(one);
  find("found").hidden = !one;
  if (!one) return;
  const pair = [one, one.beside && (await load(one.beside))].filter(Boolean);
  const state = JSON.stringify(pair);
  if (find("found").dataset.state === state) return; // nothing new: leave what the reader has unfolded
  find("found").dataset.state = state;
  draw(...["id_token", "logout_token"].map((name) => pair.find(({ token }) => token.name === name)));
}

const load = (key) => get(`api/checks/${encodeURIComponent(key)}`).catch(() => null); // after a reset it is gone

function fill(tokens) {
  const choices = tokens.map(({ key, at, to, act, outcome }) => {
    const result = { ok: "accepted", refused: "refused", no_answer: "no answer" }[outcome] ?? outcome;
    return [key, [clockOf(at).slice(0, 8), nameOf(to), act.person, result].filter(Boolean).join(" · ")];
  });
  const select = find("token");
  const now = JSON.stringify(choices);
  if (select.dataset.now === now) return;
  select.dataset.now = now;
  const options = choices.map(([key, text]) => new Option(text, key, false, key === chosen));
  select.replaceChildren(new Option("The newest one", "", false, !chosen), ...options);
}

// A refused token begins with the check at which it stopped.
function draw(idToken, logoutToken) {
  const [first, second] = [logoutToken, idToken].filter(Boolean).map((one, index) => checks(one, index === 0, page.dataset.source));
  const tokens = comparison(idToken, logoutToken);
  const parts = (logoutToken ?? idToken).refusal ? [first, tokens] : [tokens, first];
  find("found").replaceChildren(...parts, ...(second ? [second] : []));
}

// --- the two tokens ---

function comparison(idToken, logoutToken) {
  const [one, other] = [idToken, logoutToken].map(valuesOf);
  const terms = { ...explanations.terms };
  const names = [...new Set([...FIRST, ...Object.keys(other), ...Object.keys(one)])].filter((name) => name in one || name in other);
  const headings = ["Name", title(NAMES.id_token, idToken), title(NAMES.logout_token, logoutToken), "What it is for"];
  return el(
    "section",
    { class: "compare" },
    el("h2", {}, "Side by side"),
    el(
      "table",
      { class: "table", role: "table" },
      el("thead", { role: "rowgroup" }, el("tr", { role: "row" }, ...headings.map((text) => el("th", { scope: "col", role: "columnheader" }, text)))),
      el("tbody", { role: "rowgroup" }, ...names.map((name) => row(name, one, other, terms))),
    ),
  );
}

const title = (name, one) => (one ? `${name} of ${clockOf(one.at).slice(0, 8)}` : name);

function valuesOf(one) {
  if (!one) return {};
  const { header, claims } = one.token;
  const isKnown = Number.isFinite(claims.exp) && Number.isFinite(claims.iat);
  const lifetime = isKnown ? { lifetime: durationOf(claims.exp - claims.iat) } : {};
  return { ...header, ...claims, ...lifetime };
}

const durationOf = (seconds) => (seconds % 60 ? `${seconds} seconds` : `${seconds / 60} minutes`);

function row(name, one, other, terms) {
  const difference = explanations.differences[name];
  const both = name in one && name in other;
  const isDifferent = JSON.stringify(one[name]) !== JSON.stringify(other[name]) && !ALWAYS_DIFFERENT.includes(name);
  const differs = isDifferent && (both || Boolean(difference));
  const known = (differs && difference) || explanations.claims[name] || explanations.headers[name];
  return el(
    "tr",
    { role: "row", class: differs && "differs" },
    el("th", { scope: "row", role: "rowheader" }, el("code", {}, name), differs && el("span", { class: "badge warn" }, "differs")),
    cell(NAMES.id_token, name, one),
    cell(NAMES.logout_token, name, other),
    el("td", { role: "cell" }, ...(known ? [...marked(known.text, terms), el("span", { class: "clause" }, ` ${known.clause}`)] : [])),
  );
}

function cell(label, name, values) {
  const value = name in values ? el("code", {}, textOf(name, values[name])) : el("span", { class: "muted" }, "not in it");
  return el("td", { role: "cell", "data-label": label }, value);
}

const say = (text) => (find("status").textContent = text);
const again = follow(refresh, say, (name, data) => name === "reset" || (name === "message" && data.tokens.length > 0));

find("token").addEventListener("change", ({ target }) => {
  chosen = target.value || null;
  history.replaceState(null, "", chosen ? `?key=${encodeURIComponent(chosen)}` : location.pathname);
  again();
});
page.dataset.ready = "";
