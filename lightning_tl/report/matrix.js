// The confusion matrix: built from counts; a chosen cell is announced to the gallery by the event "cell".
const data = JSON.parse(document.getElementById("data").textContent);
const box = document.getElementById("matrix-box");
const MOST = 100; // classes; of more, those with the most mistakes
// Tones from which page.css's --deep reads better than its --ink, in its light and its dark colours.
const DEEP = { hits: { light: 70, dark: 51 }, misses: { light: 88, dark: 54 } };
const state = { run: 0, split: data.runs[0].split, rates: false };
let marked = null; // the cell that the gallery shows

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

function select(text, options, chosen, change) {
  const made = element("select", { name: text });
  for (const [key, words] of options) made.append(element("option", { value: key, textContent: words }));
  made.value = chosen;
  made.addEventListener("change", () => change(made.value));
  return element("label", {}, text, made);
}

const percent = (share) => `${(100 * share).toFixed(1)}\u202f%`;

// Counts by true and predicted class, and each class's total and mistakes, of the chosen run and split.
function counted() {
  const size = data.classes.length;
  const cells = new Map();
  const totals = new Array(size).fill(0);
  const wrong = new Array(size).fill(0);
  for (const [real, predicted, count] of data.runs[state.run].cells[state.split]) {
    cells.set(real * size + predicted, count);
    totals[real] += count;
    if (real !== predicted) { wrong[real] += count; wrong[predicted] += count; }
  }
  let shown = [...totals.keys()];
  if (size > MOST) {
    shown.sort((a, b) => wrong[b] - wrong[a]);
    shown = shown.slice(0, MOST).sort((a, b) => a - b);
  }
  return { cells, totals, shown, at: (real, predicted) => cells.get(real * size + predicted) || 0 };
}

function cell(real, predicted, counts) {
  const count = counts.at(real, predicted);
  const share = counts.totals[real] ? count / counts.totals[real] : 0;
  const made = element("td", { tabIndex: -1 });
  const words = `true ${data.classes[real]}, predicted ${data.classes[predicted]}`;
  made.dataset.tip = `${words}\n${count} of ${counts.totals[real]}, ${percent(share)}`;
  made.setAttribute("role", "gridcell");
  made.setAttribute("aria-label", made.dataset.tip.replace("\n", ": "));
  Object.assign(made.dataset, { real, predicted });
  const tone = 100 * (real === predicted ? share : Math.sqrt(share)); // mistakes are rare: a steeper scale
  made.style.setProperty("--share", tone.toFixed(1));
  made.classList.toggle("right", real === predicted);
  const deep = DEEP[real === predicted ? "hits" : "misses"];
  made.classList.toggle("deep-light", tone >= deep.light);
  made.classList.toggle("deep-dark", tone >= deep.dark);
  made.classList.toggle("none", !count);
  const texts = state.rates ? [percent(share), String(count)] : [String(count), percent(share)];
  if (counts.shown.length <= 30) made.append(count ? (state.rates && counts.shown.length > 12 ? (100 * share).toFixed(0) : texts[0]) : "·");
  if (counts.shown.length <= 12 && count) made.append(element("small", { textContent: texts[1] }));
  return made;
}

function head(name, scope) {
  const made = element("th", { scope, title: name }, element("span", { className: "name", textContent: name }));
  return made;
}

function build() {
  const counts = counted();
  const size = counts.shown.length;
  const density = size <= 12 ? "" : size <= 30 ? " middle" : " dense";
  const table = element("table", { className: `matrix${density}${size <= 3 ? "" : " many"}` });
  table.setAttribute("role", "grid");
  table.setAttribute("aria-label", "Confusion matrix: rows true, columns predicted");
  const top = element("tr", {}, element("th", { className: "axis", textContent: "predicted →\ntrue ↓" }));
  for (const predicted of counts.shown) top.append(head(data.classes[predicted], "col"));
  table.append(element("thead", {}, top));
  const body = element("tbody");
  for (const real of counts.shown) {
    const row = element("tr", {}, head(data.classes[real], "row"));
    for (const predicted of counts.shown) row.append(cell(real, predicted, counts));
    body.append(row);
  }
  table.append(body);
  body.rows[0].cells[1].tabIndex = 0;
  const scroll = element("div", { className: "scroll matrix-scroll" }, table);
  const left = data.classes.length - size;
  const said = element("p", { className: "note" });
  if (left) said.textContent = `The ${size} classes with the most mistakes; ${left} more are in the table of classes.`;
  box.replaceChildren(controls(), said, scroll, legend());
  said.hidden = !left;
  if (!marked || marked.run !== state.run || marked.split !== state.split) return;
  const again = box.querySelector(`td[data-real="${marked.real}"][data-predicted="${marked.predicted}"]`);
  if (again) again.setAttribute("aria-selected", "true"); // of many classes another run may show others
}

function controls() {
  const made = element("div", { className: "controls" });
  const again = (name, change) => (value) => {
    change(value);
    build();
    box.querySelector(`select[name="${name}"]`).focus(); // the one that was used is gone
  };
  if (data.runs.length > 1) {
    const runs = data.runs.map((run, number) => [number, run.name]);
    made.append(select("run", runs, state.run, again("run", (value) => {
      state.run = Number(value);
      if (!data.runs[state.run].cells[state.split]) state.split = data.runs[state.run].split;
    })));
  }
  const splits = Object.keys(data.runs[state.run].cells);
  if (splits.length > 1) made.append(select("split", splits.map((s) => [s, s]), state.split, again("split", (s) => { state.split = s; })));
  const group = element("span", { className: "group" });
  for (const [rates, words] of [[false, "Counts"], [true, "Rates"]]) {
    const button = element("button", { type: "button", textContent: words });
    button.setAttribute("aria-pressed", String(state.rates === rates));
    button.addEventListener("click", () => {
      state.rates = rates;
      build();
      [...box.querySelectorAll(".group button")][Number(rates)].focus();
    });
    group.append(button);
  }
  made.append(group);
  return made;
}

function legend() {
  const part = (kind, words) => element("span", {}, "0", element("span", { className: `scale ${kind}` }), words);
  return element("p", { className: "legend note" }, part("hits", "100 % of the class: hits"), part("misses", "100 %: mistakes, on a steeper scale"));
}

function choose(target) {
  for (const old of box.querySelectorAll("[aria-selected]")) old.removeAttribute("aria-selected");
  target.setAttribute("aria-selected", "true");
  const { real, predicted } = target.dataset;
  const detail = { run: state.run, split: state.split, real: Number(real), predicted: Number(predicted) };
  marked = detail;
  document.dispatchEvent(new CustomEvent("cell", { detail }));
}

box.addEventListener("click", (event) => {
  const target = event.target.closest("td:not(.none)");
  if (target) choose(target);
});
box.addEventListener("keydown", (event) => {
  const place = event.target.closest("td");
  if (!place) return;
  const steps = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] };
  if ((event.key === "Enter" || event.key === " ") && !place.classList.contains("none")) {
    event.preventDefault();
    choose(place);
  }
  const step = steps[event.key];
  if (!step) return;
  event.preventDefault();
  const row = place.closest("tbody").rows[place.parentElement.sectionRowIndex + step[0]];
  const next = row && row.cells[place.cellIndex + step[1]];
  if (!next || next.tagName !== "TD") return;
  place.tabIndex = -1;
  next.tabIndex = 0;
  next.focus();
});
document.addEventListener("uncell", () => {
  marked = null;
  for (const old of box.querySelectorAll("[aria-selected]")) old.removeAttribute("aria-selected");
});
build();
