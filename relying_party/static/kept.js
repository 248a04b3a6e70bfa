// For the page shown after a form was sent too late: says that the typed text is kept, if it is.

import { somethingIsKept } from "./typed.js";

document.querySelector("[data-kept]").hidden = !somethingIsKept();
