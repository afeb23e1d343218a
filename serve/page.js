// The page: a queue of files, one upload at a time, progress from the server's events, results in place (results.js).
"use strict";
const $ = (id) => document.getElementById(id);
const SAYS = { waiting: "waits for its upload", uploading: "uploading", queued: "waits on the server",
  decoding: "decoding", faces: "looking for faces", judging: "judging", cancelled: "cancelled", failed: "not judged" };
const STEPS = { decoding: .55, faces: .7, judging: .9 };  // of the bar; up to .5 is the upload
const SOON_SENT = 1e7;  // bytes
let limits = { max_bytes: Infinity }, token = sessionStorage.getItem("token") || "", uploading = false;
const queue = [];

function make(name, props = {}, ...children) {
  const element = Object.assign(document.createElement(name), props);
  element.append(...children);
  return element;
}

function headers() { return token ? { Authorization: "Bearer " + token } : {}; }

function say(text) { $("said").textContent = text; }

class Job {
  constructor(file) {
    this.file = file; this.state = "waiting"; this.url = ""; this.stop = () => {};
    this.bar = make("progress", { max: 1, value: 0, ariaLabel: "Progress of " + file.name });
    this.text = make("p", { className: "dim" });
    this.button = make("button", { type: "button", textContent: "Cancel", ariaLabel: "Cancel " + file.name });
    this.button.onclick = () => this.cancel();
    this.body = make("div", {}, this.bar, this.text);
    this.item = make("li", {}, make("div", { className: "head" },
      make("span", { className: "name", textContent: file.name }), this.button), this.body);
    $("jobs").append(this.item);
    this.show("waiting", 0);
  }

  show(state, share, more = "") {
    this.state = state; this.bar.value = share; this.text.textContent = SAYS[state] + more;
  }

  cancel() {
    if (this.ended) { this.item.remove(); return; }
    this.end("cancelled"); this.stop(); this.forget();
    this.text.textContent = SAYS.cancelled;
    say(this.file.name + ": cancelled");
  }

  forget() {
    if (this.url) fetch(this.url, { method: "DELETE", headers: headers() }).catch(() => {});
  }

  end(state) {
    this.ended = true; this.state = state; this.bar.remove();
    this.button.textContent = "Remove"; this.button.ariaLabel = "Remove " + this.file.name;
  }

  fail(text) {
    if (this.ended) return;
    this.end("failed"); this.text.className = "wrong"; this.text.textContent = "Not judged: " + text;
    say(this.file.name + ": not judged, " + text);
  }

  run() {
    if (this.file.size > limits.max_bytes)
      return Promise.resolve(this.fail(`it is larger than ${Math.round(limits.max_bytes / 1e6)} MB`));
    return new Promise((done) => {
      const request = new XMLHttpRequest(), body = new FormData();  // fetch tells nothing of an upload's progress
      body.append("file", this.file);
      request.open("POST", "/v1/judgements");
      for (const [name, value] of Object.entries(headers())) request.setRequestHeader(name, value);
      request.upload.onprogress = (e) => { if (!this.ended) this.show("uploading", .5 * e.loaded / (e.total || 1)); };
      request.onerror = () => { this.fail("the server cannot be reached"); done(); };
      request.onabort = done;
      request.onload = () => {
        let said = {};
        try { said = JSON.parse(request.responseText); } catch { /* said by the status */ }
        if (request.status === 401) askForToken();
        if (request.status !== 202) this.fail(said.detail || "status " + request.status);
        else { this.url = said.judgements[0].url; this.ended ? this.forget() : this.follow(); }
        done();
      };
      // What is sent before anybody can tell is not aborted, but deleted when its place is known.
      this.stop = () => { if (this.file.size > SOON_SENT) request.abort(); };
      request.upload.onload = () => { this.stop = () => {}; };
      request.send(body);
    });
  }

  async follow() {  // not EventSource: that cannot send the token
    const control = new AbortController();
    this.stop = () => control.abort();
    for (let tries = 0; tries < 5 && !this.ended; tries++) {
      try {
        const answer = await fetch(this.url + "/events", { headers: headers(), signal: control.signal });
        if (!answer.ok) return this.fail((await answer.json()).detail);
        const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
        for (let text = ""; ;) {
          const { value, done } = await reader.read();
          if (done) break;
          const events = (text += value).split("\n\n");
          text = events.pop();
          for (const event of events) {
            const data = event.split("\n").find((line) => line.startsWith("data: "));
            if (data) this.told(JSON.parse(data.slice(6)));
          }
        }
      } catch { /* tried again below */ }
      if (!this.ended) await new Promise((go) => setTimeout(go, 1000));
    }
    this.fail("the connection was lost");
  }

  told(said) {
    if (this.ended) return;
    if (said.state === "done") return this.done(said);
    if (said.state === "failed") return this.fail(said.problem.detail);
    if (said.state === "cancelled") { this.end("cancelled"); this.text.textContent = SAYS.cancelled; return; }
    const more = said.state === "queued" && said.before ? `, ${said.before} before it`
      : said.n_frames ? `, ${said.n_frames} frame${said.n_frames > 1 ? "s" : ""} read` : "";
    this.show(said.state, STEPS[said.state] || .5, more);
  }

  async done({ result, sheet }) {
    this.end("done"); this.text.remove();
    this.body.append(...shown(result));
    say(`${this.file.name}: ${result.verdict}`);
    await remember(result, sheet, this.url);
    const box = folded("Evidence sheet", sheet, result.path);
    box.open = $("jobs").children.length === 1;  // of several the verdicts are wanted first
    this.body.append(box);
  }
}

function add(files) {
  for (const file of files) queue.push(new Job(file));
  pump();
}

async function pump() {
  if (uploading) return;
  uploading = true;
  for (let job; (job = queue.shift());) if (!job.ended) await job.run();
  uploading = false;
}

function askForToken() { $("access").hidden = false; $("token").focus(); }

async function begin() {
  try {
    const answer = await fetch("/v1/model", { headers: headers() });
    if (answer.status === 401) return askForToken();
    limits = await answer.json();
    $("access").hidden = true;
    $("about").textContent = `An opinion of a network about pixels, not evidence. Model: ${limits.model}`
      + (limits.demo ? ", trained on drawn faces: it knows nothing about real videos" : "")
      + `. Up to ${Math.round(limits.max_bytes / 1e6)} MB a file, deleted once judged.`;
  } catch { say("The server cannot be reached."); }
}

$("file").onchange = (event) => { add([...event.target.files]); event.target.value = ""; };
$("access").onsubmit = (event) => {
  event.preventDefault(); token = $("token").value; sessionStorage.setItem("token", token); begin();
};
$("forget").onclick = () => { localStorage.removeItem(KEPT); self.caches?.delete(KEPT); showRecent(); };
addEventListener("dragover", (event) => { event.preventDefault(); $("drop").classList.add("over"); });
addEventListener("dragleave", (event) => { if (!event.relatedTarget) $("drop").classList.remove("over"); });
addEventListener("drop", (event) => {
  event.preventDefault(); $("drop").classList.remove("over"); add([...event.dataTransfer.files]);
});
addEventListener("paste", (event) => { if (event.clipboardData.files.length) add([...event.clipboardData.files]); });
showRecent();
begin();
