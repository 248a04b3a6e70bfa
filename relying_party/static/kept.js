// On the page that answers a form sent after the session's end: says that what was typed is kept, if it is.

import { somethingIsKept } from "./typed.js";

document.querySelector("[data-kept]").hidden = !somethingIsKept();
