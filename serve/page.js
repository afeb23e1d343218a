// What every script of the page uses: elements, the token, what the server says of its model.
"use strict";
const $ = (id) => document.getElementById(id);
let limits = { max_bytes: Infinity, band: null, keep_s: 0 }, token = sessionStorage.getItem("token") || "";

function make(name, props = {}, ...children) {
  const element = Object.assign(document.createElement(name), props);
  element.append(...children);
  return element;
}

function headers() { return token ? { Authorization: "Bearer " + token } : {}; }

function say(text) { $("said").textContent = text; }

function askForToken() { $("access").hidden = false; $("token").focus(); }

// Fetch what the server says of its model. False where it requires a token, or is not reached.
async function fetchModel() {
  try {
    const answer = await fetch("/v1/model", { headers: headers() });
    if (answer.status === 401) { askForToken(); return false; }
    limits = await answer.json();
  } catch { say("The server cannot be reached."); return false; }
  $("access").hidden = true;
  $("about").textContent = `Model: ${limits.model}`
    + (limits.demo ? ", trained on drawn faces: it knows nothing about real videos. " : ". ")
    + `At most ${Math.round(limits.max_bytes / 1e6)} MB a file. Files are deleted once judged, results `
    + `${limits.keep_s >= 120 ? Math.round(limits.keep_s / 60) + " minutes" : Math.round(limits.keep_s) + " s"} later.`;
  return true;
}
