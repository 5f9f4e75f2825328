"use strict";
// Everything is relative, so that the page also works below a proxy's prefix.
// Texts are put into the document as text nodes only: nothing a visitor types is ever markup.

const $ = (id) => document.getElementById(id);
const EXAMPLES = [
  "I went in with low expectations and came out moved. The two leads are wonderful together, the script is sharp and funny, and the last ten minutes had me in tears. One of the best films of the year.",
  "What a waste of two hours. The plot makes no sense, the acting is wooden and the jokes fall flat. I kept looking at my watch, and the ending is simply awful.",
  "Not bad, but not great either. The music is excellent and the first half is fun; then it loses its way and becomes rather dull.",
];
const RECENT = "sentiment.recent";
const KEY = "sentiment.key";
const SHOWN_WORDS = 8;

const SHOWN_ROWS = 100;
const AT_ONCE = 100; // texts of one request
const AT_ONCE_CHARACTERS = 200_000;
// Names that the column with the text often has.
const TEXT_COLUMNS = ["text", "review", "body", "comment", "content", "message", "sentence"];

let running = null;
let asked = null; // the prediction that "Was this right?" is about: {text} or {id}
let table = null; // rows of a file, of which the first names the columns
let positive = null; // the label that is good news, if the model has one

function store(name, value) {
  try {
    if (value === undefined) return sessionStorage.getItem(name);
    sessionStorage.setItem(name, value);
  } catch { /* storage may be switched off: the page works without */ }
  return null;
}

function percent(value) {
  return (100 * value).toFixed(value > 0.999 || value < 0.001 ? 2 : 1) + " %";
}

function signed(value) {
  const shown = Math.abs(value).toFixed(2);
  return (Number(shown) === 0 ? "" : value > 0 ? "+" : "−") + shown;
}

function element(tag, text, name) {
  const made = document.createElement(tag);
  if (text !== undefined) made.textContent = text;
  if (name) made.className = name;
  return made;
}

async function ask(path, options = {}) {
  const headers = { ...(options.body ? { "Content-Type": "application/json" } : {}) };
  const key = $("key").value.trim();
  if (key) headers["X-API-Key"] = key;
  const answer = await fetch(path, { ...options, headers });
  const document_ = await answer.json().catch(() => ({}));
  if (!answer.ok) {
    const problem = new Error(document_.message || `The service answered ${answer.status}.`);
    problem.status = answer.status;
    throw problem;
  }
  return document_;
}

function complain(error) {
  if (error.name === "AbortError") return;
  $("problem").textContent =
    error instanceof TypeError ? "The service cannot be reached. Is it running?" : error.message;
  $("problem").hidden = false;
  if (error.status === 401) {
    $("key-row").hidden = false;
    $("key").focus();
  }
}

// Take away what was said of something else.
function clear() {
  running?.abort();
  for (const id of ["result", "many", "past", "feedback", "problem"]) $(id).hidden = true;
  $("linked").textContent = "";
  table = null;
}

const lines = () => $("text").value.split("\n").filter((line) => line.trim());

async function classify() {
  const text = $("text").value;
  clear();
  if (!text.trim()) {
    $("text").focus();
    return;
  }
  if ($("lines").checked && lines().length > 1) {
    table = [["text"], ...lines().map((line) => [line.replace(/\r$/, "")])];
    await score("Your texts");
    return;
  }
  running = new AbortController();
  $("go").disabled = true;
  try {
    const body = JSON.stringify({ text });
    const found = await ask("explain", { method: "POST", body, signal: running.signal });
    show(found);
    remember(found);
    if ($("key").value) store(KEY, $("key").value.trim());
  } catch (error) {
    complain(error);
  } finally {
    $("go").disabled = false;
  }
}

