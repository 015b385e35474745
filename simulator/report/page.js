// One state: the strategy looked at, the prescription, the metric; everything on the page is drawn from it.
const state = {strategy: study.strategies.indexOf(study.start), at: OWN, metric: 0};
const chooser = document.getElementById("strategy");
const slider = document.getElementById("prescription-scale");

function gy(at) {
  return Number((study.rx * curves.scales[at]).toPrecision(4));
}

/** What another prescription would do, in a sentence. */
function sayPrescription() {
  const {at} = state;
  const own = at === OWN;
  document.getElementById("prescription-gy").textContent = `${gy(at)} Gy (${Math.round(100 * curves.scales[at])} %)`;
  document.body.classList.toggle("scaled", !own);
  document.getElementById("scaled").hidden = own;
  document.getElementById("own-prescription").disabled = own;
  if (own) return;
  const suit = study.strategies.filter((_, s) => verdict(s, at) === "suits").length;
  const first = study.strategies.findIndex((_, s) => curves.rank[s][at] === 1);
  const held = curves.limits ? `, ${curves.held[first][at]} of ${curves.limits} mandatory limits hold` : "";
  document.getElementById("scaled-sentence").textContent =
    `${suit} of ${study.strategies.length} strategies ${suit === 1 ? "suits" : "suit"}; first comes ` +
    `“${study.strategies[first]}” (${verdictWords[verdict(first, at)] ?? verdict(first, at)}): the dose that ${study.wanted} asks for at ${study.rx} Gy is reached in ` +
    `${percent(probability(first, COVERAGE, at)[0])} % of courses${held}.`;
  document.getElementById("plan-again").textContent =
    `simulator run config.yaml --set prescription.dose_gy=${gy(at)} --out "${study.name}-${gy(at)}-Gy"`;
}

function draw() {
  sayPrescription();
  fillTables(state.at);
  for (const row of table.tBodies[0].rows) row.classList.toggle("looked-at", Number(row.dataset.strategy) === state.strategy);
  for (const place of document.querySelectorAll(".strategy-name")) place.textContent = study.strategies[state.strategy];
  if (!documents.length) return;
  drawDvh(state);
  drawPopulation(state);
  drawFront(state);
}

function chooseStrategy(name) {
  state.strategy = study.strategies.indexOf(name);
  chooser.value = name;
  const viewer = model("viewer-strategy");
  if (viewer?.options.includes(name)) viewer.value = name;
  draw();
}

function choosePrescription(at) {
  state.at = at;
  slider.value = at;
  if (documents.length) setDoseAxis();
  draw();
}

async function start() {
  Bokeh.logger.set_level("fatal");
  document.documentElement.classList.add("live");
  chooser.addEventListener("change", () => chooseStrategy(chooser.value));
  slider.addEventListener("input", () => choosePrescription(Number(slider.value)));
  document.getElementById("own-prescription").addEventListener("click", () => choosePrescription(OWN));
  for (const filter of filters) filter.addEventListener("change", fillFilter);
  startSorting(draw);
  for (const button of document.querySelectorAll("button[data-look]")) {
    button.addEventListener("click", () => chooseStrategy(button.dataset.look));
  }
  const metric = document.getElementById("metric");
  metric.addEventListener("change", () => { state.metric = metric.selectedIndex; draw(); });
  let before = OWN;
  addEventListener("beforeprint", () => { before = state.at; choosePrescription(OWN); });
  addEventListener("afterprint", () => choosePrescription(before));
  draw();
  const items = JSON.parse(document.getElementById("documents").textContent);
  for (const [place, item] of Object.entries(items)) await Bokeh.embed.embed_item(item, place);
  documents = Bokeh.documents;
  const viewer = model("viewer-strategy");
  viewer?.connect(viewer.properties.value.change, () => { if (viewer.value !== chooser.value) chooseStrategy(viewer.value); });
  setDoseAxis();
  draw();
  showStructures();
  for (const box of document.querySelectorAll("input[data-structure]")) box.addEventListener("change", showStructures);
  document.documentElement.dataset.ready = "yes";
}

start();
