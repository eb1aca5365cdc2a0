"use strict";
// The pictures: plotly's own, in the colours of the page, drawn one after the other so that the page answers meanwhile.
(() => {
  const figures = JSON.parse(document.getElementById("data").textContent).pictures;
  const widths = new WeakMap(); // what each picture was drawn for
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const IN_THE_DARK = { "#222222": "#e6e4df", "#222": "#e6e4df", "#555": "#b4bbc2", "#0072b2": "#4ba3dd", "#ffffff": "#1c2024", "white": "#1c2024" };

  function recoloured(value) {
    if (typeof value === "string") return IN_THE_DARK[value.toLowerCase()] ?? value;
    if (Array.isArray(value)) return value.length > 64 ? value : value.map(recoloured);
    if (value && typeof value === "object") return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, recoloured(item)]));
    return value;
  }

  // Of parallel axes as many as have room: the last ones (size and fitness) and the decisions that matter most.
  function fitting(trace, order, wide) {
    const all = trace.dimensions, most = Math.max(3, Math.floor(wide / 84)), last = all.length - order.length;
    if (trace.type !== "parcoords" || all.length <= most) return 0;
    const kept = new Set(order.slice(0, Math.max(1, most - last)));
    trace.dimensions = all.filter((_, index) => index >= order.length || kept.has(index));
    return all.length - trace.dimensions.length;
  }

  function remark(place, hidden) {
    const caption = place.parentElement.querySelector("figcaption");
    caption.querySelector(".hidden")?.remove();
    if (!hidden) return;
    const line = document.createElement("p");
    line.className = "hidden";
    line.textContent = `${hidden} more have no room on a page this narrow`;
    caption.append(line);
  }

  function inPage({ data, layout }, narrow, wide) {
    const style = getComputedStyle(document.documentElement), of = (name) => style.getPropertyValue(name).trim();
    const made = structuredClone(layout), font = { family: of("--sans"), size: narrow ? 11 : 13, color: of("--ink") };
    const axis = { gridcolor: of("--line"), linecolor: of("--line"), zerolinecolor: of("--line"), automargin: true, title: { font: { size: narrow ? 11 : 13 }, standoff: 8 } };
    made.template = { layout: { xaxis: axis, yaxis: axis } };
    made.paper_bgcolor = made.plot_bgcolor = "rgba(0,0,0,0)";
    made.font = { ...made.font, ...font };
    made.margin = { l: narrow ? 44 : 64, r: narrow ? 8 : 20, t: data.some((trace) => trace.type === "parcoords") ? 64 : 24, b: 48, ...(narrow ? {} : { l: made.margin?.l ?? 64, r: made.margin?.r ?? 20 }) };
    made.legend = { ...made.legend, orientation: "h", y: -0.16, yanchor: "top", x: 0, xanchor: "left" };
    made.hoverlabel = { ...made.hoverlabel, bgcolor: of("--card"), bordercolor: of("--line"), font: { family: of("--sans"), color: of("--ink"), size: 12 } };
    if (narrow && data.some((trace) => trace.type === "parcoords")) Object.assign(made.margin, { l: 58, r: 30 });
    if (narrow) for (const name of ["xaxis", "xaxis2"]) if (made[name]?.title?.text) made[name].title.text = made[name].title.text.replace("time since the first trial", "time");
    made.height = Math.max(made.height ?? 0, narrow ? 340 : 420);
    made.autosize = false;
    made.width = wide;
    return made;
  }

  async function draw(place) {
    const figure = figures[place.dataset.picture], wide = place.clientWidth, narrow = wide < 560;
    const shown = dark.matches && !matchMedia("print").matches ? recoloured(figure) : figure;
    const data = structuredClone(shown.data);
    widths.set(place, wide);
    try {
      for (const trace of data.filter((each) => each.type === "parcoords")) {
        remark(place, fitting(trace, shown.layout.meta?.order ?? [], wide));
        if (narrow) trace.line.showscale = false;
      }
      await Plotly.react(place, data, inPage(shown, narrow, wide), { displaylogo: false, displayModeBar: matchMedia("(hover: hover)").matches ? "hover" : false });
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

  // A picture is as wide as its card, whenever that changes.
  const resized = new ResizeObserver((entries) => {
    for (const { target } of entries) if (widths.has(target) && widths.get(target) !== target.clientWidth) draw(target);
  });
  for (const place of document.querySelectorAll(".chart")) resized.observe(place);
  dark.addEventListener("change", drawAll);
  drawAll();
})();
