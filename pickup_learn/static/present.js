// The demonstration for a room: large type, the two apps in windows of their own, and the four clicks to tick.

const CLICKS = [
  { text: "Sign in to Dispatch", seen: ({ kind, to }) => kind === "authorization_response" && to === "dispatch" },
  { text: "Open Manager: it asks for no password", seen: ({ kind, to }) => kind === "authorization_response" && to === "manager" },
  { text: "Log out of Dispatch", seen: ({ kind, to }) => kind === "log_out" && to === "dispatch" },
  {
    text: "Look at Manager's tab: it is logged out",
    seen: ({ kind, from, to, outcome }) => outcome === "ok" && ((kind === "push" && from === "manager") || (kind === "backchannel_logout" && to === "manager")),
  },
];

export class Presentation {
  #since = 0; // ms; only messages from here on tick a click
  #next = 0;

  constructor(bar, button, apps) {
    Object.assign(this, { bar, apps, onOff: button });
    button.addEventListener("click", () => this.toggle());
    this.list = bar.querySelector("ol");
    this.button = bar.querySelector("[data-next]");
    this.button.addEventListener("click", () => this.#help());
    bar.querySelector("[data-again]").addEventListener("click", () => this.start());
  }

  get isOn() {
    return document.documentElement.classList.contains("present");
  }

  toggle(on = !this.isOn) {
    document.documentElement.classList.toggle("present", on);
    this.bar.hidden = !on;
    this.onOff.textContent = on ? "Stop presenting" : "Present";
    if (on) this.start();
  }

  start() {
    this.#since = Date.now();
    this.#next = 0;
    this.#draw();
  }

  // Ticks the clicks that were seen, in their order.
  see(messages) {
    if (!this.isOn) return;
    for (const message of messages) {
      if (message.at >= this.#since && CLICKS[this.#next]?.seen(message)) {
        this.#since = message.at;
        this.#next += 1;
      }
    }
    this.#draw();
  }

  // The clicks are the instructor's own: another site's page cannot be clicked from here, only opened.
  #help() {
    const app = this.#next === 1 || this.#next === 3 ? "manager" : "dispatch";
    const half = Math.round(screen.availWidth / 2);
    const left = screen.availLeft + (app === "manager" ? half : 0);
    const height = Math.round(screen.availHeight / 2);
    window.open(this.apps[app], `pickup-${app}`, `popup,width=${half},height=${height},left=${left},top=${height}`);
  }

  #draw() {
    [...this.list.children].forEach((item, index) => {
      item.toggleAttribute("data-done", index < this.#next);
      item.ariaCurrent = index === this.#next ? "step" : null;
    });
    const click = CLICKS[this.#next];
    this.button.textContent = click ? `Next: ${click.text}` : "All four were seen";
    this.button.disabled = !click;
  }
}
