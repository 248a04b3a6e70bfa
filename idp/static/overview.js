// Asks whether the services answer after the page has loaded, so that a hanging one does not delay the page. Without
// this script the user has the link "Ask now".

const services = document.getElementById("services");
const url = new URL(location.href);
url.searchParams.set("part", "services");

if (services.dataset.asked === undefined) {
  services.ariaBusy = "true";
  const response = await fetch(url, { redirect: "error" }).catch(() => null); // then they stay "not asked"
  if (response?.ok) services.innerHTML = await response.text();
  services.ariaBusy = "false";
}
