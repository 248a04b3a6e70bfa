// The checks that a receiver made of a token, as the inspector and the workbench show them.

import { textOf } from "./detail.js";
import { el } from "./dom.js";
import { nameOf } from "./words.js";

const MARKS = { ok: ["✓", "Passed"], failed: ["✗", "Failed"], "not reached": ["–", "Not made"] };

// `source`: where the files of the repository are shown.
export function checks(one, isOpen, source) {
  const heading = `What ${nameOf(one.receiver)} checked of the ${one.token.name === "id_token" ? "ID token" : "logout token"}`;
  return el(
    "details",
    { class: "part card", open: isOpen, "data-token": one.token.name },
    el("summary", {}, el("h2", {}, heading)),
    verdict(one),
    el("ol", { class: "checks" }, ...one.checks.map((made) => check(made, source))),
  );
}

function verdict({ receiver, refusal, answered, checks: made }) {
  const name = nameOf(receiver);
  const stop = made.findIndex(({ result }) => result === "failed");
  if (!answered) return notice("warn", `${name} did not answer. What it checked is not known.`);
  if (stop >= 0) {
    return notice("bad", `${name} refused the token at check ${stop + 1}, ${made[stop].name}: “${refusal}” It did not make the checks after it.`);
  }
  if (refusal) return notice("bad", `${name} refused the request before it checked the token: “${refusal}”`);
  const missing = made.filter(({ result }) => result === "not reached").map(({ name }) => name);
  if (missing.length) return notice("warn", `${name} accepted the token without the check of ${missing.join(", ")}.`);
  return notice("good", `${name} accepted the token: it passed all ${made.length} checks.`);
}

export const notice = (kind, text) => el("div", { class: `notice ${kind}` }, el("p", {}, text));

function check({ name, text, clause, found, wanted, result, file, line }, source) {
  const [mark, word] = MARKS[result];
  const isInWords = (known) => typeof known === "string" && known.includes(" ");
  const value = (known) => (isInWords(known) ? known : known === null ? "none" : el("code", {}, textOf(name, known)));
  const facts = [
    ["Found", value(found)],
    ["Wanted", value(wanted)],
    ["Source", line ? el("a", { href: `${source}${file}#L${line}` }, el("code", {}, `${file}:${line}`)) : el("code", {}, `not in ${file}`)],
  ];
  return el(
    "li",
    { "data-result": result, "data-check": name },
    el("span", { class: "mark", "aria-hidden": "true" }, mark),
    el(
      "div",
      {},
      el("p", {}, el("strong", {}, name), el("span", { class: "unseen" }, `: ${word}.`), ` ${text}`, el("span", { class: "clause" }, ` ${clause}`)),
      el("dl", { class: "pairs" }, ...facts.map(([label, fact]) => el("div", {}, el("dt", {}, label), el("dd", {}, fact)))),
    ),
  );
}
