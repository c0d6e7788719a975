//! Formats, conversions and arithmetic against a second implementation that shares nothing with the first.

mod arithmetic;
mod conversions;
mod reference;
mod samples;
