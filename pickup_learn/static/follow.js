// Keeps a page up to date: calls `refresh` now, and again when the stream brings news. Never two calls at once.

const PAUSE = 200; // ms between two calls
const RETRY = 2000; // ms until the next attempt to open the stream, when all places are taken

// `isNews(name, data)`: whether an event of the stream matters to the page.
export function follow(refresh, say, isNews = () => true) {
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

  function connect() {
    const stream = new EventSource("api/stream");
    for (const name of ["message", "events", "services", "tabs", "reset"]) {
      stream.addEventListener(name, ({ data }) => isNews(name, JSON.parse(data)) && run());
    }
    stream.addEventListener("open", run);
    stream.addEventListener("error", () => {
      run();
      if (stream.readyState === EventSource.CLOSED) setTimeout(connect, RETRY); // the browser does not try again
    });
  }

  run();
  connect();
  return run;
}

export async function get(address) {
  const answer = await fetch(address);
  if (!answer.ok) throw new Error(`${address}: ${answer.status}`);
  return answer.json();
}
