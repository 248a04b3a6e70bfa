// el("p", {class: "hint"}, "text", child) → an element. Text is always text, never markup.
export function el(name, attributes = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(attributes)) {
    if (value === true) element.setAttribute(key, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(key, value);
  }
  return fill(element, ...children);
}

// Replaces the children of an element. null, undefined and false stand for no child.
export function fill(element, ...children) {
  element.replaceChildren(...children.filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

// "such as a password (`pwd`)" → its parts as children of an element, with <code> for what is in backticks.
// `terms`: the addresses of the words that the glossary explains. Each gets one link, and is then taken out of `terms`.
export function marked(text, terms = {}) {
  return text.split("`").flatMap((part, index) => {
    const words = linked(part, terms);
    return index % 2 ? [el("code", {}, ...words)] : words;
  });
}

function linked(text, terms) {
  const longestFirst = Object.keys(terms).sort((a, b) => b.length - a.length);
  if (!longestFirst.length) return [text];
  return text.split(new RegExp(`(?<![\\w-])(${longestFirst.join("|")})(?![\\w-])`, "i")).map((word) => {
    const address = terms[word.toLowerCase()];
    delete terms[word.toLowerCase()];
    return address ? el("a", { href: address, class: "term" }, word) : word;
  });
}
