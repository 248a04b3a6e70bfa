// The tutorial and the labs: keeps predictions and ticks in this browser, and asks the record which steps were seen.
// Without this script every part of each step is shown.

import { el } from "./dom.js";
import { follow, get } from "./follow.js";

const KEY = "pickup tutorial";
const QUIET = 500; // ms without news: the services are read one after the other, so half of a logout may be here
const PATIENCE = 2000; // ms to wait for the quiet, because other people's messages may never stop
const SEAT_PAUSE = 10_000; // ms between two looks at whether the instructor has reset this seat, which sends no message
const page = document.getElementById("tutorial");
const find = (name, part = page) => part.querySelector(`[data-part=${name}]`);
const steps = [...page.querySelectorAll("[data-step]")];
let progress = load();
let newsAt = 0;
let isLeaving = false;
let isSeat = false; // of a class

function load() {
  const asked = new URLSearchParams(location.search).get("person"); // of the address on a seat's card
  try {
    const kept = JSON.parse(localStorage.getItem(KEY));
    if (kept?.since && (!asked || asked === kept.person)) return kept;
  } catch {
    // unreadable, or storage is off: begin again
  }
  return begin(Number(page.dataset.now), asked ?? "");
}

function begin(since, person) {
  return { since, person, predictions: {}, done: {} };
}

function keep() {
  try {
    localStorage.setItem(KEY, JSON.stringify(progress));
  } catch {
    // storage is off: the ticks last as long as the page
  }
}

async function quiet() {
  const latest = Date.now() + PATIENCE;
  while (Date.now() < Math.min(newsAt + QUIET, latest)) await new Promise((resolve) => setTimeout(resolve, 100));
}

async function ask() {
  await quiet();
  const asked = progress;
  const query = new URLSearchParams({ since: asked.since, person: asked.person });
  const { steps: verdicts, people, since } = await get(`${page.dataset.steps}?${query}`);
  if (progress !== asked || isLeaving) return; // the learner started over, or chose a person, meanwhile
  isSeat = since > 0;
  if (since > asked.since) progress = begin(since, asked.person); // the instructor has reset this seat
  for (const [name, { seen, answer, keys }] of Object.entries(verdicts)) {
    if (!seen || progress.done[name]) continue;
    progress.done[name] = { answer, keys };
    const step = steps.find(({ dataset }) => dataset.step === name);
    if (step) find("said").textContent = `Seen: ${step.dataset.title}.`;
  }
  keep();
  fillPeople(people);
  draw();
  page.dataset.ready = "";
}

function fillPeople(people) {
  const select = find("person");
  const names = [...new Set([...people, progress.person])].filter(Boolean).sort();
  if (!select || select.options.length === names.length + 1) return;
  select.replaceChildren(new Option("everybody", ""), ...names.map((name) => new Option(name, name)));
  select.value = progress.person;
}

function draw() {
  for (const tick of page.querySelectorAll("[data-tick]")) tick.toggleAttribute("data-done", tick.dataset.tick in progress.done);
  const done = names().filter((name) => name in progress.done).length;
  if (find("sum")) find("sum").textContent = `${done} of ${names().length} ${page.dataset.what}${progress.person ? ` of ${progress.person}` : ""}. Your progress is kept in this browser.`;
  steps.forEach(drawStep);
}

const names = () => [...page.querySelectorAll("[data-tick]")].map(({ dataset }) => dataset.tick);
// Without what this page lists, because the tutorial and the labs start over separately.
const others = (kept) => Object.fromEntries(Object.entries(kept).filter(([name]) => !names().includes(name)));

function drawStep(step) {
  const name = step.dataset.step;
  const done = progress.done[name];
  const predicted = progress.predictions[name];
  for (const part of step.querySelectorAll("[data-after]")) {
    part.hidden = !(part.dataset.after === "check" ? done && predicted : predicted);
  }
  for (const option of step.querySelectorAll("input[type=radio]")) {
    option.checked = Number(option.value) === predicted;
    option.disabled = Boolean(done && predicted); // the answer is shown
  }
  step.dataset.state = done && predicted ? "done" : done ? "seen" : "open";
  find("grade", step).textContent = gradeOf(step, done, predicted);
  const evidence = find("evidence", step);
  evidence.replaceChildren(done ? "✓ Seen. " : "Waiting for it …");
  if (done?.keys?.length) {
    evidence.append(el("a", { href: `${page.dataset.flow}#${encodeURIComponent(done.keys.at(-1))}` }, "Show the message"));
  }
}

function gradeOf(step, done, predicted) {
  if (!predicted) return "Choose one to read on.";
  if (!done) return "Now do it. The answer appears when the record shows it.";
  const right = done.answer ?? Number(step.dataset.right);
  return predicted === right ? "Your prediction was right." : `You chose ${predicted}. The answer is ${right}.`;
}

page.addEventListener("change", ({ target }) => {
  if (target.matches("input[type=radio]")) {
    progress.predictions[target.name] = Number(target.value);
    keep();
    draw();
  } else if (target === find("person")) {
    progress = { ...progress, person: target.value, done: {} };
    askAgain();
  }
});

find("again")?.addEventListener("click", () => {
  progress = { ...begin(Date.now(), progress.person), predictions: others(progress.predictions), done: others(progress.done) };
  askAgain();
});

// Start and Reset of a lab: the tick of an earlier run does not count.
for (const form of page.querySelectorAll("form[data-run]")) {
  form.addEventListener("submit", () => {
    progress = { ...progress, done: others(progress.done) };
    keep();
    isLeaving = true; // what the record says now is still about the earlier run
  });
}

for (const part of page.querySelectorAll("[data-after]")) part.hidden = true;
draw();
const say = (text) => (find("status").textContent = text);
const isNews = (name) => name === "message" && (newsAt = Date.now());
const askAgain = follow(ask, say, isNews, page.dataset.stream);
setInterval(() => isSeat && !document.hidden && askAgain(), SEAT_PAUSE);
