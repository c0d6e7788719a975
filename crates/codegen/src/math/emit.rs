//! The kernel builder as a machine: every operation is one instruction.

use super::Floats;
use gable_ptx::{B32, F32, F64, KernelBuilder, Pred, R};

impl Floats for KernelBuilder {
    type F = R<F32>;
    type D = R<F64>;
    type W = R<B32>;
    type P = R<Pred>;

    fn float(&mut self, value: f32) -> R<F32> {
        self.mov_f32(value)
    }
    fn double(&mut self, value: f64) -> R<F64> {
        self.mov_f64(value)
    }
    fn word(&mut self, value: i32) -> R<B32> {
        self.mov_b32(value)
    }
    fn add(&mut self, a: R<F32>, b: R<F32>) -> R<F32> {
        self.add_f32(a, b)
    }
    fn sub(&mut self, a: R<F32>, b: R<F32>) -> R<F32> {
        self.sub_f32(a, b)
    }
    fn mul(&mut self, a: R<F32>, b: R<F32>) -> R<F32> {
        self.mul_f32(a, b)
    }
    fn fma(&mut self, a: R<F32>, b: R<F32>, c: R<F32>) -> R<F32> {
        self.fma_f32(a, b, c)
    }
    fn div(&mut self, a: R<F32>, b: R<F32>) -> R<F32> {
        self.div_f32(a, b)
    }
    fn sqrt(&mut self, a: R<F32>) -> R<F32> {
        self.sqrt_f32(a)
    }
    fn abs(&mut self, a: R<F32>) -> R<F32> {
        self.abs_f32(a)
    }
    fn min(&mut self, a: R<F32>, b: R<F32>) -> R<F32> {
        self.min_nan_f32(a, b)
    }
    fn max(&mut self, a: R<F32>, b: R<F32>) -> R<F32> {
        self.max_nan_f32(a, b)
    }
    fn copy_sign(&mut self, sign: R<F32>, magnitude: R<F32>) -> R<F32> {
        self.copysign_f32(sign, magnitude)
    }
    fn exp2_approx(&mut self, a: R<F32>) -> R<F32> {
        self.ex2_approx_f32(a)
    }
    fn exp2_flushed(&mut self, a: R<F32>) -> R<F32> {
        self.ex2_approx_ftz_f32(a)
    }
    fn inverse_flushed(&mut self, a: R<F32>) -> R<F32> {
        self.rcp_approx_ftz_f32(a)
    }
    fn truncate(&mut self, a: R<F32>) -> R<F32> {
        self.truncate_f32(a)
    }
    fn less(&mut self, a: R<F32>, b: R<F32>) -> R<Pred> {
        self.setp_lt_f32(a, b)
    }
    fn equal(&mut self, a: R<F32>, b: R<F32>) -> R<Pred> {
        self.setp_eq_f32(a, b)
    }
    fn both(&mut self, a: R<Pred>, b: R<Pred>) -> R<Pred> {
        self.and_pred(a, b)
    }
    fn either(&mut self, a: R<Pred>, b: R<Pred>) -> R<Pred> {
        self.or_pred(a, b)
    }
    fn not(&mut self, a: R<Pred>) -> R<Pred> {
        self.not_pred(a)
    }
    fn select(&mut self, cond: R<Pred>, a: R<F32>, b: R<F32>) -> R<F32> {
        self.selp_f32(a, b, cond)
    }
    fn bits(&mut self, a: R<F32>) -> R<B32> {
        self.b32_of_f32(a)
    }
    fn of_bits(&mut self, a: R<B32>) -> R<F32> {
        self.f32_of_b32(a)
    }
    fn float_of_word(&mut self, a: R<B32>) -> R<F32> {
        self.cvt_f32_s32(a)
    }
    fn add_word(&mut self, a: R<B32>, b: R<B32>) -> R<B32> {
        self.add_s32(a, b)
    }
    fn sub_word(&mut self, a: R<B32>, b: R<B32>) -> R<B32> {
        self.sub_s32(a, b)
    }
    fn and_word(&mut self, a: R<B32>, b: i32) -> R<B32> {
        self.and_b32(a, b)
    }
    fn shift_left(&mut self, a: R<B32>, count: u32) -> R<B32> {
        self.shl_b32(a, count)
    }
    fn shift_right(&mut self, a: R<B32>, count: u32) -> R<B32> {
        self.shr_s32(a, count)
    }
    fn is_nonzero(&mut self, a: R<B32>) -> R<Pred> {
        self.setp_ne_s32(a, 0)
    }
    fn widen(&mut self, a: R<F32>) -> R<F64> {
        self.cvt_f64_f32(a)
    }
    fn narrow(&mut self, a: R<F64>) -> R<F32> {
        self.cvt_f32_f64(a)
    }
    fn add_double(&mut self, a: R<F64>, b: R<F64>) -> R<F64> {
        self.add_f64(a, b)
    }
    fn sub_double(&mut self, a: R<F64>, b: R<F64>) -> R<F64> {
        self.sub_f64(a, b)
    }
    fn mul_double(&mut self, a: R<F64>, b: R<F64>) -> R<F64> {
        self.mul_f64(a, b)
    }
    fn fma_double(&mut self, a: R<F64>, b: R<F64>, c: R<F64>) -> R<F64> {
        self.fma_f64(a, b, c)
    }
    fn div_double(&mut self, a: R<F64>, b: R<F64>) -> R<F64> {
        self.div_f64(a, b)
    }
    fn round_double(&mut self, a: R<F64>) -> R<F64> {
        self.round_even_f64(a)
    }
    fn truncate_double(&mut self, a: R<F64>) -> R<F64> {
        self.truncate_f64(a)
    }
    fn less_double(&mut self, a: R<F64>, b: R<F64>) -> R<Pred> {
        self.setp_lt_f64(a, b)
    }
    fn select_double(&mut self, cond: R<Pred>, a: R<F64>, b: R<F64>) -> R<F64> {
        self.selp_f64(a, b, cond)
    }
    fn word_of_double(&mut self, a: R<F64>) -> R<B32> {
        let whole = self.cvt_s64_f64(a);
        self.cvt_u32_u64(whole)
    }
    fn double_of_word(&mut self, a: R<B32>) -> R<F64> {
        self.cvt_f64_s32(a)
    }
    fn high_word(&mut self, a: R<F64>) -> R<B32> {
        let bits = self.b64_of_f64(a);
        let [_low, high] = self.unpack_b64(bits);
        high
    }
    fn with_high_word(&mut self, a: R<F64>, high: R<B32>) -> R<F64> {
        let bits = self.b64_of_f64(a);
        let [low, _high] = self.unpack_b64(bits);
        let bits = self.pack_b64([low, high]);
        self.f64_of_b64(bits)
    }

    fn repeat_double(
        &mut self,
        start: R<F64>,
        mut again: impl FnMut(&mut Self, R<F64>) -> R<Pred>,
        mut step: impl FnMut(&mut Self, R<F64>) -> R<F64>,
    ) -> R<F64> {
        let value = self.mov_f64(start);
        self.loop_(|k, done| {
            let more = again(k, value);
            k.bra_unless(more, done);
            let next = step(k, value);
            k.set(value).mov_f64(next);
        });
        value
    }
}
