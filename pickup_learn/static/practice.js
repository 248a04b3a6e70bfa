// Asks every second whether the session of this page is active, and shows when it has ended.

const POLL = 1000; // ms
const page = document.getElementById("practice");

async function ask() {
  try {
    const answer = await fetch(page.dataset.status);
    const { signed_in: isSignedIn, reason } = answer.ok ? await answer.json() : { signed_in: true };
    if (!isSignedIn) return show(reason);
  } catch {
    // the app does not answer: ask again
  }
  setTimeout(ask, POLL);
}

function show(reason) {
  const card = document.getElementById("signed-out").content.cloneNode(true);
  card.querySelector("[data-reason]").textContent = reason ?? "You are logged out.";
  page.replaceChildren(card);
}

setTimeout(ask, POLL);
