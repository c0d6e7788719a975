//! The builder from outside: what it prints, typed and by run-time types.

use gable_ptx::meaning::{Access, Binary, Comparison, Ternary, Unary};
use gable_ptx::{EmitError, KernelBuilder, Module, R, Reg, ScalarType, Space, Target};

/// Row sums of a `[rows, columns]` f32 matrix, one warp per row: loop, shuffle, guard, shared memory, vector load.
fn row_sums() -> Module {
    let target = Target::Sm90a;
    let mut k = KernelBuilder::new("row_sums", target);
    k.required_threads(32, 1, 1);
    let x = k.param_pointer("x");
    let sums = k.param_pointer("sums");
    let columns = k.param_u32("columns");

    k.comment("Each lane adds every 32nd group of four columns.");
    let lane = k.laneid();
    let row = k.ctaid_x();
    let row_bytes = k.shl_b32(columns, 2);
    let start = k.mad_wide_u32(row, row_bytes, x);
    let sum = k.mov_f32(0.0);
    let first = k.shl_b32(lane, 2);
    k.for_u32(first, columns, 128, |k, column| {
        let at = k.mad_wide_u32(column, 4, start);
        let values = k.ld_global_nc_v4_f32(at);
        for value in values {
            k.set(sum).add_f32(sum, value);
        }
    });

    k.comment("Halves of the warp are added until each lane has the sum.");
    for distance in [16, 8, 4, 2, 1] {
        let other = k.shfl_bfly_f32(sum, distance, 31, -1);
        k.set(sum).add_f32(sum, other);
    }
    let scratch = k.shared_array("scratch", 16, 16);
    let is_first = k.setp_eq_u32(lane, 0);
    k.when(is_first, |k| {
        k.st_shared_f32(&scratch, sum);
        let back = k.ld_shared_f32(scratch.at(0));
        let at = k.mad_wide_u32(row, 4, sums);
        k.st_global_f32(at, back);
    });
    k.exit();
    Module::new(target, vec![k.finish()])
}

#[test]
fn a_small_kernel_prints_as_one_would_write_it() {
    insta::assert_snapshot!(row_sums());
}

#[test]
fn run_time_types_write_the_same_instructions() -> Result<(), EmitError> {
    let mut typed = KernelBuilder::new("k", Target::Sm90a);
    let x = typed.param_pointer("x");
    let a = typed.ld_global_f32(x);
    let b = typed.neg_f32(a);
    let c = typed.add_f32(a, b);
    let d = typed.fma_f32(a, 2.0, c);
    let less = typed.setp_lt_f32(d, 0.0);
    let e = typed.selp_f32(a, d, less);
    let f = typed.cvt_s32_f32(e);
    let g = typed.shl_b32(f, 3);
    typed.st_global_b32(x.at(4), g);
    typed.exit();

    let ty = ScalarType::F32;
    let mut dynamic = KernelBuilder::new("k", Target::Sm90a);
    let x = dynamic.param_pointer("x");
    let a = dynamic.load(Access::new(Space::Global, ty, 1), x)?[0];
    let b = dynamic.unary(Unary::Neg, ty, a)?;
    let c = dynamic.binary(Binary::Add, ty, a, b)?;
    let d = dynamic.ternary(Ternary::Fma, ty, a, 2.0f32, c)?;
    let less = dynamic.compare(Comparison::Lt, ty, d, 0.0f32)?;
    let e = dynamic.select(ty, a, d, less)?;
    let f = dynamic.convert(ScalarType::S32, ty, e)?;
    let g = dynamic.binary(Binary::Shl, ScalarType::S32, f, 3)?;
    dynamic.store(Access::new(Space::Global, ScalarType::S32, 1), x.at(4), &[g.into()])?;
    dynamic.exit();

    assert_eq!(typed.finish(), dynamic.finish());
    Ok(())
}

#[test]
fn a_wrong_class_at_run_time_is_an_error_and_writes_nothing() {
    let mut k = KernelBuilder::new("k", Target::Sm90a);
    let word = k.mov_b32(1);
    let error = k.binary(Binary::Add, ScalarType::F32, word, 1.0f32).unwrap_err();
    assert_eq!(error.to_string(), "`add_f32`: operand 0 is `%r0`, expected f32 register or constant");
    let error = k.unary(Unary::SinApprox, ScalarType::S64, 1i64).unwrap_err();
    assert_eq!(error.to_string(), "no instruction of the table computes Unary(SinApprox, S64)");
    let back: Result<R<gable_ptx::F32>, _> = Reg::from(word).typed();
    assert_eq!(back.unwrap_err().to_string(), "`%r0` is a b32 register, expected f32");
    assert_eq!(k.finish().insts().count(), 1);
}

#[test]
fn a_guard_inside_a_guard_needs_both() {
    let mut k = KernelBuilder::new("k", Target::Sm90a);
    let (p, q) = (k.setp_eq_u32(1, 1), k.setp_eq_u32(2, 2));
    k.when(p, |k| k.unless(q, |k| k.trap()));
    k.exit();
    let text = k.finish().to_string();
    assert!(text.contains("not.pred %p2, %p1;\n    and.pred %p3, %p0, %p2;\n    @%p3 trap;\n    exit;"), "{text}");
}

#[test]
fn targets_have_names_and_run_on_their_chips() {
    for &target in Target::ALL {
        assert_eq!(target.name().parse(), Ok(target));
        assert!(target.runs_on(target.row().sm / 10, target.row().sm % 10));
    }
    assert_eq!("sm_90".parse::<Target>().unwrap_err().found, "sm_90");
    assert!(!Target::Sm120a.runs_on(12, 1) && Target::Sm120f.runs_on(12, 1) && !Target::Sm120f.runs_on(10, 0));
    assert!(Target::Sm100f.runs_on(10, 3) && !Target::Sm103a.runs_on(10, 0) && !Target::Sm100f.runs_on(9, 0));
}
