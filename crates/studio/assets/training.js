// The training page: curves of several runs over each other, with smoothing, a logarithmic scale and a choice of
// what stands across; a readout under the pointer and under the arrow keys; and new steps as they come.
//
// Points are [step, tokens, seconds, value, mean]: where a log is long the server sends the least and the greatest
// of each stretch, and the mean of the stretch beside them, which is what smoothing smooths.

const SOON = 2000;
/** A curve with more points is asked for anew, thinned. */
const MOST = 3000;
const ACROSS = { step: 0, tokens: 1, seconds: 2 };
const NAMES = { step: 'step', tokens: 'tokens', seconds: 'hours' };
const VALUE = 3;
const MEAN = 4;
const SVG = 'http://www.w3.org/2000/svg';

const root = document.getElementById('training');
if (root) start(root);

async function start(root) {
  const rows = [...document.querySelectorAll('#now tr[data-run]')];
  const runs = rows.map((row) => ({
    name: row.dataset.run,
    colour: row.dataset.colour,
    row,
    generation: null,
    last: null,
    state: 'training',
    curves: {},
  }));
  try {
    await Promise.all(runs.map((run) => load(run, false)));
  } catch {
    // The server's own drawing stays.
    return;
  }
  const settings = { across: 'step', smooth: 0.6, log: false };
  const charts = [...root.querySelectorAll('.curve')].map((card) => chart(card, runs, settings));
  const draw = () => charts.forEach((one) => one.draw());
  controls(root.querySelector('#controls'), settings, draw);
  draw();
  new ResizeObserver(draw).observe(root);
  for (;;) {
    const going = runs.filter((run) => run.state === 'training');
    if (going.length === 0) return;
    await new Promise((done) => setTimeout(done, SOON));
    if (document.hidden) continue;
    try {
      const changed = await Promise.all(going.map((run) => load(run, true)));
      if (changed.some(Boolean)) draw();
    } catch {
      // The server may be starting again.
      await new Promise((done) => setTimeout(done, 5 * SOON));
    }
  }
}

/** Brings a run's points, all or those after what is there; whether there is something new. */
async function load(run, onward) {
  const query = new URLSearchParams({ run: run.name });
  if (onward && run.last !== null) query.set('after', run.last);
  const response = await fetch(`/training/curves?${query}`, { headers: { accept: 'application/json' } });
  if (!response.ok) throw new Error(String(response.status));
  const answer = (await response.json()).runs[0];
  const anew = answer.generation !== run.generation;
  if (onward && anew) {
    run.generation = null;
    return load(run, false);
  }
  const changed = !onward || answer.last !== run.last || answer.state !== run.state;
  let long = false;
  for (const [name, points] of Object.entries(answer.quantities)) {
    if (!onward) run.curves[name] = points;
    else if (points.length > 0) {
      const before = run.curves[name] ?? [];
      while (before.length > 0 && before[before.length - 1][0] >= points[0][0]) before.pop();
      before.push(...points);
      long ||= before.length > MOST;
    }
  }
  Object.assign(run, { generation: answer.generation, last: answer.last, state: answer.state });
  if (long) return load(run, false);
  if (changed) tell(run);
  return changed;
}

/** Writes where a run is into its row. */
function tell(run) {
  const cell = (name) => run.row.querySelector(`[data-cell="${name}"]`);
  const write = (name, value, digits) => {
    const last = run.curves[value]?.at(-1);
    if (last && cell(name)) cell(name).textContent = last[VALUE].toFixed(digits);
  };
  const badge = cell('state')?.firstElementChild;
  if (badge && badge.textContent !== run.state) {
    badge.textContent = run.state;
    badge.className = `badge ${run.state === 'done' ? 'beats' : 'unclear'}`;
  }
  if (run.last !== null) cell('steps').textContent = (run.last + 1).toLocaleString('en');
  const timed = run.curves.tokens_per_second?.at(-1);
  if (timed) cell('hours').textContent = (timed[ACROSS.seconds] / 3600).toFixed(2);
  write('loss', 'loss', 4);
  write('samples_per_second', 'samples_per_second', 2);
  write('tokens_per_second', 'tokens_per_second', 0);
  write('memory_mib', 'memory_mib', 0);
}

function controls(place, settings, draw) {
  const field = (label, element) => {
    const wrap = document.createElement('label');
    wrap.className = element.type === 'checkbox' ? 'check' : 'field';
    const text = document.createElement('span');
    text.textContent = label;
    wrap.append(...(element.type === 'checkbox' ? [element, text] : [text, element]));
    place.append(wrap);
    return element;
  };
  const across = document.createElement('select');
  for (const name of Object.keys(ACROSS)) across.add(new Option(NAMES[name], name));
  field('Across', across).addEventListener('change', () => {
    settings.across = across.value;
    draw();
  });
  const smooth = Object.assign(document.createElement('input'), { type: 'range', min: 0, max: 0.99, step: 0.01, value: settings.smooth });
  const said = () => smooth.setAttribute('aria-valuetext', `${Math.round(100 * settings.smooth)}%`);
  said();
  field('Smoothing', smooth).addEventListener('input', () => {
    settings.smooth = Number(smooth.value);
    said();
    draw();
  });
  const log = Object.assign(document.createElement('input'), { type: 'checkbox' });
  field('Logarithmic', log).addEventListener('change', () => {
    settings.log = log.checked;
    draw();
  });
  place.hidden = false;
}

