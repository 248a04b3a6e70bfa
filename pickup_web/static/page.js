// For every page: times in the reader's time zone, and buttons that copy.
//
// Without this script times are in UTC, and a click selects the whole value.

const LOCAL = new Intl.DateTimeFormat("sv-SE", { dateStyle: "short", timeStyle: "medium" }); // 2027-01-15 09:00:00
const ZONE = new Intl.DateTimeFormat("en", { timeZoneName: "long" });

const copied = document.createElement("p");
copied.className = "unseen";
copied.setAttribute("role", "status"); // read out when it changes

// Also for a part that a script inserted; elements that are already complete stay unchanged.
export function complete(part) {
  part.querySelectorAll("time[datetime]:not([title])").forEach(showInZone);
  if (navigator.clipboard) part.querySelectorAll("[data-copy]").forEach(addButton); // on https and localhost only
}

function showInZone(element) {
  const moment = new Date(element.dateTime);
  const zone = ZONE.formatToParts(moment).find(({ type }) => type === "timeZoneName").value;
  element.title = `${zone}; ${element.textContent}`;
  element.textContent = LOCAL.format(moment);
}

// An element with data-copy="client ID" gets a button "Copy the client ID".
function addButton(element) {
  const button = document.getElementById("copy-button").content.cloneNode(true).firstElementChild;
  button.ariaLabel = button.title = `Copy the ${element.dataset.copy}`;
  if (element.id) button.id = `${element.id}-copy`;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(element.textContent.trim());
    button.dataset.copied = "";
    copied.textContent = `Copied the ${element.dataset.copy}.`;
    setTimeout(() => {
      delete button.dataset.copied;
      copied.textContent = "";
    }, 3000);
  });
  element.after(button);
}

document.body.append(copied);
complete(document);
