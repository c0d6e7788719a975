//! The pass table and its runner: rewrites, precision, layout, fusion, memory plan.
