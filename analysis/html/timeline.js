// The interactive timeline: answers at their latency, strips above, the serving tiers below.
const timeline = {
  data: null, plot: null, traces: [], shown: {}, chosen: -1,

  start: () => {
    timeline.plot = document.getElementById("plot");
    if (!timeline.plot) return;
    timeline.data = JSON.parse(document.getElementById("timeline-json").textContent);
    timeline.sets = timeline.grouped();
    for (const set of timeline.sets) timeline.shown[set.key] = set.key !== "direct";
    timeline.legend();
    timeline.places();
    timeline.draw();
    timeline.keys();
  },

  // Answers that look alike: of one tier (the probe's are smaller), cut, failed, and all requests direct to a tier.
  grouped: () => {
    const data = timeline.data.records, sets = new Map();
    const floor = timeline.floor();
    for (let i = 0; i < data.n; i++) {
      const via = record.text(data, "via", i), outcome = record.text(data, "outcome", i), tier = record.text(data, "tier", i);
      const probe = record.text(data, "lane", i).startsWith("probe");
      const kind = outcome === "ok" ? (probe ? "probe" : "users") : outcome === "cut" || outcome === "stalled" ? "cut" : "failed";
      const direct = via !== timeline.data.gateway;
      const name = `${direct ? "direct" : ""}|${kind}|${kind === "users" || kind === "probe" ? tier : ""}`;
      if (!sets.has(name)) sets.set(name, {key: direct ? "direct" : kind === "users" || kind === "probe" ? `tier ${tier}` : kind, kind, direct, tier, x: [], y: [], i: []});
      const set = sets.get(name);
      set.x.push(data.sent[i]);
      set.y.push(Math.max(record.number(data, "latency_ms", i) ?? floor, floor));
      set.i.push(i);
    }
    const order = {probe: 0, users: 1, failed: 2, cut: 3};
    return [...sets.values()].sort((a, b) => b.direct - a.direct || order[a.kind] - order[b.kind]);
  },

  // Failures that ended at once are drawn at the lower edge.
  floor: () => {
    const data = timeline.data.records;
    let low = Infinity;
    for (let i = 0; i < data.n; i++) {
      const ms = record.number(data, "latency_ms", i);
      if (ms > 0 && record.text(data, "outcome", i) === "ok" && ms < low) low = ms;
    }
    return Number.isFinite(low) ? Math.max(0.5, low / 3) : 1;
  },

  mark: set => {
    const tier = timeline.data.tiers.find(t => t.name === set.tier);
    const hollow = set.direct ? "-open" : "";
    if (set.kind === "cut") return {symbol: "x-thin-open", size: 10, color: look.colour("cut"), line: {width: 2, color: look.colour("cut")}};
    if (set.kind === "failed") return {symbol: "line-ns-open", size: 11, color: look.colour("failed"), line: {width: 1.5, color: look.colour("failed")}};
    return {symbol: (tier ? tier.symbol : "circle") + hollow, size: set.kind === "probe" ? 3.5 : 6.5, opacity: set.kind === "probe" ? 0.65 : 0.85, color: tier ? tier.colour : look.colour("shade")};
  },

  webgl: () => {
    try { return !!document.createElement("canvas").getContext("webgl"); } catch { return false; }
  },

  draw: () => {
    const {data, plot} = timeline, type = timeline.webgl() ? "scattergl" : "scatter";
    const answers = timeline.sets.map(set => ({
      type, mode: "markers", x: set.x, y: set.y, customdata: set.i, marker: timeline.mark(set), hoverinfo: "none",
      visible: timeline.shown[set.key], meta: set.key, xaxis: "x", yaxis: "y",
    }));
    timeline.high = data.strips.length;
    timeline.traces = [...answers, ...timeline.strips(), ...timeline.served()];
    Plotly.react(plot, timeline.traces, timeline.layout(plot.layout?.xaxis?.range), look.config).then(() => {
      if (timeline.listening) return;
      timeline.listening = true;
      plot.on("plotly_hover", timeline.hover);
      plot.on("plotly_unhover", () => { document.getElementById("tip").hidden = true; });
      plot.on("plotly_click", ({points}) => { if (points[0].customdata !== undefined && points[0].yaxis._id === "y") timeline.choose(points[0].customdata); });
      plot.on("plotly_doubleclick", () => timeline.zoom(0, data.length_s));
      plot.on("plotly_relayout", change => {
        if ("xaxis.range[0]" in change) Plotly.relayout(plot, {xaxis: Object.assign({}, plot.layout.xaxis, look.ticks(...plot.layout.xaxis.range))});
        else if (change["xaxis.autorange"]) timeline.zoom(0, data.length_s);
      });
      plot.dataset.ready = "yes";
    });
  },

  layout: range => {
    const {data} = timeline, [from, to] = range || [0, data.length_s];
    const rows = Math.max(1, data.strips.length), height = timeline.plot.clientHeight || 620, row = 19;
    const top = 1 - rows * row / (height - 70), wide = look.narrow();
    const values = timeline.sets.flatMap(s => s.y), low = values.reduce((a, b) => Math.min(a, b), Infinity), high = values.reduce((a, b) => Math.max(a, b), 0);
    const decades = [];
    for (let e = -1; e < 8; e++) for (const m of [1, 2, 5]) decades.push(m * 10 ** e);
    const every = high / low > 1000 ? decades.filter(v => String(v.toExponential())[0] === "1") : decades;
    return look.layout({
      margin: {l: wide ? 92 : 128, r: 12, t: 26, b: 40}, dragmode: matchMedia("(pointer: coarse)").matches ? false : "zoom", // a finger scrolls the page
      hovermode: "closest", barmode: "stack", bargap: 0,
      xaxis: Object.assign(look.axis(), {range: [from, to], fixedrange: false, anchor: "y3", minallowed: -0.02 * data.length_s, maxallowed: 1.02 * data.length_s, autorange: false}, look.ticks(from, to)),
      yaxis: Object.assign(look.axis(), {type: "log", domain: [0.11, top - 0.02], range: [Math.log10(low / 1.3), Math.log10(high * 1.3)], fixedrange: false, tickmode: "array", tickvals: every, ticktext: every.map(look.milliseconds), title: {text: wide ? "" : "latency of the answer", standoff: 4}}),
      yaxis2: Object.assign(look.axis(), {domain: [top, 1], range: [rows - 0.5, -0.5], showgrid: false, ticks: "", tickmode: "array", tickvals: data.strips.map((_, i) => i), ticktext: data.strips.map(s => timeline.short(s.name))}),
      yaxis3: Object.assign(look.axis(), {domain: [0, 0.075], range: [0, 1], showgrid: false, ticks: "", tickvals: [0.5], ticktext: ["served by"]}),
      shapes: timeline.shades(),
      annotations: timeline.labels(),
    });
  },

  short: text => {
    const most = look.narrow() ? 14 : 20, plain = text.length > most ? text.slice(0, most - 1) + "…" : text;
    return plain.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;");
  },

  faults: () => timeline.data.strips.filter(s => s.kind === "fault"),

  // Shades through the plot while any fault is in force. Too many would be slow and cover the plot.
  shades: () => {
    const spans = timeline.faults().flatMap(s => s.start.map((from, i) => [from, s.length[i]]));
    if (spans.length > 400) return [];
    return spans.map(([from, length]) => ({type: "rect", xref: "x", yref: "y domain", x0: from, x1: from + length, y0: 0, y1: 1, layer: "below", line: {width: 0}, fillcolor: look.colour("shade"), opacity: 0.12}));
  },

  // The fault's target in its strip if it fits.
  labels: () => timeline.data.strips.flatMap((s, row) => s.kind !== "fault" ? [] : s.start.flatMap((from, i) => {
    const fits = s.full[i] && s.length[i] / timeline.data.length_s > s.word.length * (look.narrow() ? 0.03 : 0.0085);
    return fits ? [{x: from + s.length[i] / 2, y: row, xref: "x", yref: "y2", text: timeline.short(s.word), showarrow: false, font: {color: "#ffffff", size: 11}}] : [];
  })),

  strips: () => {
    const colours = {fault: "#5f5f5f", down: look.colour("fail"), slow: look.colour("unknown"), unwell: look.colour("cut"), silent: look.colour("shade"), late: "#8e44ad"};
    return timeline.data.strips.map((s, row) => ({
      type: "bar", orientation: "h", base: s.start, x: s.length, y: s.start.map(() => row), width: 0.72, yaxis: "y2", xaxis: "x",
      text: Array.isArray(s.text) ? s.text.map(timeline.plain) : timeline.plain(s.text), textposition: "none", hovertemplate: "%{text}<br>from +%{base:.1f} s for %{x:.2f} s<extra></extra>",
      marker: {color: s.start.map((_, i) => s.full && !s.full[i] ? "#9a9a9a" : colours[s.kind]), line: {width: 0}},
    }));
  },

  plain: text => text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;"),

  served: () => {
    const {wide_s, requests, good} = timeline.data.served, at = requests.map((_, i) => (i + 0.5) * wide_s);
    const bar = (y, colour, text) => ({type: "bar", x: at, y, width: wide_s * 1.001, yaxis: "y3", xaxis: "x", text, textposition: "none", hovertemplate: "%{text}<extra></extra>", marker: {color: colour, line: {width: 0}}});
    const found = timeline.data.tiers.filter(t => good[t.name].some(Boolean)).map(t => bar(
      good[t.name].map((n, i) => requests[i] ? n / requests[i] : 0), t.colour,
      good[t.name].map((n, i) => `${timeline.plain(t.name)}: ${n} of ${requests[i]} requests`),
    ));
    const bad = requests.map((n, i) => n - timeline.data.tiers.reduce((sum, t) => sum + good[t.name][i], 0));
    found.push(bar(bad.map((n, i) => requests[i] ? n / requests[i] : 0), look.colour("void"), bad.map((n, i) => `no good answer: ${n} of ${requests[i]} requests`)));
    found.push(bar(requests.map(n => n ? 0 : 1), look.colour("idle"), requests.map(() => "no requests")));
    return found;
  },

  legend: () => {
    const box = document.getElementById("legend"), counts = {};
    for (const set of timeline.sets) counts[set.key] = (counts[set.key] || 0) + set.i.length;
    const add = (key, glyph, words, colour) => {
      if (!counts[key]) return;
      const label = document.createElement("label"), input = document.createElement("input"), sign = document.createElement("span");
      input.type = "checkbox";
      input.checked = timeline.shown[key];
      sign.textContent = ` ${glyph} `;
      sign.style.color = colour;
      sign.setAttribute("aria-hidden", "true");
      label.append(input, sign, `${words} (${counts[key].toLocaleString("en")})`);
      input.addEventListener("change", () => { timeline.shown[key] = input.checked; timeline.draw(); });
      box.append(label);
    };
    for (const t of timeline.data.tiers) add(`tier ${t.name}`, t.glyph, t.name, t.colour);
    add("tier null", "●", "good, tier unknown", "var(--shade)");
    add("cut", "×", "cut or stalled", "var(--cut)");
    add("failed", "|", "failed", "var(--failed)");
    add("direct", "○", "direct to a tier", "var(--quiet)");
    const note = document.createElement("span");
    note.className = "quiet";
    note.textContent = "small: the probe's";
    box.append(note);
  },

  places: () => {
    const select = document.getElementById("goto"), spans = new Map();
    for (const s of timeline.faults()) s.start.forEach((from, i) => {
      const name = s.text[i].slice(0, s.text[i].lastIndexOf(", ")), to = from + s.length[i], old = spans.get(name);
      spans.set(name, old ? [Math.min(old[0], from), Math.max(old[1], to)] : [from, to]);
    });
    const sorted = [...spans].sort((a, b) => a[1][0] - b[1][0]);
    for (const [name, [from, to]] of sorted) {
      const option = document.createElement("option");
      option.textContent = name;
      option.value = `${from},${to}`;
      select.append(option);
    }
    select.addEventListener("change", () => {
      const [from, to] = select.value ? select.value.split(",").map(Number) : [0, timeline.data.length_s];
      select.value ? timeline.show(from, to) : timeline.zoom(from, to);
    });
  },

  // A trial with some time before and after it.
  show: (from, to) => {
    const more = Math.max(5, (to - from) * 0.25);
    timeline.zoom(Math.max(0, from - more), Math.min(timeline.data.length_s, to + more));
  },

  zoom: (from, to) => {
    const {plot} = timeline;
    Plotly.relayout(plot, {xaxis: Object.assign({}, plot.layout.xaxis, {range: [from, to]}, look.ticks(from, to))});
  },

  hover: ({points, event}) => {
    const tip = document.getElementById("tip"), point = points[0];
    if (point.yaxis._id !== "y") return;
    record.show(tip, timeline.data, point.customdata, ["request id", "outcome", "tier", "sent", "UTC", "latency", "TTFT", "tokens", "scenario", "lane", "finish_reason", "witness", "route", "error"]);
    if (timeline.chosen < 0) record.show(document.getElementById("record"), timeline.data, point.customdata);
    tip.hidden = false;
    const box = tip.getBoundingClientRect(), x = event?.clientX ?? 0, y = event?.clientY ?? 0;
    tip.style.left = `${Math.max(6, Math.min(x + 16, window.innerWidth - box.width - 6))}px`;
    tip.style.top = `${Math.max(6, y + 16 + box.height > window.innerHeight ? y - box.height - 12 : y + 16)}px`;
  },

  choose: i => {
    timeline.chosen = i;
    record.show(document.getElementById("record"), timeline.data, i);
    const ring = {type: "circle", xref: "x", yref: "y", xsizemode: "pixel", ysizemode: "pixel", xanchor: timeline.data.records.sent[i], yanchor: Math.max(record.number(timeline.data.records, "latency_ms", i) ?? timeline.floor(), timeline.floor()), x0: -9, x1: 9, y0: -9, y1: 9, line: {color: look.colour("ink"), width: 2}};
    Plotly.relayout(timeline.plot, {shapes: [...timeline.shades(), ring]});
  },

  // The answers in view, in the order in which they were sent.
  keys: () => timeline.plot.addEventListener("keydown", event => {
    if (!["ArrowLeft", "ArrowRight", "Home", "End"].includes(event.key)) return;
    event.preventDefault();
    const [from, to] = timeline.plot.layout.xaxis.range, sent = timeline.data.records.sent;
    const there = timeline.sets.filter(s => timeline.shown[s.key]).flatMap(s => s.i).filter(i => sent[i] >= from && sent[i] <= to).sort((a, b) => a - b);
    if (!there.length) return;
    const after = there.findIndex(i => i > timeline.chosen), at = there.findLastIndex(i => i <= timeline.chosen);
    const before = at >= 0 && there[at] === timeline.chosen ? at - 1 : at;
    const next = {ArrowRight: after < 0 ? there.length - 1 : after, ArrowLeft: Math.max(0, before), Home: 0, End: there.length - 1}[event.key];
    timeline.choose(there[next]);
  }),
};