function show(found) {
  const label = found.sentiment;
  $("label").textContent = label;
  $("confidence").textContent = percent(found.confidence);

  const bars = Object.entries(found.probabilities).sort((a, b) => b[1] - a[1]);
  $("bars").replaceChildren(
    ...bars.map(([name, value]) => {
      const bar = element("div", undefined, name === label ? "bar top" : "bar");
      const gauge = element("progress");
      gauge.max = 1;
      gauge.value = value;
      gauge.setAttribute("aria-label", `probability of ${name}`);
      bar.append(element("span", name), gauge, element("span", percent(value)));
      return bar;
    }),
  );

  // Two labels: green is for the positive one, red for the other. More: for and against the verdict.
  const labels = Object.keys(found.probabilities);
  const two = labels.length === 2;
  const good = two ? (labels.includes(positive) ? positive : labels[1]) : label;
  const bad = two ? labels.find((name) => name !== good) : null;
  for (const name of document.querySelectorAll(".for-name")) name.textContent = good;
  for (const name of document.querySelectorAll(".against-name"))
    name.textContent = two ? `for ${bad}` : "against it";

  doubt(found, labels.length);
  color(found, good);
  const parts = found.contributions.map((part) => [part.ngram, part.contribution[good], part.count]);
  list($("for"), parts.filter((part) => part[1] > 0).sort((a, b) => b[1] - a[1]));
  list($("against"), parts.filter((part) => part[1] < 0).sort((a, b) => a[1] - b[1]));

  add(found, good, parts, two);
  question({ text: found.text }, found.sentiment, labels);
  $("footer").textContent =
    `Model ${found.model_version} · ${found.processing_time_ms.toFixed(1)} ms`;
  $("result").hidden = false;
  $("result").scrollIntoView({ block: "nearest" });
}

// Say so when the verdict is worth little: no word is known, or it is little more than a guess.
function doubt(found, labels) {
  const guess = (1 + 0.2 * (labels - 1)) / labels;
  const why =
    found.note === "no known word"
      ? "The model knows no word of this text: the verdict is what it says of any such text."
      : found.note === "abstained"
        ? `Withheld: the model gives no label when it is so unsure. It would be ${found.sentiment}.`
      : found.confidence < guess
        ? "Unsure: this is little more than a guess."
        : "";
  $("unsure").textContent = why;
  $("unsure").hidden = !why;
}

// Every number that the score is the sum of: words that are listed, all others together, the start.
function add(found, label, parts, two) {
  const by_weight = (sign) => parts.filter((part) => sign * part[1] > 0)
    .sort((a, b) => sign * (b[1] - a[1]));
  const total = (some) => some.reduce((sum, part) => sum + part[1], 0);
  const [speaking, against] = [by_weight(1), by_weight(-1)];
  const others = parts.length - Math.min(speaking.length, SHOWN_WORDS)
    - Math.min(against.length, SHOWN_WORDS);
  const shown = (value) => Math.round(100 * value) / 100;
  const score = shown(found.scores[label]);
  const start = shown(found.intercept[label]);
  const good = shown(total(speaking.slice(0, SHOWN_WORDS)));
  const bad = shown(total(against.slice(0, SHOWN_WORDS)));
  const rows = [
    ["listed words that speak for it", good],
    ["listed words that speak against it", bad],
    [`${others} other words and phrases`, score - start - good - bad], // rounding lands here too
    ["before any word (intercept)", start],
    [`score of ${label}`, score],
  ];
  $("sum").replaceChildren(
    ...rows.map(([name, value], place) => {
      const row = element("tr", undefined, place === rows.length - 1 ? "total" : "");
      const head = element("th", name);
      head.scope = "row";
      row.append(head, element("td", signed(value)));
      return row;
    }),
  );
  $("meaning").textContent =
    (two
      ? "Above 0 the verdict is " + label + ", below 0 the other label. "
      : "The label with the highest score is the verdict. ") +
    `This score stands for ${percent(found.probabilities[label])}.`;
}

// One button a label.
function question(about, given, labels) {
  asked = about;
  $("thanks").textContent = "";
  $("keep-row").hidden = about.text === undefined;
  $("answers").replaceChildren(
    ...labels.map((label) => {
      const button = element("button", label === given ? `Yes, ${label}` : `No, ${label}`, "plain");
      button.type = "button";
      button.addEventListener("click", () => tell(label));
      return button;
    }),
  );
  $("feedback").hidden = false;
}

// A prediction gets its id when somebody answers it or wants a link to it.
async function identify(about) {
  if (about.id === undefined) {
    const body = JSON.stringify({ text: about.text });
    about.id = (await ask("predict", { method: "POST", body })).prediction_id;
  }
  return about.id;
}

