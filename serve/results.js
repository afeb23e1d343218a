// What a result shows: verdict, reason, timeline, faces, sheet; and the results that this browser keeps.
"use strict";
const KEPT = "recent-judgements", MOST = 32;  // as many as can be sent at once
const SVG = "http://www.w3.org/2000/svg", WIDEST = 600, HEIGHT = 130, LEFT = 34, RIGHT = 8, TOP = 8, BOTTOM = 22;

// Why the verdict is what it is, in a sentence.
function reasonOf({ verdict, score, threshold, reason }) {
  if (verdict === "undecided" || score === null) return reason;
  const side = verdict === "fake" ? "at or above" : "below";
  return `score ${score.toFixed(3)} is ${side} the threshold ${threshold.toFixed(3)}` + (reason ? `; ${reason}` : "");
}

// faces: address of the small pictures, null where there are none.
function describe(result, faces) {
  const { verdict, n_faces, n_read } = result;
  const strip = make("ul", { className: "faces", ariaLabel: "Judged faces" });
  const parts = [make("p", { className: "verdict " + verdict, textContent: verdict.toUpperCase() }),
    make("p", { className: "reason", textContent: reasonOf(result) }),
    make("p", { className: "dim", textContent: `a face in ${n_faces} of ${n_read} frame${n_read === 1 ? "" : "s"}` })];
  const people = result.people ? result.people.map((person) => person.frames) : [result.frames];
  if (people.some((frames) => frames.length > 1)) parts.push(timeline(people, result));
  if (faces) { parts.push(strip); fillFaces(strip, faces); }
  return parts;
}

async function fillFaces(strip, url) {
  try {
    for (const { time_s, score, where, jpeg } of (await (await stored(url)).json()).faces)
      strip.append(make("li", {}, make("img", { src: jpeg, alt: "Face" + (where && " " + where), width: 112, height: 112 }),
        make("span", { textContent: `${time_s.toFixed(1)} s: ${score.toFixed(3)}` })));
  } catch { strip.remove(); }
}

function draw(name, attributes, ...children) {
  const element = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
  element.append(...children);
  return element;
}

// The scores over time, a line per person, with the threshold and the uncertain band.
function timeline(people, { threshold }) {
  const all = people.flat(), end = Math.max(...all.map((f) => f.time_s)), scores = all.map((f) => f.score);
  const WIDTH = Math.min(WIDEST, Math.max(240, $("jobs").clientWidth - 34));  // as it is shown: text keeps its size
  const x = (time) => LEFT + (WIDTH - LEFT - RIGHT) * (end ? time / end : .5);
  const y = (score) => TOP + (HEIGHT - TOP - BOTTOM) * (1 - score);
  const text = (at, down, words, anchor) => draw("text", { x: at, y: down, "text-anchor": anchor }, words);
  const plot = draw("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "timeline", role: "img", "aria-label":
    `Scores of ${all.length} faces from 0 to ${end.toFixed(1)} s: lowest ${Math.min(...scores).toFixed(3)}, highest `
    + `${Math.max(...scores).toFixed(3)}, threshold ${threshold.toFixed(3)}` });
  if (limits.band) plot.append(draw("rect", { class: "band", x: LEFT, width: WIDTH - LEFT - RIGHT,
    y: y(limits.band[1]), height: y(limits.band[0]) - y(limits.band[1]) }));
  for (const score of [0, 1]) plot.append(text(LEFT - 6, y(score) + 4, score, "end"));
  plot.append(draw("path", { class: "axis", d: `M${LEFT} ${y(1)}V${y(0)}H${WIDTH - RIGHT}` }),
    draw("path", { class: "threshold", d: `M${LEFT} ${y(threshold)}H${WIDTH - RIGHT}` }),
    text(LEFT, HEIGHT - 5, "0 s", "start"), text(WIDTH - RIGHT, HEIGHT - 5, end.toFixed(1) + " s", "end"));
  for (const frames of people) {
    plot.append(draw("polyline", { class: "line", points: frames.map((f) => `${x(f.time_s)},${y(f.score)}`).join(" ") }));
    for (const f of frames) plot.append(draw("circle", { class: f.score >= threshold ? "fake" : "real", cx: x(f.time_s),
      cy: y(f.score), r: 4 }, draw("title", {}, `${f.time_s.toFixed(1)} s: score ${f.score.toFixed(3)}`)));
  }
  const legend = `Score of each frame, 0 to 1; dashed: threshold ${threshold.toFixed(3)}`
    + (limits.band ? "; grey: uncertain band" : "");
  return make("figure", {}, plot, make("figcaption", { className: "dim", textContent: legend }));
}

