// Results and their sheets as shown, and those that this browser keeps. Stands on make, headers and $ of page.js.
"use strict";
const KEPT = "recent-judgements", MOST = 32;  // as many as can be sent at once

function shown(result) {
  const score = result.score === null ? "no score"
    : `score ${result.score.toFixed(3)}, fake from ${result.threshold.toFixed(3)}`;
  const parts = [make("p", { className: "verdict " + result.verdict, textContent: result.verdict.toUpperCase() })];
  if (result.reason) parts.push(make("p", { textContent: result.reason }));
  parts.push(make("p", { className: "dim",
    textContent: `${score}; a face in ${result.n_faces} of ${result.n_read} frames` }));
  return parts;
}

// A line that unfolds to `children` and the sheet, which is fetched then.
function folded(title, sheet, name, ...children) {
  const box = make("details", {}, make("summary", { className: "name", textContent: title }), ...children);
  box.addEventListener("toggle", () => showSheet(box, sheet, name), { once: true });
  return box;
}

// The sheet in a frame where no script runs; fetched by script, since a frame's own request cannot send the token.
async function showSheet(body, url, name) {
  try {
    const text = await (await sheetOf(url)).text();
    const frame = make("iframe", { title: "Sheet of " + name, sandbox: "allow-same-origin", srcdoc: text });
    frame.onload = () => {
      const page = frame.contentDocument.documentElement;
      new ResizeObserver(() => { frame.style.height = page.offsetHeight + "px"; }).observe(page);
    };
    const blob = URL.createObjectURL(new Blob([text], { type: "text/html" }));
    body.append(make("a", { href: blob, download: name + "-sheet.html", textContent: "Save the sheet" }), frame);
  } catch { body.append(make("p", { className: "dim", textContent: "Its sheet is no longer kept." })); }
}

const sheets = () => self.caches?.open(KEPT);  // undefined on pages that came neither by HTTPS nor from this machine

async function sheetOf(url) {
  const answer = await (await sheets())?.match(url) || await fetch(url, { headers: headers() });
  if (!answer.ok) throw new Error(answer.status);
  return answer;
}

function recent() {
  try { return JSON.parse(localStorage.getItem(KEPT)) || []; } catch { return []; }
}

async function remember(result, sheet, url) {
  const kept = [{ at: Date.now(), result, sheet }, ...recent()], old = kept.splice(MOST);
  try {
    localStorage.setItem(KEPT, JSON.stringify(kept));
    const store = await sheets();
    if (sheet) await store?.put(sheet, await sheetOf(sheet));
    for (const entry of old) await store?.delete(entry.sheet);
    if (store) await fetch(url, { method: "DELETE", headers: headers() });  // the server need not keep it any longer
  } catch { /* full, or forbidden: nothing is kept */ }
}

function showRecent() {
  const kept = recent();
  $("past").hidden = !kept.length;
  $("recent").replaceChildren(...kept.map(({ at, result, sheet }) => {
    const title = `${result.path}: ${result.verdict}, ${new Date(at).toLocaleString()}`;
    return make("li", {}, folded(title, sheet, result.path, ...shown(result)));
  }));
}
