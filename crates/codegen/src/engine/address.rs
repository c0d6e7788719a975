//! Indices in registers: 32 bits where the range allows, 64 where it does not.

use super::Engine;
use crate::error::Fault;
use crate::index::{Atom, AtomId, IndexId};
use gable_ptx::{B32, B64, Place, R, Reg};

fn fits_i32(low: i64, high: i64) -> bool {
    i32::try_from(low).is_ok() && i32::try_from(high).is_ok()
}

fn narrow(register: Reg) -> R<B32> {
    register.typed().expect("a narrow index is in a 32-bit register")
}

fn wide(register: Reg) -> R<B64> {
    register.typed().expect("a wide index is in a 64-bit register")
}

impl Engine<'_> {
    /// Whether some value of the index needs more than 32 bits with sign.
    pub fn is_wide(&self, index: IndexId) -> bool {
        let (low, high) = self.indices.range(index);
        !fits_i32(low, high)
    }

    /// The index, which has no lane, in a register: of 64 bits where `as_wide`, else its low 32 bits.
    pub fn index_register(&mut self, index: IndexId, as_wide: bool) -> Result<Reg, Fault> {
        if let Some(&known) = self.registers.get(&(index, as_wide)) {
            return Ok(known);
        }
        let (constant, terms) = self.indices.parts(index);
        let register = if as_wide {
            let mut sum: Option<R<B64>> = None;
            for (atom, k) in terms {
                let factor_fits = i32::try_from(k).is_ok();
                let register = self.atom_register(atom)?;
                sum = Some(match (register.class == gable_ptx::Class::B32, sum) {
                    (true, None) if factor_fits => self.k.mul_wide_s32(narrow(register), k as i32),
                    (true, Some(sum)) if factor_fits => self.k.mad_wide_s32(narrow(register), k as i32, sum),
                    (is_narrow, sum) => {
                        let register = if is_narrow { self.k.cvt_s64_s32(narrow(register)) } else { wide(register) };
                        match sum {
                            None if k == 1 => register,
                            None => self.k.mul_lo_s64(register, k),
                            Some(sum) => self.k.mad_lo_s64(register, k, sum),
                        }
                    }
                });
            }
            match sum {
                None => self.k.mov_b64(constant).reg(),
                Some(sum) if constant == 0 => sum.reg(),
                Some(sum) => self.k.add_s64(sum, constant).reg(),
            }
        } else {
            // Sums wrap, so that only the whole has to fit.
            let low_word = |k: i64| k as i32;
            let mut sum: Option<R<B32>> = None;
            for (atom, k) in terms {
                let register = self.atom_register(atom)?;
                let register = match register.class {
                    gable_ptx::Class::B64 => self.k.cvt_u32_u64(wide(register)),
                    _ => narrow(register),
                };
                sum = Some(match sum {
                    None if k == 1 => register,
                    None => self.k.mul_lo_s32(register, low_word(k)),
                    Some(sum) if k == 1 => self.k.add_s32(sum, register),
                    Some(sum) => self.k.mad_lo_s32(register, low_word(k), sum),
                });
            }
            match sum {
                None => self.k.mov_b32(low_word(constant)).reg(),
                Some(sum) if constant == 0 => sum.reg(),
                Some(sum) => self.k.add_s32(sum, low_word(constant)).reg(),
            }
        };
        self.registers.insert((index, as_wide), register);
        Ok(register)
    }

    /// The register of an atom, in its own width.
    fn atom_register(&mut self, atom: AtomId) -> Result<Reg, Fault> {
        match self.indices.atom(atom) {
            Atom::Variable { number, lane } => {
                Ok(*self.variables.get(&(number, lane)).expect("every variable has been given its register"))
            }
            Atom::Lane { .. } | Atom::PerLane { .. } => {
                Err(Fault::contract("an index is asked for in a register before its lane is chosen"))
            }
            Atom::Quotient(of, divisor) => {
                // Whole positive multiples of the divisor make the dividend positive, so that rounding is downward.
                let (low, _) = self.indices.range(of);
                let added = if low < 0 { (-low + divisor - 1) / divisor } else { 0 };
                let dividend = self.indices.offset(of, added * divisor);
                let (low, high) = self.indices.range(dividend);
                let narrow_enough = fits_i32(low, high) && divisor <= i64::from(i32::MAX);
                let shift = (divisor.count_ones() == 1).then(|| divisor.trailing_zeros());
                let register = self.index_register(dividend, !narrow_enough)?;
                Ok(if narrow_enough {
                    let quotient = match shift {
                        Some(shift) => self.k.shr_u32(narrow(register), shift),
                        None => crate::division::quotient(&mut self.k, narrow(register), divisor as u32),
                    };
                    if added == 0 { quotient.reg() } else { self.k.sub_s32(quotient, added as i32).reg() }
                } else {
                    let quotient = match shift {
                        Some(shift) => self.k.shr_u64(wide(register), shift),
                        None => self.k.div_u64(wide(register), divisor),
                    };
                    let quotient = if added == 0 { quotient } else { self.k.sub_s64(quotient, added) };
                    quotient.reg()
                })
            }
            Atom::Remainder(of, divisor) => {
                let as_wide = self.is_wide(of);
                if divisor.count_ones() == 1 {
                    let register = self.index_register(of, as_wide)?;
                    return Ok(if as_wide {
                        self.k.and_b64(wide(register), divisor - 1).reg()
                    } else {
                        self.k.and_b32(narrow(register), (divisor - 1) as i32).reg()
                    });
                }
                // The quotient is often needed as well: of - quotient * divisor.
                let (quotient, _) = self.indices.divide(of, divisor);
                let quotient = self.index_register(quotient, as_wide)?;
                let register = self.index_register(of, as_wide)?;
                Ok(if as_wide {
                    self.k.mad_lo_s64(wide(quotient), -divisor, wide(register)).reg()
                } else {
                    self.k.mad_lo_s32(narrow(quotient), -divisor as i32, narrow(register)).reg()
                })
            }
        }
    }

    /// The place of element `index`, which has no lane, after `pointer`.
    pub(crate) fn place(&mut self, pointer: R<B64>, index: IndexId, element_bytes: usize) -> Result<Place, Fault> {
        let bytes = element_bytes as i64;
        let (constant, _) = self.indices.parts(index);
        let offset = constant.checked_mul(bytes).and_then(|offset| i32::try_from(offset).ok());
        // Elements at constant distances share one address register.
        let (base, offset) = match offset {
            Some(offset) => (self.indices.offset(index, -constant), offset),
            None => (index, 0),
        };
        if self.indices.as_constant(base) == Some(0) {
            return Ok(pointer.at(offset).into());
        }
        let key = (pointer.reg(), base);
        if let Some(known) = self.addresses.get(&key) {
            return Ok(known.at(offset).into());
        }
        let as_wide = self.is_wide(base);
        let register = self.index_register(base, as_wide)?;
        let address = if as_wide {
            self.k.mad_lo_s64(wide(register), bytes, pointer)
        } else {
            self.k.mad_wide_s32(narrow(register), bytes as i32, pointer)
        };
        self.addresses.insert(key, address);
        Ok(address.at(offset).into())
    }
}
