"use strict";
// The table of all trials: sorted and filtered here, and only the rows in sight are drawn.
(() => {
  const ROW = 30, SPARE = 12, PRINTED = 50;
  const columns = JSON.parse(document.getElementById("data").textContent).table;
  const byName = new Map(columns.map((column) => [column.name.toLowerCase(), column]));
  const total = columns.length ? columns[0].values.length : 0;
  const box = document.getElementById("table"), head = box.querySelector("thead"), body = box.querySelector("tbody");
  const input = document.getElementById("filter"), every = document.getElementById("every"), count = document.getElementById("count");
  const state = { sort: null, down: true, rows: Array.from({ length: total }, (_, index) => index), printing: false };
  const TEST = {
    "=": (a, b) => a === b, "!=": (a, b) => a !== b, "<": (a, b) => a < b, ">": (a, b) => a > b, "<=": (a, b) => a <= b, ">=": (a, b) => a >= b,
  };

  function text(column, value) {
    if (value === null) return "–";
    if (typeof value !== "number") return String(value);
    if (Number.isInteger(value)) return value.toLocaleString("en-US");
    const size = Math.abs(value);
    return value === 0 || (size >= 1e-3 && size < 1e4) ? (value === 0 ? "0" : value.toPrecision(4)) : value.toExponential(2);
  }

  const shown = () => columns.filter((column) => every.checked || !column.quiet);

  // `fitness > 0.7 state = done gelu`: conditions and words, all of which must hold.
  function conditions(written) {
    const found = [];
    const words = written.replace(/([A-Za-z_][\w.]*)\s*(<=|>=|!=|==|=|<|>)\s*("[^"]*"|\S+)/g, (_, name, sign, wanted) => {
      const column = byName.get(name.toLowerCase());
      if (!column) throw new Error(`there is no column '${name}'`);
      wanted = wanted.replace(/^"|"$/g, "");
      const value = column.numeric ? Number(wanted.replace(/,/g, "")) : wanted.toLowerCase();
      if (column.numeric && Number.isNaN(value)) throw new Error(`${column.name} is compared with a number, not '${wanted}'`);
      const test = TEST[sign === "==" ? "=" : sign];
      found.push((row) => {
        const cell = column.values[row];
        return cell !== null && test(column.numeric ? cell : String(cell).toLowerCase(), value);
      });
      return " ";
    });
    for (const word of words.toLowerCase().split(/\s+/).filter((each) => each && each !== "and")) {
      found.push((row) => columns.some((column) => column.values[row] !== null && String(column.values[row]).toLowerCase().includes(word)));
    }
    return found;
  }

  function compare(column, one, other) {
    const a = column.values[one], b = column.values[other];
    if (a === null || b === null) return a === b ? one - other : a === null ? 1 : -1; // what is missing comes last, always
    const order = column.numeric ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
    return (state.down ? -order : order) || one - other;
  }

  function arrange() {
    count.classList.remove("wrong");
    try {
      const tests = conditions(input.value);
      state.rows = [];
      for (let row = 0; row < total; row++) if (tests.every((test) => test(row))) state.rows.push(row);
      count.textContent = state.rows.length === total ? `${total.toLocaleString("en-US")} trials`
        : `${state.rows.length.toLocaleString("en-US")} of ${total.toLocaleString("en-US")} trials`;
    } catch (error) {
      count.textContent = error.message;
      count.classList.add("wrong"); // and the rows stay as they were
    }
    const column = state.sort === null ? null : byName.get(state.sort);
    if (column) state.rows.sort((one, other) => compare(column, one, other));
    box.scrollTop = 0;
    draw();
  }

  function heads() {
    const line = document.createElement("tr");
    for (const column of shown()) {
      const cell = document.createElement("th"), button = document.createElement("button");
      cell.scope = "col";
      if (column.numeric) cell.className = "number";
      if (state.sort === column.name.toLowerCase()) cell.setAttribute("aria-sort", state.down ? "descending" : "ascending");
      button.type = "button";
      button.textContent = column.name;
      button.title = column.meaning;
      button.addEventListener("click", () => sortBy(column));
      cell.append(button);
      line.append(cell);
    }
    head.replaceChildren(line);
  }

  function sortBy(column, down) {
    const name = column.name.toLowerCase();
    state.down = down ?? (state.sort === name ? !state.down : column.numeric);
    state.sort = name;
    heads();
    arrange();
  }

  function gap(rows, span) {
    const line = document.createElement("tr"), cell = document.createElement("td");
    line.className = "gap";
    cell.colSpan = span;
    cell.style.height = `${rows * ROW}px`;
    line.append(cell);
    return line;
  }

  function remark(said, span) {
    const line = document.createElement("tr"), cell = document.createElement("td");
    cell.className = "none";
    cell.colSpan = span;
    cell.textContent = said;
    line.append(cell);
    return line;
  }

  function draw() {
    const visible = shown(), height = box.clientHeight || 600;
    const first = state.printing ? 0 : Math.max(0, Math.floor(box.scrollTop / ROW) - SPARE);
    const last = Math.min(state.rows.length, state.printing ? PRINTED : first + Math.ceil(height / ROW) + 2 * SPARE);
    const lines = first > 0 ? [gap(first, visible.length)] : [];
    for (let place = first; place < last; place++) {
      const line = document.createElement("tr");
      if (place % 2) line.className = "odd";
      for (const column of visible) {
        const cell = document.createElement("td"), value = column.values[state.rows[place]];
        if (column.name === "state" && value !== null) {
          const mark = document.createElement("span");
          mark.className = `state ${value}`;
          mark.textContent = value;
          cell.append(mark);
        } else {
          cell.textContent = text(column, value);
          if (column.numeric) cell.className = "number";
          else if (value !== null && String(value).length > 24) cell.title = String(value);
        }
        line.append(cell);
      }
      lines.push(line);
    }
    if (!state.printing && last < state.rows.length) lines.push(gap(state.rows.length - last, visible.length));
    if (!state.rows.length) lines.push(remark("No trial meets this.", visible.length));
    if (state.printing && last < state.rows.length) lines.push(remark(`The first ${last} of ${state.rows.length.toLocaleString("en-US")} are printed.`, visible.length));
    body.replaceChildren(...lines);
  }

  function fromAddress() {
    const said = new URLSearchParams(location.hash.slice(1));
    const column = byName.get((said.get("sort") ?? "").replace(/^-/, "").toLowerCase());
    if (said.has("filter")) input.value = said.get("filter");
    if (column) sortBy(column, said.get("sort").startsWith("-"));
    else arrange();
  }

  let waiting = false;
  box.addEventListener("scroll", () => {
    if (waiting) return;
    waiting = true;
    requestAnimationFrame(() => { waiting = false; draw(); });
  });
  input.addEventListener("input", arrange);
  every.addEventListener("change", () => { heads(); draw(); });
  addEventListener("hashchange", fromAddress);
  addEventListener("resize", draw);
  addEventListener("beforeprint", () => { state.printing = true; draw(); });
  addEventListener("afterprint", () => { state.printing = false; draw(); });
  heads();
  fromAddress();
})();
