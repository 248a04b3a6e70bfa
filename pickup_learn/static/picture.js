// The lanes, and an arrow for each message: an ordered list, so that a screen reader reads what the eye sees.

import { el } from "./dom.js";
import { clockOf, isFailure, nameOf, resultOf, sentenceOf } from "./words.js";

export class Picture {
  #rows = new Map(); // key → {message, item}: what is drawn, so that only what changed is drawn again
  #acts = new Map(); // id → section
  #lanes = []; // parties from left to right

  constructor(list, header, choose) {
    Object.assign(this, { list, header, choose });
    list.addEventListener("keydown", (event) => this.#move(event));
  }

  draw(record, services) {
    const focused = this.list.contains(document.activeElement) ? document.activeElement.closest(".message")?.dataset.key : null;
    this.#drawLanes(record.lanes, services);
    const acts = record.acts;
    const shown = new Set(record.shown.map(({ key }) => key));
    for (const [key, { item }] of this.#rows) {
      if (!shown.has(key)) item.remove(), this.#rows.delete(key);
    }
    const ids = new Set(acts.map(({ id }) => id));
    for (const [id, section] of this.#acts) if (!ids.has(id)) section.remove(), this.#acts.delete(id);
    acts.forEach((act, index) => {
      const section = this.#section(act);
      if (this.list.children[index] !== section) this.list.insertBefore(section, this.list.children[index] ?? null);
    });
    this.#oneTabStop();
    if (focused) this.#focusAgain(focused);
  }

  select(key) {
    this.list.querySelector("[aria-pressed=true]")?.setAttribute("aria-pressed", "false");
    const button = this.#rows.get(key)?.item.firstElementChild;
    button?.setAttribute("aria-pressed", "true");
    this.#oneTabStop();
    return button;
  }

  // Unfolds the message's act and scrolls to the message. Not called by draw(): new messages must not move the page.
  show(key) {
    const button = this.select(key);
    if (!button) return;
    button.closest("details").open = true;
    button.scrollIntoView({ block: "nearest" });
  }

  // The keys of the messages, from top to bottom of the page.
  get keys() {
    return [...this.list.querySelectorAll(".message")].map((item) => item.dataset.key);
  }

  #drawLanes(lanes, services) {
    const down = new Set(services.filter(({ up }) => !up).map(({ name }) => name));
    const now = JSON.stringify([lanes, [...down]]);
    if (this.header.dataset.now === now) return;
    this.header.dataset.now = now;
    if (lanes.join() !== this.#lanes.join()) {
      this.#lanes = lanes; // every arrow moves
      this.#rows.clear();
      this.list.replaceChildren();
      this.#acts.clear();
    }
    const name = (lane) =>
      el("li", { "data-lane": lane, "data-down": down.has(lane) }, nameOf(lane), down.has(lane) && el("span", {}, "not reachable"));
    this.header.replaceChildren(...lanes.map(name));
    for (const part of [this.header, this.list]) part.style.setProperty("--lanes", lanes.length);
  }

  #section(act) {
    if (!this.#acts.has(act.id)) this.#acts.set(act.id, makeSection());
    const section = this.#acts.get(act.id);
    const [name, about] = section.querySelectorAll("[data-name], [data-about]");
    name.textContent = act.name;
    const count = act.messages.length === 1 ? "1 message" : `${act.messages.length} messages`;
    about.textContent = [act.person, clockOf(act.messages[0].at).slice(0, 8), count].filter(Boolean).join(" · ");
    section.dataset.act = act.id;
    const rows = section.querySelector("ol");
    act.messages.forEach((message, index) => {
      const item = this.#row(message);
      if (rows.children[index] !== item) rows.insertBefore(item, rows.children[index] ?? null);
    });
    return section;
  }

  #row(message) {
    const known = this.#rows.get(message.key);
    if (known?.message === message) return known.item;
    const item = this.#makeRow(message);
    if (known) {
      item.firstElementChild.setAttribute("aria-pressed", known.item.firstElementChild.getAttribute("aria-pressed"));
      item.classList.remove("new");
      known.item.replaceWith(item);
    }
    this.#rows.set(message.key, { message, item });
    return item;
  }

  #makeRow(message) {
    const [from, to] = [message.from, message.to].map((party) => this.#lanes.indexOf(party));
    const duration = message.duration_ms === null || message.channel === "push" ? null : `${Math.round(message.duration_ms)} ms`;
    const arrow = el(
      "span",
      { class: "arrow", "data-towards": to > from ? "right" : "left", "aria-hidden": "true" },
      el("span", { class: "line" }),
    );
    arrow.style.setProperty("--left", Math.min(from, to));
    arrow.style.setProperty("--span", Math.max(Math.abs(to - from), 0.3));
    const middle = (from + to) / 2;
    const side = middle < 1 ? "start" : middle > this.#lanes.length - 2 ? "end" : null; // near the picture's edge
    const button = el(
      "button",
      { type: "button", class: "row", "aria-pressed": "false", tabindex: "-1" },
      el("span", { class: "when", "aria-hidden": "true" }, clockOf(message.at)),
      el(
        "span",
        { class: "track" },
        el("span", { class: "label", "data-side": side }, message.title),
        el("span", { class: "unseen" }, `: ${sentenceOf(message)}`),
        arrow,
        el("span", { class: "result", "data-side": side, "aria-hidden": "true" }, resultOf(message), duration && el("span", {}, duration)),
      ),
    );
    button.style.setProperty("--middle", middle);
    button.addEventListener("click", () => this.choose(message.key));
    const item = el("li", { class: "message new", "data-key": message.key, "data-kind": message.kind, "data-channel": message.channel });
    item.dataset.from = message.from;
    item.dataset.to = message.to;
    if (isFailure(message)) item.dataset.failed = "";
    item.append(button);
    return item;
  }

  // The arrow keys go from message to message, over the borders of the acts.
  #move(event) {
    const by = { ArrowDown: 1, ArrowUp: -1, Home: -Infinity, End: Infinity }[event.key];
    if (!by || !event.target.matches(".row")) return;
    event.preventDefault();
    const rows = [...this.list.querySelectorAll("details[open] .row")];
    const index = Math.min(Math.max(rows.indexOf(event.target) + by, 0), rows.length - 1);
    rows[index].focus();
    this.choose(rows[index].parentElement.dataset.key, { byKey: true });
  }

  // An element that is moved or replaced loses the focus: a message that comes must not take it from the reader.
  #focusAgain(key) {
    const button = this.#rows.get(key)?.item.firstElementChild;
    if (button !== document.activeElement) button?.focus({ preventScroll: true });
  }

  // The list is one stop of the Tab key (ARIA APG: roving tabindex).
  #oneTabStop() {
    const rows = [...this.list.querySelectorAll(".row")];
    const stop = rows.find((row) => row.getAttribute("aria-pressed") === "true") ?? rows[0];
    for (const row of rows) row.tabIndex = row === stop ? 0 : -1;
  }
}

function makeSection() {
  const title = el("h2", {}, el("span", { "data-name": true }), " ", el("span", { class: "about", "data-about": true }));
  return el("details", { class: "act", open: true }, el("summary", {}, title), el("ol", { class: "messages" }));
}
