// Light and dark, and the tooltips of charts and matrix under pointer and keyboard.
const root = document.documentElement;
const theme = document.getElementById("theme");
const system = matchMedia("(prefers-color-scheme: dark)");
const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : system.matches);
const label = () => {
  theme.textContent = isDark() ? "Light" : "Dark";
  theme.setAttribute("aria-label", `Show the page ${isDark() ? "light" : "dark"}`);
};
theme.addEventListener("click", () => {
  root.dataset.theme = isDark() ? "light" : "dark";
  label();
});
system.addEventListener("change", label);
label();

const tip = document.getElementById("tip");
const hide = () => { tip.hidden = true; };
const show = (target) => {
  tip.textContent = target.dataset.tip;
  tip.hidden = false;
  const place = target.getBoundingClientRect();
  const own = tip.getBoundingClientRect();
  const left = place.left + place.width / 2 - own.width / 2;
  tip.style.left = `${Math.max(4, Math.min(left, innerWidth - own.width - 4))}px`;
  const above = place.top - own.height - 6;
  const inside = Math.max(place.top, 0) + 8;
  tip.style.top = `${place.height > 120 ? inside : above > 4 ? above : place.bottom + 6}px`;
};
for (const begin of ["pointerover", "focusin"]) {
  document.addEventListener(begin, (event) => {
    const target = event.target.closest("[data-tip]");
    if (target) show(target);
    else if (begin === "pointerover") hide();
  });
}
document.addEventListener("focusout", hide);
// Focus may itself scroll the page: then the tooltip goes along.
const follow = () => {
  const focused = document.activeElement.closest("[data-tip]");
  if (focused && !tip.hidden) show(focused);
  else hide();
};
document.addEventListener("scroll", follow, { capture: true, passive: true });
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape") hide();
});

// One stop of the Tab key a chart; arrows go from epoch to epoch.
for (const chart of document.querySelectorAll("svg.chart")) {
  const places = [...chart.querySelectorAll(".hit")];
  chart.addEventListener("keydown", (event) => {
    const steps = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 };
    const next = places[places.indexOf(event.target) + steps[event.key]];
    if (!next) return;
    event.preventDefault();
    event.target.setAttribute("tabindex", "-1");
    next.setAttribute("tabindex", "0");
    next.focus();
  });
}
