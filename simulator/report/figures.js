// Figures that follow the strategy and the prescription.
let documents = [];

function model(name) {
  for (const one of documents) {
    const found = one.get_model_by_name(name);
    if (found) return found;
  }
  return null;
}

const dvhPercent = unpacked(study.dvh.percent);
const DVH_COLUMNS = ["planned", "q05", "q25", "q50", "q75", "q95"];

function drawDvh({strategy, at}) {
  const scale = curves.scales[at];
  const dose = study.dvh.dose.map(gy => gy * scale);
  study.dvh.structures.forEach((_, s) => {
    const columns = DVH_COLUMNS.map((name, k) => [name, dvhPercent.stretch(strategy, s, k)]);
    model(`dvh/${s}`).data = {dose, ...Object.fromEntries(columns)};
    const points = study.points.filter(point => point.structure === s);
    model(`goals/${s}`).data = {
      dose: points.map(point => point.dose),
      volume: points.map(point => point.volume),
      marker: points.map(point => (point.upper ? "inverted_triangle" : "triangle")),
      goal: points.map(point => study.goals[point.goal]),
      met: points.map(point => percent(probability(strategy, FIRST_GOAL + point.goal, at)[0])),
    };
  });
  model("prescription").location = study.rx * scale;
}

/** Every strategy on the same axis, which grows where a higher prescription needs it. */
function setDoseAxis() {
  model("dvh").x_range.setv({start: 0, end: 1.02 * study.dvh.dose.at(-1) * Math.max(1, curves.scales[state.at])});
}

function showStructures() {
  for (const box of document.querySelectorAll("input[data-structure]")) {
    const own = [`dvh/${box.dataset.structure}`, `goals/${box.dataset.structure}`];
    for (const renderer of model("dvh").renderers) {
      if (own.includes(renderer.data_source?.name)) renderer.visible = box.checked;
    }
  }
}

const populations = study.populations.map(one => ({...one, quantiles: unpacked(one.values)}));
const SHARES = Array.from({length: 101}, (_, k) => 100 - k);

/** Quantiles of a metric over courses at a scale: proportional to the dose, or between the scales that it is measured at. */
function quantilesAt(one, strategy, scale) {
  const level = k => one.quantiles.stretch(k, strategy).map(value => value + one.lowest);
  if (one.scales.length === 1) return level(0).map(value => (one.proportional ? value * scale : value));
  const upper = Math.min(Math.max(one.scales.findIndex(s => s >= scale), 1), one.scales.length - 1);
  const [low, high] = [one.scales[upper - 1], one.scales[upper]];
  const share = Math.min(Math.max((scale - low) / (high - low), 0), 1);
  const [a, b] = [level(upper - 1), level(upper)];
  return a.map((value, k) => value + share * (b[k] - value));
}

function drawPopulation({strategy, at, metric}) {
  const one = populations[metric];
  const scale = curves.scales[at];
  const value = quantilesAt(one, strategy, scale);
  const half = 100 * Math.sqrt(Math.log(2 / 0.05) / (2 * study.courses[strategy]));
  const between = share => Math.min(Math.max(share, 0), 100);
  const others = study.strategies.map((_, s) => s).filter(s => s !== strategy);
  model("population/others").data = {
    values: others.map(s => quantilesAt(one, s, scale)),
    shares: others.map(() => SHARES),
    strategy: others.map(s => study.strategies[s]),
  };
  model("population/own").data = {
    value, share: SHARES,
    low: SHARES.map(share => between(share - half)),
    high: SHARES.map(share => between(share + half)),
  };
  model("population/limits").data = {
    value: one.limits.map(limit => limit.value),
    text: one.limits.map(limit => limit.text),
    bottom: one.limits.map(() => 0),
    top: one.limits.map(() => 102),
  };
  const known = one.nominal[strategy] !== null && (one.proportional || at === OWN);
  const planned = known ? [one.nominal[strategy] * scale] : [];
  model("population/planned").data = {
    value: planned, text: planned.map(() => "planned dose"), bottom: planned.map(() => 0), top: planned.map(() => 102),
  };
  model("population/axis").axis_label = `${one.metric} (${one.unit})`;
}

function drawFront({strategy, at}) {
  const line = model("front/line");
  if (!line) return;
  const all = study.strategies.map((_, s) => s);
  const covered = all.map(s => probability(s, COVERAGE, at).map(p => 100 * p));
  const spared = all.map(s => probability(s, ORGANS, at).map(p => 100 * p));
  const [x, y] = [spared.map(([p]) => 100 - p), covered.map(([p]) => p)];
  const verdicts = all.map(s => verdict(s, at));
  model("front/points").data = {
    x, y,
    left: spared.map(([, , high]) => 100 - high),
    right: spared.map(([, low]) => 100 - low),
    bottom: covered.map(([, low]) => low),
    top: covered.map(([, , high]) => high),
    colour: study.motion.map(m => study.colours[m]),
    marker: verdicts.map(word => study.markers[word]),
    label: all.map(s => (all.length > 12 ? study.margin[s] : `${study.motions[study.motion[s]]}, ${study.margin[s]}`)),
    strategy: study.strategies,
    verdict: verdicts,
    organs: all.map(s => percent(probability(s, ORGANS, at)[0])),
    met: all.map(s => percent(probability(s, COVERAGE, at)[0])),
  };
  const beaten = s => all.some(o => x[o] <= x[s] && y[o] >= y[s] && (x[o] < x[s] || y[o] > y[s]));
  const front = all.filter(s => !beaten(s)).sort((a, b) => x[a] - x[b]);
  line.data = {x: front.map(s => x[s]), y: front.map(s => y[s])};
  model("front/chosen").data = {x: [x[strategy]], y: [y[strategy]]};
  model("wanted").location = 100 * study.probability;
}
