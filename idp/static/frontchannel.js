// Front-Channel Logout §3: continue when all frames are loaded, or after a short time: an app may be slow or down.
const LIMIT = 3000; // milliseconds

const leave = () => location.replace(document.getElementById("continue").href);

addEventListener("load", leave); // after the frames, whether they were loaded or failed
setTimeout(leave, LIMIT);
