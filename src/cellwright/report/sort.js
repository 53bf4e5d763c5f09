(function () {
  "use strict";
  function key(row, column) {
    const cell = row.cells[column];
    const given = cell.getAttribute("data-sort");
    if (given !== null) return given === "" ? null : Number(given);
    return cell.textContent.trim().toLowerCase();
  }
  for (const table of document.querySelectorAll("table.sortable")) {
    const heads = table.tHead.rows[0].cells;
    Array.from(heads).forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      while (head.firstChild) button.appendChild(head.firstChild);
      head.appendChild(button);
      button.addEventListener("click", () => {
        // Numbers start with the largest, names with A.
        const numbers = table.tBodies[0].rows[0].cells[column].hasAttribute("data-sort");
        const before = head.getAttribute("aria-sort");
        const up = before === null ? !numbers : before === "descending";
        for (const other of heads) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        const rows = Array.from(table.tBodies[0].rows);
        rows.sort((a, b) => {
          const left = key(a, column);
          const right = key(b, column);
          // What was not measured comes last, whichever way.
          if (left === null || right === null) return (left === null) - (right === null);
          const order = typeof left === "number" ? left - right : left.localeCompare(right, "en", { numeric: true });
          return up ? order : -order;
        });
        table.tBodies[0].append(...rows);
      });
    });
  }
})();
