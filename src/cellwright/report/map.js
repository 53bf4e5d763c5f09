(function () {
  "use strict";
  const holder = document.getElementById("map-data");
  const plot = document.getElementById("map-plot");
  if (!holder || !plot) return;
  const data = JSON.parse(holder.textContent);
  const choose = {};
  for (const name of ["source", "rep", "method", "colour"]) {
    choose[name] = document.getElementById("map-" + name);
  }
  const words = document.getElementById("map-words");
  const decoded = new Map();

  // Plotly reads a little HTML in names and hover texts: what comes from the file is only text.
  function plain(text) {
    return String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  }

  function shortened(text, width) {
    return text.length > width ? text.slice(0, width - 9) + "…" + text.slice(-8) : text;
  }

  function coordinates(map) {
    if (!decoded.has(map)) {
      const bytes = Uint8Array.from(atob(map.xy), (c) => c.charCodeAt(0));
      const view = new DataView(bytes.buffer);
      const n = bytes.length / 4;
      const axis = (start) => Array.from({ length: n }, (_, i) => {
        const step = view.getUint16(2 * (start + i), true);
        return step === data.absent ? null : step;
      });
      decoded.set(map, { x: axis(0), y: axis(n) });
    }
    return decoded.get(map);
  }

  function fill(select, options, keep) {
    const before = keep ? select.value : null;
    select.replaceChildren(...options.map(([value, text]) => {
      const option = document.createElement("option");
      option.value = value;
      option.textContent = text;
      return option;
    }));
    if (before !== null && options.some(([value]) => value === before)) select.value = before;
  }

  const source = () => data.sources[Number(choose.source.value)];
  const unique = (values) => Array.from(new Set(values));

  function offerReps() {
    fill(choose.rep, unique(source().maps.map((m) => m.rep)).map((r) => [r, r]), true);
    offerMethods();
  }

  function offerMethods() {
    const own = source().maps.filter((m) => m.rep === choose.rep.value);
    const first = choose.method.options.length === 0;
    fill(choose.method, own.map((m) => [m.method, m.shown]), true);
    if (first && own.some((m) => m.method === "umap")) choose.method.value = "umap";
    const colours = [["label", source().label.name]];
    if (source().clusters[choose.rep.value]) colours.push(["cluster", "cluster of " + choose.rep.value]);
    if (source().prediction) colours.push(["prediction", "held-out prediction of " + source().prediction.rep]);
    fill(choose.colour, colours, true);
    draw();
  }

  function chosenCategories() {
    if (choose.colour.value === "cluster") return source().clusters[choose.rep.value];
    if (choose.colour.value === "prediction") return source().prediction;
    return source().label;
  }

  function hover(i) {
    const from = source();
    const lines = [plain(data.cells[from.cells][i]),
      plain(from.label.name) + ": <b>" + plain(from.label.names[from.label.codes[i]]) + "</b>"];
    const clusters = from.clusters[choose.rep.value];
    if (clusters) lines.push("cluster: " + plain(clusters.names[clusters.codes[i]]));
    if (from.prediction) {
      lines.push("predicted: " + plain(from.prediction.names[from.prediction.codes[i]]));
    }
    return lines.join("<br>");
  }

  function draw() {
    const map = source().maps.find(
      (m) => m.rep === choose.rep.value && m.method === choose.method.value);
    if (!map) return;
    const at = coordinates(map);
    const categories = chosenCategories();
    const n = at.x.length;
    const many = n > 3000;
    const rows = categories.names.map(() => []);
    for (let i = 0; i < n; i += 1) if (at.x[i] !== null) rows[categories.codes[i]].push(i);
    const size = n > 20000 ? 3 : n > 3000 ? 4 : n > 800 ? 6 : 8;
    const traces = categories.names.map((name, k) => ({
      type: many ? "scattergl" : "scatter", mode: "markers",
      name: plain(shortened(name, 34)) + "  " + rows[k].length.toLocaleString("en"),
      x: rows[k].map((i) => at.x[i]), y: rows[k].map((i) => at.y[i]),
      text: rows[k].map(hover), hovertemplate: "%{text}<extra></extra>",
      marker: { color: categories.colours[k], symbol: categories.symbols[k], size: size,
        opacity: many ? 0.75 : 0.9, line: { width: many ? 0 : 0.5, color: "#ffffff" } },
    }));
    const narrow = plot.clientWidth < 640;
    const axis = (k) => ({ title: { text: map.shown + " " + k, font: { size: 13 } }, zeroline: false,
      showgrid: false, showticklabels: false, ticks: "", linecolor: "#8a919c", mirror: false });
    const layout = {
      font: { family: getComputedStyle(document.body).fontFamily, size: 13, color: "#1a1a1a" },
      margin: { l: 40, r: 16, t: 44, b: 40 }, hovermode: "closest", dragmode: "pan",
      hoverlabel: { align: "left", bgcolor: "#ffffff", bordercolor: "#545b66", font: { color: "#1a1a1a", size: 13 } },
      xaxis: axis(1), yaxis: axis(2), showlegend: true,
      legend: narrow ? { orientation: "h", y: -0.12, itemsizing: "constant" } : { x: 1.01, y: 1, itemsizing: "constant" },
      uirevision: choose.source.value + " " + map.rep + " " + map.method,
    };
    window.Plotly.react(plot, traces, layout, {
      displaylogo: false, responsive: true, scrollZoom: false,
      // Named one by one: a later Plotly must not bring a button that sends data anywhere.
      modeBarButtons: [["toImage"], ["pan2d", "zoom2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]],
      toImageButtonOptions: { format: "png", scale: 2, filename: "cellwright_map" },
    });
    words.textContent = map.shown + " of " + map.rep + ": " + map.words + ".";
  }

  fill(choose.source, data.sources.map((s, i) => [String(i), s.title + ", " + s.label.name]), false);
  if (data.sources.length < 2) choose.source.closest("label").hidden = true;
  choose.source.addEventListener("change", offerReps);
  choose.rep.addEventListener("change", offerMethods);
  choose.method.addEventListener("change", draw);
  choose.colour.addEventListener("change", draw);
  offerReps();
})();
