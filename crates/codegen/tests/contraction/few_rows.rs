//! The family for few rows on the tensor cores: every number of rows, edges, groups after groups, batches.

use super::plain::product;
use super::product::{self as region, run};
use super::{cases, check, check_batched, emulation, regions, schedules};
use gable_codegen::contraction::few_rows::schedule::{FewRowsSchedule, FragmentsSchedule, StreamedSchedule};
use gable_codegen::contraction::problem::{Problem, Store};
use gable_codegen::contraction::rule;
use gable_codegen::contraction::schedule::Schedule;
use gable_ptx::ptxas::Ptxas;
use gable_ptx::{Module, Target};
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

fn is_on_tensor_cores(schedule: &Schedule) -> bool {
    matches!(schedule, Schedule::FewRows(FewRowsSchedule::Fragments(_) | FewRowsSchedule::Streamed(_)))
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
        assert!(is_on_tensor_cores(&schedule), "{schedule}");
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
        assert!(is_on_tensor_cores(schedule), "{name}: {problem}: {schedule}");
        assert!(problem.quantised.is_some(), "{name}: {problem}");
    }
}

fn streamed(warps: u32, tiles: u32, steps: u32, ctas: u32, held: bool) -> Schedule {
    by_joiners((warps, 0), tiles, steps, (1, ctas), held)
}

/// With warps that join, and k split between CTAs.
fn by_joiners(
    (warps, joiners): (u32, u32),
    tiles: u32,
    steps: u32,
    (split, clusters): (u32, u32),
    held: bool,
) -> Schedule {
    let ctas = split * clusters;
    let schedule = StreamedSchedule { warps, joiners, tiles, products: 1, steps, split, ctas, held };
    Schedule::FewRows(FewRowsSchedule::Streamed(schedule))
}

#[test]
fn columns_stream_through_shared_memory() {
    for (m, held) in [(1, true), (3, false), (8, true), (9, false), (16, true), (33, false)] {
        check(&rows(DType::BF16, m, 64, 512), &streamed(2, 1, 3, 3, held), [None, None]);
        // Columns past the last, a last step that is half inside, and warps without a last step.
        check(&rows(DType::F16, m, 75, 328), &streamed(3, 2, 2, 2, held), [None, None]);
        check(&rows(DType::BF16, m, 5, 136), &streamed(2, 1, 1, 1, held), [None, None]);
    }
    // More under way than there is.
    check(&rows(DType::BF16, 4, 48, 256), &streamed(4, 1, 8, 2, true), [None, None]);
}

#[test]
fn warps_that_join_let_the_others_go_on() {
    for (m, held) in [(1, true), (16, true), (33, false)] {
        check(&rows(DType::BF16, m, 112, 256), &by_joiners((2, 1), 1, 3, (1, 2), held), [None, None]);
    }
    check(&rows(DType::F16, 3, 75, 328), &by_joiners((3, 2), 1, 2, (1, 1), false), [None, None]);
    check(&rows(DType::BF16, 9, 180, 136), &by_joiners((2, 3), 2, 1, (1, 1), true), [None, None]);
    // More joiners than groups.
    check(&rows(DType::BF16, 4, 40, 256), &by_joiners((2, 4), 1, 2, (1, 3), true), [None, None]);
}

#[test]
fn clusters_share_k_and_exchange_sums() {
    for (m, held) in [(1, true), (16, true), (33, false)] {
        check(&rows(DType::BF16, m, 64, 256), &by_joiners((1, 1), 1, 3, (2, 2), held), [None, None]);
    }
    // CTAs without a last step, and columns past the last.
    check(&rows(DType::F16, 5, 75, 328), &by_joiners((1, 2), 1, 2, (4, 1), false), [None, None]);
    check(&rows(DType::BF16, 9, 50, 200), &by_joiners((2, 2), 2, 1, (2, 1), true), [None, None]);
    // More groups than any turn has memory for.
    check(&rows(DType::BF16, 2, 200, 256), &by_joiners((1, 2), 1, 2, (2, 1), true), [None, None]);
}

#[test]
fn streams_that_cannot_be_written_are_refused() {
    let problem = rows(DType::BF16, 4, 64, 512);
    let refused = |schedule: Schedule| match schedule.validate(&problem, Target::Sm90a) {
        Ok(()) => panic!("{schedule} is taken"),
        Err(error) => error.to_string(),
    };
    let without = refused(by_joiners((2, 0), 1, 2, (2, 1), true));
    assert!(without.contains("joiners is 0, expected at least 1"), "{without}");
    let narrow = refused(by_joiners((1, 1), 1, 2, (8, 1), true));
    assert!(narrow.contains("CTAs of a cluster is 8, expected a number that divides 16 columns"), "{narrow}");
    let many = refused(by_joiners((1, 1), 1, 2, (2, 5), true));
    assert!(many.contains("clusters of a batch entry is 5, expected at most 4"), "{many}");
    let odd = StreamedSchedule { warps: 1, joiners: 1, tiles: 1, products: 1, steps: 2, split: 2, ctas: 3, held: true };
    let odd = refused(Schedule::FewRows(FewRowsSchedule::Streamed(odd)));
    assert!(odd.contains("CTAs of a batch entry is 3, expected a multiple of 2"), "{odd}");
}

