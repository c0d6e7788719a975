//! Number formats, conversions and arithmetic, bit for bit as the hardware does them.
