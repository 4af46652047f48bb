// Tables that a click on a column's head sorts; cells without a number stay at the end.
const value = (row, column) => row.cells[column].textContent.trim();
const number = (text) => parseFloat(text.replace(/[\s\u202f%]/g, "").replace("\u2212", "-"));

function compare(first, second, column, direction) {
  const texts = [value(first, column), value(second, column)];
  if (column === 0) return direction * texts[0].localeCompare(texts[1], undefined, { numeric: true });
  const [a, b] = texts.map(number);
  if (isNaN(a) || isNaN(b)) return isNaN(a) - isNaN(b);
  return direction * (a - b);
}

function sort(table, column) {
  const heads = [...table.tHead.rows[0].cells];
  const descending = heads[column].getAttribute("aria-sort") === "ascending" || (column > 0 && !heads[column].hasAttribute("aria-sort"));
  for (const head of heads) head.removeAttribute("aria-sort");
  heads[column].setAttribute("aria-sort", descending ? "descending" : "ascending");
  const rows = [...table.tBodies[0].rows];
  rows.sort((a, b) => compare(a, b, column, descending ? -1 : 1));
  table.tBodies[0].append(...rows);
}

for (const table of document.querySelectorAll("table.sortable")) {
  [...table.tHead.rows[0].cells].forEach((head, column) => {
    if (head.children.length || !head.textContent) return;
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => sort(table, column));
  });
}