/** An exponential mean that is not drawn towards zero at its start. */
function smoothed(points, weight) {
  let [sum, share] = [0, 0];
  return points.map((point) => {
    sum = sum * weight + point[MEAN] * (1 - weight);
    share = share * weight + (1 - weight);
    return sum / share;
  });
}

function chart(card, runs, settings) {
  const name = card.dataset.quantity;
  const title = card.querySelector('h2').textContent;
  const smooths = card.dataset.smooth === 'true';
  const place = card.querySelector('.drawn');
  const readout = document.createElement('p');
  readout.className = 'readout';
  place.after(readout);
  place.tabIndex = 0;
  place.setAttribute('role', 'slider');
  place.setAttribute('aria-label', `${title}: values along the curve`);
  /** Where the readout stands, as a share of the width; none until it is asked for. */
  let at = null;
  let scale = null;

  function draw() {
    const width = Math.max(240, place.clientWidth);
    const height = width < 420 ? 200 : 230;
    const [left, right, top, bottom] = [56, 12, 8, 34];
    const axis = ACROSS[settings.across];
    const unit = settings.across === 'seconds' ? 3600 : 1;
    const series = runs.map((run) => {
      const points = (run.curves[name] ?? []).filter((p) => !settings.log || p[VALUE] > 0);
      const soft = smooths && settings.smooth > 0 && points.length > 3 ? smoothed(points, settings.smooth) : null;
      return { run, points, soft };
    });
    const values = series.flatMap((s) => s.points.map((p) => p[VALUE])).sort((a, b) => a - b);
    const xs = series.flatMap((s) => (s.points.length ? [s.points[0][axis], s.points.at(-1)[axis]] : []));
    const svg = element('svg', { viewBox: `0 0 ${width} ${height}`, 'aria-hidden': 'true' });
    place.replaceChildren(svg);
    scale = null;
    if (values.length === 0) {
      svg.append(text(width / 2, height / 2, 'middle', settings.log ? 'nothing above zero' : 'nothing yet'));
      return;
    }
    const [x0, x1] = [Math.min(0, ...xs), Math.max(...xs, 1e-9)];
    // One wild step must not flatten the rest.
    const high = values[Math.floor((values.length - 1) * 0.995)];
    const low = settings.log ? values[Math.floor((values.length - 1) * 0.005)] : Math.min(0, values[0]);
    const up = settings.log ? decades(low, high) : ticks(low, high, 5);
    const [y0, y1] = [Math.min(low, up[0] ?? low), Math.max(high, up.at(-1) ?? high)];
    const flat = settings.log ? (v) => Math.log10(Math.max(v, 1e-300)) : (v) => v;
    const span = flat(y1) - flat(y0) || 1;
    const x = (v) => left + ((width - left - right) * (v - x0)) / (x1 - x0 || 1);
    const y = (v) => top + (height - top - bottom) * (1 - Math.min(1.02, Math.max(-0.02, (flat(v) - flat(y0)) / span)));
    for (const tick of up) {
      svg.append(element('line', { class: 'grid', x1: left, x2: width - right, y1: y(tick), y2: y(tick) }));
      svg.append(text(left - 8, y(tick) + 4, 'end', short(tick)));
    }
    for (const tick of ticks(x0 / unit, x1 / unit, width < 420 ? 4 : 6)) {
      svg.append(text(x(tick * unit), height - bottom + 17, 'middle', short(tick)));
    }
    svg.append(element('line', { class: 'axis', x1: left, x2: width - right, y1: height - bottom, y2: height - bottom }));
    svg.append(text(left + (width - left - right) / 2, height - 3, 'middle', NAMES[settings.across]));
    for (const { run, points, soft } of series) {
      const line = (kind, value) => {
        const path = points.map((p, i) => `${x(p[axis]).toFixed(1)},${y(value(p, i)).toFixed(1)}`).join(' ');
        svg.append(element('polyline', { class: kind, points: path, style: `stroke:${run.colour}` }));
      };
      if (soft) line('raw', (p) => p[VALUE]);
      line('smooth', soft ? (p, i) => soft[i] : (p) => p[VALUE]);
      // A single point is no line.
      if (points.length === 1) {
        svg.append(element('circle', { cx: x(points[0][axis]), cy: y(points[0][VALUE]), r: 3, fill: run.colour }));
      }
    }
    const mark = element('line', { class: 'axis mark-x', y1: top, y2: height - bottom });
    mark.style.display = 'none';
    svg.append(mark);
    scale = { x, y, x0, x1, axis, unit, width, left, right, series, svg, mark, dots: [] };
    say();
  }

  /** Writes the values nearest to where the readout stands. */
  function say() {
    if (!scale) return;
    const { x, y, x0, x1, axis, unit, series, svg, mark } = scale;
    place.setAttribute('aria-valuemin', '0');
    place.setAttribute('aria-valuemax', '100');
    place.setAttribute('aria-valuenow', String(Math.round(100 * (at ?? 1))));
    const wanted = x0 + (x1 - x0) * (at ?? 1);
    scale.dots.forEach((dot) => dot.remove());
    scale.dots = [];
    const parts = [];
    readout.replaceChildren();
    for (const { run, points, soft } of series) {
      const i = nearest(points, axis, wanted);
      if (i < 0) continue;
      const [point, mean] = [points[i], soft?.[i]];
      const value = `${short(point[VALUE])}${mean === undefined ? '' : ` (smoothed ${short(mean)})`}`;
      const where = `${NAMES[settings.across]} ${short(point[axis] / unit)}`;
      parts.push(`${run.name}: ${value} at ${where}`);
      const item = document.createElement('span');
      const swatch = Object.assign(document.createElement('i'), { className: 'swatch' });
      swatch.style.background = run.colour;
      item.append(swatch, `${value} at ${where}`);
      readout.append(item);
      if (at !== null) {
        const dot = element('circle', { cx: x(point[axis]), cy: y(mean ?? point[VALUE]), r: 3.5, fill: run.colour });
        scale.dots.push(dot);
        svg.append(dot);
      }
    }
    place.setAttribute('aria-valuetext', parts.join('; ') || 'nothing');
    mark.style.display = at === null ? 'none' : '';
    mark.setAttribute('x1', x(wanted));
    mark.setAttribute('x2', x(wanted));
  }

  place.addEventListener('pointermove', (event) => {
    if (!scale) return;
    const box = place.getBoundingClientRect();
    const across = ((event.clientX - box.left) / box.width) * scale.width;
    at = Math.min(1, Math.max(0, (across - scale.left) / (scale.width - scale.left - scale.right)));
    say();
  });
  place.addEventListener('pointerleave', () => {
    if (document.activeElement === place) return;
    at = null;
    say();
  });
  place.addEventListener('blur', () => {
    at = null;
    say();
  });
  place.addEventListener('keydown', (event) => {
    const from = at ?? 1;
    const to = {
      ArrowLeft: from - 0.01,
      ArrowDown: from - 0.01,
      ArrowRight: from + 0.01,
      ArrowUp: from + 0.01,
      PageDown: from - 0.1,
      PageUp: from + 0.1,
      Home: 0,
      End: 1,
    }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    at = Math.min(1, Math.max(0, to));
    say();
  });
  return { draw };
}

