// Asks whether the services answer, after the page is there: one that hangs holds up nothing. Without this script there
// is the link "Ask now".

const services = document.getElementById("services");
const url = new URL(location.href);
url.searchParams.set("part", "services");

if (services.dataset.asked === undefined) {
  services.ariaBusy = "true";
  const response = await fetch(url, { redirect: "error" }).catch(() => null); // then they stay as not asked
  if (response?.ok) services.innerHTML = await response.text();
  services.ariaBusy = "false";
}
