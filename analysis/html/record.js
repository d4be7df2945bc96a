// One answer's record, from the columns of the page's JSON. Text is only set as text, because some of it comes from servers.
const record = {
  number: (data, name, i) => Array.isArray(data[name]) ? data[name][i] : data[name],
  text: (data, name, i) => {
    const {values, at} = data[name], place = Array.isArray(at) ? at[i] : at;
    return place < 0 ? null : values[place];
  },
  fields: (timeline, i) => {
    const data = timeline.records, number = name => record.number(data, name, i), text = name => record.text(data, name, i);
    const sent = data.sent[i], length = name => number(name) === null ? null : look.milliseconds(number(name));
    const route = [
      text("route_group") && `group ${text("route_group")}`, text("route_api_base"),
      number("route_fallbacks") === null ? null : `${number("route_fallbacks")} fallbacks`,
      number("route_retries") === null ? null : `${number("route_retries")} retries`,
    ].filter(Boolean).join(", ");
    return [
      ["request id", data.id[i]], ["outcome", text("outcome")], ["tier", text("tier") || "unknown"],
      ["sent", `+${sent.toFixed(3)} s`], ["UTC", new Date((timeline.started_at + sent) * 1000).toISOString().replace("T", " ").replace("Z", "")],
      ["waited to be sent", length("waited")], ["latency", length("latency_ms")], ["TTFT", length("ttft_ms")], ["headers", length("headers_ms")],
      ["scenario", text("scenario")], ["lane", text("lane")], ["via", text("via")], ["status", number("status")],
      ["tokens", `${number("output_tokens") ?? "?"} of at most ${number("max_tokens") ?? "?"}, prompt ${number("prompt_tokens") ?? "?"}`],
      ["finish_reason", text("finish_reason")], ["witness", text("witness")], ["why a lower tier", text("why")], ["worker", text("worker")],
      ["route", route || null], ["error", text("error")],
    ].filter(([, value]) => value !== null);
  },
  show: (where, timeline, i, names) => {
    const list = document.createElement("dl");
    for (const [name, value] of record.fields(timeline, i)) {
      if (names && !names.includes(name)) continue;
      const pair = document.createElement("div"), dt = document.createElement("dt"), dd = document.createElement("dd");
      dt.textContent = name;
      dd.textContent = value;
      pair.append(dt, dd);
      if (name === "error" || name === "route") pair.className = "wide";
      list.append(pair);
    }
    where.replaceChildren(list);
  },
};
