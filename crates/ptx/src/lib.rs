//! A typed subset of PTX: instruction table, builder, printer, parser, verifier.
