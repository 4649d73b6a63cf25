// Tables of class "sort": a click on a heading sorts by its column, a second one turns the order,
// a third one puts it back. Rows stay under their domain; averages and what is missing stay last.
(() => {
  const SECONDS = { s: 1, min: 60, h: 3600 };
  const NUMBER = /^([+-]?[\d,]*\.?\d+)(?: (s|min|h)\b)?(?![\w:-])/;
  const text = (cell) => cell.textContent.replaceAll("\u2212", "-").trim();
  const missing = (cell) => /^(\u2013|not run)?$/.test(text(cell));
  const number = (cell) => {
    const found = cell && NUMBER.exec(text(cell));
    return found ? Number(found[1].replaceAll(",", "")) * (SECONDS[found[2]] ?? 1) : NaN;
  };

  // Ours where any of these cells has one, else the paper's, else what most cells begin with:
  // numbers or text.
  const values = (cells) => {
    for (const part of [".ours", ".paper"]) {
      const found = cells.map((cell) => number(cell.querySelector(part)));
      if (!found.every(Number.isNaN)) return found;
    }
    const found = cells.map(number);
    const filled = cells.filter((cell) => !missing(cell)).length;
    return 2 * found.filter(Number.isFinite).length > filled
      ? found
      : cells.map((cell) => (missing(cell) ? NaN : text(cell)));
  };
  const difference = (a, b) =>
    typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b;

  const sorted = (rows, column, order) => {
    const cells = rows.map((row) => row.cells[column]);
    const found = new Map(values(cells).map((value, i) => [rows[i], value]));
    return [...rows].sort((first, second) => {
      const [a, b] = [found.get(first), found.get(second)];
      const absent = Number.isNaN(a) - Number.isNaN(b);
      return absent || (Number.isNaN(a) ? 0 : order * difference(a, b));
    });
  };

  for (const table of document.querySelectorAll("table.sort")) {
    const groups = [[]]; // runs of rows that may change places; a row that stays is a run of its own
    for (const row of table.tBodies[0].rows) {
      if (row.matches(".domain, .average")) groups.push([row], []);
      else groups.at(-1).push(row);
    }
    const heads = [...table.tHead.rows[0].cells];
    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      head.append(button);
      button.addEventListener("click", () => {
        const cells = groups.flat().map((row) => row.cells[column]).filter(Boolean);
        const first = values(cells).some((value) => typeof value === "string") ? 1 : -1;
        const now = { ascending: 1, descending: -1 }[head.ariaSort] ?? 0;
        const order = now === 0 ? first : now === first ? -first : 0;
        for (const other of heads) other.removeAttribute("aria-sort");
        if (order) head.setAttribute("aria-sort", order > 0 ? "ascending" : "descending");
        const rows = groups.map((run) => (order && run.length > 1 ? sorted(run, column, order) : run));
        table.tBodies[0].append(...rows.flat());
      });
    });
  }
})();
