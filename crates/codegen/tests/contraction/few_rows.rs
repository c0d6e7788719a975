//! The family for few rows on the tensor cores: every number of rows, edges, groups after groups, batches.

use super::plain::product;
use super::{cases, check, check_batched, regions};
use gable_codegen::contraction::few_rows::schedule::{FewRowsSchedule, FragmentsSchedule};
use gable_codegen::contraction::problem::{Problem, Store};
use gable_codegen::contraction::rule;
use gable_codegen::contraction::schedule::Schedule;
use gable_ptx::Target;
use gable_tensor::DType;

/// Both factors along k.
fn rows(dtype: DType, m: usize, n: usize, k: usize) -> Problem {
    product(dtype, (m, n, k), [false, true])
}

fn fragments(warps: u32, tiles: u32, depth: u32, ctas: u32) -> Schedule {
    Schedule::FewRows(FewRowsSchedule::Fragments(FragmentsSchedule {
        warps,
        tiles,
        products: 1,
        depth,
        ctas,
        rows_ahead: !ctas.is_multiple_of(2),
    }))
}

#[test]
fn every_number_of_rows_is_multiplied() {
    for m in [1, 2, 3, 4, 5, 8, 9, 16, 17, 33, 64] {
        check(&rows(DType::BF16, m, 64, 256), &fragments(2, 1, 2, 3), [None, None]);
    }
    for m in [1, 7, 40] {
        check(&rows(DType::F16, m, 32, 1024), &fragments(4, 2, 1, 1), [None, None]);
    }
}

#[test]
fn edges_of_columns_and_k_are_right_at_every_alignment() {
    for (n, k) in [(1, 8), (17, 136), (33, 132), (50, 130), (31, 129), (100, 1001), (15, 3)] {
        for m in [1, 3, 12] {
            check(&rows(DType::BF16, m, n, k), &fragments(2, 1, 2, 1), [None, None]);
            let groups = n.div_ceil(32) as u32;
            check(&rows(DType::BF16, m, n, k), &fragments(3, 2, 1, groups), [None, None]);
        }
    }
}

#[test]
fn groups_follow_each_other() {
    for (ctas, depth) in [(1, 1), (2, 3), (5, 2), (7, 1)] {
        check(&rows(DType::BF16, 5, 112, 640), &fragments(2, 1, depth, ctas), [None, None]);
    }
    check(&rows(DType::F16, 20, 200, 300), &fragments(2, 2, 2, 3), [None, None]);
}

#[test]
fn rows_come_in_batches_and_leave_along_m() {
    let (m, n, k) = (6, 40, 192);
    let mut batched = rows(DType::BF16, m, n, k);
    batched.batch = vec![2, 3];
    let strides = [vec![(3 * m * k) as i64, (m * k) as i64], vec![0, (n * k) as i64]];
    check_batched(&batched, &fragments(2, 1, 1, 2), [None, None], strides.clone());
    batched.store = Store { along_m: true, lanes: 2 };
    batched.out = DType::F32;
    check_batched(&batched, &fragments(2, 1, 2, 3), [None, None], strides);
}

#[test]
fn the_rule_takes_the_tensor_cores_for_rows_of_sixteen_bits() {
    for (m, n, k) in [(1, 640, 1024), (3, 1000, 264), (16, 512, 1024), (64, 96, 257)] {
        let problem = rows(DType::BF16, m, n, k);
        let schedule = rule::choose(&problem, Target::Sm90a).expect("a schedule");
        assert!(matches!(schedule, Schedule::FewRows(FewRowsSchedule::Fragments(_))), "{schedule}");
        check(&problem, &schedule, [None, None]);
    }
}

#[test]
fn narrow_weights_are_unpacked_in_registers() {
    let cases = cases::read("contraction");
    let narrow: Vec<_> = cases.iter().filter(|(name, _)| name.starts_with("few_rows_")).collect();
    assert!(narrow.len() > 10, "the cases are there");
    for (name, module) in narrow {
        let (_, kernel) = regions::lowered(name, module, Target::Sm90a);
        let kernel = kernel.expect("the cases have results");
        let (problem, schedule) = (&kernel.problem, &kernel.schedule);
        assert!(matches!(schedule, Schedule::FewRows(FewRowsSchedule::Fragments(_))), "{name}: {problem}: {schedule}");
        assert!(problem.quantised.is_some(), "{name}: {problem}");
    }
}