/// What the rule chooses of streamed kernels: joiners for one group of rows, a cluster where rows do not fit registers or
/// columns do not fill the device, and larger groups of columns for more rows.
#[test]
fn the_rule_divides_k_as_registers_and_columns_ask() {
    let chosen = |m: usize, n: usize, k: usize| {
        let schedule = rule::choose(&rows(DType::BF16, m, n, k), Target::Sm90a).expect("a schedule");
        match schedule {
            Schedule::FewRows(FewRowsSchedule::Streamed(streamed)) => streamed,
            other => panic!("{m}x{n}x{k}: {other}"),
        }
    };
    let short = chosen(4, 28672, 4096);
    assert!(short.held && short.joiners > 0 && short.split == 1 && short.tiles == 1, "{short}");
    let long = chosen(4, 4096, 14336);
    assert!(long.held && long.joiners > 0 && long.split == 2, "{long}");
    assert!(long.ctas.is_multiple_of(long.split), "{long}");
    let many = chosen(16, 28672, 4096);
    assert!(many.held && many.joiners == 0 && many.tiles == 2, "{many}");
}

/// Beyond 16 rows the kernels of the target's own class, which no measurement put behind, where they are predicted to be faster.
#[test]
fn more_than_sixteen_rows_go_to_the_class_of_the_target() {
    let class = |m: usize, target| {
        let source = crate::product::product("bf16", (m, 28672, 4096), [false, true], "bf16", "");
        crate::product::chosen(&source, target).to_string()
    };
    for (target, own) in [
        (Target::Sm90a, "wgmma"),
        (Target::Sm100a, "tcgen05"),
        (Target::Sm103a, "tcgen05"),
        (Target::Sm120a, "mma.sync ring"),
    ] {
        assert!(class(64, target).starts_with(own), "{target}: {}", class(64, target));
        for m in [1, 16] {
            assert!(class(m, target).starts_with("mma.sync rows"), "{target}: {}", class(m, target));
        }
    }
}

#[test]
fn batches_stream_entry_by_entry() {
    let (m, n, k) = (6, 40, 192);
    let mut batched = rows(DType::BF16, m, n, k);
    batched.batch = vec![2, 3];
    let strides = [vec![(3 * m * k) as i64, (m * k) as i64], vec![0, (n * k) as i64]];
    check_batched(&batched, &streamed(2, 1, 3, 2, false), [None, None], strides.clone());
    check_batched(&batched, &streamed(3, 2, 2, 1, true), [None, None], strides.clone());
    check_batched(&batched, &by_joiners((1, 1), 1, 2, (2, 2), true), [None, None], strides.clone());
    batched.store = Store { along_m: true, lanes: 2 };
    check_batched(&batched, &by_joiners((2, 2), 1, 2, (2, 1), false), [None, None], strides);
}

#[test]
fn narrow_weights_stream_with_their_scales() {
    let mut taken = 0;
    for (name, module) in cases::read("contraction").iter().filter(|(name, _)| name.starts_with("few_rows_")) {
        let joined = by_joiners((1, 2), 2, 2, (2, 1), true);
        for schedule in [streamed(2, 1, 3, 2, false), streamed(3, 2, 2, 1, true), joined] {
            let orders = &emulation::SCHEDULES;
            match run(module, Target::Sm90a, orders, |problem| {
                schedule.validate(problem, Target::Sm90a)?;
                Ok(schedule)
            }) {
                Ok(()) => taken += 1,
                // Scales of whole columns have no groups.
                Err(error) => assert!(error.contains("scales that fit a step"), "{name}: {error}"),
            }
        }
    }
    assert!(taken >= 24, "only {taken} products streamed");
}

#[test]
fn chosen_kernels_for_few_rows_assemble_without_spills() {
    let Ok(ptxas) = Ptxas::find() else {
        assert!(std::env::var_os("CI").is_none(), "CI has ptxas");
        eprintln!("SKIPPED: no ptxas");
        return;
    };
    let mut module = Module::new(Target::Sm90a, Vec::new());
    for (n, k) in [(28672, 4096), (4096, 14336), (1024, 4096)] {
        for m in [1, 8, 9, 16, 24, 32] {
            for (name, stored) in [("whole", "bf16"), ("narrow", "e4m3")] {
                let (cast, weight) = match stored {
                    "bf16" => (String::new(), "%b"),
                    _ => (format!("    %n = cast %b {{to=bf16}} : bf16[{n}, {k}]\n"), "%n"),
                };
                let source = format!(
                    "graph @g(%a: bf16[{m}, {k}], %b: {stored}[{n}, {k}]) {{\n  region @r contraction {{\n{cast}    \
                     %w = transpose {weight} {{perm=[1, 0]}} : bf16[{k}, {n}]\n    \
                     %c = matmul %a, %w {{acc=f32, out=bf16}} : bf16[{m}, {n}]\n  }}\n  return c = %c\n}}\n"
                );
                let schedule = region::chosen(&source, Target::Sm90a);
                let mut kernel = region::kernel(&source, Target::Sm90a, schedule);
                kernel.name = format!("{name}_{m}x{n}x{k}");
                module.push(kernel);
            }
        }
    }
    schedules::assert_no_spills(&ptxas, &module, Target::Sm90a);
}
