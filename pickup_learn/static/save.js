// "Save this flow": one HTML file that opens without a network and without a script.

import { Detail } from "./detail.js";
import { el } from "./dom.js";
import { channelOf, clockOf, mermaidOf, nameOf, resultOf } from "./words.js";

const ABOUT = "Codes, tokens and secrets are shortened; tokens are decoded and have no signature.";

export async function saveFlow(acts, explanations) {
  const sheets = [...document.querySelectorAll("link[rel=stylesheet]")].map(({ href }) => fetch(href).then((answer) => answer.text()));
  const styles = (await Promise.all(sheets)).join("\n");
  download("pickup-flow.html", "text/html", fileOf(acts, explanations, styles));
}

export function saveMermaid(acts) {
  download("pickup-flow.mmd", "text/plain", [...acts].reverse().map(mermaidOf).join("\n\n"));
}

function fileOf(acts, explanations, styles) {
  const page = document.implementation.createHTMLDocument("Pickup: a recorded flow");
  page.documentElement.lang = "en";
  page.documentElement.dataset.themeName = "learn";
  page.head.append(el("meta", { charset: "utf-8" }), el("meta", { name: "viewport", content: "width=device-width, initial-scale=1" }));
  page.body.className = "saved";
  page.body.append(el("main", {}, el("h1", {}, "A recorded flow"), el("p", { class: "lead" }, `Recorded by Pickup, saved on ${new Date().toLocaleDateString("sv-SE")}. ${ABOUT}`), ...acts.map((act) => actOf(act, explanations))));
  // As text: an element with styles would be refused by this page's own content security policy.
  return `<!doctype html>\n${page.documentElement.outerHTML.replace("</head>", () => `<style>${styles}</style></head>`)}\n`;
}

function actOf(act, explanations) {
  const about = [act.person, clockOf(act.messages[0].at).slice(0, 8)].filter(Boolean).join(" · ");
  return el(
    "section",
    { class: "card" },
    el("h2", {}, `${act.name} `, el("span", { class: "about" }, about)),
    el("ol", { class: "saved-messages" }, ...act.messages.map((message) => messageOf(message, explanations))),
    el("details", { class: "part" }, el("summary", {}, "As a Mermaid diagram"), el("pre", { class: "code" }, mermaidOf(act))),
  );
}

function messageOf(message, explanations) {
  const panel = el("div", { class: "detail" });
  new Detail(panel, { ...explanations, terms: {} }).show(message); // the glossary is not in the file
  const way = `${nameOf(message.from)} → ${nameOf(message.to)}, ${channelOf(message)}, ${resultOf(message)}`;
  const summary = el("summary", {}, el("strong", {}, message.title), el("span", { class: "muted" }, ` ${clockOf(message.at)} · ${way}`));
  return el("li", { "data-channel": message.channel }, el("details", {}, summary, panel));
}

function download(name, type, text) {
  const address = URL.createObjectURL(new Blob([text], { type: `${type};charset=utf-8` }));
  const link = el("a", { href: address, download: name, hidden: true });
  document.body.append(link);
  link.click();
  link.remove();
  URL.revokeObjectURL(address);
}
