const viewer = document.getElementById("zoom");
const pictures = [...document.querySelectorAll(".gallery img")];
const view = { at: 0, factor: 1 };

function showFigure(at) {
  view.at = (at + pictures.length) % pictures.length;
  view.factor = 1;
  const from = pictures[view.at];
  const image = make("img", { src: from.src, alt: from.alt });
  const canvas = make("div", { class: "canvas", tabindex: "0", role: "region", "aria-label": "The figure; scrolls when it is enlarged" }, image);
  const button = (text, label, onclick) => make("button", { type: "button", "aria-label": label, onclick }, text);
  viewer.replaceChildren(
    make("div", { class: "top" },
      make("h2", { id: "zoom-title" }, from.dataset.title),
      button("←", "Previous figure", () => showFigure(view.at - 1)),
      button("→", "Next figure", () => showFigure(view.at + 1)),
      button("−", "Smaller", () => zoom(1 / 1.5)),
      button("+", "Larger", () => zoom(1.5)),
      button("Fit", "Fit to the window", () => zoom(0)),
      button("Close", "Close", () => viewer.close())),
    canvas);
  if (!viewer.open) open(viewer);
  canvas.focus();
  const begin = () => {
    const width = zoom(0);
    zoom(Math.max(1, Math.min(canvas.clientWidth, image.naturalWidth * 1.3) / width)); // a tall one begins readable
  };
  image.decode().then(begin, begin);
}

function zoom(by) {
  view.factor = by === 0 ? 1 : Math.min(Math.max(view.factor * by, 0.25), 12);
  const canvas = viewer.querySelector(".canvas");
  const image = canvas.querySelector("img");
  const ratio = image.naturalWidth / image.naturalHeight || 1;
  const fitted = Math.min(canvas.clientWidth, canvas.clientHeight * ratio);
  const width = Math.round(fitted * view.factor);
  image.style.width = `${width}px`;
  say(`${Math.round(100 * view.factor)} percent`);
  return width;
}

viewer.addEventListener("keydown", (event) => {
  const keys = {
    ArrowLeft: () => showFigure(view.at - 1), ArrowRight: () => showFigure(view.at + 1),
    "+": () => zoom(1.5), "=": () => zoom(1.5), "-": () => zoom(1 / 1.5), 0: () => zoom(0),
  };
  if (event.ctrlKey || event.metaKey || event.altKey || !(event.key in keys)) return;
  event.preventDefault();
  keys[event.key]();
});
viewer.addEventListener("close", () => pictures[view.at].closest("button").focus());

pictures.forEach((image, at) => {
  const button = make("button", { type: "button", "aria-haspopup": "dialog", "aria-label": `Enlarge: ${image.dataset.title}`, onclick: () => showFigure(at) });
  image.replaceWith(button);
  button.append(image);
});
