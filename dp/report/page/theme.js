const root = document.documentElement;
const THEMES = ["auto", "light", "dark"];
const kept = { // not every browser keeps anything for a file on disk
  get() { try { return localStorage.getItem("theme"); } catch { return null; } },
  set(name) { try { localStorage.setItem("theme", name); } catch { /* it lasts until the page is closed */ } },
};

function theme(name) {
  root.dataset.theme = name;
  toggle.textContent = `Colours: ${name}`;
  kept.set(name);
}

const toggle = make("button", { type: "button", class: "theme", onclick: () => theme(THEMES[(THEMES.indexOf(root.dataset.theme) + 1) % 3]) });
document.querySelector("header").append(toggle);
theme(THEMES.includes(kept.get()) ? kept.get() : "auto");
