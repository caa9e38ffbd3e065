// Draws the charts of a page with the Vega that lies beside this file, in the page's colours, and
// draws them again when the colours or the width change. Each figure carries its Vega-Lite
// specifications as JSON (memhelpers/page/figures.py); without this script its picture stays.
(() => {
  "use strict";

  // Known only while the script itself runs.
  const here = document.currentScript.src;
  const narrow = 480;

  const waiting = new Set();
  let drawing = false;
  const loading = new Map();
  const load = (name, found) => {
    if (!loading.has(name)) loading.set(name, new Promise((resolve, reject) => {
      const script = document.createElement("script");
      script.src = new URL(name, here).href;
      script.onload = () => resolve(window[found]);
      script.onerror = () => reject(new Error(`${name} is missing`));
      document.head.append(script);
    }));
    return loading.get(name);
  };

  // A specification has the light page's colours; for each the one of a dark page.
  const DARK = {
    "#1C2530": "#F4F7FA",
    "#51606F": "#A9B4BF",
    "#68737E": "#8E9AA6",
    "#E6EAEE": "#2A323B",
    "#FFFFFF": "#14181E",
    "#1D67D8": "#3894FF",
    "#4C5CC3": "#6D92F8",
    "#6450AF": "#918FF1",
    "#6D49A5": "#A18DED",
    "#76419B": "#AF8BE9",
    "#832E87": "#CB85E2",
    "#8F0A74": "#E57DDA",
    "#574C00": "#F2E750",
    "#6E1F2A": "#DB6A68",
    "#CC0055": "#EEBBCC",
    "#007A99": "#22BB88",
    "#B84C00": "#FF9C4B",
    "#4A16AE": "#D7C4FF",
    "#00694B": "#7FE0A0",
  };
  const coloured = (original) => {
    if (theme() !== "dark") return structuredClone(original);
    const text = JSON.stringify(original);
    return JSON.parse(text.replace(/#[0-9A-F]{6}\b/gi, (light) => DARK[light] ?? light));
  };

  const theme = () => document.documentElement.dataset.theme || "light";

  const fitted = (original, width, values) => {
    const notes = original.usermeta?.memhelpers ?? {};
    const spec = coloured(original);
    const font = getComputedStyle(document.body).fontFamily;
    spec.config = { ...spec.config, background: "transparent", font };
    if (spec.width === "container") {
      Object.assign(spec, { width, autosize: { type: "fit-x", contains: "padding" } });
    }
    if (notes.aspect === "square") spec.height = Math.min(width, 420) - 40;
    const chosen = { ...values, narrow: width < narrow };
    if (width < narrow && notes.phone) spec.height = notes.phone;
    spec.params = (spec.params ?? []).map((parameter) =>
      parameter.name in chosen ? { ...parameter, value: chosen[parameter.name] } : parameter,
    );
    delete spec.title;
    return spec;
  };

  // Vega shows a tooltip where a pointer moves; a finger that taps does not.
  const touched = ({ target, clientX, clientY }) => {
    for (const kind of ["pointerover", "pointermove"]) {
      target.dispatchEvent(new PointerEvent(kind, { bubbles: true, clientX, clientY }));
    }
  };

  // Lines have their names at the right: a tooltip in that half opens to the left of the pointer.
  const aside = ({ currentTarget, clientX }) => {
    const { left, width } = currentTarget.getBoundingClientRect();
    const tip = document.getElementById("vg-tooltip-element");
    if (!tip || clientX < left + width / 2) return;
    tip.style.left = `${Math.max(0, clientX - 12 - tip.offsetWidth)}px`;
  };

  const element = (tag, className, text = "") => {
    const made = document.createElement(tag);
    made.className = className;
    made.textContent = text;
    return made;
  };

  class Drawing {
    constructor(figure) {
      this.chart = figure.querySelector(".mem-chart");
      this.specs = JSON.parse(figure.querySelector(".mem-spec").textContent);
      this.controls = element("div", "mem-controls");
      this.views = [];
      this.width = 0;
      this.chart.before(this.controls);
      // Vega empties the box that it puts inputs into, so each panel has a box of its own.
      this.boxes = this.specs.map(() => element("div", "vega-bindings"));
      this.controls.append(...this.boxes);
      this.panels = this.specs.map((spec) => this.panel(spec));
      if (this.panels.length > 1) this.chart.classList.add("mem-side-by-side");
      if (this.specs.some((spec) => spec.usermeta?.memhelpers?.predict)) {
        const asking = load("predict.js", "memhelpersPredict").then((ask) => ask(this));
        this.guessing = asking.catch(report); // without it the figure is simply there
      }
    }

    panel(spec) {
      const panel = element("div", "mem-panel");
      const notes = spec.usermeta?.memhelpers ?? {};
      if (notes.aspect) panel.classList.add(`mem-${notes.aspect}`);
      const title = typeof spec.title === "object" ? spec.title?.text : spec.title;
      if (title) panel.append(element("p", "mem-chart-title", title));
      panel.plot = element("div", "mem-plot");
      panel.plot.addEventListener("pointermove", aside);
      panel.append(panel.plot);
      return panel;
    }

    draw() {
      waiting.add(this);
      drawAll();
    }

    again() {
      this.state = null;
      this.draw();
    }

    // In pixels from what the reader sees.
    distance() {
      const { top, bottom } = this.chart.getBoundingClientRect();
      return Math.max(top - innerHeight, -bottom, 0);
    }

    async drawNow() {
      const embed = await load("vega-bundle.js", "vegaEmbed");
      this.guess = await this.guessing;
      const width = this.chart.clientWidth;
      const state = `${theme()} ${width}`;
      if (width === 0 || state === this.state) return;
      this.state = state;
      const values = this.values();
      if (this.panels[0].parentNode !== this.chart) this.chart.append(...this.panels);
      const asked = this.guess && !this.guess.answered; // then only paper has the picture
      if (!asked) this.chart.querySelector(".mem-still")?.remove();
      const focused = this.controls.contains(document.activeElement)
        ? document.activeElement.name
        : null;
      this.views.forEach((result) => result.finalize());
      this.boxes.forEach((box) => box.replaceChildren());
      this.views = [];
      for (const [i, spec] of this.specs.entries()) await this.embedPanel(embed, i, spec, values);
      this.share();
      this.name();
      this.guess?.drawn(this.views);
      if (focused) this.controls.querySelector(`[name="${focused}"]`)?.focus({ preventScroll: true });
      this.chart.dataset.drawn = theme();
    }

    async embedPanel(embed, i, original, values) {
      const plot = this.panels[i].plot;
      const spec = fitted(original, plot.clientWidth, values);
      this.guess?.prepare(spec);
      // Panels that share an input: the first has it, the others follow.
      const taken = new Set([...this.inputs()].map((input) => input.name));
      spec.params = spec.params.map(({ bind, ...rest }) =>
        bind && !taken.has(rest.name) ? { bind, ...rest } : rest,
      );
      const options = {
        actions: false,
        bind: this.boxes[i],
        mode: "vega-lite",
        renderer: "svg",
        tooltip: { theme: "memhelpers" },
      };
      this.views.push(await embed(plot, spec, options));
      const svg = plot.querySelector("svg");
      svg?.setAttribute("aria-hidden", "true");
      svg?.addEventListener("click", touched);
    }

    inputs() {
      return this.controls.querySelectorAll("input, select");
    }

    // Every panel that knows a name follows the input of that name.
    sharing(name) {
      return this.views.filter((result) =>
        (result.spec.params ?? []).some((parameter) => parameter.name === name),
      );
    }

    values() {
      const found = {};
      for (const { name } of this.inputs()) found[name] = this.sharing(name)[0].view.signal(name);
      return found;
    }

    share() {
      for (const name of new Set([...this.inputs()].map((input) => input.name))) {
        const [first, ...others] = this.sharing(name);
        first.view.addSignalListener(name, (_, value) =>
          others.forEach((other) => other.view.signal(name, value).runAsync()),
        );
      }
    }

    // A slider walks over positions; its text, seen and spoken, is the value there.
    name() {
      const labels = Object.assign({}, ...this.specs.map((s) => s.usermeta?.memhelpers?.labels ?? {}));
      for (const [name, texts] of Object.entries(labels)) {
        const input = this.controls.querySelector(`input[name="${name}"]`);
        if (!input) continue;
        const show = () => {
          input.nextElementSibling.textContent = texts[input.value];
          input.setAttribute("aria-valuetext", texts[input.value]);
        };
        // Vega writes the position there on both events.
        for (const event of ["input", "change"]) input.addEventListener(event, show);
        show();
      }
    }
  }

  // One at a time, the one next to what the reader sees first; each is seen before the next begins.
  const drawAll = async () => {
    if (drawing) return;
    drawing = true;
    await null; // until all that changed with this one wait, too
    while (waiting.size) {
      const distances = new Map([...waiting].map((one) => [one, one.distance()]));
      const next = [...waiting].reduce((a, b) => (distances.get(b) < distances.get(a) ? b : a));
      waiting.delete(next);
      await next.drawNow().catch(report);
      keepInPlace();
      await new Promise((resume) => requestAnimationFrame(() => setTimeout(resume)));
    }
    drawing = false;
  };

  // A chart inside a closed box or a panel not chosen has no width: it is drawn when that opens.
  const watchWidth = (drawing) => {
    let timer = 0;
    new ResizeObserver(() => {
      const width = drawing.chart.clientWidth;
      if (Math.abs(width - drawing.width) < 2) return;
      clearTimeout(timer);
      timer = setTimeout(() => drawing.draw(), drawing.width === 0 ? 0 : 150);
      drawing.width = width;
    }).observe(drawing.chart);
  };

  const report = (error) => console.error("chart not drawn:", error);

  // The theme switch writes the attribute, and so does the theme in automatic mode.
  const watchTheme = () => {
    const filter = { attributes: true, attributeFilter: ["data-theme"] };
    const redraw = () => drawings.forEach((one) => one.draw());
    new MutationObserver(redraw).observe(document.documentElement, filter);
  };

  // A box that scrolls must be reachable by keyboard, and shows that there is more. All are measured
  // before the first is changed: one by one, the page would be laid out again for each.
  const scrollBoxes = () => {
    const boxes = `div.highlight > pre, .output > pre, .cell_output .text_html, .math.notranslate, ${scrollable}`;
    const found = [...document.querySelectorAll(boxes)];
    const wide = found.map((box) => box.scrollWidth > box.clientWidth + 1);
    found.forEach((box, i) => {
      box.classList.toggle("mem-more", wide[i]);
      if (wide[i] && !box.hasAttribute("tabindex")) box.tabIndex = 0;
    });
  };

  const scrollable = ".mem-scroll, .pst-scrollable-table-container";
  const wrapTables = () => {
    for (const one of document.querySelectorAll("article table")) {
      if (one.closest(`${scrollable}, .highlight`)) continue;
      const box = element("div", "mem-scroll");
      one.replaceWith(box);
      box.append(one);
    }
    document.querySelectorAll(scrollable).forEach((box) => { box.tabIndex = 0; });
  };

  // Sphinx calls the bibliography a list, but its entries are not list items: worse than no role.
  const mendRoles = () =>
    document.querySelectorAll(".citation-list").forEach((one) => one.removeAttribute("role"));

  // The run that is chosen in one figure is chosen in all that have it. What was clicked stays
  // where it is on the screen, also while the charts above it are drawn, until the reader moves on.
  let held = null;
  const bars = ".mem-switch > fieldset";
  const hold = ({ target }) => {
    document.body.style.minHeight = "";
    const bar = target.closest?.(bars);
    held = bar && { bar, top: bar.getBoundingClientRect().top, high: document.body.scrollHeight };
  };
  const keepInPlace = () => {
    if (!held) return;
    // A page that is shorter until its charts are drawn again would scroll by itself.
    document.body.style.minHeight = `${held.high}px`;
    scrollBy({ top: held.bar.getBoundingClientRect().top - held.top, behavior: "instant" });
  };
  const runOf = (input) => input.parentElement.textContent.trim().replace(/^Quick run:/, "This page:");
  const linkSwitches = () => {
    const seen = { capture: true, passive: true };
    for (const begun of ["pointerdown", "keydown"]) addEventListener(begun, hold, seen);
    for (const moved of ["wheel", "touchmove"]) addEventListener(moved, () => { held = null; }, seen);
    document.addEventListener("change", ({ target }) => {
      if (!target.matches(`${bars} input`)) return;
      for (const input of document.querySelectorAll(`${bars} input`)) {
        if (input.name !== target.name && runOf(input) === runOf(target)) input.checked = true;
      }
      keepInPlace();
    });
  };

  const drawings = new Map();
  const take = (figure) => {
    if (drawings.has(figure)) return;
    drawings.set(figure, new Drawing(figure));
    watchWidth(drawings.get(figure));
  };
  const charted = () =>
    [...document.querySelectorAll("figure.mem-figure:has(> .mem-spec) > figcaption")]
      .map((caption) => caption.parentElement);

  // The first chart does not wait until the rest of a long page is there; it does wait until the
  // text before it is seen.
  const early = () => {
    if (document.readyState !== "loading") return;
    const first = charted().find((figure) => figure.clientWidth > 0);
    if (first) setTimeout(() => take(first));
    else requestAnimationFrame(early);
  };

  const start = () => {
    mendRoles();
    wrapTables();
    scrollBoxes();
    addEventListener("resize", scrollBoxes);
    linkSwitches();
    charted().forEach(take);
    watchTheme();
  };

  if (document.readyState === "loading") {
    document.addEventListener("DOMContentLoaded", start);
    requestAnimationFrame(early);
  } else start();
})();
