//! Mutated conformance models: whatever a changed byte makes of an operator's attributes, sizes and names, capture gives
//! a module or an error, never a panic. `GABLE_MUTATIONS` sets how many mutations each model gets.

use crate::{cases_folder, read_index};
use gable_capture::onnx::OnnxModel;
use gable_tensor::Bindings;
use gable_tensor::random::Random;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Mutex;

/// Up to four bytes replaced; half of the replacements are the bytes that lengths, sizes and signs break on.
fn mutated(file: &[u8], random: &mut Random) -> Vec<u8> {
    let mut file = file.to_vec();
    for _ in 0..1 + random.below(4) {
        // Names are most of a small model, and a changed name is found at once: numbers are preferred.
        let draws = (0..16).map(|_| random.below(file.len() as u64) as usize).collect::<Vec<_>>();
        let at = *draws.iter().find(|&&at| !file[at].is_ascii_graphic()).unwrap_or(&draws[0]);
        file[at] = match random.below(8) {
            0 => 0,
            1 => 1,
            2 => 0x7f,
            3 => 0xff,
            _ => random.below(256) as u8,
        };
    }
    file
}

fn capture(path: &Path, file: Vec<u8>) {
    let Ok(model) = OnnxModel::parse(path, file.into()) else { return };
    let dims = model.signature().dims();
    let bindings: Bindings = dims.into_iter().map(|dim| (dim, 3)).collect();
    let _ = model.module(&bindings);
}

#[test]
fn mutated_cases_never_panic() {
    let Some(folder) = cases_folder() else { return };
    let rounds = std::env::var("GABLE_MUTATIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(4);
    let cases = read_index(&folder);
    let (next, panicked) = (Mutex::new(cases.iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, |n| n.get()) {
            scope.spawn(|| {
                loop {
                    let Some(case) = next.lock().expect("no panic under the lock").next() else { return };
                    let path = case.folder.join("model.onnx");
                    let sound = std::fs::read(&path).expect("the case is there");
                    for round in 0..rounds {
                        let file = mutated(&sound, &mut Random::named(round, &case.name));
                        if catch_unwind(AssertUnwindSafe(|| capture(&path, file))).is_err() {
                            panicked.lock().expect("no panic under the lock").push((case.name.clone(), round));
                        }
                    }
                }
            });
        }
    });
    let panicked = panicked.into_inner().expect("no panic under the lock");
    assert!(panicked.is_empty(), "models that panic when mutated, and the round: {panicked:?}");
}
