// Predict, then see: the reader draws a line, or places a mark, before the figure shows it.
// memhelpers.js loads this file for a figure whose specification asks for it (its note `predict`,
// see `Prediction` in memhelpers/charts.py); without it the figure is simply there.
(() => {
  "use strict";

  const columns = 41; // across a line with many points; one with few has its own
  const few = 12;
  const enough = 0.7; // of the way across, before the answer may be seen
  const near = 0.02; // of the axis' length: neither too high nor too low
  const keyStep = 0.02;
  const finger = 28; // px

  const element = (tag, className, text = "") => {
    const made = document.createElement(tag);
    made.className = className;
    made.textContent = text;
    return made;
  };
  const drawn = (tag, attributes, text = "") => {
    const made = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.textContent = text;
    return made;
  };
  const clamp = (value, low, high) => Math.min(Math.max(value, low), high);
  const furthest = (pairs) =>
    pairs.reduce((a, b) => (Math.abs(b.you - b.is) > Math.abs(a.you - a.is) ? b : a));
  const sum = (values) => values.reduce((a, b) => a + b, 0);

  // An axis of the chart: values, their shares of its length, and their text.
  class Axis {
    constructor(spec, side, title, format = "") {
      const scales = spec.layer.map((layer) => layer.encoding?.[side]?.scale);
      const { domain, type } = scales.find((scale) => scale?.domain);
      [this.low, this.high] = domain;
      Object.assign(this, { log: type === "log", title, percent: format.endsWith("%") });
    }
    get length() {
      return this.log ? Math.log(this.high / this.low) : this.high - this.low;
    }
    share(value) {
      const at = clamp(value, this.low, this.high);
      return (this.log ? Math.log(at / this.low) : at - this.low) / this.length;
    }
    value(share) {
      return this.log ? this.low * Math.exp(share * this.length) : this.low + share * this.length;
    }
    // Two digits of the axis' length; on a logarithmic axis, of the value. As many for each, so that
    // two can be compared.
    text(value, length = 0.99 * this.length) {
      if (this.percent) return `${Math.round(100 * value)} %`;
      if (this.log && (value < 1e-3 || value >= 1e5)) return power(value);
      const digits = clamp(1 - Math.floor(Math.log10(length || 1)), 0, 6);
      const options = this.log
        ? { minimumSignificantDigits: 2, maximumSignificantDigits: 2 }
        : { minimumFractionDigits: digits, maximumFractionDigits: digits };
      return written(value, options);
    }
    // "12 epochs", "hidden layer 2"
    place(value) {
      const [head] = this.title.split(/,| (?:of|in|on|averaged) | [A-Z]$/);
      const number = written(value, { maximumSignificantDigits: 4 });
      if (!head.endsWith("s")) return `${this.title.split(",")[0]} ${number}`;
      return `${number} ${value === 1 ? head.slice(0, -1) : head}`;
    }
  }

  const written = (value, options) =>
    value.toLocaleString("en", options).replace(/^-(?=[0.]+$)/, "").replace("-", "−");
  const power = (value) => {
    const raised = [...String(Math.round(Math.log10(value)))];
    return `10${raised.map((one) => "⁻⁰¹²³⁴⁵⁶⁷⁸⁹"["-0123456789".indexOf(one)]).join("")}`;
  };

  // What the reader draws: knots at columns across, joined by straight lines; shares of the axes.
  class Line {
    constructor({ titles, format, answer }, spec) {
      this.across = new Axis(spec, "x", titles[0]);
      this.up = new Axis(spec, "y", titles[1], format);
      this.answer = answer.map(([x, y]) => [this.across.share(x), this.up.share(y)]);
      this.measured = answer.map(([x]) => x);
      const even = Array.from({ length: columns }, (_, i) => i / (columns - 1));
      this.places = answer.length <= few ? this.answer.map(([x]) => x) : even;
      this.step = answer.length <= few ? 1 : 4;
      this.clear();
    }
    clear() {
      this.knots = this.places.map(() => null);
      this.at = 0;
    }
    get how() {
      if (this.complete) return "Draw again over what you want to change, or see the answer.";
      if (this.begun) return "Go on until your line covers most of the width; then see the answer.";
      return "Draw in the figure with the mouse or a finger, from one side to the other. By keyboard: " +
        "left and right go along, up and down set the height.";
    }
    get begun() {
      return this.knots.some((knot) => knot !== null);
    }
    get ends() {
      const set = this.knots.flatMap((y, i) => (y === null ? [] : [i]));
      return [set[0] ?? 0, set.at(-1) ?? 0];
    }
    get complete() {
      const [first, last] = this.ends.map((i) => this.places[i]);
      return last - first >= enough * (this.places.at(-1) - this.places[0]);
    }
    // Height at a column: on the line where there is one, level beyond its ends.
    height(i) {
      const set = this.knots.flatMap((y, k) => (y === null ? [] : [[this.places[k], y]]));
      return set.length ? between(set, this.places[i]) : 0.5;
    }
    column(x) {
      const far = this.places.map((place) => Math.abs(place - x));
      return far.indexOf(Math.min(...far));
    }
    // A pointer at (x, y), which came from another place; what it passes over is drawn again.
    point([x, y], from = [x, y]) {
      const [start, end] = [this.column(from[0]), this.column(x)];
      for (let i = Math.min(start, end); i <= Math.max(start, end); i++) {
        if (i === start && i !== end) continue;
        const part = i === end || x === from[0] ? 1 : (this.places[i] - from[0]) / (x - from[0]);
        this.knots[i] = clamp(from[1] + clamp(part, 0, 1) * (y - from[1]), 0, 1);
      }
      this.at = end;
    }
    key(name, size) {
      const last = this.places.length - 1;
      const along = { ArrowLeft: -this.step, ArrowRight: this.step, Home: -last, End: last }[name];
      const rise = { ArrowUp: size, ArrowDown: -size, PageUp: 5 * size, PageDown: -5 * size }[name];
      if (along) this.at = clamp(this.at + along, 0, last);
      if (rise) this.set(clamp(this.height(this.at) + rise, 0, 1));
      return Boolean(along || rise);
    }
    set(height) {
      for (let i = this.at - this.step + 1; i < this.at + this.step; i++) {
        if (i >= 0 && i < this.knots.length) this.knots[i] = null;
      }
      this.knots[this.at] = height;
    }
    get now() {
      return Math.round(100 * this.height(this.at));
    }
    get said() {
      const x = this.where(this.places[this.at]);
      return this.begun ? `${x}: ${this.up.title} ${this.value}` : `${x}: nothing drawn yet`;
    }
    get value() {
      return this.up.text(this.up.value(this.height(this.at)));
    }
    // The measured place next to a share of the axis across.
    where(share) {
      const far = this.answer.map(([x]) => Math.abs(x - share));
      return this.across.place(this.measured[far.indexOf(Math.min(...far))]);
    }
    // Both lines where both are.
    compared() {
      const [first, last] = this.ends;
      const [from, to] = [this.answer[0][0], this.answer.at(-1)[0]];
      const places = this.places.flatMap((x, i) => (i < first || i > last ? [] : [[x, i]]));
      return places
        .filter(([x]) => x >= from - 1e-9 && x <= to + 1e-9)
        .map(([x, i]) => ({ x, you: this.height(i), is: between(this.answer, x) }));
    }
    distance() {
      const pairs = this.compared();
      if (!pairs.length) return "Your line and the answer have no place in common.";
      const mean = sum(pairs.map(({ you, is }) => Math.abs(you - is))) / pairs.length;
      const far = furthest(pairs);
      const { up } = this;
      const [you, is] = [far.you, far.is].map((share) => up.text(up.value(share)));
      return `On average you were off by ${amount(up, mean)} (${up.title}), ${this.sides(pairs)}. ` +
        `Furthest off at ${this.where(far.x)}: you drew ${you}, it is ${is}.`;
    }
    // Where the line is too high and where too low, if that can be said in a few words.
    sides(pairs) {
      const signs = pairs.map(({ you, is }) => (Math.abs(you - is) <= near ? 0 : you - is));
      const sides = signs.map(Math.sign);
      const off = sides.filter(Boolean).length;
      if (!off) return "nowhere clearly too high or too low";
      const words = (side) => (side > 0 ? "too high" : "too low");
      if (Math.abs(sum(sides)) === off) return `${words(sum(sides))} wherever it clearly differs`;
      if (Math.abs(sum(sides)) >= 0.8 * off) return `mostly ${words(sum(sides))}`;
      const turned = (i) => Math.abs(sum(sides.slice(0, i)) - sum(sides.slice(i)));
      const i = sides.reduce((best, _, k) => (turned(k) > turned(best) ? k : best), 0);
      const [left, right] = [sum(sides.slice(0, i)), sum(sides.slice(i))];
      if (turned(i) < 0.8 * off || left * right >= 0) return "now too high, now too low";
      const last = sides.findLastIndex((side, k) => side && k < i);
      return `mostly ${words(left)} up to ${this.where(pairs[last].x)}, mostly ${words(right)} beyond`;
    }
    box(view) {
      return { top: 0, height: view.height() };
    }
    picture(width, height, layer, { answered }) {
      const points = this.knots.flatMap((y, i) =>
        y === null ? [] : [[this.places[i] * width, (1 - y) * height]]);
      const path = `M${points.map((point) => point.map((v) => v.toFixed(1))).join("L")}`;
      if (points.length) layer.append(drawn("path", { d: `${path}h0.1`, class: "mem-you" }));
      else layer.append(caption("draw here", width / 2, height / 2));
      layer.append(...(answered ? this.named(width, height) : this.hand(width, height)));
    }
    // Where the keyboard draws.
    hand(width, height) {
      const [x, y] = [this.places[this.at] * width, (1 - this.height(this.at)) * height];
      const value = beside(this.begun ? this.value : "", x, clamp(y - 8, 12, height - 4), width);
      value.classList.add("mem-at");
      const line = drawn("path", { d: `M${x},0V${height}`, class: "mem-at" });
      return [line, drawn("circle", { cx: x, cy: y, r: 6, class: "mem-at" }), value];
    }
    // The name stands where both lines are furthest apart, away from the answer.
    named(width, height) {
      const pairs = this.compared();
      if (!pairs.length) return [];
      const far = furthest(pairs);
      const y = (1 - far.you) * height + (far.you < far.is ? 20 : -10);
      return [caption("you", clamp(far.x * width, 16, width - 16), clamp(y, 12, height - 4))];
    }
  }

  // A mark in a row of intervals: a share of the axis across.
  class Mark {
    constructor({ titles, answer, hidden }, spec) {
      this.across = new Axis(spec, "x", titles[0]);
      [this.answer] = answer;
      this.row = hidden[0];
      this.how = "Click or tap in the marked row. By keyboard: left and right move the mark.";
      this.clear();
    }
    clear() {
      this.knots = [null];
    }
    get complete() {
      return this.knots[0] !== null;
    }
    get begun() {
      return this.complete;
    }
    point([x]) {
      this.knots = [clamp(x, 0, 1)];
    }
    key(name, size) {
      const moves = { ArrowLeft: -size, ArrowDown: -size, ArrowRight: size, ArrowUp: size };
      Object.assign(moves, { PageDown: -5 * size, PageUp: 5 * size, Home: -1, End: 1 });
      if (moves[name]) this.point([(this.knots[0] ?? 0.5) + moves[name]]);
      return Boolean(moves[name]);
    }
    get now() {
      return Math.round(100 * (this.knots[0] ?? 0.5));
    }
    get said() {
      if (!this.complete) return "no mark yet";
      return `${this.across.title} ${this.value}`;
    }
    get value() {
      return this.across.text(this.across.value(this.knots[0]), 0.3 * this.across.length);
    }
    distance() {
      const { across } = this;
      const [is, low, high] = this.answer;
      const you = across.value(this.knots[0]);
      // More digits than the chart has: what rounding would hide decides on inside and outside.
      const words = (value) => across.text(value, 0.03 * across.length);
      const [mine, real] = [you, is].map(words);
      const off = this.knots[0] - across.share(is);
      const far = mine === real ? "right on it"
        : across.log ? `${off > 0 ? "too high" : "too low"} by ${amount(across, Math.abs(off))}`
        : `${words(Math.abs(you - is))} ${off > 0 ? "too high" : "too low"}`;
      const place = low === null || high === null ? ""
        : `, ${you >= low && you <= high ? "inside" : "outside"} its interval`;
      return `You placed ${mine}, it is ${real} (${across.title}): ${far}${place}.`;
    }
    picture(width, height, layer, { answered }) {
      const middle = height / 2;
      layer.append(drawn("rect", { width, height, class: "mem-row" }));
      if (!this.complete) return layer.append(caption("mark here", width / 2, middle + 5));
      const x = this.knots[0] * width;
      layer.append(drawn("path", { d: `M${x},${middle - 9}l7,9l-7,9l-7,-9Z`, class: "mem-you" }));
      layer.append(beside(answered ? "you" : this.value, x, middle - 3, width));
    }
    // The row that is asked for, at least as high as a finger needs.
    box(view) {
      const [category, kind] = this.row;
      const [rows, parts] = [view.scale("y"), kind === undefined ? null : view.scale("yOffset")];
      const thick = (parts || rows).bandwidth();
      const height = Math.max(thick, finger);
      const top = rows(category) + (parts ? parts(kind) : 0) - (height - thick) / 2;
      return { top, height };
    }
  }

  const caption = (text, x, y, anchor = "middle") =>
    drawn("text", { x, y, class: "mem-you-name", "text-anchor": anchor }, text);
  const beside = (text, x, y, width) =>
    x > width - 70 ? caption(text, x - 12, y, "end") : caption(text, x + 12, y, "start");

  // Height of a line of points at a place, level beyond its ends.
  const between = (points, x) => {
    const next = points.findIndex(([place]) => place >= x);
    if (next <= 0) return (next ? points.at(-1) : points[0])[1];
    const [[x0, y0], [x1, y1]] = [points[next - 1], points[next]];
    return y0 + ((x - x0) / (x1 - x0)) * (y1 - y0);
  };

  // A share of an axis' length as a difference; on a logarithmic axis, as a factor.
  const amount = (axis, share) => {
    const size = share * axis.length;
    if (axis.log && size > Math.log(1e4)) return `a factor of about ${power(Math.exp(size))}`;
    if (axis.log) return `a factor of ${Number(Math.exp(size).toPrecision(2)).toLocaleString("en")}`;
    return axis.percent ? `${Number((100 * size).toPrecision(2))} points` : axis.text(size);
  };

  // The chart without what is asked for: its line or row, and what is written beside it.
  const without = (spec, { keys, hidden }) => {
    const same = (values) =>
      values.map((value, i) => `datum[${JSON.stringify(keys[i])}] === ${JSON.stringify(value)}`);
    const tests = hidden.map((values) => `!(${same(values).join(" && ")})`);
    tests.push("!datum.end_asked");
    for (const layer of spec.layer) {
      if (!layer.encoding) continue;
      layer.transform = [{ filter: tests.join(" && ") }, ...(layer.transform ?? [])];
      const { y, y2, yOffset } = layer.encoding;
      for (const end of [y, y2]) if (end?.field === "end_place") end.field = "end_before";
      const moved = { filter: "datum.end_before !== datum.end_y" };
      if (y2?.field === "end_before") layer.transform.push(moved);
      for (const rows of [y, yOffset]) {
        if (rows?.sort) rows.scale = { ...rows.scale, domain: rows.sort }; // those hidden, too
      }
    }
  };

  const groups = new Map(); // of figures that show the same for several runs

  class Prediction {
    constructor(drawing) {
      this.drawing = drawing;
      this.figure = drawing.chart.closest("figure");
      this.panel = drawing.specs.findIndex((spec) => notes(spec));
      this.notes = notes(drawing.specs[this.panel]);
      const spec = drawing.specs[this.panel];
      this.guess = new (this.notes.titles.length > 1 ? Line : Mark)(this.notes, spec);
      this.label = drawing.chart.getAttribute("aria-label");
      this.group = this.figure.closest(".mem-switch") ?? this.figure;
      groups.set(this.group, [...(groups.get(this.group) ?? []), this]);
      this.furnish();
      const kept = this.kept();
      if (kept?.knots?.length === this.guess.knots.length) this.guess.knots = kept.knots;
      const known = groups.get(this.group).find((other) => other.answered);
      this.turn(Boolean(kept?.answered || known || this.arrived()));
      if (groups.get(this.group).length === 1) invite(this);
      drawing.controls.addEventListener("input", () => this.paint());
      drawing.controls.addEventListener("change", () => this.paint());
    }

    // Whoever follows a link to the figure wants to see it.
    arrived() {
      const id = decodeURIComponent(location.hash.slice(1));
      const target = id && document.getElementById(id);
      if (!target) return false;
      const section = this.figure.closest("section") ?? this.group;
      return section.contains(target) || this.group.contains(target);
    }

    furnish() {
      const id = this.figure.id;
      this.ask = element("div", "mem-guess");
      this.question = element("p", "mem-figure-title", this.notes.question);
      this.how = element("span", "mem-guess-how");
      this.question.id = `${id}-question`;
      this.how.id = `${id}-how`;
      this.ask.append(element("p", "mem-guess-how", "Predict first"), this.question);
      this.figure.prepend(this.ask);
      this.bar = element("div", "mem-guess-bar");
      this.buttons = {};
      for (const [name, act] of Object.entries({
        "Show the answer": () => this.answer(),
        Clear: () => this.clear(),
        Skip: () => {
          this.guess.clear();
          this.answer();
        },
        "Try again": () => this.again(),
      })) {
        this.buttons[name] = element("button", "mem-button", name);
        this.buttons[name].type = "button";
        this.buttons[name].addEventListener("click", act);
      }
      this.told = element("p", "mem-guess-told");
      this.told.setAttribute("role", "status");
      this.bar.append(this.how, ...Object.values(this.buttons));
      this.drawing.chart.after(this.told, this.bar);
      this.pad = element("div", "mem-pad");
      this.pad.classList.toggle("mem-pad-row", this.guess instanceof Mark);
      this.layer = drawn("svg", { "aria-hidden": "true" });
      this.pad.append(this.layer);
      this.listen();
    }

    listen() {
      const place = ({ clientX, clientY }) => {
        const box = this.pad.getBoundingClientRect();
        return [(clientX - box.left) / box.width, 1 - (clientY - box.top) / box.height];
      };
      let [last, before] = [null, null];
      this.pad.addEventListener("pointerdown", (event) => {
        if (event.button || this.answered) return;
        this.pad.setPointerCapture(event.pointerId);
        before = [...this.guess.knots];
        last = place(event);
        this.guess.point(last);
        this.paint();
      });
      this.pad.addEventListener("pointermove", (event) => {
        if (!last) return;
        const to = place(event);
        this.guess.point(to, last);
        last = to;
        this.paint();
      });
      this.pad.addEventListener("pointerup", () => { last = null; });
      // The finger scrolls the page instead.
      this.pad.addEventListener("pointercancel", () => {
        if (last) this.guess.knots = before;
        last = null;
        this.paint();
      });
      this.pad.addEventListener("keydown", (event) => {
        if (event.ctrlKey || event.altKey || event.metaKey || this.answered) return;
        if (!this.guess.key(event.key, event.shiftKey ? keyStep / 4 : keyStep)) return;
        event.preventDefault();
        this.paint();
      });
    }

    // Asks, or shows; another run of the same figure, too.
    turn(answered) {
      const { chart } = this.drawing;
      this.answered = answered;
      this.figure.classList.toggle("mem-asked", !answered);
      chart.setAttribute("role", answered ? "img" : "group");
      chart.setAttribute("aria-label", answered ? this.label : "The figure without its answer");
      if (answered) this.figure.removeAttribute("aria-labelledby");
      else this.figure.setAttribute("aria-labelledby", this.question.id); // not by its caption
      const roles = { role: "slider", tabindex: "0", "aria-valuemin": "0", "aria-valuemax": "100" };
      roles["aria-labelledby"] = this.question.id;
      roles["aria-describedby"] = this.how.id;
      for (const name of Object.keys(roles)) {
        if (answered) this.pad.removeAttribute(name);
        else this.pad.setAttribute(name, roles[name]);
      }
      this.told.textContent = answered && this.guess.complete ? this.guess.distance() : "";
      this.buttons["Try again"].textContent = this.guess.complete ? "Try again" : "Hide and predict";
      this.paint();
      this.drawing.again();
    }

    answer() {
      const focused = this.bar.contains(document.activeElement);
      for (const one of groups.get(this.group)) {
        one.turn(true);
        one.keep();
      }
      if (focused) this.buttons["Try again"].focus({ preventScroll: true });
    }

    again() {
      this.guess.clear();
      for (const one of groups.get(this.group)) {
        one.turn(false);
        one.keep();
      }
      this.pad.focus({ preventScroll: true });
    }

    clear() {
      this.guess.clear();
      this.paint();
      this.pad.focus({ preventScroll: true });
    }

    // For this visit to the book only; a browser may refuse.
    get key() {
      return `mem-predict ${location.pathname} ${this.figure.id}`;
    }
    kept() {
      try {
        return JSON.parse(sessionStorage.getItem(this.key));
      } catch {
        return null;
      }
    }
    keep() {
      const { answered, guess: { knots } } = this;
      try {
        sessionStorage.setItem(this.key, JSON.stringify({ answered, knots }));
      } catch {
        // It is asked again on the next visit.
      }
    }

    // Around each drawing of memhelpers.js: what is asked for is left out, and the pad comes on top.
    prepare(spec) {
      this.focused ||= document.activeElement === this.pad;
      if (!this.answered && notes(spec)) without(spec, notes(spec));
    }
    drawn(views) {
      this.view = views[this.panel].view;
      const [x, y] = this.view.origin();
      const padding = this.view.padding();
      const [left, top] = [x + padding.left, y + padding.top];
      const box = this.guess.box(this.view);
      const sizes = { ...box, left, top: top + box.top, width: this.view.width() };
      for (const [name, px] of Object.entries(sizes)) this.pad.style[name] = `${px}px`;
      this.size = [sizes.width, box.height];
      this.drawing.panels[this.panel].plot.append(this.pad);
      if (this.focused) this.pad.focus({ preventScroll: true });
      this.focused = false;
      for (const input of this.drawing.inputs()) input.disabled = !this.answered;
      this.paint();
    }

    // The reader's line stands beside what was asked for, not beside what a control shows since.
    get elsewhere() {
      const starts = this.drawing.specs[this.panel].params ?? [];
      const values = this.drawing.values();
      return starts.some(({ name, bind, value }) => bind && name in values && values[name] !== value);
    }

    paint() {
      this.buttons["Show the answer"].disabled = !this.guess.complete;
      this.buttons.Clear.disabled = !this.guess.begun;
      this.told.hidden = this.elsewhere;
      if (this.how.textContent !== this.guess.how) this.how.textContent = this.guess.how;
      const said = { "aria-valuenow": this.guess.now, "aria-valuetext": this.guess.said };
      for (const [name, value] of Object.entries(said)) {
        if (this.answered) this.pad.removeAttribute(name);
        else this.pad.setAttribute(name, value);
      }
      this.layer.replaceChildren();
      if (!this.view || (this.answered && (!this.guess.complete || this.elsewhere))) return;
      this.guess.picture(...this.size, this.layer, this);
    }
  }

  const notes = (spec) => spec.usermeta?.memhelpers?.predict;

  // The questions before the chapter lead to the figure; this is no link that skips it.
  const invite = (one) => {
    const asked = document.querySelector(".mem-predict");
    if (!asked || asked.contains(one.figure)) return;
    const line = element("p", "mem-guess-link",
      "Draw your guess before a figure below shows it: ");
    const link = element("a", "", one.notes.question);
    link.href = `#${one.figure.id}`;
    link.addEventListener("click", (event) => {
      event.preventDefault();
      const seen = groups.get(one.group).find(({ figure }) => figure.clientWidth) ?? one;
      seen.figure.scrollIntoView({ block: "start" });
      (seen.answered ? seen.buttons["Try again"] : seen.pad).focus({ preventScroll: true });
    });
    line.append(link);
    asked.append(line);
  };

  window.memhelpersPredict = (drawing) => new Prediction(drawing);
})();
