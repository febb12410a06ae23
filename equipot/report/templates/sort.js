// Sort the rows of a table by the column whose heading is clicked; the page is complete without it.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows].at(-1).cells;
  [...heads].forEach((head, column) => {
    const button = document.createElement("button");
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") === "descending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const key = (row) => {
        const cell = row.cells[column];
        const data = cell.querySelector("data");
        const value = data ? Number(data.value) : parseFloat(cell.textContent.replace(/^> /, ""));
        return Number.isNaN(value) ? cell.textContent.trim() : value;
      };
      const compare = (a, b) => (typeof a === "number" && typeof b === "number"
        ? a - b : String(a).localeCompare(String(b)));
      const body = table.tBodies[0];
      const rows = [...body.rows].sort((a, b) => (up ? 1 : -1) * compare(key(a), key(b)));
      body.append(...rows);
    });
  });
}
