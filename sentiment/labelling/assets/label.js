"use strict";
const $ = (id) => document.getElementById(id);
const token = new URLSearchParams(location.search).get("token") || "";
const CLASSES = 9; // of colours, and keys
let window_ = sessionStorage.getItem("window");
if (!window_) {
  window_ = Array.from(crypto.getRandomValues(new Uint32Array(4)), (n) => n.toString(16)).join("");
  sessionStorage.setItem("window", window_);
}
let labels = [];
let item = null;
let busy = false;

async function call(path, body) {
  const options = { headers: { "x-token": token } };
  if (body) {
    options.method = "POST";
    options.headers["content-type"] = "application/json";
    options.body = JSON.stringify(body);
  }
  let response;
  try {
    response = await fetch(path, options);
  } catch {
    throw new Error("The service does not answer. What was confirmed is on its disk; reload when it runs again.");
  }
  const found = await response.json().catch(() => ({}));
  if (!response.ok) throw Object.assign(new Error(found.message || `Refused (${response.status}).`), { status: response.status });
  return found;
}

function showText(text, marks) {
  const place = $("text");
  place.replaceChildren();
  // The service counts characters, this language halves of some.
  const points = Array.from(text);
  let at = 0;
  for (const [start, end, label, weight] of marks) {
    if (start < at || weight < 0.05) continue;
    place.append(points.slice(at, start).join(""));
    const mark = document.createElement("mark");
    mark.textContent = points.slice(start, end).join("");
    mark.title = label;
    mark.className = `k${labels.indexOf(label) % CLASSES} s${Math.min(4, 1 + Math.floor(weight * 4))}`;
    place.append(mark);
    at = end;
  }
  place.append(points.slice(at).join(""));
  place.scrollTop = 0;
}

function show(next) {
  item = next;
  const ended = item === null;
  for (const button of document.querySelectorAll("#labels button, #skip, #unsure")) button.disabled = ended;
  $("note").value = "";
  if (ended) {
    showText("Every text has been answered.", []);
    $("about").textContent = $("guess").textContent = "";
    return;
  }
  showText(item.text, item.marks);
  const about = item.about;
  const said = [];
  if (about.given) said.push(`labelled ${about.given}`);
  if (about.suggested) said.push(`the model says ${about.suggested}`);
  if (about.predicted) said.push(`predicted ${about.predicted}`);
  $("about").textContent = said.join(", ");
  $("guess").textContent = item.guess ? `Guess: ${item.guess.label} (${(100 * item.guess.probability).toFixed(0)} %)` : "";
}

function showState(state) {
  if (state.labels.join("\n") !== labels.join("\n")) {
    labels = state.labels;
    $("labels").replaceChildren(...labels.map((label, number) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = `k${number % CLASSES}`;
      if (number < CLASSES) {
        const key = document.createElement("kbd");
        key.textContent = number + 1;
        button.append(key);
      }
      button.append(label);
      button.addEventListener("click", () => answer("labelled", label));
      return button;
    }));
  }
  const counts = labels.map((label) => `${label} ${state.counts[label]}`).join(" · ");
  $("progress").textContent = `${state.answered} answers (${counts}) in ${state.output}`;
  showCurve(state.points);
}

function showCurve(points) {
  const known = points.filter((point) => point.accuracy !== null);
  const last = known[known.length - 1];
  const percent = (share) => `${(100 * share).toFixed(1)} %`;
  $("estimate").textContent = last
    ? `${percent(last.accuracy)} [${percent(last.low)}, ${percent(last.high)}] after ${last.n_answers} answers; ` +
      `100 more would give about ${percent(last.with_more)}.`
    : "Known after ten answers to texts drawn at random, two of every label.";
  const svg = $("curve");
  svg.toggleAttribute("hidden", known.length < 2);
  if (known.length < 2) return;
  const first = known[0].n_answers;
  const span = Math.max(1, last.n_answers - first);
  const least = Math.max(0, Math.floor(10 * Math.min(...known.map((p) => p.low))) / 10);
  const x = (n) => 50 + (540 * (n - first)) / span;
  const y = (share) => 160 - (150 * (share - least)) / (1 - least);
  const draw = (tag, attributes, text) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    if (text !== undefined) node.textContent = text;
    return node;
  };
  const ends = known.map((p) => `${x(p.n_answers)},${y(p.high)}`);
  const back = known.map((p) => `${x(p.n_answers)},${y(p.low)}`).reverse();
  svg.replaceChildren(
    draw("line", { class: "axis", x1: 50, x2: 590, y1: 160, y2: 160 }),
    draw("line", { class: "axis", x1: 50, x2: 590, y1: 10, y2: 10 }),
    draw("text", { x: 0, y: 164 }, percent(least)),
    draw("text", { x: 0, y: 14 }, "100 %"),
    draw("text", { x: 50, y: 178 }, `${first} answers`),
    draw("text", { x: 590, y: 178, "text-anchor": "end" }, last.n_answers),
    draw("polygon", { class: "band", points: [...ends, ...back].join(" ") }),
    draw("polyline", { class: "line", points: known.map((p) => `${x(p.n_answers)},${y(p.accuracy)}`).join(" ") }),
  );
}

async function guarded(work) {
  if (busy) return;
  busy = true;
  try {
    await work();
    $("problem").hidden = true;
  } catch (error) {
    $("problem").textContent = error.message;
    $("problem").hidden = false;
  } finally {
    busy = false;
  }
}

const next = async () => show((await call("/api/next", { window: window_ })).item);

function answer(status, label) {
  if (!item) return;
  guarded(async () => {
    const body = {
      window: window_, id: item.id, status, label: label ?? null, annotator: $("annotator").value.trim(), note: $("note").value.trim(),
    };
    try {
      showState((await call("/api/answer", body)).state);
    } catch (error) {
      if (error.status === 409) await next();
      throw error;
    }
    await next();
  });
}

function undo() {
  guarded(async () => {
    const { undone } = await call("/api/undo", { window: window_, annotator: $("annotator").value.trim() });
    if (!undone) throw new Error("There is no answer of yours to take back.");
    showState(await call("/api/state"));
    await next();
  });
}

$("skip").addEventListener("click", () => answer("skipped"));
$("unsure").addEventListener("click", () => answer("unsure"));
$("undo").addEventListener("click", undo);
$("annotator").value = localStorage.getItem("annotator") || "";
$("annotator").addEventListener("change", () => localStorage.setItem("annotator", $("annotator").value.trim()));

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  if (event.target instanceof HTMLInputElement) {
    if (event.key === "Enter" || event.key === "Escape") event.target.blur();
    return;
  }
  const number = Number(event.key);
  if (number >= 1 && number <= Math.min(CLASSES, labels.length)) answer("labelled", labels[number - 1]);
  else if (event.key === "u") answer("unsure");
  else if (event.key === "s") answer("skipped");
  else if (event.key === "z") undo();
  else if (event.key === "n") $("note").focus();
  else return;
  event.preventDefault();
});

guarded(async () => {
  showState(await call("/api/state"));
  await next();
});
setInterval(() => call("/api/state").then(showState, () => {}), 5000);
