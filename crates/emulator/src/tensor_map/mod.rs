//! Tensor maps: encoding, decoding, and which bytes a bulk tensor copy moves.
