//! The tensor graph: op table, verifier, .gir text, reference evaluation and cost.
