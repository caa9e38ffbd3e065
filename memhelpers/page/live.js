// The live lab: trains a small network on handwritten digits in the reader's own browser, and shows
// what it has learned, digit by digit. An ES module in anywidget's form; needs no network.

// Everything that is computed. One function, as a worker is made of its text; in double precision,
// and step by step what `memhelpers.training.fit` does.
export function mathematics() {
  const PIXELS = 64;
  const CLASSES = 10;
  // The last digits of the order below: no network trains on them.
  const NEW = 300;
  const TRAINING = { rate: 0.04, momentum: 0.9 };
  const BATCH = 30;
  // Epochs at most.
  const LAST = 200;

  // Uniform numbers from 0 to below 1 (mulberry32).
  const generator = (seed) => {
    let state = Math.imul(seed + 1, 0x9e3779b1);
    return () => {
      state = (state + 0x6d2b79f5) | 0;
      let t = Math.imul(state ^ (state >>> 15), state | 1);
      t ^= t + Math.imul(t ^ (t >>> 7), t | 61);
      return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32;
    };
  };

  const zeros = (n) => new Float64Array(n);

  const shuffled = (n, random) => {
    const order = Int32Array.from({ length: n }, (_, i) => i);
    for (let i = n - 1; i > 0; i--) {
      const j = Math.floor(random() * (i + 1));
      [order[i], order[j]] = [order[j], order[i]];
    }
    return order;
  };

  // Weights [inputs, outputs], uniform after Glorot and Bengio (2010); biases 0.
  const initial = (widths, random) =>
    widths.slice(1).map((outputs, l) => {
      const bound = Math.sqrt(6 / (widths[l] + outputs));
      const draw = () => bound * (2 * random() - 1);
      const w = Float64Array.from({ length: widths[l] * outputs }, draw);
      return { w, b: zeros(outputs) };
    });

  // sum[to + o] += values[k] * rows[starts[k] + o] for all o, over k from `from` to below `end`.
  // Half of all activations are 0: only the others are listed.
  const addRows = (sum, to, width, values, rows, starts, from, end) => {
    let k = from;
    for (; width % 4 === 0 && k + 4 <= end; k += 4) {
      const a = values[k], b = values[k + 1], c = values[k + 2], d = values[k + 3];
      let i = starts[k], j = starts[k + 1], p = starts[k + 2], q = starts[k + 3];
      for (let o = to; o < to + width; o += 4, i += 4, j += 4, p += 4, q += 4) {
        sum[o] += a * rows[i] + b * rows[j] + c * rows[p] + d * rows[q];
        sum[o + 1] += a * rows[i + 1] + b * rows[j + 1] + c * rows[p + 1] + d * rows[q + 1];
        sum[o + 2] += a * rows[i + 2] + b * rows[j + 2] + c * rows[p + 2] + d * rows[q + 2];
        sum[o + 3] += a * rows[i + 3] + b * rows[j + 3] + c * rows[p + 3] + d * rows[q + 3];
      }
    }
    for (; k < end; k++) {
      const i = starts[k] - to;
      for (let o = to; o < to + width; o++) sum[o] += values[k] * rows[i + o];
    }
  };

  class Network {
    // Layers of weights { w, b } as `initial` gives them; the penalty and the steps as in `fit`.
    constructor(layers, { rate, momentum = 0, decay = 0, dropout = 0, random = Math.random }) {
      Object.assign(this, { rate, momentum, decay, dropout, random, room: 0 });
      this.layers = layers.map(({ w, b }) => ({
        inputs: w.length / b.length,
        outputs: b.length,
        w: Float64Array.from(w),
        b: Float64Array.from(b),
        vw: zeros(w.length),
        vb: zeros(b.length),
      }));
      this.top = this.layers.at(-1);
    }

    // For each example of a batch: outputs z, the loss's derivatives d by them, and the inputs that
    // are not 0, as their values and the starts of their rows in w.
    makeRoom(size) {
      if (this.room >= size) return;
      this.room = size;
      for (const layer of this.layers) {
        layer.z = zeros(size * layer.outputs);
        layer.d = zeros(size * layer.outputs);
        layer.values = zeros(size * layer.inputs);
        layer.starts = new Int32Array(size * layer.inputs);
        layer.count = new Int32Array(size);
      }
      this.values = zeros(size);
      this.starts = new Int32Array(size);
      this.gradient = zeros(256);
    }

    // The logits of the examples `batch` of x.
    show(x, batch, training = false) {
      this.makeRoom(batch.length);
      const kept = training ? 1 - this.dropout : 1;
      this.layers.forEach((layer, l) => {
        const { w, b, z, values, starts, count, inputs, outputs } = layer;
        const below = l ? this.layers[l - 1].z : x;
        for (let n = 0; n < batch.length; n++) {
          const from = n * inputs;
          let at = (l ? n : batch[n]) * inputs;
          let end = from;
          for (let i = 0; i < inputs; i++, at++) {
            if (l && (below[at] <= 0 || (kept < 1 && this.random() >= kept))) below[at] = 0;
            else if (l) below[at] /= kept;
            if (below[at] === 0) continue;
            values[end] = below[at];
            starts[end++] = i * outputs;
          }
          count[n] = end - from;
          z.set(b, n * outputs);
          addRows(z, n * outputs, outputs, values, w, starts, from, end);
        }
      });
      return this.top.z;
    }

    // The cross-entropy of example n in nats; d gets its derivatives by the logits, and `right`
    // whether its label has the largest.
    judge(n, label) {
      const { z, d } = this.top;
      const at = n * CLASSES;
      let largest = at;
      let sum = 0;
      for (let o = at; o < at + CLASSES; o++) if (z[o] > z[largest]) largest = o;
      for (let o = at; o < at + CLASSES; o++) sum += d[o] = Math.exp(z[o] - z[largest]);
      for (let o = at; o < at + CLASSES; o++) d[o] /= sum;
      d[at + label] -= 1;
      this.right = largest === at + label;
      return Math.log(sum) + z[largest] - z[at + label];
    }

    // One update by the gradient of the mean loss of a batch; returns that loss.
    update(x, y, batch) {
      this.show(x, batch, true);
      let loss = 0;
      for (let n = 0; n < batch.length; n++) loss += this.judge(n, y[batch[n]]);
      for (let l = this.layers.length - 1; l >= 0; l--) {
        if (l) this.passBack(this.layers[l], this.layers[l - 1].d, batch.length);
        this.step(this.layers[l], l ? this.layers[l - 1].z : x, batch, l > 0);
      }
      return loss / batch.length;
    }

    // Derivatives by the inputs of a layer, where these are not 0.
    passBack({ w, d, starts, count, inputs, outputs }, below, size) {
      const kept = 1 - this.dropout;
      below.fill(0, 0, size * inputs);
      for (let n = 0; n < size; n++) {
        for (let k = n * inputs; k < n * inputs + count[n]; k++) {
          let a = 0;
          // Two sums that do not wait for each other.
          let b = 0;
          for (let o = n * outputs, i = starts[k]; o < (n + 1) * outputs; o += 2, i += 2) {
            a += d[o] * w[i];
            b += d[o + 1] * w[i + 1];
          }
          below[n * inputs + starts[k] / outputs] = (a + b) / kept;
        }
      }
    }

    // v = momentum v + g + decay w;  w = w - rate v.
    step({ w, b, d, vw, vb, inputs, outputs }, below, batch, hidden) {
      const { values, starts, gradient, rate, momentum, decay } = this;
      const size = batch.length;
      for (let i = 0; i < inputs; i++) {
        let count = 0;
        for (let n = 0; n < size; n++) {
          const a = below[(hidden ? n : batch[n]) * inputs + i];
          if (a === 0) continue;
          values[count] = a / size;
          starts[count++] = n * outputs;
        }
        gradient.fill(0);
        addRows(gradient, 0, outputs, values, d, starts, 0, count);
        for (let o = 0, at = i * outputs; o < outputs; o++, at++) {
          vw[at] = momentum * vw[at] + gradient[o] + decay * w[at];
          w[at] -= rate * vw[at];
        }
      }
      for (let o = 0; o < outputs; o++) {
        let sum = 0;
        for (let n = 0; n < size; n++) sum += d[n * outputs + o];
        vb[o] = momentum * vb[o] + sum / size + decay * b[o];
        b[o] -= rate * vb[o];
      }
    }

    // The loss of each example from `from` to below `end` and whether it is right; no dropout.
    look(x, y, from, end) {
      const loss = new Float32Array(end - from);
      const right = new Uint8Array(end - from);
      for (let at = from; at < end; at += 100) {
        const batch = Int32Array.from({ length: Math.min(100, end - at) }, (_, n) => at + n);
        this.show(x, batch);
        batch.forEach((example, n) => {
          loss[example - from] = this.judge(n, y[example]);
          right[example - from] = this.right;
        });
      }
      return { loss, right };
    }
  }

  // The digits of scikit-learn, bytes of all labels and then of all pixels (0 to 16), in an order
  // that is the same for all networks; a share of the training labels is drawn at random.
  const dataOf = (bytes, { examples, noise, seed }) => {
    const n = bytes.length / (PIXELS + 1);
    const order = shuffled(n, generator(0));
    const truth = Uint8Array.from(order, (one) => bytes[one]);
    const pixel = (_, i) => bytes[n + order[Math.floor(i / PIXELS)] * PIXELS + (i % PIXELS)] / 16;
    const x = Float64Array.from({ length: n * PIXELS }, pixel);
    const random = generator(3 * seed + 1);
    const drawn = Uint8Array.from({ length: examples }, () => Math.floor(random() * CLASSES));
    const y = truth.slice();
    // A smaller share has some of a larger one's examples, with the same labels.
    for (const one of shuffled(examples, random).subarray(0, Math.round((noise / 100) * examples))) {
      y[one] = drawn[one];
    }
    return { n, x, y, truth };
  };

  // Trains one network; after each epoch, and before the first, there is a row of what it knows.
  function* run(bytes, settings) {
    const { examples, units, layers, decay, dropout, seed } = settings;
    const { n, x, y } = dataOf(bytes, settings);
    const widths = [PIXELS, ...Array(layers).fill(units), CLASSES];
    const [weights, random] = [2, 3].map((k) => generator(3 * seed + k));
    const network = new Network(initial(widths, weights), { ...TRAINING, decay, dropout, random });
    for (let epoch = 0; ; epoch++) {
      const { loss, right } = network.look(x, y, 0, examples);
      const fresh = network.look(x, y, n - NEW, n).right;
      const done = right.every(Boolean) || epoch === LAST || !loss.every(isFinite);
      yield { epoch, loss, right, fresh: fresh.reduce((a, b) => a + b) / NEW, done };
      if (done) return;
      const order = shuffled(examples, random);
      for (let at = 0; at < examples; at += BATCH) {
        network.update(x, y, order.subarray(at, at + BATCH));
        yield null;
      }
    }
  }

  // Trains in portions of time, so that messages come through; `send` gets each row.
  const trainer = (send) => {
    const { port1, port2 } = new MessageChannel();
    let rows;
    let state = {};
    port1.onmessage = () => {
      const until = performance.now() + 12;
      while (state.going && performance.now() < until) {
        const { value } = rows.next();
        if (!value) continue;
        if (state.once || value.done) state.going = false;
        send({ ...value, id: state.id });
      }
      if (state.going) port2.postMessage(0);
    };
    return ({ bytes, settings, ...next }) => {
      if (settings) rows = run(bytes, settings);
      const asleep = !state.going;
      state = { ...state, ...next };
      if (state.going && asleep) port2.postMessage(0);
    };
  };

  return { Network, dataOf, run, trainer };
}

