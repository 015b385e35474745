// Volumes and sections: plain arrays in, plain arrays out; nothing here knows of the page.

// Values (z, y, x) on the grid of the maps from what `packing.py` wrote; 0 outside its box.
async function unpack(packed, shape) {
  const stream = new Blob([packed.bytes]).stream().pipeThrough(new DecompressionStream("deflate"))
  const box = new Uint8Array(await new Response(stream).arrayBuffer())
  const [, ny, nx] = packed.shape
  for (const [size, step] of [[nx, 1], [ny, nx]])
    for (let i = 0; i < box.length; i++)
      if (Math.floor(i / step) % size > 0) box[i] += box[i - step]  // modulo 256
  return packed.stride === 1 ? placed(box, packed, shape) : interpolated(box, packed, shape)
}

function placed(box, packed, [nz, ny, nx]) {
  const values = new Float32Array(nz * ny * nx)
  const [depth, height, width] = packed.shape, [z0, y0, x0] = packed.low
  let from = 0
  for (let z = z0; z < z0 + depth; z++)
    for (let y = y0; y < y0 + height; y++)
      for (let x = x0; x < x0 + width; x++) values[(z * ny + y) * nx + x] = box[from++] * packed.step
  return values
}

// Every `stride`-th voxel is known; trilinear in between, constant beyond the last.
function interpolated(box, packed, [nz, ny, nx]) {
  const coarse = [nz, ny, nx].map(n => Math.ceil(n / packed.stride))
  const known = placed(box, packed, coarse), values = new Float32Array(nz * ny * nx)
  const at = (n, size) => Array.from({length: n}, (_, i) => {
    const low = Math.floor(i / packed.stride)
    return [low, Math.min(low + 1, size - 1), i / packed.stride - low]
  })
  const along = (a, b, share) => a + share * (b - a)
  const [zs, ys, xs] = [nz, ny, nx].map((n, i) => at(n, coarse[i]))
  const value = (z, y, x) => known[(z * coarse[1] + y) * coarse[2] + x]
  let to = 0
  for (const [z0, z1, dz] of zs)
    for (const [y0, y1, dy] of ys)
      for (const [x0, x1, dx] of xs) {
        const row = (z, y) => along(value(z, y, x0), value(z, y, x1), dx)
        values[to++] = along(along(row(z0, y0), row(z0, y1), dy), along(row(z1, y0), row(z1, y1), dy), dz)
      }
  return values
}

// Section of a volume: values (row, column), rows and columns along two of the axes "z", "y" and "x".
function cut(volume, shape, fixed, index, along, across) {
  const stride = {z: shape[1] * shape[2], y: shape[2], x: 1}, size = {z: shape[0], y: shape[1], x: shape[2]}
  const rows = size[along], columns = size[across], values = new Float32Array(rows * columns)
  for (let i = 0; i < rows; i++)
    for (let j = 0; j < columns; j++)
      values[i * columns + j] = volume[index * stride[fixed] + i * stride[along] + j * stride[across]]
  return {values, rows, columns}
}

// The section on a grid so many times finer, bilinear between voxel centres and constant beyond the outer ones.
function finer({values, rows, columns}, times) {
  const at = n => Array.from({length: n * times}, (_, i) => {
    const place = Math.min(n - 1, Math.max(0, (i + 0.5) / times - 0.5)), low = Math.floor(place)
    return [low, Math.min(n - 1, low + 1), place - low]
  })
  const fine = new Float32Array(rows * columns * times * times), js = at(columns)
  let to = 0
  for (const [i0, i1, di] of at(rows))
    for (const [j0, j1, dj] of js) {
      const below = values[i0 * columns + j0] * (1 - dj) + values[i0 * columns + j1] * dj
      const above = values[i1 * columns + j0] * (1 - dj) + values[i1 * columns + j1] * dj
      fine[to++] = below * (1 - di) + above * di
    }
  return {values: fine, rows: rows * times, columns: columns * times}
}

// Lines [column, row] where a section crosses a level, closed unless they end at its edge (marching squares).
function contours({values, rows, columns}, level) {
  const above = k => values[k] >= level, next = new Map()
  const link = (a, b) => {
    for (const [from, to] of [[a, b], [b, a]]) next.has(from) ? next.get(from).push(to) : next.set(from, [to])
  }
  for (let i = 0; i + 1 < rows; i++)
    for (let j = 0; j + 1 < columns; j++) {
      const k = i * columns + j, corners = [k, k + 1, k + columns + 1, k + columns]
      const edges = [2 * k, 2 * (k + 1) + 1, 2 * (k + columns), 2 * k + 1]  // below, right, above, left of the cell
      const crossed = edges.filter((_, n) => above(corners[n]) !== above(corners[(n + 1) % 4]))
      if (crossed.length === 2) link(...crossed)
      if (crossed.length === 4) {
        const middle = corners.reduce((sum, c) => sum + values[c], 0) / 4 >= level
        const turn = middle === above(corners[0]) ? 1 : 3
        link(edges[0], edges[turn])
        link(edges[2], edges[4 - turn])
      }
    }
  const point = edge => {
    const k = edge >> 1, upwards = edge & 1, end = k + (upwards ? columns : 1)
    const share = (level - values[k]) / (values[end] - values[k])
    const column = k % columns, row = Math.floor(k / columns)
    return upwards ? [column, row + share] : [column + share, row]
  }
  const lines = [], follow = start => {
    const line = [point(start)]
    for (let here = start, there; (there = next.get(here).pop()) !== undefined; here = there) {
      const back = next.get(there)
      back.splice(back.indexOf(here), 1)
      line.push(point(there))
    }
    lines.push(line)
  }
  for (const [edge, ends] of next) if (ends.length === 1) follow(edge)
  for (const [edge, ends] of next) if (ends.length === 2) follow(edge)
  return lines
}
