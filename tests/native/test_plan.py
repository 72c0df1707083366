"""The engine decides in C++ which edges of a cell matter: as Python does, for every cell."""

from __future__ import annotations

import ctypes

import numpy as np
from native_twins import needs_engine

from nasbench_robust import cells
from nasbench_robust.cells import Cell
from nasbench_robust.native.library import library


@needs_engine
def test_plan_of_every_cell_is_that_of_python() -> None:
    pointer = ctypes.POINTER(ctypes.c_int32)
    for index, codes in enumerate(cells.opcodes().astype(np.int32)):
        engine = np.empty(7, np.int32)
        library().engine_plan(codes.ctypes.data_as(pointer), engine.ctypes.data_as(pointer))
        plan = Cell.from_index(index).plan
        expected = [-1 if source is None else source for source in plan.reads]
        assert engine.tolist() == [*expected, plan.output], index
