const panel = document.getElementById("lineage");
const word = (number) => data.strings[number];

function showLineage(one, row) {
  const opener = one.columns.find((column) => column.opens);
  const where = ["variant", "task"].map((key) => valueOf(one, row, key)).filter(Boolean).join(" on ");
  const unit = opener.name.endsWith(", %") ? " %" : "";
  const title = make("h2", { id: "lineage-title" }, `${where}: ${opener.name.split(",")[0]} ${row.values[opener.at]}${unit}`);
  const close = make("button", { type: "button", onclick: () => panel.close() }, "Close");
  const facts = one.columns
    .filter((column) => row.values[column.at] !== "")
    .map((column) => make("div", {}, make("dt", {}, column.name), make("dd", {}, row.values[column.at])));
  const body = make("div", { class: "body" },
    make("dl", {}, ...facts),
    make("h3", {}, "Ask the records"),
    command(`python -m dp why ${data.report}/${one.csv}:${row.line}`));
  for (const number of row.cells) body.append(cellOf(data.cells[number], row.cells.length === 1));
  panel.replaceChildren(make("div", { class: "top" }, title, close), body);
  open(panel);
}

// What a number is made from; where it is made from several cells, each opens by itself.
function cellOf(cell, alone) {
  const name = cell.at.map(word).join(", ");
  const build = () => [seeds(cell), ...curves(cell), rests(cell), ...settings(cell), ...again(cell)];
  if (alone) return make("div", {}, make("h3", {}, name), ...build());
  const details = make("details", {}, make("summary", {}, name));
  details.addEventListener("toggle", () => {
    if (details.open && details.children.length === 1) details.append(...build());
  });
  return details;
}

function seeds(cell) {
  const head = ["run", ...cell.metrics.map((metric) => `${word(metric)}, %`), "collapsed or overflowed", "selected step", "seconds in steps", "record", "evaluation", "training"];
  const rows = cell.runs.map(([at, trained, name, trainedName, digest, why, step, steps, seconds, ...values]) => {
    const texts = [
      name,
      ...values.map((value) => (value === null ? "overflow" : value.toFixed(2))),
      word(why) === "" ? "no" : `↓ ${word(why)}`,
      step === null ? "" : `${step} of ${steps}`,
      seconds === null ? "" : seconds.toFixed(1),
      digest,
      `${data.evaluate}${word(cell.at[at])}/${name}`,
      trained === null ? "not trained" : `${data.train}${word(cell.trained[trained])}/${trainedName}`,
    ];
    const folders = texts.length - 2;
    return make("tr", {}, ...texts.map((text, at) => make("td", { class: at < folders ? null : "path" }, text)));
  });
  const table = make("table", {}, make("caption", {}, `${rows.length === 1 ? "The run" : `The ${rows.length} runs`}`),
    make("thead", {}, make("tr", {}, ...head.map((text) => make("th", { scope: "col" }, text)))),
    make("tbody", {}, ...rows));
  return make("div", { class: "scroll", role: "region", "aria-label": "Runs", tabindex: "0" }, table);
}

function curves(cell) {
  if (!cell.curve) return [];
  const { accuracy, picked, loss } = cell.curve;
  const line = ([steps, values]) => [data.steps[steps], values];
  const plots = [
    accuracy.length ? plot("Selection accuracy, %", accuracy.map(line), picked, (low, high) => [Math.max(0, low - 5), Math.min(100, high + 5)]) : null,
    plot("Training loss", [line(loss)], [], (low, high) => [Math.min(0, low), high * 1.05 || 1]),
  ];
  const words = make("p", { class: "about" }, "Selection accuracy: a line for each run, and a circle where selection picked a step. Loss: the mean over runs.");
  return [make("h4", {}, "Learning curve"), make("div", { class: "plots" }, ...plots), words];
}

