(function () {
  "use strict";
  const chart = JSON.parse(document.getElementById("chart").textContent);
  const plot = document.getElementById("map");
  const groups = chart.groups;
  const cells = chart.cells;
  const [left, right, bottom, top] = chart.extent;
  const crowded = chart.images.length > 0;

  // Plotly reads a little HTML in names and hover texts: what comes from a file is only text.
  function plain(text) {
    return String(text).replace(/&/g, "&amp;").replace(/</g, "&lt;").replace(/>/g, "&gt;");
  }

  function shortened(text, width) {
    return text.length > width ? text.slice(0, width - 13) + "…" + text.slice(-12) : text;
  }

  function entry(name, n) {
    return plain(shortened(name, 40)) + "  " + n.toLocaleString("en");
  }

  function hover(i) {
    const lines = ["<b>" + plain(groups[cells.group[i]].name) + "</b>"];
    const own = chart.clusters[cells.cluster[i]];
    if (own) lines.push(...own.map(plain));
    return lines.join("<br>");
  }

  // One trace in one random order: no type lies on top of all others.
  function shown(visible) {
    const rows = [];
    for (let i = 0; i < cells.x.length; i += 1) if (visible[cells.group[i]]) rows.push(i);
    return {
      x: rows.map((i) => cells.x[i]), y: rows.map((i) => cells.y[i]), text: rows.map(hover),
      colour: rows.map((i) => groups[cells.group[i]].colour),
    };
  }

  const all = groups.map(() => true);
  const first = shown(all);
  const traces = [{
    type: "scatter", mode: "markers", x: first.x, y: first.y, text: first.text, showlegend: false,
    hovertemplate: "%{text}<extra></extra>",
    marker: { color: first.colour, size: crowded ? 4 : first.x.length > 3000 ? 4 : 7,
      opacity: crowded ? 0 : 0.9, line: { width: 0 } },
  }];
  groups.forEach((group) => traces.push({
    type: "scatter", mode: "markers", x: [null], y: [null], name: entry(group.name, group.n),
    marker: { color: group.colour, size: 9 }, hoverinfo: "skip", legendgroup: group.name,
  }));
  const rings = [];
  chart.circled.forEach((circled, i) => {
    const name = (chart.circled.length > 1 ? i + 1 + ": " : "") + entry(circled.name, circled.n);
    const common = { type: "scatter", mode: "markers", x: circled.x.slice(0, circled.spaced),
      y: circled.y.slice(0, circled.spaced), hoverinfo: "skip", legendgroup: "circled " + i };
    const ring = (colour, width) => ({ symbol: "circle-open", size: 9, color: colour,
      line: { width: width, color: colour } });
    rings.push([traces.length, circled], [traces.length + 1, circled]);
    traces.push({ ...common, showlegend: false, marker: ring("#ffffff", 3.5) });
    traces.push({ ...common, name: name, marker: ring("#000000", 1.4) });
    if (chart.circled.length > 1) {
      traces.push({ ...common, mode: "text", x: [circled.middle[0]], y: [circled.middle[1]],
        text: ["<b>" + (i + 1) + "</b>"], textposition: "top right", showlegend: false,
        textfont: { size: 18, color: "#000000", shadow: "0 0 3px #fff, 0 0 3px #fff, 0 0 3px #fff" } });
    }
  });

  const axis = (name, range) => ({ title: { text: plain(name) }, range: range, zeroline: false,
    showgrid: false, showticklabels: false, ticks: "", linecolor: "#8a919c", constrain: "domain",
    constraintoward: "left" });
  const layout = {
    title: { text: "<b>" + plain(shortened(chart.title, 110)) + "</b>", x: 0, xref: "paper",
      xanchor: "left", font: { size: 17 }, subtitle: { text: plain(chart.subtitle),
        font: { size: 13, color: "#5c6370" } } },
    font: { family: "system-ui, sans-serif", size: 13, color: "#1a1a1a" },
    margin: { l: 40, r: 16, t: 84, b: 40 }, hovermode: "closest", dragmode: "pan",
    plot_bgcolor: "rgba(0,0,0,0)", hoverlabel: { align: "left", bgcolor: "#ffffff",
      bordercolor: "#545b66", font: { color: "#1a1a1a", size: 13 } },
    xaxis: axis(chart.axes[0], [left, right]),
    yaxis: { ...axis(chart.axes[1], [bottom, top]), scaleanchor: "x", constraintoward: "top" },
    showlegend: true,
    legend: { x: 1.01, y: 1, itemsizing: "constant", tracegroupgap: 0,
      title: { text: plain(chart.legend) } },
    // Of images at one place and of one size Plotly draws the first: theirs differ by nothing seen.
    images: chart.images.map((image, i) => ({ source: image.source, xref: "x", yref: "y", x: left,
      y: top, sizex: (right - left) * (1 + 1e-9 * i), sizey: top - bottom, sizing: "stretch",
      layer: "below" })),
  };

  let visible = all;
  function follow() {
    const now = groups.map((_, k) => [true, undefined].includes(plot.data[1 + k].visible));
    if (now.every((value, k) => value === visible[k])) return;
    visible = now;
    const rows = shown(now);
    const images = {};
    chart.images.forEach((image, i) => { images["images[" + i + "].visible"] = now[image.group]; });
    window.Plotly.update(plot, { x: [rows.x], y: [rows.y], text: [rows.text],
      "marker.color": [rows.colour] }, images, [0]);
  }

  // Close up, where a pixel is a block and circles have room, the cells themselves are seen.
  let close = false;
  function closer() {
    const range = plot.layout.xaxis.range;
    const now = Math.abs(range[1] - range[0]) < (right - left) / 6;
    if (now === close) return;
    close = now;
    if (crowded) window.Plotly.restyle(plot, { "marker.opacity": now ? 0.9 : 0 }, [0]);
    if (!rings.length) return;
    const part = (values, circled) => now ? values : values.slice(0, circled.spaced);
    window.Plotly.restyle(plot, { x: rings.map(([, c]) => part(c.x, c)),
      y: rings.map(([, c]) => part(c.y, c)) }, rings.map(([at]) => at));
  }

  window.Plotly.newPlot(plot, traces, layout, {
    displaylogo: false, responsive: true, scrollZoom: true,
    // Named one by one: a later Plotly must not bring a button that sends data anywhere.
    modeBarButtons: [["toImage"], ["pan2d", "zoom2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]],
    toImageButtonOptions: { format: "png", scale: 2, filename: "cellwright_map" },
  }).then(() => {
    plot.on("plotly_restyle", follow);
    plot.on("plotly_relayout", closer);
  });
})();
