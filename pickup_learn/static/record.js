// The messages that the page knows, and which of them it shows. No DOM in here.

const KEPT = 10_000; // messages; the oldest ones are forgotten
const DRAWN = 500; // messages on the page while it is live
const LANES = ["browser", "dispatch", "idp", "manager"]; // the lanes of the demo, from left to right

export class Record {
  #messages = new Map(); // key → message, as GET /api/messages gives it
  #order = null; // the messages in the order of their time; null: sort again
  filter = { person: "", sid: "" };
  position = null; // how many of the filtered messages are shown; null: all, as they come

  // A message that comes again has more to say (its second edge was recorded): it replaces the earlier one.
  add(messages) {
    for (const message of messages) this.#messages.set(message.key, message);
    const surplus = this.#messages.size - KEPT;
    if (surplus > 0) for (const { key } of this.all.slice(0, surplus)) this.#messages.delete(key);
    this.#order = null;
  }

  clear() {
    this.#messages.clear();
    this.#order = null;
    this.position = null;
  }

  get(key) {
    return this.#messages.get(key);
  }

  get all() {
    this.#order ??= [...this.#messages.values()].sort((a, b) => a.at - b.at || a.seq - b.seq);
    return this.#order;
  }

  get filtered() {
    const { person, sid } = this.filter;
    return this.all.filter(({ act }) => (!person || act.person === person) && (!sid || act.sid === sid));
  }

  get shown() {
    return this.position === null ? this.filtered.slice(-DRAWN) : this.filtered.slice(0, this.position).slice(-DRAWN);
  }

  get isLive() {
    return this.position === null;
  }

  pause() {
    this.position ??= this.filtered.length;
  }

  resume() {
    this.position = null;
  }

  step(by) {
    this.pause();
    this.position = Math.min(Math.max(this.position + by, 0), this.filtered.length);
  }

  // [{id, name, person, sid, at, messages}], newest first.
  get acts() {
    const acts = new Map();
    for (const message of this.shown) {
      if (!acts.has(message.act.id)) acts.set(message.act.id, { ...message.act, messages: [] });
      acts.get(message.act.id).messages.push(message);
    }
    return [...acts.values()].sort((a, b) => b.messages[0].at - a.messages[0].at);
  }

  // A lane for each party: the demo's own first, then further apps as they appear.
  get lanes() {
    const parties = this.all.flatMap(({ from, to }) => [from, to]);
    return [...new Set([...LANES, ...parties])];
  }

  get people() {
    return [...new Set(this.all.map(({ act }) => act.person).filter(Boolean))].sort();
  }

  get sids() {
    return [...new Set(this.all.map(({ act }) => act.sid).filter(Boolean))].reverse();
  }
}
