// Keeps a page up to date: calls `refresh` now, and again when the stream brings news. Never two calls at once.

const PAUSE = 200; // ms between two calls
const RETRY = 2000; // ms until the next attempt to open the stream, when all places are taken

// `isNews(name, data)`: whether an event of the stream matters to the page.
export function follow(refresh, say, isNews = () => true, address = "api/stream") {
  let isRunning = false;
  let isStale = false;

  async function run() {
    isStale = true;
    if (isRunning) return;
    isRunning = true;
    while (isStale) {
      isStale = false;
      try {
        await refresh();
        say("");
      } catch {
        say("Pickup Learn does not answer. The page waits for it.");
      }
      await new Promise((resolve) => setTimeout(resolve, PAUSE));
    }
    isRunning = false;
  }

  const news = ["message", "events", "services", "tabs", "reset"];
  const listeners = news.map((name) => [name, ({ data }) => isNews(name, JSON.parse(data)) && run()]);
  run();
  listen(() => address, { ...Object.fromEntries(listeners), open: run, error: run });
  return run;
}

// Opens a stream. `address()` is asked again for each new one; `listeners`: event name → function.
export function listen(address, listeners) {
  const stream = new EventSource(address());
  for (const [name, act] of Object.entries(listeners)) stream.addEventListener(name, act);
  stream.addEventListener("error", () => {
    if (stream.readyState === EventSource.CLOSED) setTimeout(listen, RETRY, address, listeners); // the browser does not try again
  });
}

export async function get(address) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`${address}: ${answer.status}`);
  return answer.json();
}