async function tell(label) {
  const buttons = $("answers").querySelectorAll("button");
  for (const button of buttons) button.disabled = true;
  try {
    const answer = { prediction_id: await identify(asked), label };
    if ($("keep").checked && asked.text !== undefined) answer.text = asked.text;
    await ask("feedback", { method: "POST", body: JSON.stringify(answer) });
    $("thanks").textContent = "Thank you: noted.";
  } catch (error) {
    for (const button of buttons) button.disabled = false;
    complain(error);
  }
}

// A link names a prediction by its id, in which its verdict stands and nothing of its text.
async function link() {
  try {
    const url = new URL(`#${await identify(asked)}`, location.href.split("#")[0]);
    history.replaceState(null, "", url);
    await navigator.clipboard?.writeText(url.href).catch(() => {});
    $("linked").replaceChildren("Copied, and in the address bar: ");
    const anchor = element("a", "the link");
    anchor.href = url.href;
    $("linked").append(anchor);
  } catch (error) {
    complain(error);
  }
}

async function recall() {
  const id = location.hash.slice(1);
  if (!/^[\w-]{60,}$/.test(id) || id === asked?.id) return;
  clear();
  try {
    const said = await ask(`predictions/${id}`);
    $("past-label").textContent = said.sentiment;
    const when = new Date(said.timestamp).toLocaleString();
    $("past-said").textContent = `(${percent(said.confidence)}), ${when}, model ${said.model.slice(0, 12)}`;
    $("past").hidden = false;
    question({ id }, said.sentiment, said.labels);
  } catch (error) {
    complain(error);
  }
}

// RFC 4180, with the delimiter that the first line has most of.
function read(text) {
  const first = text.split("\n", 1)[0].replace(/"[^"]*"/g, "");
  const [delimiter] = [",", ";", "\t"].sort((a, b) => first.split(b).length - first.split(a).length);
  const found = [[""]];
  let quoted = false;
  for (let at = 0; at < text.length; at++) {
    const row = found[found.length - 1];
    const character = text[at];
    if (quoted) {
      if (character !== '"') row[row.length - 1] += character;
      else if (text[at + 1] === '"') row[row.length - 1] += text[at++];
      else quoted = false;
    } else if (character === '"' && row[row.length - 1] === "") quoted = true;
    else if (character === delimiter) row.push("");
    else if (character === "\n") found.push([""]);
    else if (character !== "\r") row[row.length - 1] += character;
  }
  return found.filter((row) => row.length > 1 || row[0]);
}

