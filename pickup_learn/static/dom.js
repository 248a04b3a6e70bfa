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
export const marked = (text) => text.split("`").map((part, index) => (index % 2 ? el("code", {}, part) : part));
