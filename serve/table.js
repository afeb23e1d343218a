// The table of several results: sorted by any column, downloaded as CSV.
"use strict";
const COLUMNS = [["name", "File"], ["verdict", "Verdict"], ["score", "Score"], ["n_faces", "Faces"],
  ["reason", "Reason"]];
const IN_CSV = ["path", "verdict", "score", "probability", "threshold", "reason", "n_asked", "n_read", "n_faces",
  "model", "error"];  // as in the table of `python -m classify.video --csv`
const FORMULA = /^[=+\-@'\t\r]/;  // how a cell begins that a spreadsheet computes
const rows = [];
let order = { column: "", down: false };

// result: of a judged file; null if it could not be judged, and then `error` is the reason.
function addRow(job, result, error) {
  const why = error || reasonOf(result);
  rows.push({ job, error, result, name: job.name, verdict: result ? result.verdict : "not judged",
    score: result?.score ?? null, n_faces: result ? result.n_faces : null, reason: why });
  drawTable();
}

function removeRow(job) {
  const place = rows.findIndex((row) => row.job === job);
  if (place >= 0) rows.splice(place, 1);
  drawTable();
}

function compare(a, b) {
  if (a === null || b === null) return (a === null) - (b === null);
  return typeof a === "number" ? a - b : a.localeCompare(b, undefined, { numeric: true });
}

function drawTable() {
  $("table").hidden = rows.length < 2;
  const { column, down } = order, sorted = [...rows];
  if (column) sorted.sort((a, b) => a[column] === null || b[column] === null ? compare(a[column], b[column])
    : (down ? -1 : 1) * compare(a[column], b[column]));  // without a score: last in both directions
  for (const [name] of COLUMNS) {
    const head = $("table").querySelector(`[data-column=${name}]`);
    head.ariaSort = name === column ? (down ? "descending" : "ascending") : "none";
  }
  $("table").querySelector("tbody").replaceChildren(...sorted.map((row) => make("tr", {},
    ...COLUMNS.map(([name]) => {
      if (name === "name") return make("th", { scope: "row", className: "name", textContent: row.name });
      const text = name === "score" ? row.score?.toFixed(3) : name === "verdict" && row.result
        ? row.verdict.toUpperCase() : row[name];
      const cell = make("td", { textContent: text ?? "" });
      if (name === "verdict") cell.className = row.result ? row.verdict : "wrong";
      return cell;
    }))));
}

function asCell(value) {
  if (value === null || value === undefined) return "";
  let text = String(value);
  if (typeof value === "string" && FORMULA.test(text)) text = "'" + text;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}

function asCsv() {
  const lines = rows.map(({ job, result, error }) => IN_CSV.map((name) =>
    asCell(name === "error" ? error : name === "path" ? job.name : result?.[name])).join(","));
  return [IN_CSV.join(","), ...lines].join("\n") + "\n";
}

for (const [name, title] of COLUMNS) {
  const button = make("button", { type: "button", textContent: title }), head = make("th", { scope: "col" }, button);
  head.dataset.column = name;
  button.onclick = () => { order = { column: name, down: order.column === name && !order.down }; drawTable(); };
  $("table").querySelector("thead tr").append(head);
}
$("csv").onclick = () => {
  const link = make("a", { download: "results.csv", href: URL.createObjectURL(new Blob([asCsv()], { type: "text/csv" })) });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
};
