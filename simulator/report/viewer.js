// The dose viewer: one callback of all its widgets and pictures. `page` holds models and packed volumes (see viewer.py).

const AXES = ["z", "y", "x"], PIXELS_ACROSS = 170
const ROUND_MM = 1, WHEEL_PER_SLICE = 40

class Viewer {
  constructor(page, views) {
    Object.assign(this, page)
    this.shape = AXES.map(axis => this.axes[axis].n)
    this.opened = new Map()
    for (const picture of this.pictures) {
      const element = views.find_one(picture.figure).el
      element.setAttribute("role", "img")
      element.setAttribute("aria-label", picture.description)
      this.turn_pages(picture, element)
    }
    for (const slider of [this.opacity, ...Object.values(this.sliders)]) this.name_handle(slider, views.find_one(slider).el)
  }

  // Everything that the widgets say, drawn; a choice that was overtaken by another is dropped.
  async show() {
    const strategy = this.strategies[this.strategy.value]
    const maps = Object.keys(strategy.maps)
    this.map.options = maps
    if (!maps.includes(this.map.value)) this.map.value = maps[0]
    const asked = this.asked = [strategy.maps[this.map.value], strategy.maps.planned, strategy.ptv]
    const bodies = [this.anatomy, ...this.outlines.slice(0, -1).map(outline => outline.packed)]
    const volumes = await Promise.all([...asked, ...bodies].map(packed => this.open(packed)))
    if (asked !== this.asked) return
    const [dose, planned, ptv, density, ...masks] = volumes
    const spread = this.map.value === this.spread
    Object.assign(this, {dose, density, isodose: spread ? planned : dose, masks: [...masks, ptv]})
    this.floor_gy = spread ? this.spread_floor_gy : this.dose_floor_gy
    this.highest_gy = spread ? this.highest_spread_gy : this.highest_dose_gy
    this.levels_percent = this.read_levels()
    this.scale.text = this.scale_text(this.highest_gy)
    for (const picture of this.pictures) this.draw(picture)
  }

  open(packed) {
    if (!this.opened.has(packed)) this.opened.set(packed, unpack(packed, this.shape))
    return this.opened.get(packed)
  }

  index(axis, mm) {
    const {start, step, n} = this.axes[axis]
    return Math.min(n - 1, Math.max(0, Math.round((mm - start) / step)))
  }

  mm(axis, index) { return this.axes[axis].start + index * this.axes[axis].step }

  draw(picture) {
    const {fixed, along, across} = picture
    const at = this.index(fixed, this.sliders[fixed].value)
    const section = volume => cut(volume, this.shape, fixed, at, along, across)
    const times = Math.max(1, Math.round(PIXELS_ACROSS / Math.max(...this.shape)))
    this.paint(picture, ...[this.density, this.dose, this.isodose].map(volume => finer(section(volume), times)))
    const lines = {xs: [], ys: [], colour: [], rim: [], dash: []}
    for (const k of this.structures.active) {
      const {half, colour, rim, dash} = this.outlines[k]
      for (const line of this.lines(picture, section(this.masks[k]), half)) this.add(lines, line, {colour, rim, dash})
    }
    picture.outlines.data = lines
    const isodoses = {xs: [], ys: []}, labels = {x: [], y: [], text: []}, doses = section(this.isodose)
    this.levels_percent.forEach((percent, n) => {
      const found = this.lines(picture, doses, percent / 100 * this.rx_gy)
      for (const line of found) this.add(isodoses, line)
      if (found.length) this.label(labels, found, n, `${percent}`)
    })
    picture.isodoses.data = isodoses
    picture.labels.data = labels
    this.cross(picture)
  }

  // Where the other two planes lie.
  cross(picture) {
    picture.cross_across.location = this.sliders[picture.across].value
    picture.cross_along.location = this.sliders[picture.along].value
  }

  // Another slice of one plane.
  scroll(axis) {
    for (const picture of this.pictures) picture.fixed === axis ? this.draw(picture) : this.cross(picture)
  }

