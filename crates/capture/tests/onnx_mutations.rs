//! Mutated conformance models: whatever a changed byte makes of an operator's attributes, sizes and names, capture gives
//! a module or an error, never a panic. `GABLE_MUTATIONS` sets how many mutations each model gets.

mod model_data;

use gable_capture::onnx::OnnxModel;
use gable_tensor::Bindings;
use gable_tensor::random::Random;
use model_data::present;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

/// Every `model.onnx` of the cases, sorted.
fn models(cases: &Path) -> Vec<PathBuf> {
    let index = std::fs::read_to_string(cases.join("index.tsv")).expect("the index is text");
    let path = |line: &str| {
        let mut fields = line.split('\t');
        let (kind, case) = (fields.next().unwrap_or_default(), fields.next().unwrap_or_default());
        cases.join(kind).join(case).join("model.onnx")
    };
    let mut models: Vec<PathBuf> = index.lines().map(path).collect();
    models.sort();
    models
}

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
    let cases = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tools/onnx-cases");
    let Some(cases) = present(cases, "run `cargo xtask onnx-cases`") else { return };
    let rounds = std::env::var("GABLE_MUTATIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(4);
    let models = models(&cases);
    let (next, panicked) = (Mutex::new(models.iter()), Mutex::new(Vec::new()));
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(1, |n| n.get()) {
            scope.spawn(|| {
                loop {
                    let Some(path) = next.lock().expect("no panic under the lock").next() else { return };
                    let sound = std::fs::read(path).expect("the case is there");
                    let name = path.strip_prefix(&cases).expect("models are in the folder").to_string_lossy();
                    for round in 0..rounds {
                        let file = mutated(&sound, &mut Random::named(round, &name));
                        if catch_unwind(AssertUnwindSafe(|| capture(path, file))).is_err() {
                            panicked.lock().expect("no panic under the lock").push((path.clone(), round));
                        }
                    }
                }
            });
        }
    });
    let panicked = panicked.into_inner().expect("no panic under the lock");
    assert!(panicked.is_empty(), "models that panic when mutated, and the round: {panicked:?}");
}
