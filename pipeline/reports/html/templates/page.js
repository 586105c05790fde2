"use strict";
const byId = (id) => document.getElementById(id);
const data = JSON.parse(byId("report-data").textContent);
const number = (v) => (v === "inf" ? Infinity : v === null ? NaN : v);
const shown = (v, digits) => {
  if (Number.isNaN(v)) return "–";
  if (v === Infinity) return "∞";
  const text = v.toFixed(digits);
  return Number(text) < 0 ? "−" + text.slice(1) : text.replace("-", "");
};

(() => {
  // ---- light and dark ----
  const root = document.documentElement;
  const darkWanted = window.matchMedia("(prefers-color-scheme: dark)");
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : darkWanted.matches);
  const showTheme = () => {
    byId("theme").textContent = isDark() ? "Light" : "Dark";
    byId("theme").setAttribute("aria-label", isDark() ? "Switch to light colours" : "Switch to dark colours");
  };
  byId("theme").addEventListener("click", () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    showTheme();
  });
  darkWanted.addEventListener("change", showTheme);
  showTheme();

  // ---- table of cases ----
  const body = byId("t-table").tBodies[0];
  const rows = [...body.rows].map((tr) => ({
    tr,
    at: Number(tr.dataset.row),
    text: [...tr.querySelectorAll("th, .text, .words")].map((cell) => cell.textContent).join(" ").toLowerCase(),
  }));
  const { first } = data; // the column by which the worst cases stand first
  let sort = { key: String(first), up: data.columns[first].better > 0 };
  const view = () => data.cells[byId("t-view") ? Number(byId("t-view").value) : 0];

  const compare = (a, b) => {
    if (sort.key === "name") return data.rows[a.at].localeCompare(data.rows[b.at], "en", { numeric: true });
    const cells = [a, b].map((row) => view()[row.at][Number(sort.key)]);
    if (data.columns[sort.key].words) return cells[0].localeCompare(cells[1], "en", { numeric: true });
    const [x, y] = cells.map(number);
    return x === y ? 0 : x - y;
  };
  const order = () => {
    const last = (row) => sort.key !== "name" && view()[row.at][Number(sort.key)] === null;
    rows.sort((a, b) => {
      if (last(a) || last(b)) return Number(last(a)) - Number(last(b)); // undefined ones last, either way
      return (sort.up ? 1 : -1) * compare(a, b) || a.at - b.at;
    });
    body.append(...rows.map((row) => row.tr));
    for (const button of byId("t-table").querySelectorAll("[data-sort]")) {
      const state = button.dataset.sort === sort.key ? (sort.up ? "ascending" : "descending") : "none";
      button.parentElement.setAttribute("aria-sort", state);
    }
  };
  const filter = () => {
    const words = byId("t-find").value.trim().toLowerCase();
    const below = byId("t-below").value === "" ? Infinity : Number(byId("t-below").value);
    const kind = byId("t-kind") ? byId("t-kind").value : "";
    let count = 0;
    for (const row of rows) {
      const low = below === Infinity || number(view()[row.at][first]) < below;
      const good = low && row.text.includes(words) && (!kind || row.tr.dataset.kind === kind);
      row.tr.hidden = !good;
      count += good;
    }
    byId("t-count").textContent = `${count} of ${rows.length} cases`;
  };
  const fill = () => {
    for (const row of rows) {
      data.columns.forEach((column, k) => {
        row.tr.cells[k + 1].textContent = shown(number(view()[row.at][k]), column.digits);
      });
    }
  };
  byId("t-table").tHead.addEventListener("click", (event) => {
    const button = event.target.closest("[data-sort]");
    if (!button) return;
    const key = button.dataset.sort;
    const firstUp = key === "name" || data.columns[key].words || data.columns[key].better > 0; // the worst first
    sort = { key, up: sort.key === key ? !sort.up : firstUp };
    order();
  });
  byId("t-find").addEventListener("input", filter);
  byId("t-below").addEventListener("input", filter);
  if (byId("t-kind")) byId("t-kind").addEventListener("change", filter);
  if (byId("t-more")) byId("t-more").addEventListener("change", (event) => byId("t-table").classList.toggle("all", event.target.checked));
  if (byId("t-view")) byId("t-view").addEventListener("change", () => { fill(); order(); filter(); });

  // ---- methods ----
  byId("copy").addEventListener("click", async () => {
    const range = document.createRange();
    range.selectNodeContents(byId("methods-text"));
    getSelection().removeAllRanges();
    getSelection().addRange(range);
    try {
      await navigator.clipboard.writeText(byId("methods-text").textContent);
      byId("copied").textContent = "Copied.";
    } catch {
      byId("copied").textContent = document.execCommand("copy") ? "Copied." : "Selected: copy it with Ctrl+C.";
    }
  });
})();
