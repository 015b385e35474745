// Tables that sort and filter, and follow the prescription.
const verdictWords = {"covers, but": "covers, but organs fail", "spares, but": "spares, but does not cover"};

/** Write a probability with its interval into a cell. */
function writeCell(cell, [p, low, high]) {
  cell.className = `p ${shade(p)}`;
  cell.innerHTML = `${percent(p).replace("<", "&lt;")} %<small></small>`;
  cell.lastChild.textContent = `${percent(low)} to ${percent(high)}`;
}

const printed = new Map();  // cells as they were written, for the study's own prescription

function fillTables(at) {
  for (const cell of document.querySelectorAll("[data-curve]")) {
    if (!printed.has(cell)) printed.set(cell, [cell.className, cell.innerHTML]);
    if (at === OWN) {
      [cell.className, cell.innerHTML] = printed.get(cell);
      continue;
    }
    const strategy = Number(cell.dataset.strategy);
    switch (cell.dataset.curve) {
      case "verdict": cell.textContent = verdictWords[verdict(strategy, at)] ?? verdict(strategy, at); break;
      case "held": cell.textContent = `${curves.held[strategy][at]} of ${curves.limits}`; break;
      case "least": writeCell(cell, probability(strategy, FIRST_GOAL + leastCertainGoal(strategy, at), at)); break;
      case "which": cell.textContent = study.goals[leastCertainGoal(strategy, at)]; break;
      default: writeCell(cell, probability(strategy, Number(cell.dataset.curve), at));
    }
  }
  fillFilter();
  if (sortedBy === null) orderRows(row => curves.rank[Number(row.dataset.strategy)][at], 1);
  else orderRows(sortKey(sortedBy.column), sortedBy.direction);
}

const table = document.getElementById("decision-table");
let sortedBy = null;

function orderRows(key, direction) {
  const body = table.tBodies[0];
  const rows = Array.from(body.rows, row => [key(row), row]);
  const less = ([a], [b]) => direction * (typeof a === "number" ? a - b : a.localeCompare(b, "en", {numeric: true}));
  body.append(...rows.sort(less).map(([, row]) => row));
}

/** What a column sorts by: numbers where its cells begin with them. */
function sortKey(column) {
  return row => {
    const text = row.cells[column].textContent.trim();
    const number = parseFloat(text.replace(/^[<>]/, ""));
    if (column < 2 || Number.isNaN(number)) return text;
    return number + (text[0] === ">" ? 0.01 : text[0] === "<" ? -0.01 : 0);
  };
}

function sortBy(column, direction) {
  sortedBy = column === null ? null : {column, direction};
  for (const [k, heading] of Array.from(table.tHead.rows[0].cells).entries()) {
    heading.setAttribute("aria-sort", k !== column ? "none" : direction > 0 ? "ascending" : "descending");
  }
  if (sortedBy) orderRows(sortKey(column), direction);
}

function startSorting(redraw) {
  for (const [column, heading] of Array.from(table.tHead.rows[0].cells).entries()) {
    heading.querySelector("button").addEventListener("click", () => {
      const first = column < 2 ? 1 : -1;
      sortBy(column, sortedBy?.column === column ? -sortedBy.direction : first);
    });
  }
  document.getElementById("in-order").addEventListener("click", () => { sortBy(null); redraw(); });
}

const filters = Array.from(document.querySelectorAll("select[data-filter]"));

/** Verdicts change with the prescription: show the rows that the filters leave. */
function fillFilter() {
  let left = 0;
  for (const row of table.tBodies[0].rows) {
    const has = key => key === "verdict" ? verdict(Number(row.dataset.strategy), state.at) : row.dataset[key];
    row.hidden = filters.some(filter => filter.value && filter.value !== has(filter.dataset.filter));
    left += row.hidden ? 0 : 1;
  }
  document.getElementById("rows-left").textContent = `${left} of ${study.strategies.length} strategies`;
}
