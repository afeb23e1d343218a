// The queue of files: one upload at a time, progress from the server's events, results in place.
"use strict";
const STATES = { waiting: "waits for its upload", uploading: "uploading", queued: "waits on the server",
  decoding: "decoding", faces: "looking for faces", judging: "judging", cancelled: "cancelled", failed: "not judged" };
const STEPS = { decoding: .55, faces: .7, judging: .9 };  // of the bar; up to .5 is the upload
const SHORT_UPLOAD = 1e7;  // bytes
const queue = [];
let uploading = false;

class Job {
  // file: a File, or null for a judgement that the server already has at `url`.
  constructor(name, file, url = "") {
    this.name = name; this.file = file; this.url = url; this.state = "waiting"; this.stop = () => {};
    this.bar = make("progress", { max: 1, value: 0, ariaLabel: "Progress of " + name });
    this.text = make("p", { className: "dim" });
    this.button = make("button", { type: "button", textContent: "Cancel", ariaLabel: "Cancel " + name });
    this.button.onclick = () => this.cancel();
    this.title = make("h2", { className: "name", textContent: name });
    this.body = make("div", {}, this.bar, this.text);
    this.item = make("li", {}, make("div", { className: "head" }, this.title, this.button), this.body);
    $("jobs").append(this.item);
    this.show("waiting", 0);
  }

  show(state, share, more = "") {
    this.state = state; this.bar.value = share; this.text.textContent = STATES[state] + more;
  }

  cancel() {
    this.deleteOnServer();
    if (this.ended) {
      this.item.remove(); removeRow(this); forgetRecent(this.url);
      say(this.name + ": removed"); $("file").focus();
      return;
    }
    this.end("cancelled"); this.stop();
    this.text.textContent = STATES.cancelled;
    say(this.name + ": cancelled");
  }

  deleteOnServer() {
    if (this.url) fetch(this.url, { method: "DELETE", headers: headers() }).catch(() => {});
  }

  end(state) {
    this.ended = true; this.state = state; this.bar.remove();
    this.button.textContent = "Remove"; this.button.ariaLabel = "Remove " + this.name;
  }

  fail(text) {
    if (this.ended) return;
    this.end("failed"); this.text.className = "wrong"; this.text.textContent = "Not judged: " + text;
    say(this.name + ": not judged, " + text);
    addRow(this, null, text);
  }

  upload() {
    if (this.file.size > limits.max_bytes)
      return Promise.resolve(this.fail(`it is larger than ${Math.round(limits.max_bytes / 1e6)} MB`));
    return new Promise((done) => {
      const request = new XMLHttpRequest(), body = new FormData();  // fetch has no progress of an upload
      body.append("file", this.file);
      request.open("POST", "/v1/judgements");
      for (const [name, value] of Object.entries(headers())) request.setRequestHeader(name, value);
      request.upload.onprogress = (e) => { if (!this.ended) this.show("uploading", .5 * e.loaded / (e.total || 1)); };
      request.onerror = () => { this.fail("the server cannot be reached"); done(); };
      request.onabort = done;
      request.onload = () => {
        let answer = {};
        try { answer = JSON.parse(request.responseText); } catch { /* the status says what is wrong */ }
        if (request.status === 401) askForToken();
        if (request.status !== 202) this.fail(answer.detail || "status " + request.status);
        else { this.url = answer.judgements[0].url; this.ended ? this.deleteOnServer() : this.follow(); }
        done();
      };
      // A short upload is not aborted: the server may have it already, and it is deleted when its address is known.
      this.stop = () => { if (this.file.size > SHORT_UPLOAD) request.abort(); };
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
            if (data) this.update(JSON.parse(data.slice(6)));
          }
        }
      } catch { /* tried again below */ }
      if (!this.ended) await new Promise((go) => setTimeout(go, 1000));
    }
    this.fail("the connection was lost");
  }

  update(judgement) {
    if (this.ended) return;
    const { state, problem, before, n_frames } = judgement;
    if (state === "done") return this.finish(judgement);
    if (state === "failed") return this.fail(problem.detail);
    if (state === "cancelled") { this.end("cancelled"); this.text.textContent = STATES.cancelled; return; }
    const more = state === "queued" && before ? `, ${before} before it`
      : n_frames ? `, ${n_frames} frame${n_frames > 1 ? "s" : ""} read` : "";
    this.show(state, STEPS[state] || .5, more);
  }

  async finish({ result, sheet, faces }) {
    this.end("done"); this.text.remove();
    this.name = result.path; this.title.textContent = this.name;
    this.body.append(...describe(result, faces), shareLink(this.url), foldedSheet("Evidence sheet", sheet, this.name));
    say(`${this.name}: ${result.verdict}`);
    addRow(this, result, "");
    await remember(result, sheet, faces, this.url);
  }
}

function add(files) {
  for (const file of files) queue.push(new Job(file.name, file));
  pump();
}

async function pump() {
  if (uploading) return;
  uploading = true;
  for (let job; (job = queue.shift());) if (!job.ended) await job.upload();
  uploading = false;
}

// Show the result that the page's address names: #ID of a judgement that the server still keeps.
async function showLinked() {
  const id = location.hash.slice(1);
  if (!/^[\w-]{8,64}$/.test(id)) return;
  const url = "/v1/judgements/" + id;
  const answer = await fetch(url, { headers: headers() }).catch(() => null);
  if (!answer?.ok) { say("This result is no longer on the server: it was deleted, or kept long enough."); return; }
  new Job((await answer.json()).name, null, url).follow();
}

async function addSample(button) {
  button.disabled = true;
  try {
    const answer = await fetch("/" + button.dataset.sample);
    if (!answer.ok) throw new Error(answer.status);
    add([new File([await answer.blob()], button.dataset.sample, { type: "video/mp4" })]);
  } catch { say("The sample cannot be fetched."); }
  button.disabled = false;
  button.focus();
}

async function begin() { if (await fetchModel()) showLinked(); }

for (const button of document.querySelectorAll("[data-sample]")) button.onclick = () => addSample(button);
$("file").onchange = (event) => { add([...event.target.files]); event.target.value = ""; };
$("access").onsubmit = (event) => {
  event.preventDefault(); token = $("token").value; sessionStorage.setItem("token", token); begin();
};
$("forget").onclick = () => { localStorage.removeItem(KEPT); self.caches?.delete(KEPT); showRecent(); $("file").focus(); };
addEventListener("hashchange", showLinked);
addEventListener("dragover", (event) => { event.preventDefault(); $("drop").classList.add("over"); });
addEventListener("dragleave", (event) => { if (!event.relatedTarget) $("drop").classList.remove("over"); });
addEventListener("drop", (event) => {
  event.preventDefault(); $("drop").classList.remove("over"); add([...event.dataTransfer.files]);
});
addEventListener("paste", (event) => { if (event.clipboardData.files.length) add([...event.clipboardData.files]); });
showRecent();
begin();