// `range`: what the vertical axis shows of values from lowest to highest.
function plot(name, lines, picked, range) {
  const [width, height, left, bottom] = [360, 170, 46, 140];
  const all = lines.flatMap(([, values]) => values);
  const [low, high] = range(Math.min(...all), Math.max(...all));
  const last = Math.max(...lines.flatMap(([steps]) => steps));
  const x = (step) => left + ((width - left - 12) * step) / last;
  const y = (value) => bottom - ((bottom - 26) * (value - low)) / (high - low);
  const points = ([steps, values]) => steps.map((step, n) => `${x(step).toFixed(1)},${y(values[n]).toFixed(1)}`).join(" ");
  const short = (value) => Number(value.toPrecision(3)).toString();
  const said = ([steps, values]) => `from ${short(values[0])} at step ${steps[0]} to ${short(values.at(-1))} at step ${steps.at(-1)}`;
  const text = [name, ...lines.map(said), ...picked.map(([step, value]) => `selected step ${step} with ${short(value)}`)].join("; ");
  const circles = picked.map(([step, value]) => draw("circle", { class: "picked", cx: x(step), cy: y(value), r: 4.5 }));
  return draw("svg", { class: "plot", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": text },
    draw("text", { class: "name", x: 4, y: 14 }, name),
    draw("line", { class: "axis", x1: left, x2: width - 12, y1: bottom, y2: bottom }),
    draw("line", { class: "axis", x1: left, x2: left, y1: 26, y2: bottom }),
    draw("text", { x: left - 5, y: bottom, "text-anchor": "end" }, short(low)),
    draw("text", { x: left - 5, y: 34, "text-anchor": "end" }, short(high)),
    draw("text", { x: left, y: bottom + 16, "text-anchor": "middle" }, "0"),
    draw("text", { x: width - 12, y: bottom + 16, "text-anchor": "end" }, `step ${last}`),
    ...lines.map((line) => draw("polyline", { class: "curve", points: points(line) })), ...circles);
}

// Evaluation, training, and below them the jobs that several runs share.
function rests(cell) {
  const seen = new Set();
  const count = cell.runs.length;
  const code = (digests) => `code ${digests.map((digest) => word(digest).slice(0, 12)).join(", ")}`;
  const item = (head, facts, below) => make("li", {}, make("strong", {}, head), ...facts.map((fact) => make("span", { class: "facts-line" }, fact)), below.length ? make("ul", {}, ...below) : null);
  const job = (number) => {
    const { command, folder, digest, facts, outputs, below } = data.jobs[number];
    if (seen.has(number)) return item(`${command} ${folder} (above)`, [], []);
    seen.add(number);
    const bytes = make("details", {}, make("summary", {}, outputs.length === 1 ? "its file" : `its ${outputs.length} files`), ...outputs.map((output) => make("code", {}, output)));
    const found = item(`${command} ${folder}`, [`record ${digest}`, facts.join(" · ")], below.map(job));
    found.querySelector(".facts-line:last-of-type").after(bytes);
    return found;
  };
  const [trainedFrom, evaluatedFrom] = cell.below;
  const [trainCode, evaluateCode] = cell.code;
  const runs = (folders, prefix) => folders.map((folder) => `${prefix}${word(folder)}`).join(", ");
  const training = cell.trained.length
    ? [item(`train ${runs(cell.trained, data.train)}`, [code(trainCode), cell.facts.map(word).join(" · ")],
        [...cell.from.map((folder) => item(`train ${word(folder)}`, ["its choice is used here"], [])), ...trainedFrom.map(job)])]
    : [];
  const tree = item(`evaluate ${runs(cell.at, data.evaluate)} (${count} ${count === 1 ? "run" : "runs"})`, [code(evaluateCode)],
    [...training, ...evaluatedFrom.map(job)]);
  const machines = [...new Set(cell.with.flat())].map((number) => make("pre", {}, data.surroundings[number]));
  return make("div", {}, make("h4", {}, "What it was made from"), make("ul", { class: "tree" }, tree),
    make("h4", {}, machines.length === 1 ? "Code, machine and packages" : "Code, machines and packages: the runs differ"), ...machines);
}

function settings(cell) {
  if (!cell.settings.length) return [];
  return [make("h4", {}, "The variant, and parameters that most of this scale has otherwise"),
    make("ul", {}, ...cell.settings.map((text) => make("li", {}, make("code", {}, word(text)))))];
}

function again(cell) {
  const targets = cell.runs.map(([at, , name]) => `${data.evaluate}${word(cell.at[at])}/${name}/metrics.json`);
  return [make("h4", {}, "Make it again"),
    make("p", { class: "about" }, "Runs what is missing or stale. With --forceall before -- it runs every job below it again."),
    command(`${data.command} ${targets.join(" ")}`)];
}

function command(text) {
  const line = make("pre", { tabindex: "0" }, make("code", {}, text));
  const button = make("button", { type: "button" }, "Copy");
  button.addEventListener("click", async () => {
    try {
      await navigator.clipboard.writeText(text);
      button.textContent = "Copied";
      say("Copied");
    } catch {
      getSelection().selectAllChildren(line);
      button.textContent = "Selected";
      say("The command is selected; copy it with your keyboard");
    }
  });
  return make("div", { class: "command" }, line, button);
}
