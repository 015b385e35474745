// Numbers of the study: probabilities, verdicts and ranks of every strategy at every prescription.
const study = JSON.parse(document.getElementById("numbers").textContent);

/** Sixteen-bit numbers as they were packed: value(i, j, ..., last), and the stretch(i, j, ...) of the last dimension there. */
function unpacked({shape, unit, data}) {
  const bytes = Uint8Array.from(atob(data), letter => letter.charCodeAt(0));
  const levels = new Uint16Array(bytes.buffer);
  const place = at => at.reduce((sum, i, axis) => sum * shape[axis] + i, 0);
  const last = shape[shape.length - 1];
  return {
    value: (...at) => levels[place(at)] * unit,
    stretch: (...at) => Array.from(levels.subarray(place(at) * last, (place(at) + 1) * last), level => level * unit),
  };
}

const curves = study.curves;
const probabilityCurves = unpacked(curves.probability);
const [COVERAGE, ORGANS, FIRST_GOAL] = [0, 1, 2];
const OWN = curves.scales.indexOf(1);

/** Probability and the ends of its interval, of a strategy by number, at a prescription by number. */
function probability(strategy, curve, at) {
  return [0, 1, 2].map(end => probabilityCurves.value(strategy, curve, end, at));
}

function percent(p) {
  if (p < 1e-6) return "0";
  if (p > 1 - 1e-6) return "100";
  if (p < 0.001) return "<0.1";
  return p > 0.999 ? ">99.9" : (100 * p).toFixed(1);
}

function shade(p) {
  return [[0.95, "p95"], [0.9, "p90"], [0.75, "p75"], [0.5, "p50"]].find(([least]) => p >= least)?.[1] ?? "p0";
}

/** The goal on an organ that a strategy meets least often. */
function leastCertainGoal(strategy, at) {
  const organs = study.goals.map((_, goal) => goal).filter(goal => study.organ[goal]);
  const p = goal => probability(strategy, FIRST_GOAL + goal, at)[0];
  return organs.reduce((least, goal) => (p(goal) < p(least) ? goal : least), organs[0]);
}

function verdict(strategy, at) {
  return curves.words[curves.verdict[strategy][at]];
}