  // Dose in colour wash over the density in grey; a spread also where it is small though there is dose.
  paint(picture, density, dose, isodose) {
    const {rows, columns} = density, pixels = new Uint32Array(rows * columns)
    for (let k = 0; k < pixels.length; k++) {
      const grey = 255 * Math.min(1, density.values[k] / this.white_density), gy = dose.values[k]
      const wash = gy >= this.floor_gy || isodose.values[k] >= this.dose_floor_gy ? this.opacity.value : 0
      const colour = this.palette[Math.min(255, Math.round(255 * gy / this.highest_gy))]
      let rgba = 255 << 24
      for (let c = 0; c < 3; c++) rgba |= Math.round((1 - wash) * grey + wash * (colour >> 8 * c & 255)) << 8 * c
      pixels[k] = rgba
    }
    const Pixels = picture.image.data.image[0].constructor
    picture.image.data = {image: [new Pixels(pixels, [rows, columns])]}
  }

  lines({across, along}, section, level) {
    return contours(section, level).map(line => line.map(([j, i]) => [this.mm(across, j), this.mm(along, i)]))
  }

  add(columns, line, more = {}) {
    columns.xs.push(line.map(([x]) => x))
    columns.ys.push(line.map(([, y]) => y))
    for (const [key, value] of Object.entries(more)) columns[key].push(value)
  }

  // Beside the longest line of a level, each level in a direction of its own so that labels keep apart.
  label(labels, lines, n, text) {
    const line = lines.reduce((a, b) => b.length > a.length ? b : a)
    const middle = [0, 1].map(c => line.reduce((sum, point) => sum + point[c], 0) / line.length)
    const angle = 2 * Math.PI * n / this.levels_percent.length - Math.PI / 4
    const outwards = ([x, y]) => Math.cos(Math.atan2(y - middle[1], x - middle[0]) - angle)
    const [x, y] = line.reduce((a, b) => outwards(b) > outwards(a) ? b : a)
    labels.x.push(x)
    labels.y.push(y)
    labels.text.push(text)
  }

  // Equal millimetres on both axes and in all pictures, whatever room the page gives.
  fit() {
    const extent = axis => this.axes[axis].n * this.axes[axis].step
    const middle = axis => this.mm(axis, (this.axes[axis].n - 1) / 2)
    const seen = this.pictures.filter(({figure}) => figure.inner_width > 0)
    const mm_per_pixel = Math.max(...seen.map(({figure, across, along}) =>
      Math.max(extent(across) / figure.inner_width, extent(along) / figure.inner_height)))
    for (const {figure, across, along, downwards, letters} of seen) {
      const half = [figure.inner_width, figure.inner_height].map(pixels => pixels * mm_per_pixel / 2)
      const [x, y] = [middle(across), middle(along)], up = downwards ? -1 : 1
      figure.x_range.setv({start: x - half[0], end: x + half[0]})
      figure.y_range.setv({start: y - up * half[1], end: y + up * half[1]})
      const places = [[x - half[0], y], [x + half[0], y], [x, y + up * half[1]], [x, y - up * half[1]]]
      letters.forEach((letter, n) => letter.setv({x: places[n][0], y: places[n][1]}))
    }
  }

  // What lies under the cursor of a picture; the nearest voxel's values.
  read(picture, x, y) {
    const place = {[picture.fixed]: this.sliders[picture.fixed].value, [picture.across]: x, [picture.along]: y}
    const [k, j, i] = AXES.map(axis => this.index(axis, place[axis]))
    const voxel = (k * this.shape[1] + j) * this.shape[2] + i, gy = this.dose[voxel]
    const where = ["x", "y", "z"].map(axis => `${axis} ${number(place[axis], ROUND_MM)}`).join(", ")
    const percent = this.map.value === this.spread ? "" : `, ${number(100 * gy / this.rx_gy, 1)} %`
    const dose = gy < this.floor_gy ? `below ${number(this.floor_gy, 1)} Gy` : `${number(gy, 1)} Gy${percent}`
    const inside = this.outlines.filter((outline, n) => this.masks[n][voxel] >= outline.half).map(o => o.name)
    return `${where} mm: <b>${dose}</b> (${this.map.value}), density ${number(this.density[voxel], 2)}` + (inside.length ? `; in ${inside.join(", ")}` : "")
  }

