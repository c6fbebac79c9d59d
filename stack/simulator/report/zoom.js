"use strict";
// Draws the time charts of a page anew so that they can be zoomed, all to the same time.  What to
// draw is in `data-chart` of each figure, made of the same drawing as the still picture (zoom.py).
(() => {
  const FONT = "12px system-ui, sans-serif";
  const LEAST_S = 1;
  // Seconds between marks of time; those that uPlot knows leave short passes with one mark.
  const STEPS = [0.1, 0.2, 0.5, 1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800,
    14400, 21600, 43200, ...[1, 2, 5, 10, 30, 100, 300, 1000].map(days => days * 86400)];
  const plots = [];
  const pen = document.createElement("canvas").getContext("2d");
  const make = (parent, tag, kind, text) => {
    const one = parent.appendChild(document.createElement(tag));
    one.className = kind;
    if (text !== undefined) one.textContent = text;
    return one;
  };
  const two = n => String(n).padStart(2, "0");
  const day = d => `${d.getUTCFullYear()}-${two(d.getUTCMonth() + 1)}-${two(d.getUTCDate())}`;
  const clock = (d, s) =>
    `${two(d.getUTCHours())}:${two(d.getUTCMinutes())}` + (s ? `:${two(d.getUTCSeconds())}` : "");

  // ---- time: one for all plots; each shows what of it lies in its own period ----

  function show(from, to) {
    for (const u of plots) {
      const own = u.own;
      const min = Math.max(from, own.start), max = Math.min(to, own.end);
      u.setScale("x", max - min > 0.5 ? { min, max } : { min: own.start, max: own.end });
    }
  }
  function focus(u, from, wide) {  // stops at the ends of the period of `u`
    const { start, end } = u.own;
    wide = Math.min(Math.max(wide, LEAST_S), end - start);
    from = Math.min(Math.max(from, start), end - wide);
    show(from, from + wide);
  }
  function move(u, by, zoom) {
    const { min, max } = u.scales.x, wide = (max - min) * zoom;
    focus(u, (min + max - wide) / 2 + by * (max - min), wide);
  }

  // ---- drawing ----

  function outline(ctx, X, Y, item) {
    ctx.beginPath();
    let on = false;
    item.x.forEach((x, i) => {
      if (item.y[i] === null) { on = false; return; }
      if (on) ctx.lineTo(X(x), Y(item.y[i])); else ctx.moveTo(X(x), Y(item.y[i]));
      on = true;
    });
  }
  function starts(panel, y) {  // where the first bar of a row does
    const bars = panel.items.flatMap(item => item.k === "bars" ? item.b : []);
    return Math.min(...bars.filter(([, , low, high]) => low <= y && y <= high).map(([from]) => from));
  }
  const draws = {
    line(ctx, X, Y, item, r) {
      ctx.strokeStyle = item.c;
      ctx.lineWidth = item.w * 1.2 * r;
      ctx.setLineDash((item.d || []).map(one => one * r));
      outline(ctx, X, Y, item);
      ctx.stroke();
      ctx.setLineDash([]);
    },
    area(ctx, X, Y, item) {
      ctx.fillStyle = item.c;
      outline(ctx, X, Y, item);
      ctx.fill();
    },
    bars(ctx, X, Y, item, r, box) {
      ctx.fillStyle = item.c;
      for (const [from, to, low, high] of item.b) {
        const x = X(from), wide = Math.max(X(to) - x, 1.5 * r);
        const top = high === null ? box.top : Y(high);
        const bottom = low === null ? box.top + box.height : Y(low);
        ctx.fillRect(x, Math.min(top, bottom), wide, Math.abs(bottom - top));
      }
    },
    text(ctx, X, Y, item, r, box, taken, panel) {
      ctx.font = FONT.replace("12", 11 * r);
      ctx.fillStyle = item.c;
      ctx.textAlign = item.h;
      ctx.textBaseline = item.v;
      let x = X(item.x) + item.o * r;
      const y = Y(item.y), wide = ctx.measureText(item.s).width + 4 * r;
      let left = item.h === "center" ? x - wide / 2 : item.h === "right" ? x - wide : x;
      if (X(item.x) < box.left || X(item.x) > box.left + box.width) return;
      // Where there is no room behind the bars of a row, a word stands before them.
      const before = X(starts(panel, item.y)) - Math.max(item.o, 5) * r;
      if (item.h === "left" && left + wide > box.left + box.width && before - wide > box.left) {
        ctx.textAlign = "right";
        x = before;
        left = x - wide;
      }
      // At the edges a word moves in; one on another is left out until there is room.
      const over = Math.max(0, left + wide - box.left - box.width) - Math.max(0, box.left - left);
      x -= over;
      left -= over;
      if (taken.some(([a, b, c]) => left < b && left + wide > a && Math.abs(c - y) < 12 * r)) return;
      taken.push([left, left + wide, y]);
      ctx.lineJoin = "round";
      ctx.lineWidth = 3 * r;
      ctx.strokeStyle = "#fff";
      ctx.strokeText(item.s, x, y);
      ctx.fillText(item.s, x, y);
    },
  };
  function draw(u, own, panel) {
    const { ctx, bbox } = u, r = devicePixelRatio, taken = [];
    const X = at => u.valToPos(own.start + at, "x", true);
    // On a logarithmic axis nothing is below the chart, not a line along its bottom.
    const below = bbox.top + bbox.height + 5 * r;
    const Y = value => panel.log && value < panel.y[0] ? below : u.valToPos(value, "y", true);
    ctx.save();
    ctx.beginPath();
    ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
    ctx.clip();
    // Of words that want the same place the last is the one that matters: when all is there.
    const words = panel.items.filter(item => item.k === "text").reverse();
    for (const item of [...panel.items.filter(item => item.k !== "text"), ...words]) {
      ctx.globalAlpha = item.a;
      draws[item.k](ctx, X, Y, item, r, bbox, taken, panel);
    }
    ctx.restore();
  }

  // ---- what the cursor points at ----

  function read(item, at) {
    const { x, y } = item;
    let low = 0, high = x.length - 1;
    if (high < 0 || at < x[0] || at > x[high]) return null;
    while (high - low > 1) {
      const middle = (low + high) >> 1;
      if (x[middle] <= at) low = middle; else high = middle;
    }
    if (high === low || y[low] === null || y[high] === null) return y[low];
    const share = x[high] > x[low] ? (at - x[low]) / (x[high] - x[low]) : 1;
    return y[low] + share * (y[high] - y[low]);
  }
  function number(value, panel) {
    if (panel.log && value < panel.y[0]) return `0 ${panel.unit}`;  // below the chart
    const step = panel.log && value > 0 ? Math.min(5, Math.max(0, Math.floor(Math.log10(value) / 3))) : 0;
    const text = String(Number((value / 1000 ** step).toPrecision(3)));
    return panel.log ? `${text} ${["", "k", "M", "G", "T", "P"][step]}${panel.unit}` : text;
  }
  function tell(u, own, panel, slots, when) {
    const left = u.cursor.left;
    const at = left === undefined || left < 0 ? null : u.posToVal(left, "x");
    const date = at === null ? null : new Date(at * 1000);
    when.textContent = date === null ? "" : `${day(date)} ${clock(date, true)} UTC`;
    for (const [name, slot] of slots) {
      const items = at === null ? [] : panel.items.filter(one => one.n === name);
      const values = items.map(one => read(one, at - own.start)).filter(one => one !== null);
      slot.textContent = values.length ? ` ${number(values[0], panel)}` : "";
    }
  }

  // ---- one plot ----

  const width = text => { pen.font = FONT; return pen.measureText(text).width; };
  function fit(text, most) {
    if (width(text) <= most) return text;
    while (text.length > 1 && width(text + "…") > most) text = text.slice(0, -1);
    return text + "…";
  }
  function times(u, splits, axis, space, step) {
    let before = "";
    return splits.map(at => {
      const date = new Date(at * 1000), own = day(date), first = own !== before;
      before = own;
      if (step >= 86400) return own.slice(5);
      return clock(date, step < 60) + (first ? `\n${own.slice(5)}` : "");
    });
  }
  function plot(place, own, panel, axisWide, wide, when) {
    const part = make(place, "div", "panel");
    // Numbers on a logarithmic axis have units of their own.
    make(part, "div", "title", panel.title + (panel.unit && !panel.log ? ` [${panel.unit}]` : ""));
    const key = make(part, "div", "key"), slots = [];
    for (const [colour, kind, text] of panel.key) {
      const entry = make(key, "span", "entry");
      make(entry, "i", kind).style.setProperty("--own", colour);
      entry.append(text);
      slots.push([text, make(entry, "b", "")]);
    }
    const line = { stroke: "#444", font: FONT, grid: { stroke: "#D5DAE0", width: 1 } };
    const ticks = panel.ticks.map(([at]) => at);
    const u = new uPlot({
      width: wide,
      height: panel.height,
      padding: [6, 22, 0, 0],
      legend: { show: false },
      cursor: {
        y: false,
        points: { show: false },
        drag: { x: true, y: false, setScale: false },
        sync: { key: "time", scales: ["x", null],
          filters: { pub: kind => kind === "mousemove" || kind === "mouseleave" } },
        bind: { dblclick: () => () => show(-Infinity, Infinity) },
      },
      scales: {
        x: { time: true, range: (_, min, max) => [min, max] },
        y: { range: () => panel.y, distr: panel.log ? 3 : 1 },
      },
      series: [{}, { paths: () => null, points: { show: false } }],
      axes: [
        { ...line, values: times, size: 48, space: 62, incrs: STEPS },
        { ...line, splits: () => ticks, size: axisWide + 14, filter: (_, splits) => splits,
          values: () => panel.ticks.map(([, text]) => fit(text, axisWide)),
          grid: panel.rows ? { show: false } : line.grid, ticks: { show: !panel.rows } },
      ],
      tzDate: at => uPlot.tzDate(new Date(at * 1000), "UTC"),
      hooks: {
        draw: [one => draw(one, own, panel)],
        setSelect: [one => {
          const { left, width: wide } = one.select;
          const from = one.posToVal(left, "x");
          if (wide > 2) focus(one, from, one.posToVal(left + wide, "x") - from);
          one.setSelect({ left: 0, width: 0, top: 0, height: 0 }, false);
        }],
        setCursor: [one => tell(one, own, panel, slots, when)],
      },
    }, [[own.start, own.end], [null, null]], part);
    u.own = own;
    plots.push(u);
    return u;
  }

  function figure(one) {
    const own = JSON.parse(one.dataset.chart);
    const live = make(one, "div", "live");
    const bar = make(live, "div", "bar");
    const place = make(live, "div", "plots");
    place.setAttribute("role", "img");
    place.setAttribute("aria-label", one.querySelector("svg").getAttribute("aria-label"));
    one.classList.add("zoom");
    const wide = () => Math.max(240, live.clientWidth);
    const labels = own.panels.flatMap(panel => panel.ticks.map(([, text]) => width(text)));
    const most = Math.max(0.28 * wide(), Math.min(170, 0.4 * wide()));
    const axisWide = Math.ceil(Math.min(Math.max(30, ...labels), most));
    const when = document.createElement("span");
    const drawn = own.panels.map(panel => plot(place, own, panel, axisWide, wide(), when));
    for (const [text, words, act] of [
      ["−", "zoom out", () => move(drawn[0], 0, 2)],
      ["+", "zoom in", () => move(drawn[0], 0, 0.5)],
      ["◀", "earlier", () => move(drawn[0], -0.5, 1)],
      ["▶", "later", () => move(drawn[0], 0.5, 1)],
      ["whole time", "show the whole time", () => show(-Infinity, Infinity)],
    ]) {
      const button = make(bar, "button", "", text);
      button.type = "button";
      button.title = words;
      button.setAttribute("aria-label", words);
      button.onclick = act;
    }
    make(bar, "span", "hint", "drag across a chart to zoom all of them; double click for the whole");
    when.className = "when";
    bar.append(when);
    new ResizeObserver(() => drawn.forEach((u, i) => {
      if (u.width !== wide()) u.setSize({ width: wide(), height: own.panels[i].height });
    })).observe(live);
  }
  document.querySelectorAll("figure[data-chart]").forEach(figure);
})();
