// Form Post Response Mode §2: the page posts itself to the client.
document.forms[0].submit();