  hear(event) {
    const picture = this.pictures.find(({figure}) => figure.id === event.origin?.id)
    if (!picture || !this.dose) return
    const within = event.event_name !== "mouseleave" && [picture.across, picture.along].every((axis, n) => {
      const mm = n ? event.y : event.x, half = this.axes[axis].step / 2
      return mm >= this.mm(axis, 0) - half && mm <= this.mm(axis, this.axes[axis].n - 1) + half
    })
    this.readout.text = within ? this.read(picture, event.x, event.y) : this.hint
    if (within && event.event_name === "tap") {
      this.sliders[picture.across].value = this.mm(picture.across, this.index(picture.across, event.x))
      this.sliders[picture.along].value = this.mm(picture.along, this.index(picture.along, event.y))
    }
  }

  // The wheel turns the pages of the picture below it; towards the reader is towards lower coordinates.
  turn_pages({fixed}, element) {
    let turned = 0
    element.addEventListener("wheel", event => {
      if (event.ctrlKey) return
      event.preventDefault()
      turned += event.deltaMode ? Math.sign(event.deltaY) * WHEEL_PER_SLICE : event.deltaY
      const slices = Math.trunc(turned / WHEEL_PER_SLICE)
      turned -= slices * WHEEL_PER_SLICE
      const slider = this.sliders[fixed]
      if (slices) slider.value = this.mm(fixed, this.index(fixed, slider.value - slices * this.axes[fixed].step))
    }, {passive: false})
  }

  // The colours of the wash, over tissue like water, with doses below them.
  scale_text(highest_gy) {
    const step = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 50, 100].find(step => highest_gy / step <= 8) ?? highest_gy
    const ticks = Array.from({length: Math.floor(highest_gy / step + 1e-6) + 1}, (_, n) => n * step)
    const places = ticks.map(gy => `<span style="position:absolute;left:${100 * gy / highest_gy}%;transform:translateX(-50%)">`
      + `${number(gy, step < 1 ? 1 : 0)}${gy === ticks[ticks.length - 1] ? "&nbsp;Gy" : ""}</span>`)
    const bar = `height:12px;opacity:${this.opacity.value};background:linear-gradient(to right,${this.gradient})`
    return `<div style="background:${this.grey}"><div style="${bar}"></div></div>`
      + `<div style="position:relative;height:1.3em">${places.join("")}</div>`
  }

  name_handle(slider, element) {
    element.shadowRoot?.querySelector("[role=slider]")?.setAttribute("aria-label", slider.title)
  }

  // Levels in percent of the prescription; what cannot be drawn is said above the field.
  read_levels() {
    const words = this.levels.value.split(/[\s,;%]+/).filter(word => word)
    const lowest = 100 * this.dose_floor_gy / this.rx_gy
    const wrong = words.filter(word => !(Number(word) >= lowest))
    this.levels.title = this.levels_title + (wrong.length ? `: ${lowest} or more wanted, not “${wrong.join(", ")}”` : "")
    return words.filter(word => !wrong.includes(word)).map(Number)
  }
}

function number(value, digits) {
  return (Math.abs(value) < 0.5 * 10 ** -digits ? 0 : value).toFixed(digits).replace("-", "−")
}

const viewer = page.viewer ??= new Viewer(page, cb_context.index)
const scrolled = AXES.find(axis => viewer.sliders[axis] === cb_obj)
if (cb_obj.event_name) viewer.hear(cb_obj)
else if (scrolled && viewer.dose) viewer.scroll(scrolled)
else {
  viewer.fit()
  viewer.show()
}
