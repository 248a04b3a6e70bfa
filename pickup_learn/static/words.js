// How a message is put into words and times: used by the picture, the details and the saved file.

const CLOCK = new Intl.DateTimeFormat("sv-SE", { timeStyle: "medium" });
const CHANNELS = { front: "through the browser", back: "back channel", push: "push to the open tab" };
const NAMES = { browser: "Browser", idp: "IdP", dispatch: "Dispatch", manager: "Manager", practice: "Practice", outside: "Outside" };

// Anyone may read the IdP's public addresses, and a sender without a name is shown as that.
export const nameOf = (party) => NAMES[party] ?? party ?? "Anyone";

export const channelOf = (message) => CHANNELS[message.channel] ?? message.channel;

export function clockOf(milliseconds) {
  const moment = new Date(milliseconds);
  if (Number.isNaN(moment.valueOf())) return "--:--:--.---"; // a token may claim any number
  return `${CLOCK.format(moment)}.${String(moment.getMilliseconds()).padStart(3, "0")}`;
}

export const pathOf = (url) => url.replace(/^https?:\/\/[^/]+/, "") || "/";

export function resultOf(message) {
  if (message.channel === "push") return "shown";
  if (message.status === null) return "no answer";
  return String(message.status);
}

export const isFailure = (message) => ["refused", "no_answer", "failed"].includes(message.outcome);

// One sentence for those who cannot see the arrow.
export function sentenceOf(message) {
  const way = `${nameOf(message.from)} to ${nameOf(message.to)}, ${channelOf(message)}`;
  const duration = message.duration_ms === null ? "" : ` in ${Math.round(message.duration_ms)} ms`;
  const result = message.status === null ? "no answer" : `answered ${message.status}${duration}`;
  return message.channel === "push" ? way : `${way}, ${result}${message.error ? `, ${message.error}` : ""}`;
}

// The request as a command. What the record does not keep whole is left for the reader to fill in.
export function curlOf(message) {
  const quote = (text) => `'${String(text).replaceAll("'", "'\\''")}'`;
  const pairs = Object.entries(message.request.parameters).flatMap(([name, value]) =>
    [value].flat().map((each) => `${name}=${typeof each === "string" ? each : JSON.stringify(each)}`),
  );
  const lines = [`curl -i${message.method === "GET" ? " --get" : ""} ${quote(message.url)}`];
  if (message.request.headers.authorization) lines.push("--user 'CLIENT_ID:CLIENT_SECRET'");
  lines.push(...pairs.map((pair) => `--data-urlencode ${quote(pair)}`));
  return lines.join(" \\\n  ");
}

// The act as a Mermaid sequence diagram: solid arrows on the back channel, dotted ones through the browser.
export function mermaidOf(act) {
  const clean = (text) => (text ?? "unknown").replace(/[;#:<>\p{C}\s]+/gu, " "); // a line is a statement
  const parties = [...new Set(act.messages.flatMap(({ from, to }) => [from, to]))];
  const id = (party) => `p${parties.indexOf(party)}`;
  return [
    "sequenceDiagram",
    ...parties.map((party) => `    participant ${id(party)} as ${clean(nameOf(party))}`),
    ...act.messages.map((message) => {
      const arrow = message.channel === "back" ? "->>" : "-->>";
      return `    ${id(message.from)}${arrow}${id(message.to)}: ${clean(message.title)} (${resultOf(message)})`;
    }),
  ].join("\n");
}