/** The point nearest to a place across, of points in that order. */
function nearest(points, axis, wanted) {
  let [from, to] = [0, points.length - 1];
  if (to < 0) return -1;
  while (to - from > 1) {
    const middle = (from + to) >> 1;
    if (points[middle][axis] <= wanted) from = middle;
    else to = middle;
  }
  return Math.abs(points[from][axis] - wanted) <= Math.abs(points[to][axis] - wanted) ? from : to;
}

/** Round numbers from `low` to about `high`, about `wanted` of them. */
function ticks(low, high, wanted) {
  const range = high - low;
  if (!(range > 0) || !Number.isFinite(range)) return [low];
  const power = 10 ** Math.floor(Math.log10(range / wanted));
  const step = [1, 2, 5, 10].map((s) => s * power).find((s) => s >= (range / wanted) * 0.999) ?? 10 * power;
  const found = [];
  for (let tick = Math.ceil(low / step) * step; tick <= high + step * 1e-6 && found.length < 40; tick += step) {
    found.push(Math.abs(tick) < step * 1e-6 ? 0 : tick);
  }
  return found;
}

/** Powers of ten between two numbers, with halves of them where there are few. */
function decades(low, high) {
  const found = [];
  for (let power = Math.floor(Math.log10(low)); power <= Math.ceil(Math.log10(high)); power += 1) {
    for (const factor of [1, 2, 5]) {
      const tick = factor * 10 ** power;
      if (tick >= low * 0.999 && tick <= high * 1.001) found.push(tick);
    }
  }
  if (found.length > 8) return found.filter((tick) => Math.abs(Math.log10(tick) - Math.round(Math.log10(tick))) < 1e-9);
  return found;
}

function short(value) {
  if (value === 0) return '0';
  const size = Math.abs(value);
  if (size < 0.001) return value.toExponential(1).replace('.0e', 'e');
  if (size >= 1e6) return `${Number((value / 1e6).toPrecision(4))}M`;
  if (size >= 1e4) return `${Number((value / 1e3).toPrecision(4))}k`;
  return String(Number(value.toPrecision(5)));
}

function element(name, attributes) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  return made;
}

function text(x, y, anchor, words) {
  const made = element('text', { x, y, 'text-anchor': anchor });
  made.textContent = words;
  return made;
}
