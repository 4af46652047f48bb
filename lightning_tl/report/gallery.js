// The images: filtered, sorted, a page at a time. Whatever comes from files is set as text, never as markup.
const data = JSON.parse(document.getElementById("data").textContent);
const box = document.getElementById("gallery-box");
const PAGE = 48;
const ANY = { run: 0, split: "", real: "", predicted: "", kind: "", sort: "telling" };
const MISTAKES = { ...ANY, kind: "mistakes", sort: "confident" };
const HITS = { ...ANY, kind: "hits", sort: "uncertain" };
const several = data.runs.length > 1;
let state = { ...MISTAKES };
let shown = PAGE;

function element(name, properties = {}, ...children) {
  const made = Object.assign(document.createElement(name), properties);
  made.append(...children);
  return made;
}

const percent = (share) => `${(100 * share).toFixed(1)}\u202f%`;
const [PATH, SPLIT, REAL, ANSWERS, PICTURE, OVERLAYS] = [0, 1, 2, 3, 4, 5];
const disputed = (item) => new Set(item[ANSWERS].filter(Boolean).map((answer) => answer[0])).size > 1;

function matches(item) {
  const answer = item[ANSWERS][state.run];
  if (!answer) return false;
  if (state.split && answer[3] !== state.split) return false;
  if (state.real !== "" && item[REAL] !== Number(state.real)) return false;
  if (state.predicted !== "" && answer[0] !== Number(state.predicted)) return false;
  if (state.kind === "mistakes") return answer[0] !== item[REAL];
  if (state.kind === "hits") return answer[0] === item[REAL];
  return state.kind !== "disputed" || disputed(item);
}

const ORDERS = {
  telling: null,
  confident: (a, b) => b[ANSWERS][state.run][1] - a[ANSWERS][state.run][1],
  uncertain: (a, b) => a[ANSWERS][state.run][1] - b[ANSWERS][state.run][1],
  path: (a, b) => (a[PATH] < b[PATH] ? -1 : 1),
};

// How many predictions match, those whose image is not in this file too; null where counts do not tell.
function total() {
  if (state.kind === "disputed") return state.split || state.real !== "" || state.predicted !== "" ? null : data.disputed[state.run];
  let sum = 0;
  for (const [split, cells] of Object.entries(data.runs[state.run].cells)) {
    if (state.split && split !== state.split) continue;
    for (const [real, predicted, count] of cells) {
      const kind = real === predicted ? "hits" : "mistakes";
      const fits = (wanted, found) => wanted === "" || Number(wanted) === found;
      if (fits(state.real, real) && fits(state.predicted, predicted) && (!state.kind || state.kind === kind)) sum += count;
    }
  }
  return sum;
}

function picture(base64, words) {
  return element("img", { src: `data:image/jpeg;base64,${base64}`, alt: words, loading: "lazy", decoding: "async" });
}

// Two lines: who says it and how surely; what is said.
function said(words, name, share, good) {
  const who = element("span", { className: "who" }, words);
  if (good !== undefined) {
    const sign = element("span", { className: good ? "sign good" : "sign", textContent: good ? "✓" : "✗" });
    sign.setAttribute("role", "img");
    sign.setAttribute("aria-label", good ? "right" : "wrong");
    who.append(" ", sign);
  }
  const value = element("span", { className: "value", textContent: share === null ? "" : percent(share) });
  return element("div", { className: "said" }, who, value, element("b", { className: "name", textContent: name }));
}

function card(item) {
  const answer = item[ANSWERS][state.run];
  const real = data.classes[item[REAL]];
  const words = `true ${real}, predicted ${data.classes[answer[0]]}`;
  const shots = element("div", { className: "shots" });
  if (item[PICTURE] >= 0) shots.append(picture(data.pictures[item[PICTURE]], words));
  else shots.append(element("span", { className: "none", textContent: "no picture" }));
  const overlay = item[OVERLAYS][state.run];
  if (overlay >= 0) shots.append(picture(data.overlays[overlay], `Grad-CAM for ${data.classes[answer[0]]}`));
  const made = element("li", {}, shots, said("true", real, answer[0] === item[REAL] ? null : answer[2]));
  item[ANSWERS].forEach((other, run) => {
    const who = several ? data.runs[run].name : "predicted";
    if (other) made.append(said(who, data.classes[other[0]], other[1], other[0] === item[REAL]));
  });
  const path = `${answer[3]}: ${item[PATH]}`;
  made.append(element("p", { className: "file", textContent: path, title: path }));
  return made;
}