const { dataOf, trainer } = mathematics();

// Where a page may not start workers, the same runs beside the page's own work.
const start = (send, worker) => {
  const work = `const take = (${mathematics})().trainer(postMessage); onmessage = ({ data }) => take(data);`;
  try {
    const made = worker && new Worker(URL.createObjectURL(new Blob([work])));
    made.onmessage = ({ data }) => send(data);
    return { take: (message) => made.postMessage(message), end: () => made.terminate() };
  } catch {
    const take = trainer(send);
    return { take, end: () => take({ going: false }) };
  }
};

const range = (from, to, step) =>
  Array.from({ length: Math.round((to - from) / step) + 1 }, (_, i) => +(from + i * step).toFixed(1));
const percent = (share) => `${Math.round(100 * share)}\u00a0%`;

// What stands in an address: the values that it may have, the one at the start, its name.
const FIELDS = {
  __proto__: null,
  noise: [range(0, 100, 10), 40, "Random labels, %"],
  units: [[16, 32, 64, 128, 256], 128, "Units per layer"],
  layers: [[1, 2, 3], 2, "Hidden layers"],
  examples: [range(100, 1200, 100), 600, "Examples"],
  decay: [[0, 0.0001, 0.0003, 0.001, 0.003, 0.01], 0, "Weight decay"],
  dropout: [range(0, 0.8, 0.1), 0, "Dropout"],
  seed: [range(0, 999, 1), 0],
  epoch: [range(0, 200, 1), null],
};
export const START = Object.fromEntries(Object.entries(FIELDS).map(([key, [, value]]) => [key, value]));
const { epoch, ...DEFAULT } = START;
const PRESETS = { __proto__: null, "patterns-first": {}, "only-noise": { noise: 100 }, dropout: { dropout: 0.5 } };
const changes = (state) => Object.entries(state).filter(([key, value]) => value !== START[key]);

