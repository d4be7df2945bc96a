// The load generators' health over the run: load per second, CPU, hub lag.
const client = {
  start: () => {
    client.plot = document.getElementById("client");
    client.data = JSON.parse(document.getElementById("client-json").textContent);
    client.draw();
  },

  draw: () => {
    const {data, plot} = client;
    if (!data.at.length) {
      plot.textContent = "client.arrow has no rows: the load generator's health is unknown.";
      plot.style.height = "auto";
      return;
    }
    const line = (name, y, colour, dash, words) => ({
      type: "scatter", mode: "lines", x: data.at, y: data[name], xaxis: "x", yaxis: y, name: words, line: {width: 1.5, shape: "hvh", color: colour, dash},
      hovertemplate: `${words} %{y}<extra></extra>`,
    });
    const ink = look.colour("ink"), end = data.at.at(-1) + data.wide_s / 2;
    const limit = (y, at) => ({type: "line", xref: "x domain", x0: 0, x1: 1, yref: y, y0: at, y1: at, line: {dash: "dash", width: 1.5, color: look.colour("fail")}});
    const title = (y, text) => ({xref: "paper", yref: "paper", x: 0, y, xanchor: "left", yanchor: "bottom", showarrow: false, text});
    const axis = domain => Object.assign(look.axis(), {domain, rangemode: "tozero", nticks: 4});
    Plotly.react(plot, [
      line("scheduled", "y", "#C77700", "dot", "scheduled"), line("sent", "y", "#0072B2", "solid", "sent"), line("in_flight", "y2", "#009E73", "solid", "in flight"),
      line("cpu_percent", "y3", ink, "solid", "CPU %"), line("hub_lag_ms", "y4", ink, "solid", "hub lag ms"),
    ], look.layout({
      margin: {l: 48, r: 12, t: 8, b: 40}, hovermode: "x", showlegend: false, dragmode: false,
      xaxis: Object.assign(look.axis(), {range: [0, end], anchor: "y4"}, look.ticks(0, end)),
      yaxis: axis([0.82, 0.96]), yaxis2: axis([0.56, 0.7]), yaxis3: axis([0.3, 0.44]), yaxis4: axis([0, 0.18]),
      shapes: [limit("y3", data.cpu_limit), limit("y4", data.lag_limit)],
      annotations: [
        title(0.96, "requests/s: <span style='color:#0072B2'>━ sent</span>, <span style='color:#C77700'>┅ scheduled</span>"),
        title(0.7, "requests in flight"), title(0.44, "CPU, % of one core"), title(0.18, "hub lag, p99, ms"),
      ],
    }), Object.assign({}, look.config, {displayModeBar: false}));
  },
};
