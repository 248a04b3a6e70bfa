// One message opened: what was sent, what came back, and one sentence about each part.

import { el, fill, marked } from "./dom.js";
import { channelOf, clockOf, curlOf, nameOf, pathOf, resultOf } from "./words.js";

const TOKENS = { id_token: "ID token", id_token_hint: "ID token as a hint", logout_token: "Logout token" };
const FORGED = { text: "A logout request that the IdP did not send. Anyone can send one, so the app checks the token.", clause: "Back-Channel Logout §2.6" };
const DAY = new Intl.DateTimeFormat("sv-SE", { dateStyle: "short" });
const INSTANTS = new Set(["iat", "exp", "nbf", "auth_time"]); // claims in seconds since the epoch (RFC 7519 §2)

export class Detail {
  constructor(panel, explanations) {
    Object.assign(this, { panel, explanations, key: null });
  }

  // Returns the heading, for the focus.
  show(message) {
    this.key = message.key;
    this.terms = { ...this.explanations.terms };
    const { title, text, clause } = message.from === "outside" ? FORGED : (this.explanations.kinds?.[message.kind] ?? {});
    const heading = el("h2", { tabindex: "-1" }, message.title || title);
    fill(
      this.panel,
      heading,
      el("p", { class: "way", "data-channel": message.channel }, `${nameOf(message.from)} → ${nameOf(message.to)}, ${channelOf(message)}`),
      text ? el("p", {}, ...marked(text, this.terms), clauseOf(clause)) : null,
      this.#facts(message),
      ...this.#failure(message),
      ...message.tokens.map((token) => this.#token(token, message)),
      this.#part("Request", "parameters", message.request.parameters),
      this.#part("Request headers", "headers", message.request.headers, true),
      this.#part("Response", "parameters", message.response.parameters),
      this.#part("Response headers", "headers", message.response.headers, true),
      this.#curl(message),
    );
    this.panel.hidden = false;
    return heading;
  }

  hide() {
    this.key = null;
    this.panel.hidden = true;
  }

  #facts(message) {
    const facts = [
      ["Time", clockOf(message.at)],
      ["Request", message.channel === "push" ? "in the open event stream" : `${message.method} ${pathOf(message.url)}`],
      ["To", message.url.match(/^https?:\/\/[^/]+/)?.[0] ?? nameOf(message.to)],
      ["Answer", resultOf(message) + (message.duration_ms === null ? "" : ` after ${message.duration_ms.toFixed(1)} ms`)],
      ["Recorded by", message.seen_by.map(nameOf).join(" and ")],
    ];
    return el("dl", { class: "pairs" }, ...facts.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, value))));
  }

  #failure(message) {
    if (!message.error && message.outcome !== "no_answer") return [];
    const known = this.explanations.errors?.[message.error ?? "no_answer"];
    const said = [message.error, message.error_description].filter(Boolean).join(": ");
    return [
      el("div", { class: "notice bad" }, el("p", {}, said || "No answer came.", ...(known ? marked(` ${known.text}`, this.terms) : []), known && clauseOf(known.clause))),
    ];
  }

  #token(token, message) {
    const inspect = ["logout_token", "id_token"].includes(token.name);
    return el(
      "section",
      { class: "token" },
      el("h3", {}, TOKENS[token.name] ?? token.name, el("span", { class: "muted" }, ", decoded, in the ", token.where)),
      this.#table("Header", "headers", token.header),
      this.#table("Claims", "claims", token.claims),
      inspect && el("p", {}, el("a", { href: `inspector?key=${encodeURIComponent(message.key)}` }, "Check by check, beside the other token")),
    );
  }

  #part(title, vocabulary, values, folded = false) {
    const count = Object.keys(values).length;
    if (!count) return null;
    return el("details", { class: "part", open: !folded }, el("summary", {}, `${title} (${count})`), this.#table(null, vocabulary, values));
  }

  #table(title, vocabulary, values) {
    return el(
      "dl",
      { class: "values", "aria-label": title },
      ...Object.entries(values).map(([name, value]) => {
        const known = this.explanations[vocabulary]?.[name.toLowerCase()] ?? this.explanations[vocabulary]?.[name];
        return el(
          "div",
          {},
          el("dt", {}, el("code", {}, name)),
          el("dd", {}, el("code", {}, textOf(name, value)), known && el("p", { class: "why" }, ...marked(known.text, this.terms), clauseOf(known.clause))),
        );
      }),
    );
  }

  #curl(message) {
    if (message.channel === "push") return null;
    const command = el("code", { class: "copy", "data-copy": "curl command" }, curlOf(message));
    return el(
      "details",
      { class: "part" },
      el("summary", {}, "As curl"),
      el("p", { class: "hint" }, "Codes, tokens and secrets are not recorded whole. Put your own in their place."),
      el("pre", { class: "code copyable", tabindex: "0" }, command),
    );
  }
}

export function textOf(name, value) {
  if (INSTANTS.has(name) && typeof value === "number") return `${value} (${momentOf(value * 1000)})`;
  return typeof value === "string" ? value : JSON.stringify(value);
}

// With its day, unless that is today. A number that is no time has no day.
function momentOf(milliseconds) {
  const clock = clockOf(milliseconds).slice(0, 8);
  if (Number.isNaN(new Date(milliseconds).valueOf())) return clock;
  const [day, today] = [milliseconds, Date.now()].map((each) => DAY.format(each));
  return day === today ? clock : `${day} ${clock}`;
}

const clauseOf = (clause) => (clause ? el("span", { class: "clause" }, ` ${clause}`) : null);