// A link to the result that others can open while the server keeps it.
function shareLink(url) {
  const address = location.origin + "/#" + url.split("/").pop();
  const button = make("button", { type: "button", textContent: "Copy link" });
  button.onclick = async () => {
    try { await navigator.clipboard.writeText(address); button.textContent = "Link copied"; }
    catch { button.textContent = "Copy failed: use the link itself"; }
  };
  return make("p", { className: "share" }, make("a", { href: address, textContent: "Link to this result" }), button);
}

// A line that opens to the sheet, which is fetched when it is opened.
function foldedSheet(title, sheet, name) {
  const box = make("details", {}, make("summary", { className: "name", textContent: title }));
  box.addEventListener("toggle", () => showSheet(box, sheet, name), { once: true });
  return box;
}

// The sheet in a frame where no script runs; fetched by script, since a frame's own request cannot send the token.
async function showSheet(body, url, name) {
  try {
    const text = await (await stored(url)).text();
    const frame = make("iframe", { title: "Sheet of " + name, sandbox: "allow-same-origin", srcdoc: text });
    frame.onload = () => {
      const page = frame.contentDocument.documentElement;
      new ResizeObserver(() => { frame.style.height = page.offsetHeight + "px"; }).observe(page);
    };
    const blob = URL.createObjectURL(new Blob([text], { type: "text/html" }));
    body.append(make("a", { href: blob, download: name + "-sheet.html", textContent: "Save the sheet" }), frame);
  } catch { body.append(make("p", { className: "dim", textContent: "The sheet is no longer on the server." })); }
}

const cache = () => self.caches?.open(KEPT);  // undefined on pages that came neither by HTTPS nor from this machine

// A sheet, or faces: from this browser where it keeps them, else from the server.
async function stored(url) {
  const answer = await (await cache())?.match(url) || await fetch(url, { headers: headers() });
  if (!answer.ok) throw new Error(answer.status);
  return answer;
}

function recent() {
  try { return JSON.parse(localStorage.getItem(KEPT)) || []; } catch { return []; }
}

async function remember(result, sheet, faces, url) {
  const kept = [{ at: Date.now(), result, sheet, faces, url }, ...recent().filter((entry) => entry.url !== url)];
  const old = kept.splice(MOST);
  try {
    localStorage.setItem(KEPT, JSON.stringify(kept));
    const store = await cache();
    for (const address of [sheet, faces]) if (address) await store?.put(address, await stored(address));
    for (const entry of old) await removeStored(entry);
  } catch { /* full, or forbidden: nothing is kept */ }
}

async function removeStored({ sheet, faces }) {
  const store = await cache();
  for (const address of [sheet, faces]) if (address) await store?.delete(address);
}

async function forgetRecent(url) {
  const entry = recent().find((entry) => entry.url === url);
  if (!entry) return;
  localStorage.setItem(KEPT, JSON.stringify(recent().filter((other) => other.url !== url)));
  await removeStored(entry);
  showRecent();
}

function showRecent() {
  const kept = recent();
  $("past").hidden = !kept.length;
  $("recent").replaceChildren(...kept.map(({ at, result, sheet, faces }) => {
    const title = `${result.path}: ${result.verdict.toUpperCase()}, ${new Date(at).toLocaleString()}`;
    const box = make("details", {}, make("summary", { className: "name", textContent: title }));
    box.addEventListener("toggle", () => {
      box.append(...describe(result, faces)); showSheet(box, sheet, result.path);
    }, { once: true });
    return make("li", {}, box);
  }));
}