// The state that an address asks for; or the default, and what is wrong with the address.
const read = (hash) => {
  const said = hash.slice(5);
  const state = { __proto__: null, ...PRESETS[said] };
  for (const part of said && !PRESETS[said] ? said.split("&") : []) {
    const [key, text] = part.split("=");
    const value = text ? Number(text) : NaN;
    if (key in state || !FIELDS[key]?.[0].includes(value)) {
      const allowed = key in state
        ? "each name once"
        : (FIELDS[key]?.[0] ?? Object.keys(FIELDS)).join(", ").replace(/(, \d+){20,}, /, " to ");
      const wrong = `The address says “${part.slice(0, 40)}”; allowed: ${allowed}. This is the default.`;
      return { ...START, wrong };
    }
    state[key] = value;
  }
  return { ...START, ...state };
};
const write = (state) => {
  const told = changes(state).map((part) => part.join("="));
  return "#lab" + (told.length ? `:${told.join("&")}` : "");
};

// A recorded run: accuracy on new digits by epoch, and for each epoch and example a byte: twice the
// loss, as a step of 127 on a logarithmic scale up to 20 nats, and 1 where the network is right.
const unpack = ({ fresh, digits }) => {
  const bytes = Uint8Array.from(atob(digits), (one) => one.charCodeAt(0));
  const n = bytes.length / fresh.length;
  return fresh.map((share, epoch) => {
    const row = bytes.subarray(epoch * n, (epoch + 1) * n);
    const loss = Float32Array.from(row, (one) => Math.expm1(((one >> 1) / 127) * Math.log(21)));
    return { epoch, loss, right: row.map((one) => one & 1), fresh: share, done: epoch === fresh.length - 1 };
  });
};

