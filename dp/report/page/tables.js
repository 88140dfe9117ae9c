const PAGE = 100; // rows in the document at a time: thousands would make every click slow
const tables = {};

function numberIn(text) {
  const found = text.replaceAll(",", "").replace("−", "-").match(/-?\d+(\.\d+)?/);
  return found ? Number(found[0]) : null;
}

function comparing(column, down) {
  const sign = down ? -1 : 1;
  return (a, b) => {
    const [x, y] = [a.values[column.at], b.values[column.at]];
    if (x === y) return 0;
    if (x === "" || y === "") return x === "" ? 1 : -1; // what is empty comes last, either way
    if (column.kind !== "number") return x < y ? -sign : sign;
    const [m, n] = [numberIn(x), numberIn(y)];
    if (m === null || n === null) return m === n ? 0 : m === null ? 1 : -1; // so does a word in place of a number
    return sign * (m - n);
  };
}

function enhance(holder) {
  const table = holder.querySelector("table");
  const body = table.tBodies[0];
  const columns = Array.from(table.tHead.rows[0].cells, (th, at) => ({
    th, at, name: th.textContent, kind: th.dataset.kind, key: th.dataset.key,
    filter: "filter" in th.dataset, opens: "opens" in th.dataset,
  }));
  const rows = Array.from(body.rows, (tr) => ({
    tr,
    line: Number(tr.dataset.line),
    cells: tr.dataset.cells ? tr.dataset.cells.split(" ").map(Number) : [],
    values: Array.from(tr.cells, (td) => td.textContent),
    ready: false,
  }));
  for (const row of rows) row.text = row.values.join("\n").toLowerCase();
  const one = { id: holder.dataset.table, csv: table.dataset.csv, columns, rows, shown: rows, page: 0, sort: null, down: false, selects: [] };
  tables[one.id] = one;

  one.render = (everything = false) => {
    const start = everything ? 0 : one.page * PAGE;
    const end = everything ? one.shown.length : start + PAGE;
    const now = one.shown.slice(start, end);
    for (const row of now) prepare(one, row);
    body.replaceChildren(...now.map((row) => row.tr));
    const many = one.shown.length > PAGE;
    one.pager.hidden = !many;
    one.back.disabled = one.page === 0;
    one.next.disabled = end >= one.shown.length;
    const part = many && !everything ? `, ${start + 1} to ${Math.min(end, one.shown.length)} shown` : "";
    one.count.textContent = `${one.shown.length} of ${rows.length} rows${part}`;
  };

  one.update = () => {
    const words = one.search.value.toLowerCase().split(/\s+/).filter(Boolean);
    const wanted = one.selects.filter(({ select }) => select.value !== "");
    one.shown = rows.filter((row) =>
      wanted.every(({ column, select }) => row.values[column.at] === select.options[select.selectedIndex].wanted) &&
      words.every((word) => row.text.includes(word)));
    if (one.sort) one.shown = [...one.shown].sort(comparing(one.sort, one.down));
    one.page = 0;
    one.render();
    body.closest(".scroll").scrollTop = 0;
  };

  for (const column of columns) {
    const button = make("button", { type: "button", onclick: () => sortBy(one, column) }, column.name);
    column.button = button;
    column.th.replaceChildren(button);
    column.th.setAttribute("aria-sort", "none");
  }
  holder.querySelector(".scroll").before(tools(one));
  one.count = make("p", { "aria-live": "polite", id: `${one.id}-count` });
  one.back = make("button", { type: "button", onclick: () => turn(one, -1) }, "Previous rows");
  one.next = make("button", { type: "button", onclick: () => turn(one, 1) }, "Next rows");
  one.pager = make("span", {}, one.back, " ", one.next);
  holder.append(make("div", { class: "below" }, one.count, one.pager));
  one.render();
}

function turn(one, by) {
  one.page += by;
  one.render();
}

function sortBy(one, column) {
  // Up, down, then back to the order of the file.
  if (one.sort !== column) [one.sort, one.down] = [column, false];
  else if (!one.down) one.down = true;
  else one.sort = null;
  for (const other of one.columns) {
    other.th.setAttribute("aria-sort", other === one.sort ? (one.down ? "descending" : "ascending") : "none");
  }
  one.update();
  say(one.sort ? `Sorted by ${column.name}, ${one.down ? "descending" : "ascending"}` : "In the order of the file");
}