const chooser = (key, text, options) => {
  const made = element("select", { id: `filter-${key}` });
  for (const [value, words] of options) made.append(element("option", { value, textContent: words }));
  made.addEventListener("change", () => set({ ...state, [key]: key === "run" ? Number(made.value) : made.value }));
  return element("label", {}, text, made);
};
const button = (identity, words, wanted) => {
  const made = element("button", { type: "button", id: identity, textContent: words });
  made.addEventListener("click", () => set({ ...wanted, run: state.run }));
  return made;
};
const classes = [["", "any"], ...data.classes.map((name, number) => [number, name])];
const splits = [...new Set(data.runs.flatMap((run) => Object.keys(run.cells)))];
const kinds = [["", "all"], ["mistakes", "mistakes"], ["hits", "hits"]];
if (several) kinds.push(["disputed", "runs disagree"]);
const sorts = [["telling", "most telling"], ["confident", "most confident"], ["uncertain", "least certain"], ["path", "file name"]];
const status = element("p", { id: "gallery-status", className: "note" });
status.setAttribute("aria-live", "polite");
status.tabIndex = -1;
const list = element("ul", { className: "cards" });
const more = element("button", { type: "button", id: "gallery-more", textContent: "Show more" });
more.addEventListener("click", () => {
  const from = shown;
  shown += PAGE;
  draw();
  list.children[from].tabIndex = -1;
  list.children[from].focus();
});
const presets = [button("show-mistakes", "Most confident mistakes", MISTAKES), button("show-hits", "Least certain hits", HITS)];
if (several) presets.push(button("show-disputed", "Runs disagree", { ...ANY, kind: "disputed" }));
const clear = button("filter-clear", "Clear filters", ANY);
const filters = element("div", { className: "controls" });
if (several) filters.append(chooser("run", "run", data.runs.map((run, number) => [number, run.name])));
filters.append(
  chooser("split", "split", [["", "any"], ...splits.map((split) => [split, split])]),
  chooser("real", "true class", classes), chooser("predicted", "predicted class", classes),
  chooser("kind", "kind", kinds), chooser("sort", "sort by", sorts), clear,
);
box.replaceChildren(element("div", { className: "controls group" }, ...presets), filters, status, list, more);

function draw() {
  const found = data.items.filter(matches);
  if (ORDERS[state.sort]) found.sort(ORDERS[state.sort]);
  const visible = found.slice(0, shown);
  list.classList.toggle("wide", visible.some((item) => item[OVERLAYS][state.run] >= 0));
  list.replaceChildren(...visible.map(card));
  more.hidden = found.length <= shown;
  const all = total();
  const images = (number) => `${number} ${number === 1 ? "image" : "images"}`;
  let words = `${images(all === null ? found.length : all)}; ${visible.length} shown`;
  if (all === null) words += " of those in this file";
  else if (all > found.length) words += `; ${all - found.length} not in this file, which holds the most telling ones`;
  status.textContent = `${words}.`;
}

function set(wanted) {
  const cell = wanted.real !== "" && wanted.predicted !== "";
  state = wanted;
  shown = PAGE;
  for (const key of Object.keys(state)) {
    const filter = document.getElementById(`filter-${key}`);
    if (filter) filter.value = String(state[key]);
  }
  const same = (other) => Object.keys(ANY).every((key) => key === "run" || state[key] === other[key]);
  const wants = [MISTAKES, HITS, { ...ANY, kind: "disputed" }];
  presets.forEach((preset, number) => preset.setAttribute("aria-pressed", String(same(wants[number]))));
  if (!cell) document.dispatchEvent(new CustomEvent("uncell"));
  draw();
}

document.addEventListener("cell", (event) => {
  const { run, split, real, predicted } = event.detail;
  set({ ...ANY, run, split, real: String(real), predicted: String(predicted), sort: "confident" });
  document.getElementById("gallery").scrollIntoView();
  status.focus({ preventScroll: true });
});
set(state);
