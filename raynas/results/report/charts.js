"use strict";
// The pictures: plotly's own, in the colours of the page, drawn one after the other so that the page answers meanwhile.
(() => {
  const figures = JSON.parse(document.getElementById("data").textContent).pictures;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const IN_THE_DARK = { "#222222": "#e6e4df", "#222": "#e6e4df", "#555": "#b4bbc2", "#0072b2": "#4ba3dd", "#ffffff": "#1c2024", "white": "#1c2024" };

  function recoloured(value) {
    if (typeof value === "string") return IN_THE_DARK[value.toLowerCase()] ?? value;
    if (Array.isArray(value)) return value.length > 64 ? value : value.map(recoloured);
    if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, recoloured(item)]));
    return value;
  }

  function inPage({ data, layout }, narrow) {
    const style = getComputedStyle(document.documentElement), of = (name) => style.getPropertyValue(name).trim();
    const made = structuredClone(layout), font = { family: of("--sans"), size: narrow ? 11 : 13, color: of("--ink") };
    const axis = { gridcolor: of("--line"), linecolor: of("--line"), zerolinecolor: of("--line"), automargin: true, title: { font: { size: narrow ? 11 : 13 }, standoff: 8 } };
    made.template = { layout: { xaxis: axis, yaxis: axis } };
    made.paper_bgcolor = made.plot_bgcolor = "rgba(0,0,0,0)";
    made.font = { ...made.font, ...font };
    made.margin = { l: narrow ? 44 : 64, r: narrow ? 8 : 20, t: data.some((trace) => trace.type === "parcoords") ? 64 : 24, b: 48, ...(narrow ? {} : { l: made.margin?.l ?? 64, r: made.margin?.r ?? 20 }) };
    made.legend = { ...made.legend, orientation: "h", y: -0.16, yanchor: "top", x: 0, xanchor: "left" };
    made.hoverlabel = { ...made.hoverlabel, bgcolor: of("--card"), bordercolor: of("--line"), font: { family: of("--sans"), color: of("--ink"), size: 12 } };
    made.height = Math.max(made.height ?? 0, narrow ? 340 : 420);
    made.autosize = true;
    delete made.width;
    return made;
  }

  async function draw(place) {
    const figure = figures[place.dataset.picture], narrow = place.clientWidth < 560;
    const shown = dark.matches && !matchMedia("print").matches ? recoloured(figure) : figure;
    try {
      await Plotly.react(place, structuredClone(shown.data), inPage(shown, narrow), { responsive: true, displaylogo: false, displayModeBar: matchMedia("(hover: hover)").matches ? "hover" : false });
      place.dataset.drawn = "yes";
    } catch (error) {
      place.classList.add("failed");
      place.textContent = `This picture could not be drawn: ${error.message}`;
    }
  }

  async function drawAll() {
    for (const place of document.querySelectorAll(".chart")) {
      await draw(place);
      await new Promise((resolve) => setTimeout(resolve, 0));
    }
    document.documentElement.dataset.drawn = "yes";
  }

  dark.addEventListener("change", drawAll);
  drawAll();
})();
