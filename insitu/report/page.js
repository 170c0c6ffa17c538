// Draws the page's figures with plotly.js, and again in other colours when the reader's theme changes or the page goes to paper.
"use strict";
(() => {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const PAPER_WIDTH = 690; // CSS pixels between the margins of A4
  // Named one by one: among the default ones is one that uploads the figure
  const CONFIG = { responsive: true, displaylogo: false, modeBarButtons: [["toImage", "zoom2d", "pan2d", "resetScale2d"]] };

  const colour = (name) => getComputedStyle(root).getPropertyValue("--" + name).trim();
  // "@blue" in a figure is --blue of style.css
  const coloured = (text) =>
    JSON.parse(text, (_, value) => (typeof value === "string" && /^@[a-z]+\d?$/.test(value) ? colour(value.slice(1)) : value));

  function template() {
    const axis = {
      gridcolor: colour("grid"), linecolor: colour("line"), zerolinecolor: colour("line"), tickcolor: colour("line"),
      automargin: true, ticks: "outside", showline: true, zeroline: false, title: { standoff: 8 },
    };
    return {
      layout: {
        paper_bgcolor: colour("paper"), plot_bgcolor: colour("paper"), font: { color: colour("ink"), size: 12, family: "system-ui, sans-serif" },
        margin: { l: 60, r: 16, t: 28, b: 44 }, hovermode: "closest", dragmode: "zoom", xaxis: axis, yaxis: axis,
        legend: { orientation: "h", x: 0, y: 1.02, yanchor: "bottom", traceorder: "normal" }, barmode: "stack", bargap: 0.25,
        hoverlabel: { bgcolor: colour("panel"), bordercolor: colour("line"), font: { color: colour("ink") }, align: "left" },
      },
    };
  }

  function draw(figure, width) {
    const { data, layout } = coloured(figure.querySelector('script[type="application/json"]').text);
    const plot = figure.querySelector(".plot");
    const size = width ? { width, autosize: false } : { autosize: true };
    return Plotly.react(plot, data, { ...layout, ...size, template: template() }, CONFIG);
  }

  const figures = [...document.querySelectorAll("figure")];
  const small = (figure) => figure.closest(".grid") !== null;
  const redraw = () => figures.forEach((figure) => draw(figure));

  async function drawAll() {
    for (const figure of figures) {
      await draw(figure);
      await new Promise((done) => setTimeout(done)); // so that the page can be read meanwhile
    }
    root.dataset.drawn = figures.length;
  }

  dark.addEventListener("change", redraw);
  addEventListener("beforeprint", () => {
    root.dataset.paper = "";
    figures.forEach((figure) => draw(figure, small(figure) ? PAPER_WIDTH / 2 - 10 : PAPER_WIDTH));
  });
  addEventListener("afterprint", () => {
    delete root.dataset.paper;
    redraw();
  });
  drawAll();
})();
