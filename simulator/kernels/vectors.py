"""Vector instructions for the innermost loops, as LLVM code that numba compiles for the machine at hand.

The compiler does not find them by itself: sums over many terms would be stored and loaded again at every term.
Each function has a definition in numpy, in `simulator.kernels.plain`, which takes its place where compilation is off. They
check no bounds: their callers do.
"""

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import config, types
from numba.extending import intrinsic

from simulator.kernels import plain

LANES = 8
TILES = 8

_FLOAT, _INT32, _INT64 = ir.FloatType(), ir.IntType(32), ir.IntType(64)
_EIGHT = ir.VectorType(_FLOAT, LANES)
_FOUR = ir.VectorType(_FLOAT, 4)
_EIGHT_INT = ir.VectorType(_INT32, LANES)
_HALVES = ([4, 5, 6, 7, 4, 5, 6, 7], [2, 3, 2, 3, 2, 3, 2, 3], [1] * LANES)


def _instruction(twin: Callable) -> Callable:
    """Makes a generator of LLVM code an instruction, or its twin in numpy where compilation is off."""
    return (lambda generator: twin) if config.DISABLE_JIT else intrinsic


def _vector(kind: ir.VectorType, values: list[float]) -> ir.Constant:
    return ir.Constant(kind, values)


def _broadcast(builder: ir.IRBuilder, value: ir.Value, kind: ir.VectorType) -> ir.Value:
    """A vector with `value` in every lane."""
    undefined = ir.Constant(kind, ir.Undefined)
    one = builder.insert_element(undefined, value, ir.Constant(_INT32, 0))
    return builder.shuffle_vector(one, undefined, ir.Constant(ir.VectorType(_INT32, kind.count), [0] * kind.count))


def _shuffle(builder: ir.IRBuilder, value: ir.Value, lanes: list[int]) -> ir.Value:
    """The vector of the given lanes of `value`."""
    return builder.shuffle_vector(
        value, ir.Constant(value.type, ir.Undefined), ir.Constant(ir.VectorType(_INT32, len(lanes)), lanes)
    )


def _within(builder: ir.IRBuilder, value: ir.Value, lanes: list[int]) -> ir.Value:
    """`_shuffle` by the same four lanes in either half of eight."""
    return _shuffle(builder, value, [*lanes, *(lane + 4 for lane in lanes)])


def _joined(builder: ir.IRBuilder, low: ir.Value, high: ir.Value) -> ir.Value:
    """Eight lanes of four and four."""
    return builder.shuffle_vector(low, high, ir.Constant(ir.VectorType(_INT32, LANES), list(range(LANES))))


def _load(builder: ir.IRBuilder, pointer: ir.Value, kind: ir.VectorType) -> ir.Value:
    return builder.load(builder.bitcast(pointer, kind.as_pointer()), align=4)


def _multiply_add(builder: ir.IRBuilder, a: ir.Value, b: ir.Value, c: ir.Value) -> ir.Value:
    """a * b + c, as one instruction where there is one."""
    return builder.fadd(c, builder.fmul(a, b, flags=["contract"]), flags=["contract"])


def _better(builder: ir.IRBuilder, sign: str, a: ir.Value, b: ir.Value) -> ir.Value:
    """The smaller ("<") or larger (">") of two vectors, lane by lane."""
    return builder.select(builder.fcmp_ordered(sign, a, b), a, b)


class _Loop:
    """A loop of at least one turn over first <= i < last with values carried from turn to turn."""

    def __init__(self, builder: ir.IRBuilder, first: ir.Value, last: ir.Value, carried: list[ir.Value]) -> None:
        self._builder, self._last = builder, last
        before = builder.block
        self._body, self._after = builder.append_basic_block("turn"), builder.append_basic_block("after")
        builder.branch(self._body)
        builder.position_at_end(self._body)
        self.index = builder.phi(_INT64)
        self.index.add_incoming(first, before)
        self.carried = [builder.phi(value.type) for value in carried]
        for phi, value in zip(self.carried, carried, strict=True):
            phi.add_incoming(value, before)

    def close(self, new: list[ir.Value]) -> None:
        """End the turn with new carried values, which hold after the last turn too."""
        following = self._builder.add(self.index, ir.Constant(_INT64, 1))
        self.index.add_incoming(following, self._body)
        for phi, value in zip(self.carried, new, strict=True):
            phi.add_incoming(value, self._body)
        again = self._builder.icmp_unsigned("<", following, self._last)
        self._builder.cbranch(again, self._body, self._after)
        self._builder.position_at_end(self._after)


def _data(context: Any, builder: ir.IRBuilder, signature: Any, arguments: Any) -> list[ir.Value]:
    """Arguments with arrays as pointers to their first element."""
    return [
        context.make_array(kind)(context, builder, value).data if isinstance(kind, types.Array) else value
        for kind, value in zip(signature.args, arguments, strict=True)
    ]


@_instruction(plain.sum_tiles)
def sum_tiles(typingctx, values, start, base, factor, n_terms, first, place, result):
    """result[place[t] + i] = sum_n factor[n] values[start[t] + base[n] + i], `TILES` tiles t from `first` on, n >= 1 terms."""

    def generate(context, builder, signature, arguments):
        flat, starts, bases, factors, terms, tile, places, out = _data(context, builder, signature, arguments)
        tiles = [builder.add(tile, ir.Constant(_INT64, t)) for t in range(TILES)]
        sources = [builder.gep(flat, [builder.load(builder.gep(starts, [t]))]) for t in tiles]
        loop = _Loop(builder, ir.Constant(_INT64, 0), terms, [_vector(_EIGHT, [0.0] * LANES)] * TILES)
        offset = builder.load(builder.gep(bases, [loop.index]))
        weight = _broadcast(builder, builder.load(builder.gep(factors, [loop.index])), _EIGHT)
        sums = [
            _multiply_add(builder, weight, _load(builder, builder.gep(source, [offset]), _EIGHT), total)
            for source, total in zip(sources, loop.carried, strict=True)
        ]
        loop.close(sums)
        for t, total in zip(tiles, sums, strict=True):
            to = builder.gep(out, [builder.load(builder.gep(places, [t]))])
            builder.store(total, builder.bitcast(to, _EIGHT.as_pointer()), align=4)
        return context.get_dummy_value()

    return types.void(values, start, base, factor, n_terms, first, place, result), generate


