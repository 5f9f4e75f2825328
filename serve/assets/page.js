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

let running = null;
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

async function classify() {
  const text = $("text").value;
  running?.abort();
  if (!text.trim()) {
    $("result").hidden = true;
    $("text").focus();
    return;
  }
  running = new AbortController();
  $("go").disabled = true;
  $("problem").hidden = true;
  try {
    const body = JSON.stringify({ text });
    const found = await ask("explain", { method: "POST", body, signal: running.signal });
    show(found);
    remember(found);
    if ($("key").value) store(KEY, $("key").value.trim());
  } catch (error) {
    if (error.name !== "AbortError") $("result").hidden = true; // it was about another text
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
  question(found, labels);
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

// One button a label; an answer names a prediction, which is asked for when somebody answers.
function question(found, labels) {
  $("thanks").textContent = "";
  $("answers").replaceChildren(
    ...labels.map((label) => {
      const right = label === found.sentiment;
      const button = element("button", right ? `Yes, ${label}` : `No, ${label}`, "plain");
      button.type = "button";
      button.addEventListener("click", () => tell(found.text, label));
      return button;
    }),
  );
}

async function tell(text, label) {
  const buttons = $("answers").querySelectorAll("button");
  for (const button of buttons) button.disabled = true;
  try {
    const said = await ask("predict", { method: "POST", body: JSON.stringify({ text }) });
    const answer = { prediction_id: said.prediction_id, label };
    if ($("keep").checked) answer.text = text;
    await ask("feedback", { method: "POST", body: JSON.stringify(answer) });
    $("thanks").textContent = "Thank you: noted.";
  } catch (error) {
    for (const button of buttons) button.disabled = false;
    complain(error);
  }
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
  if (!$("text").value.trim()) $("result").hidden = true;
});
$("clear").addEventListener("click", () => {
  $("text").value = "";
  $("result").hidden = true;
  $("problem").hidden = true;
  $("text").focus();
});
$("key").value = store(KEY) || "";
$("key").addEventListener("change", greet);
offer();
greet();