const PARTS = `<p class="title" role="status"></p><p class="subtitle"></p>
<div class="chart" role="slider" tabindex="0" aria-label="Epoch"><svg></svg></div>
<p class="said"><span class="moment"></span> <span class="key">wrong label</span></p>
<div class="digits" role="slider" tabindex="0" aria-label="Digit by loss" aria-valuemin="1"><canvas></canvas></div>
<p class="ends"><span>← lowest loss</span><span class="shown"></span><span>highest loss →</span></p>
<p class="digit"></p>
<div class="buttons"><button class="train"></button><button class="step">Step</button>
<a class="link">Link to this state</a><span class="presets" role="group" aria-label="Try">Try </span></div>
<div class="fields"></div><p class="note" role="status"></p>`.replaceAll('class="', 'class="mem-lab-');

const made = (tag, text = "", more = {}) =>
  Object.assign(document.createElement(tag), { textContent: text, ...more });

class Lab {
  constructor(el, bytes, given) {
    Object.assign(this, { el, bytes, address: given("address"), run: given("run"), id: 0 });
    el.innerHTML = PARTS;
    el.classList.add("mem-lab");
    el.querySelectorAll("[class]").forEach((one) => { this[`$${one.className.slice(8)}`] = one; });
    this.trainer = start((row) => this.take(row), given("worker") !== false);
    this.makeControls();
    this.follow(this.$chart, "epochAt", "goTo");
    this.follow(this.$digits, "digitAt", "pick");
    const sizes = new ResizeObserver(() => this.draw());
    const theme = new MutationObserver(() => { this.inked = null; this.draw(); });
    sizes.observe(el);
    theme.observe(document.documentElement, { attributeFilter: ["data-theme"] });
    const asked = () => this.address && location.hash.match(/^#lab(:.*)?$/)?.[0];
    const open = () => { if (asked() && !(this.row && asked() === this.$link.hash)) this.load(asked()); };
    addEventListener("hashchange", open);
    this.load(asked() || "");
    this.end = () => {
      this.trainer.end();
      sizes.disconnect();
      theme.disconnect();
      removeEventListener("hashchange", open);
    };
  }

  makeControls() {
    this.inputs = {};
    for (const [key, [values, , name]] of Object.entries(FIELDS)) {
      if (!name) continue;
      const label = made("label", name);
      const input = made("input", "", { type: "range", max: values.length - 1, ariaLabel: name });
      label.append(made("output"), input);
      input.oninput = () => this.label(key, values[input.value]);
      input.onchange = () => this.begin({ ...this.settings, [key]: values[input.value] });
      this.inputs[key] = input;
      this.$fields.append(label);
    }
    for (const [name, preset] of Object.entries(PRESETS)) {
      const onclick = () => this.begin({ ...DEFAULT, ...preset });
      this.$presets.append(made("button", name.replace("-", " "), { onclick }));
    }
    this.$train.onclick = () => this.train();
    this.$step.onclick = () => this.step();
    this.$link.hidden = !this.address;
  }

  label(key, value) {
    this.inputs[key].previousElementSibling.textContent = value;
    this.inputs[key].ariaValueText = value;
  }

  // ---- what is trained ----

  load(hash) {
    const { epoch, wrong = "", ...settings } = read(hash);
    if (this.run && !changes(settings).length) {
      this.trainer.take({ going: false });
      this.set(settings);
      this.rows = unpack(this.run);
      this.moment = Math.min(epoch ?? this.best, this.last.epoch);
      this.draw();
    } else this.begin(settings, epoch);
    this.$note.textContent = wrong;
    if (hash) this.el.scrollIntoView();
  }

  set(settings) {
    Object.assign(this, { settings, id: this.id + 1, rows: [], going: false, inked: null,
      preview: null, picked: null, hovered: null });
    this.data = dataOf(this.bytes, settings);
    this.wrong = Array.from({ length: settings.examples }, (_, i) => +(this.data.truth[i] !== this.data.y[i]));
    // Of right and of wrong labels.
    this.numbers = this.learned({ right: this.wrong.map(() => 1) });
    for (const [key, input] of Object.entries(this.inputs)) {
      input.value = FIELDS[key][0].indexOf(settings[key]);
      this.label(key, settings[key]);
    }
  }

  begin(settings, epoch = null) {
    this.set(settings);
    this.$note.textContent = "";
    this.go(true, { bytes: this.bytes, settings });
    // Seen as soon as it is there.
    this.moment = epoch;
  }

  go(going, more) {
    this.going = going && !more?.once;
    if (going) this.moment = null;
    this.trainer.take({ going, once: false, id: this.id, ...more });
    this.draw();
  }

  train() {
    const { going, last, settings } = this;
    if (last?.done) this.begin({ ...settings, seed: (settings.seed + 1) % 1000 });
    else this.go(!going);
  }

  // One epoch on: to look at where there is one, else to train.
  step() {
    const next = this.row.epoch + 1;
    if (this.rows[next]) this.goTo(next, true);
    else this.go(true, { once: true });
  }

  take({ id, ...row }) {
    // Of a network that is no longer wanted.
    if (id !== this.id) return;
    this.rows.push(row);
    this.going &&= !row.done;
    this.draw();
  }

  get last() { return this.rows.at(-1); }

  get row() { return this.rows[Math.min(this.preview ?? this.moment ?? Infinity, this.rows.length - 1)]; }

  get best() { return this.rows.reduce((best, row) => (row.fresh > best.fresh ? row : best)).epoch; }

  get digit() { return this.hovered ?? this.picked; }

  most(digit) { return Math.max(...this.rows.map((row) => row.loss[digit])); }

  // How many of the right labels and of the wrong ones a row has learned.
  learned({ right }) {
    const sums = [0, 0];
    right.forEach((one, i) => { sums[this.wrong[i]] += one; });
    return sums;
  }

  // Shares by the names of the lines; none where there is no such label.
  shares(row) {
    const [right, wrong] = this.learned(row).map((sum, k) => sum / this.numbers[k]);
    return { right, wrong, fresh: row.fresh };
  }

  // ---- what the reader does ----

  // Who points looks for a moment; who presses or uses the keys, stays.
  follow(box, at, move) {
    let held = false;
    const on = (names, act) => names.split(" ").forEach((name) => box.addEventListener(name, act));
    on("pointermove pointerdown", (event) => {
      held ||= event.type === "pointerdown";
      if (this.row) this[move](this[at](event), held);
    });
    on("pointerup pointercancel pointerleave", () => { held = false; this[move](null, false); });
    on("keydown", (event) => {
      const to = this.row && this.stepped(box, event.key);
      if (to === undefined) return;
      event.preventDefault();
      this[move](to, true);
    });
  }

  // Where a key leads on the line of epochs, or among the digits by their loss.
  stepped(box, key) {
    const among = box === this.$digits ? this.order : null;
    const [far, down, place, last] = among
      ? [this.high, 1, Math.max(0, among.indexOf(this.picked)), among.length - 1]
      : [1, -1, this.row.epoch, this.last.epoch];
    const by = { Right: far, Left: -far, Down: down, Up: -down }[key.replace("Arrow", "")];
    const to = { Home: 0, End: last }[key] ?? Math.max(0, Math.min(last, place + by));
    return among ? among[to] : to >= 0 ? to : undefined;
  }

  epochAt({ clientX }) {
    const { left, end, width } = this.plot;
    const share = (clientX - this.$chart.getBoundingClientRect().left - left) / width;
    return Math.max(0, Math.min(this.last.epoch, Math.round(share * end)));
  }

  goTo(epoch, kept) {
    if (kept) {
      if (this.going) this.go(false);
      this.moment = epoch;
    }
    this.preview = kept || this.going ? null : epoch;
    this.draw();
  }

  digitAt({ clientX, clientY }) {
    const { left, top } = this.$digits.getBoundingClientRect();
    const [column, row] = [clientX - left, clientY - top].map((at) => Math.floor(at / this.tile));
    return row < this.high ? this.order[column * this.high + row] : null;
  }

  pick(digit, kept) {
    if (kept) this.picked = digit;
    this.hovered = kept ? null : digit;
    this.draw();
  }

  // ---- what is seen ----

  title() {
    if (!this.last.done) return this.going ? "Training" : "Paused";
    const { wrong, fresh } = this.shares(this.last);
    const best = this.rows[this.best].fresh;
    if (!this.last.loss.every(isFinite)) return "The network diverged";
    if (!this.numbers[1]) return `True labels: ${percent(fresh)} of new digits are right`;
    const noise = this.settings.noise === 100 ? "Only noise: " : "";
    if (noise || wrong < 0.95 || best - fresh < 0.05) {
      return `${noise}${percent(wrong)} of the wrong labels learned, ${percent(fresh)} of new digits right`;
    }
    return `Patterns first, then by heart: accuracy on new digits falls from ${percent(best)} to ${percent(fresh)}`;
  }

  // At most once for each picture of the screen.
  draw() {
    this.waiting ??= requestAnimationFrame(() => {
      this.waiting = null;
      if (this.el.clientWidth && this.row) this.drawNow();
    });
  }

  drawNow() {
    const { settings, last, row, going } = this;
    // What did not change is not written, or it would be read aloud again.
    if (this.$title.textContent !== this.title()) this.$title.textContent = this.title();
    this.$subtitle.textContent = `One network, ${settings.examples} handwritten digits, ${settings.noise}\u00a0% of them with a random label${
      settings.noise ? " (about one in ten of these is right by chance)" : ""}. Drag the line through training.`;
    this.$train.textContent = going ? "Pause" : last.done ? "Train another" : "Train";
    this.$step.disabled = going || row.done;
    // Training that nobody holds at an epoch has none in its address.
    this.tell(write({ ...settings, epoch: going ? this.moment : Math.min(this.moment ?? Infinity, last.epoch) }));
    this.$presets.querySelectorAll("button").forEach((button, k) => {
      const wanted = { ...DEFAULT, ...Object.values(PRESETS)[k], seed: settings.seed };
      button.ariaPressed = write(wanted) === write(settings);
    });
    const sums = this.learned(row).map((sum, k) => `${sum} of ${this.numbers[k]} ${k ? "wrong" : "right"}`);
    const some = sums.filter((_, k) => this.numbers[k]).join(" and ");
    const told = `${some} labels learned; ${percent(row.fresh)} of new digits right`;
    this.$moment.replaceChildren(made("b", `Epoch ${row.epoch}`), `: ${told}`);
    Object.assign(this.$chart, { ariaValueMax: last.epoch, ariaValueNow: row.epoch, ariaValueText: told });
    this.drawCurves();
    // Who wants no motion sees the digits change only when training has stopped.
    if (!(going && this.order && matchMedia("(prefers-reduced-motion: reduce)").matches)) this.drawDigits();
    this.el.dataset.state = going ? "training" : last.done ? "finished" : "paused";
  }

  // The link says what is seen, and so does the address from the first change on, once the reader
  // rests: browsers bound how often it may change.
  tell(hash) {
    const before = this.$link.hash;
    this.$link.href = hash;
    if (!this.address || !before || before === hash) return;
    clearTimeout(this.later);
    this.later = setTimeout(() => history.replaceState(null, "", hash), 300);
  }

  drawCurves() {
    const whole = this.$chart.clientWidth;
    const narrow = whole < 520;
    const [left, top, bottom] = [44, 30, 196];
    const width = whole - left - (narrow ? 88 : 140);
    const end = Math.max(20, this.last.epoch);
    this.plot = { left, end, width };
    const x = (epoch) => left + (width * epoch) / end;
    const y = (share) => bottom - (bottom - top) * share;
    const text = (at, up, said, more = "") => `<text x="${at}" y="${up}" ${more}>${said}</text>`;
    const line = (name, values) => {
      const points = values.map((value, k) => `${x(k).toFixed(1)},${y(value).toFixed(1)}`);
      return `<polyline class="${name}" points="${points.join(" ")}"/>`;
    };
    let drawn = "";
    for (const share of [0, 0.5, 1]) {
      drawn += `<path class="grid" d="M${left} ${y(share)}h${width}"/>` + text(4, y(share) + 4, percent(share));
    }
    const every = [5, 10, 20, 50].find((one) => end / one <= (narrow ? 4 : 8));
    for (let epoch = 0; epoch <= end; epoch += every) drawn += text(x(epoch) - 8, bottom + 18, epoch);
    drawn += text(left + width + 22, bottom + 18, "epochs");
    const most = this.most(this.digit);
    const rows = this.rows.map((row) => ({ ...this.shares(row), loss: row.loss[this.digit] / most }));
    const now = this.row.epoch;
    const names = { right: "right labels", wrong: "wrong labels", fresh: "new digits", loss: "its\u00a0loss" };
    const last = rows.at(-1);
    const keys = Object.keys(names).filter((key) => last[key] >= 0).sort((a, b) => last[b] - last[a]);
    // Names at the ends keep apart, and above the axis.
    let low = 0;
    keys.forEach((key, k) => {
      low = Math.max(low + 18, Math.min(y(last[key]), bottom - 18 * (keys.length - 1 - k)));
      const said = narrow ? names[key].split(" ")[0] : names[key];
      drawn += line(key, rows.map((one) => one[key]));
      drawn += text(x(this.last.epoch) + 8, low + 5, `${said} ${key === "loss" ? "" : percent(last[key])}`, `class="${key}"`);
    });
    drawn += `<path class="now" d="M${x(now)} 24V${bottom}"/><rect x="${x(now) - 36}" y="2" width="72" height="22" rx="11"/>`;
    drawn += text(x(now) - 28, 18, `epoch ${now}`, 'class="tag"');
    for (const key of keys) drawn += `<circle class="${key}" r="4.5" cx="${x(now)}" cy="${y(rows[now][key])}"/>`;
    this.$chart.firstChild.innerHTML = drawn;
  }

  about(digit) {
    const { data: { truth, y }, row, rows } = this;
    const label = this.wrong[digit] ? `labelled ${y[digit]}` : "rightly labelled";
    const from = 1 + rows.findLastIndex((one) => !one.right[digit]);
    const since = rows[from] ? `right since epoch ${from}` : "not learned";
    return `A ${truth[digit]}, ${label}: loss ${row.loss[digit].toFixed(2)} at epoch ${row.epoch} (at most ${this.most(digit).toFixed(2)}), ${since}.`;
  }

  drawDigits() {
    const canvas = this.$digits.firstChild;
    const room = this.$digits.clientWidth;
    const [tile, high] = room < 520 ? [17, 10] : [22, 7];
    const { row } = this;
    Object.assign(this, { tile, high });
    const shown = Math.min(Math.floor(room / tile) * high, this.settings.examples);
    this.order = [...Array(shown).keys()].sort((a, b) => row.loss[a] - row.loss[b]);
    const [width, height] = [Math.ceil(shown / high) * tile, high * tile];
    const scale = devicePixelRatio;
    Object.assign(canvas, { width: width * scale, height: height * scale });
    canvas.style.width = `${width}px`;
    const pen = canvas.getContext("2d");
    pen.scale(scale, scale);
    if (this.inked?.shown !== shown) this.inked = this.inks(shown);
    this.order.forEach((digit, place) => {
      const [left, top] = [Math.floor(place / high) * tile, (place % high) * tile];
      pen.globalAlpha = row.right[digit] ? 1 : 0.3;
      pen.drawImage(this.inked.sheet, digit * 8, 0, 8, 8, left + 2, top + 2, tile - 4, tile - 4);
      pen.globalAlpha = 1;
      const chosen = digit === this.digit;
      pen.strokeStyle = chosen ? this.inked.accent : this.inked.wrong;
      pen.lineWidth = chosen ? 3 : 1.3;
      if (chosen || this.wrong[digit]) pen.strokeRect(left + 1.5, top + 1.5, tile - 3, tile - 3);
    });
    this.$shown.textContent = `${shown} of ${this.settings.examples} digits; faded: not learned`;
    this.$digit.textContent = this.digit === null ? "Point at or tap a digit to see its loss over time." : this.about(this.digit);
    const at = Math.max(0, this.order.indexOf(this.picked));
    const ariaValueText = this.about(this.order[at]);
    Object.assign(this.$digits, { ariaValueMax: shown, ariaValueNow: at + 1, ariaValueText });
  }

  // The colours of the page, and the digits side by side in its ink.
  inks(shown) {
    const style = getComputedStyle(this.el);
    const [ink, wrong, accent] = ["ink", "wrong", "accent"].map((name) => style.getPropertyValue(`--lab-${name}`));
    const sheet = Object.assign(document.createElement("canvas"), { width: 8 * shown, height: 8 });
    const pen = sheet.getContext("2d");
    pen.fillStyle = ink;
    for (let i = 0; i < shown * 64; i++) {
      pen.globalAlpha = this.data.x[i];
      pen.fillRect(8 * Math.floor(i / 64) + (i % 8), Math.floor((i % 64) / 8), 1, 1);
    }
    return { sheet, shown, wrong, accent };
  }
}

// anywidget's form. `model.get` gives the digits (labels and pixels, gzip), and where wanted a
// recorded run, whether the state stands in the address, and whether to train in a worker.
async function render({ model, el }) {
  const zipped = new Blob([model.get("digits")]).stream().pipeThrough(new DecompressionStream("gzip"));
  const bytes = new Uint8Array(await new Response(zipped).arrayBuffer());
  return new Lab(el, bytes, (name) => model.get(name)).end;
}

export default { render };