@_instruction(plain.sum_trilinear)
def sum_trilinear(typingctx, quads, step, farthest, node, visit, first, last):
    """sum_k weight[k] trilinear(node + shift[k]) over pairs of visits k, from pair `first` to before `last`, at least one.

    Parameters
    ----------
    quads : float32 (z, y, x, 4) as one row: values at (z, y), (z, y + 1), (z + 1, y) and (z + 1, y + 1) of each node.
    step : int32 (8,), elements of `quads` between neighbours along z, y and x, then 0; the same again.
    farthest : float32 (8,), last node along each axis, laid out like `step`; beyond the lattice its face is taken.
    node : float32 (8,), place (z, y, x) in lattice steps, laid out like `step`.
    visit : float32 (pair, 8), displacement (z, y, x) and weight of two visits.
    """

    def generate(context, builder, signature, arguments):
        flat, steps, ends, nodes, visits, begin, end = _data(context, builder, signature, arguments)
        stride, limit, place = (_load(builder, p, k) for p, k in ((steps, _EIGHT_INT), (ends, _EIGHT), (nodes, _EIGHT)))
        loop = _Loop(builder, begin, end, [_vector(_EIGHT, [0.0] * LANES)])
        moved = _load(builder, builder.gep(visits, [builder.mul(loop.index, ir.Constant(_INT64, LANES))]), _EIGHT)
        zero = _vector(_EIGHT, [0.0] * LANES)
        at = builder.fadd(place, moved)
        at = _better(builder, "<", _better(builder, ">", at, zero), limit)
        whole = builder.fptosi(at, _EIGHT_INT)
        part = builder.fsub(at, builder.sitofp(whole, _EIGHT))
        along = builder.mul(whole, stride)
        pairs = builder.add(along, _within(builder, along, [1, 1, 3, 3]))
        offsets = builder.add(pairs, _within(builder, pairs, [2, 2, 2, 2]))
        here, beyond = [], []
        for lane in (0, 4):
            offset = builder.zext(builder.extract_element(offsets, ir.Constant(_INT32, lane)), _INT64)
            here.append(_load(builder, builder.gep(flat, [offset]), _FOUR))
            beyond.append(_load(builder, builder.gep(flat, [builder.add(offset, ir.Constant(_INT64, 4))]), _FOUR))
        lower, upper = _joined(builder, *here), _joined(builder, *beyond)
        z, y, x = (_within(builder, part, [axis] * 4) for axis in range(3))
        share_z = _multiply_add(
            builder, z, _vector(_EIGHT, [-1.0, -1.0, 1.0, 1.0] * 2), _vector(_EIGHT, [1.0, 1.0, 0.0, 0.0] * 2)
        )
        share_y = _multiply_add(builder, y, _vector(_EIGHT, [-1.0, 1.0] * 4), _vector(_EIGHT, [1.0, 0.0] * 4))
        share = builder.fmul(builder.fmul(share_z, share_y), _within(builder, moved, [3] * 4))
        value = _multiply_add(builder, x, builder.fsub(upper, lower), lower)
        total = _multiply_add(builder, share, value, loop.carried[0])
        loop.close([total])
        for half in _HALVES:
            total = builder.fadd(total, _shuffle(builder, total, half))
        return builder.extract_element(total, ir.Constant(_INT32, 0))

    return types.float32(quads, step, farthest, node, visit, first, last), generate


def _extremes_of_vectors(masked: bool) -> Any:
    @_instruction(plain.lowest_and_highest_counted if masked else plain.lowest_and_highest)
    def extremes(typingctx, values, excluded, first, n_vectors, low, high, place):
        """low[place], high[place] = min(values + excluded), max(values - excluded) over 8 n_vectors elements from `first`.

        Unless masked, nothing is excluded.
        """

        def generate(context, builder, signature, arguments):
            flat, infinite, begin, count, lows, highs, at = _data(context, builder, signature, arguments)
            ends = [_vector(_EIGHT, [sign * float("inf")] * LANES) for sign in (1, -1)]
            loop = _Loop(builder, ir.Constant(_INT64, 0), count, ends)
            i = builder.add(begin, builder.mul(loop.index, ir.Constant(_INT64, LANES)))
            above = below = _load(builder, builder.gep(flat, [i]), _EIGHT)
            if masked:
                off = _load(builder, builder.gep(infinite, [i]), _EIGHT)
                above, below = builder.fadd(above, off), builder.fsub(below, off)
            smallest = _better(builder, "<", above, loop.carried[0])
            largest = _better(builder, ">", below, loop.carried[1])
            loop.close([smallest, largest])
            for best, sign, out in ((smallest, "<", lows), (largest, ">", highs)):
                for half in _HALVES:
                    best = _better(builder, sign, best, _shuffle(builder, best, half))
                builder.store(builder.extract_element(best, ir.Constant(_INT32, 0)), builder.gep(out, [at]))
            return context.get_dummy_value()

        return types.void(values, excluded, first, n_vectors, low, high, place), generate

    return extremes


lowest_and_highest = _extremes_of_vectors(masked=False)
lowest_and_highest_counted = _extremes_of_vectors(masked=True)