function tools(one) {
  const box = make("div", { class: "tools", role: "group", "aria-label": "Which rows" });
  for (const column of one.columns.filter((each) => each.filter)) {
    const values = [...new Set(one.rows.map((row) => row.values[column.at]))];
    if (values.length < 2) continue;
    const select = make("select", { id: `${one.id}-by-${column.at}`, onchange: one.update }, make("option", { value: "" }, "all"));
    values.forEach((value, number) => {
      const option = make("option", { value: String(number) }, value === "" ? "(none)" : value);
      option.wanted = value;
      select.append(option);
    });
    one.selects.push({ column, select });
    box.append(make("label", { for: select.id }, column.name, select));
  }
  one.search = make("input", { type: "search", id: `${one.id}-search`, oninput: one.update, autocomplete: "off" });
  box.append(make("label", { for: one.search.id }, "containing", one.search));
  const clear = () => {
    for (const { select } of one.selects) select.value = "";
    one.search.value = "";
    one.update();
  };
  box.append(make("button", { type: "button", onclick: clear }, "Show all"));
  return box;
}

function choose(one, key, value) {
  for (const { column, select } of one.selects) {
    const option = column.key === key ? [...select.options].find((each) => each.wanted === value) : null;
    select.value = option ? option.value : "";
  }
  one.search.value = "";
  one.update();
}

// A row's numbers become buttons, and its interval a drawing, when it is first shown.
function prepare(one, row) {
  if (row.ready) return;
  row.ready = true;
  for (const column of one.columns) {
    const value = row.values[column.at];
    const td = row.tr.cells[column.at];
    if (column.opens && value !== "" && row.cells.length) {
      td.replaceChildren(numberButton(value, () => showLineage(one, row)));
    }
    if (one.id === "results" && column.key === "interval" && value !== "") td.append(chart(one, row));
  }
}

function numberButton(text, onclick) {
  return make("button", { type: "button", "aria-haspopup": "dialog", "aria-label": `${text}: where it comes from`, onclick }, text);
}

function valueOf(one, row, key) {
  const column = one.columns.find((each) => each.key === key);
  return column ? row.values[column.at] : "";
}

function chart(one, row) {
  const [low, high] = valueOf(one, row, "interval").slice(1, -1).split(", ").map(Number);
  const [mean, majority] = ["mean", "majority"].map((key) => numberIn(valueOf(one, row, key)));
  const hollow = row.tr.querySelector(".f") ? " hollow" : "";
  const x = (share) => 5 + 1.2 * share;
  return draw("svg", { class: "chart", viewBox: "0 0 130 14", "aria-hidden": "true" },
    draw("line", { class: "axis", x1: x(0), x2: x(100), y1: 7, y2: 7 }),
    draw("line", { class: "majority", x1: x(majority), x2: x(majority), y1: 0, y2: 14 }),
    draw("line", { class: `whisker${hollow}`, x1: x(low), x2: x(high), y1: 7, y2: 7 }),
    draw("circle", { class: `mean${hollow}`, cx: x(mean), cy: 7, r: 4 }));
}

function openGrid(grid) {
  const one = tables[grid.dataset.of];
  const byLine = new Map(one.rows.map((row) => [row.line, row]));
  for (const td of grid.querySelectorAll("td[data-line]")) {
    const row = byLine.get(Number(td.dataset.line));
    const number = td.querySelector("b");
    if (row.cells.length && !number.querySelector("button")) {
      number.replaceChildren(numberButton(number.textContent, () => showLineage(one, row)));
    }
  }
}

document.querySelectorAll(".table").forEach(enhance);
for (const grid of document.querySelectorAll("table[data-of]")) {
  const details = grid.closest("details");
  if (!details || details.open) openGrid(grid);
  else details.addEventListener("toggle", () => openGrid(grid));
}
for (const tile of document.querySelectorAll("a.tile")) {
  tile.addEventListener("click", () => choose(tables[tile.dataset.table], "verdict", tile.dataset.verdict));
}

// Paper has no pages to turn and nothing to open.
const closed = [];
addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("main details:not([open])")) {
    closed.push(details);
    details.open = true;
  }
  for (const one of Object.values(tables)) {
    for (const { th, name } of one.columns) th.replaceChildren(name); // a head with buttons is not repeated on each page
    one.render(true);
  }
});
addEventListener("afterprint", () => {
  for (const details of closed.splice(0)) details.open = false;
  for (const one of Object.values(tables)) {
    for (const { th, button } of one.columns) th.replaceChildren(button);
    one.render();
  }
});
