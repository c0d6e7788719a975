//! Register instructions against the manual's own descriptions, written out bit by bit.

mod bits;
mod integer;
mod rows;
mod words;