function write(rows) {
  const cell = (value) => (/[",\r\n]/.test(value) ? `"${value.replaceAll('"', '""')}"` : value);
  return rows.map((row) => row.map((value) => cell(String(value ?? ""))).join(",") + "\r\n").join("");
}

async function take(file) {
  clear();
  const bytes = await file.arrayBuffer();
  let text;
  try {
    text = new TextDecoder("utf-8", { fatal: true }).decode(bytes);
  } catch {
    text = new TextDecoder("windows-1252").decode(bytes);
  }
  table = /\.txt$/i.test(file.name)
    ? [["text"], ...text.split(/\r?\n/).filter((line) => line.trim()).map((line) => [line])]
    : read(text);
  if (table.length < 2) {
    table = null;
    complain(new Error(`${file.name} holds no rows: a first line with the columns' names, then a row a text.`));
    return;
  }
  await score(file.name, guess());
}

// The column whose name says it, else the one with the most characters.
function guess() {
  const names = table[0].map((name) => name.trim().toLowerCase());
  const named = TEXT_COLUMNS.map((name) => names.indexOf(name)).find((at) => at >= 0);
  const sizes = names.map((_, at) => table.slice(1, 200).reduce((sum, row) => sum + (row[at] || "").length, 0));
  return named ?? sizes.indexOf(Math.max(...sizes));
}

// Classify a column of the table, a part after the other, and show how far it is.
async function score(title, column = 0) {
  running?.abort();
  const mine = (running = new AbortController());
  const rows = table.slice(1);
  $("many-title").textContent = `${title}: ${rows.length} ${rows.length === 1 ? "text" : "texts"}`;
  $("column-row").hidden = table[0].length < 2;
  $("column").replaceChildren(...table[0].map((name, at) => new Option(name, at, at === column, at === column)));
  $("column").onchange = () => score(title, Number($("column").value));
  $("rows").replaceChildren();
  $("more").textContent = $("counts").textContent = "";
  $("done").max = rows.length;
  $("done").value = 0;
  $("save").hidden = true;
  $("many").hidden = $("done").hidden = false;
  const answers = [];
  const counts = {};
  try {
    while (answers.length < rows.length) {
      const texts = [];
      for (let size = 0; texts.length < AT_ONCE && answers.length + texts.length < rows.length; ) {
        const text = rows[answers.length + texts.length][column] || "";
        size += text.length;
        if (texts.length && size > AT_ONCE_CHARACTERS) break;
        texts.push(text);
      }
      const real = texts.filter((text) => text.trim());
      const body = JSON.stringify({ texts: real });
      const found = real.length
        ? (await ask("predict/batch", { method: "POST", body, signal: mine.signal })).predictions
        : [];
      for (const text of texts) {
        const answer = text.trim() ? found.shift() : { sentiment: "", note: "no text", probabilities: {} };
        const label = answer.sentiment || answer.note; // withheld ones are counted as such
        counts[label] = (counts[label] || 0) + 1;
        if (answers.push(answer) <= SHOWN_ROWS) $("rows").append(line(answers.length, text, answer));
      }
      $("done").value = answers.length;
    }
  } catch (error) {
    complain(error);
    if (error.name === "AbortError") return;
  }
  $("done").hidden = true;
  $("counts").textContent = Object.entries(counts).sort((a, b) => b[1] - a[1])
    .map(([label, count]) => `${label} ${count}`).join(" · ");
  if (answers.length > SHOWN_ROWS) $("more").textContent = `The first ${SHOWN_ROWS} are shown; the download has all ${answers.length}.`;
  $("save").hidden = !answers.length;
  $("save").onclick = () => save(title, rows, answers);
}

function line(number, text, answer) {
  const row = element("tr");
  const shown = element("td", text.length > 300 ? text.slice(0, 300) + "…" : text);
  const label = element("td", answer.would_be ? `${answer.note}, would be ${answer.would_be}` : answer.sentiment || answer.note);
  row.append(element("td", number), shown, label, element("td", answer.confidence === undefined ? "" : percent(answer.confidence)));
  return row;
}

// The columns that `sentiment predict --output` writes, behind those of the file.
function save(title, rows, answers) {
  const labels = Object.keys(answers.find((answer) => answer.confidence !== undefined)?.probabilities || {});
  const withholds = answers.some((answer) => answer.would_be);
  const head = [...table[0], "label", "confidence", ...labels.map((label) => `probability_${label}`), "note", ...(withholds ? ["would_be"] : [])];
  const width = table[0].length;
  const body = answers.map((answer, at) => [
    ...Array.from({ length: width }, (_, place) => rows[at][place]),
    answer.sentiment,
    answer.confidence,
    ...labels.map((label) => answer.probabilities[label]),
    answer.note,
    ...(withholds ? [answer.would_be] : []),
  ]);
  const anchor = element("a");
  anchor.href = URL.createObjectURL(new Blob(["\ufeff", write([head, ...body])], { type: "text/csv" }));
  anchor.download = `${title.replace(/\.\w+$/, "")}.scored.csv`;
  anchor.click();
  setTimeout(() => URL.revokeObjectURL(anchor.href), 60_000);
}

function list(place, parts) {
  const items = parts.slice(0, SHOWN_WORDS).map(([ngram, value, count]) => {
    const item = element("li");
    item.append(
      element("span", count > 1 ? `${ngram} × ${count}` : ngram),
      element("span", signed(value)),
    );
    return item;
  });
  place.replaceChildren(...(items.length ? items : [element("li", "nothing", "quiet")]));
}

// Share out what each n-gram adds among its words, and colour each word by its sum.
function color(found, label) {
  const characters = Array.from(found.text); // code points, as the service counts them
  const words = []; // [start, end, weight] of each run without white space
  const wordAt = new Int32Array(characters.length).fill(-1);
  characters.forEach((character, at) => {
    if (/\s/u.test(character)) return;
    if (at > 0 && wordAt[at - 1] >= 0) words[wordAt[at - 1]][1] = at + 1;
    else words.push([at, at + 1, 0]);
    wordAt[at] = words.length - 1;
  });
  for (const part of found.contributions) {
    const value = part.contribution[label] / Math.max(part.spans.length, 1);
    for (const [start, end] of part.spans) {
      const covered = new Set(wordAt.subarray(start, end));
      covered.delete(-1);
      for (const word of covered) words[word][2] += value / covered.size;
    }
  }
  const strongest = words.reduce((most, word) => Math.max(most, Math.abs(word[2])), 0) || 1;
  const nodes = [];
  let done = 0;
  for (const [start, end, weight] of words) {
    const share = Math.abs(weight) / strongest;
    const level = [0.08, 0.22, 0.42, 0.7].filter((step) => share >= step).length;
    nodes.push(document.createTextNode(characters.slice(done, start).join("")));
    const text = characters.slice(start, end).join("");
    done = end;
    if (level === 0) {
      nodes.push(document.createTextNode(text));
      continue;
    }
    const side = weight > 0 ? "for" : "against";
    const mark = element("mark", text, `${side} ${side}-${level}`);
    mark.title = signed(weight);
    nodes.push(mark);
  }
  $("colored").replaceChildren(...nodes, document.createTextNode(characters.slice(done).join("")));
}

function recent() {
  try {
    return JSON.parse(store(RECENT)) || [];
  } catch {
    return [];
  }
}

function remember(found) {
  if (EXAMPLES.includes(found.text)) return;
  const others = recent().filter((entry) => entry.text !== found.text);
  const entry = { text: found.text, tag: `${found.sentiment} ${percent(found.confidence)}` };
  store(RECENT, JSON.stringify([entry, ...others].slice(0, 5)));
  offer();
}

function offer() {
  const mine = recent();
  $("recent-title").textContent = mine.length ? "Your recent texts, and examples" : "Try one of these";
  const entries = [...mine, ...EXAMPLES.map((text) => ({ text, tag: "example" }))];
  $("recent").replaceChildren(
    ...entries.map(({ text, tag }) => {
      const button = element("button");
      button.type = "button";
      button.append(element("span", text.slice(0, 160), "snippet"), element("span", tag, "tag"));
      button.addEventListener("click", () => {
        $("text").value = text;
        classify();
      });
      const item = element("li");
      item.append(button);
      return item;
    }),
  );
}

async function greet() {
  try {
    const info = await ask("model/info");
    positive = info.positive_label;
    const accuracy = info.metrics.test_accuracy ?? info.metrics.accuracy;
    const days = Math.floor((Date.now() - Date.parse(info.created)) / 86_400_000);
    $("model").textContent = [
      `model ${info.version}`,
      info.labels.join(", "),
      accuracy === undefined ? "" : `right on ${percent(accuracy)} of its test texts`,
      Number.isNaN(days) ? "" : days < 1 ? "trained today" : `trained ${days} days ago`,
    ].filter(Boolean).join(" · ");
  } catch (error) {
    if (error.status === 503) $("model").textContent = "no model is loaded yet";
    else if (error.status === 401) $("key-row").hidden = false;
  }
}

$("form").addEventListener("submit", (event) => {
  event.preventDefault();
  classify();
});
$("text").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
    event.preventDefault();
    classify();
  }
});
$("text").addEventListener("input", () => {
  if (!$("text").value.trim()) clear();
  const count = lines().length;
  $("lines-row").hidden = count < 2;
  $("lines-said").textContent = `Each of the ${count} lines is a text of its own`;
});
$("clear").addEventListener("click", () => {
  $("text").value = $("file").value = "";
  $("lines-row").hidden = true;
  clear();
  $("text").focus();
});
$("file").addEventListener("change", () => $("file").files[0] && take($("file").files[0]));
// A file may be dropped anywhere: beside the form the browser would leave the page for it.
document.addEventListener("dragover", (event) => {
  if (!event.dataTransfer.types.includes("Files")) return;
  event.preventDefault();
  $("form").classList.add("over");
});
for (const name of ["dragleave", "drop"])
  document.addEventListener(name, () => $("form").classList.remove("over"));
document.addEventListener("drop", (event) => {
  if (!event.dataTransfer.files.length) return;
  event.preventDefault();
  $("file").value = "";
  take(event.dataTransfer.files[0]);
});
$("link").addEventListener("click", link);
window.addEventListener("hashchange", recall);
$("key").value = store(KEY) || "";
$("key").addEventListener("change", greet);
offer();
greet();
recall();
