// Shows the signed-out card the moment the session ends. Without this script the next click leads to the sign-in.

const template = document.getElementById("signed-out");
const POLL_MS = 2000; // how often to ask when there is no stream to listen to
let source;
let timer;

function listen() {
  source = new EventSource(template.dataset.live);
  source.addEventListener("signed-out", (message) => signedOut(JSON.parse(message.data)));
  source.addEventListener("error", () => {
    // Closed for good: all streams are taken, or the server is away. Ask instead.
    if (source.readyState === EventSource.CLOSED) poll();
  });
}

function poll() {
  clearTimeout(timer);
  timer = setTimeout(async () => {
    if (!(await ask())) poll();
  }, POLL_MS);
}

async function ask() {
  try {
    const answer = await fetch(template.dataset.status, { headers: { Accept: "application/json" } });
    const status = await answer.json();
    if (!status.signed_in) signedOut(status);
    return !status.signed_in;
  } catch {
    return false; // the app is away; its own end is not the session's end
  }
}

function signedOut({ reason, at }) {
  stop();
  const card = template.content.cloneNode(true);
  card.querySelector("[data-reason]").textContent = reason;
  if (at) card.querySelector("[data-at]").textContent = ` at ${new Date(at * 1000).toLocaleTimeString()}`;
  const again = card.querySelector("[data-again]");
  again.href += `?next=${encodeURIComponent(location.pathname + location.search)}`;
  document.body.dataset.session = "ended";
  document.title = `Signed out – ${document.title}`;
  const main = document.querySelector("main");
  main.replaceChildren(card);
  main.querySelector("[role=alert]").focus();
}

function stop() {
  source?.close();
  clearTimeout(timer);
}

listen();
addEventListener("pagehide", stop);
addEventListener("pageshow", (event) => {
  // Back from the browser's cache: the page is old, so ask before anybody believes it.
  if (event.persisted) ask().then((over) => over || listen());
});
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && document.body.dataset.session !== "ended") ask();
});
