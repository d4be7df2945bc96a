// The look of both pictures: the page's own colours, so that they follow light and dark mode.
"use strict";
const look = {
  colour: name => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim(),
  narrow: () => window.innerWidth < 640,
  axis: () => ({
    gridcolor: look.colour("line"), linecolor: look.colour("line"), zeroline: false, ticks: "outside",
    tickcolor: look.colour("line"), automargin: false, fixedrange: true,
  }),
  layout: more => Object.assign({
    paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)", showlegend: false, hoverdistance: 12,
    font: {family: "system-ui, sans-serif", size: look.narrow() ? 11 : 12.5, color: look.colour("ink")},
    hoverlabel: {bgcolor: look.colour("soft"), bordercolor: look.colour("line"), font: {color: look.colour("ink")}},
    modebar: {bgcolor: "rgba(0,0,0,0)", color: look.colour("quiet"), activecolor: look.colour("ink")},
  }, more),
  config: {responsive: true, displaylogo: false, showSendToCloud: false, plotlyServerURL: "", doubleClick: false, modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d", "resetScale2d"]},
  time: length => {
    // Positions are seconds since the run's start; the unit of the labels fits the length that is shown.
    const [per, unit] = length <= 600 ? [1, "s"] : length <= 10800 ? [60, "min"] : [3600, "h"];
    const steps = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 14400, 21600, 43200, 86400, 172800, 604800];
    const step = steps.find(s => length / s <= (look.narrow() ? 5 : 12)) || steps.at(-1);
    return {per, unit, step};
  },
  ticks: (from, to) => {
    const {per, unit, step} = look.time(to - from), values = [];
    for (let i = Math.ceil(from / step - 1e-9); i * step <= to + 1e-9; i++) values.push(i * step);
    return {tickmode: "array", tickvals: values, ticktext: values.map(v => `${+(v / per).toPrecision(8)} ${unit}`)};
  },
  milliseconds: ms => ms >= 1000 ? `${+(ms / 1000).toPrecision(3)} s` : `${+ms.toPrecision(3)} ms`,
};
