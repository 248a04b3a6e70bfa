// The board: a row for each seat, a cell for each step. The service says which are done.

import { el, fill } from "./dom.js";
import { get } from "./follow.js";

const PAUSE = 2000; // ms between two looks; the service computes no more often
const page = document.getElementById("board");
const find = (name) => page.querySelector(`[data-part=${name}]`);
const heads = [...page.querySelectorAll("th[data-step]")];
let drawn = "";

function draw(rows) {
  const now = JSON.stringify(rows);
  if (now === drawn) return;
  drawn = now;
  find("room").hidden = rows.length === 0;
  find("empty").hidden = rows.length > 0;
  fill(find("rows"), ...rows.map(rowOf));
  const seats = rows.filter(({ name }) => name);
  const begun = seats.filter(({ done }) => done.length).length;
  find("sum").textContent = seats.length ? `${begun} of ${seats.length} seats have begun.` : "";
}

function rowOf({ name, done }) {
  const cells = heads.map((head) => {
    const isDone = done.includes(head.dataset.step);
    return el("td", { class: head.className || null, "data-step": head.dataset.step, "data-done": isDone }, isDone ? "✓" : "");
  });
  const count = el("td", { class: "count" }, String(done.length));
  return el("tr", { "data-seat": name || "nobody" }, el("th", { scope: "row" }, name || "No name"), count, ...cells);
}

async function look() {
  try {
    if (!document.hidden) draw(await get(page.dataset.rows));
    find("status").textContent = "";
    page.dataset.ready = "";
  } catch {
    find("status").textContent = "Pickup Learn does not answer. The page waits for it.";
  }
  setTimeout(look, PAUSE);
}

document.addEventListener("visibilitychange", () => document.hidden || get(page.dataset.rows).then(draw, () => {}));
look();
