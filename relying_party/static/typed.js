// Keeps the text a user is typing if their session ends, until they sign in again.
//
// The text stays in this tab (sessionStorage) and is offered to the same user only. If another user signs in here,
// it is deleted. Passwords, hidden fields and files are never kept, and neither is a field or form with the attribute
// data-not-kept. The fields in a response to a POST count as typed, because usually the form is shown again with
// errors. If the form is sent to an address other than its page's, data-shown-at names its page.

const KEY = "relying party: typed";
const MOST = 64 * 1024; // characters
const A_DAY = 24 * 3600 * 1000;
const NEVER = ["password", "hidden", "file", "submit", "button", "reset", "image"];
const SECRETS = /password|one-time-code|cc-/;

let page; // hashes of this page's user and session; after a POST also the address of the form's page

// The address to reload this page; empty if it can only be reached by a POST.
export const here = () => page.posted ?? location.pathname + location.search;

const wasPosted = () => page.posted !== undefined;

export function watchTyping(data) {
  page = { ...data };
  if (wasPosted()) page.posted = document.querySelector("form[data-shown-at]")?.dataset.shownAt ?? page.posted;
  const kept = read();
  if (kept && kept.person === page.person && kept.session !== page.session && kept.at > Date.now() - A_DAY) {
    if (kept.path !== here() || matching(kept.fields).length) offer(kept);
  } else {
    forget(); // another user's, or of the active session: the user left the page or sent the form
    if (wasPosted()) keep();
  }
  addEventListener("input", keep);
  addEventListener("change", keep);
  addEventListener("submit", ({ target }) => {
    const action = new URL(target.getAttribute("action") ?? "", location.href);
    if (action.pathname === page.logout) forget(); // the user logs out on purpose
  });
}

// Whether any typed text is kept, for any user.
export const somethingIsKept = () => read() !== null;

// Whether text typed on this page is kept for its user.
export function typingIsKept() {
  const kept = read();
  return kept?.person === page.person && kept.path === here();
}

function keep() {
  const changed = keepable().filter(([, field]) => isChanged(field));
  if (!changed.length) return forget();
  const fields = Object.fromEntries(changed.map(([name, field]) => [name, valueOf(field)]));
  const { person, session } = page;
  const text = JSON.stringify({ person, session, at: Date.now(), path: here(), title: document.title, fields });
  try {
    if (here() && text.length <= MOST) sessionStorage.setItem(KEY, text);
  } catch {
    // storage is full or forbidden: nothing is kept
  }
}

function read() {
  try {
    return JSON.parse(sessionStorage.getItem(KEY));
  } catch {
    return null;
  }
}

function forget() {
  try {
    sessionStorage.removeItem(KEY);
  } catch {
    // storage is forbidden, so nothing is kept
  }
}

// Names the fields so that they match those of the page loaded after the next sign-in.
function keepable() {
  const seen = {};
  return [...document.querySelectorAll("input, textarea, select")].filter(mayBeKept).map((field) => {
    const name = `${[...document.forms].indexOf(field.form)} ${field.name || field.id}`;
    seen[name] = (seen[name] ?? 0) + 1;
    return [`${name} ${seen[name]}`, field];
  });
}

function mayBeKept(field) {
  const named = field.name || field.id;
  return named && !NEVER.includes(field.type) && !SECRETS.test(field.autocomplete) && !field.closest("[data-not-kept]");
}

const isCheckable = (field) => field.type === "checkbox" || field.type === "radio";

// Compares with the server's value or, if the user typed that value, with an empty field.
function isChanged(field) {
  const given = (value, empty) => (wasPosted() ? empty : value);
  if (isCheckable(field)) return field.checked !== given(field.defaultChecked, false);
  if (!field.options) return field.value !== given(field.defaultValue, "");
  const options = [...field.options];
  const isGiven = (option) => given(option.defaultSelected, false);
  // If no option is selected, a one-line list shows its first option.
  const first = field.multiple || options.some(isGiven) ? null : options[0];
  return options.some((option) => option.selected !== (isGiven(option) || option === first));
}

function valueOf(field) {
  if (isCheckable(field)) return field.checked;
  return field.options ? [...field.selectedOptions].map((option) => option.value) : field.value;
}

function putBack(field, value) {
  if (isCheckable(field)) field.checked = value;
  else if (field.options) for (const option of field.options) option.selected = value.includes(option.value);
  else field.value = value;
  for (const name of ["input", "change"]) field.dispatchEvent(new Event(name, { bubbles: true }));
}

const matching = (values) => keepable().filter(([name]) => name in values);

function offer(kept) {
  const notice = document.getElementById("kept-input").content.cloneNode(true).firstElementChild;
  for (const part of notice.querySelectorAll(kept.path === here() ? "[data-elsewhere]" : "[data-here]")) part.remove();
  const link = notice.querySelector("a");
  if (link) Object.assign(link, { href: kept.path, textContent: kept.title });
  notice.querySelector("[data-restore]")?.addEventListener("click", () => {
    notice.remove();
    const fields = matching(kept.fields);
    for (const [name, field] of fields) putBack(field, kept.fields[name]);
    fields[0]?.[1].focus();
  });
  notice.querySelector("[data-discard]").addEventListener("click", () => {
    notice.remove();
    forget();
  });
  (document.querySelector("main") ?? document.body).prepend(notice);
}
