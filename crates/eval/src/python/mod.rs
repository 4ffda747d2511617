//! The parts of Python that official scorers' verdicts depend on, exactly as CPython has them.
